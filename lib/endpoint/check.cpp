// Comparing an endpoint with the kernel, from the host inwards. The first difference is the answer.
#include <algorithm>

#include "lib/base/file.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/endpoint/inside.hpp"
#include "lib/endpoint/parts.hpp"

namespace firn::endpoint {

namespace {

using netlink::Kernel;

Error differs(std::string text) { return make_error(Code::conflict, std::move(text)); }
Error missing(std::string text) { return make_error(Code::not_found, std::move(text)); }

std::string on_host(const Spec& spec) { return "link " + spec.host_ifname + " on the host"; }
std::string in_container(const Spec& spec) { return "interface " + spec.ifname + " in the container"; }

Status check_neighbour(Kernel& kernel, int index, const Address& address, const Mac& mac, const std::string& place) {
  auto neighbours = kernel.neighbours(index);
  if (!neighbours) return std::move(neighbours).error();
  for (const netlink::Neighbour& n : *neighbours) {
    if (n.address != address) continue;
    if (n.mac != mac) {
      return differs("neighbour " + address.to_string() + " of " + place + " has MAC " + n.mac.to_string() + ", not " +
                     mac.to_string());
    }
    return {};
  }
  return missing("neighbour " + address.to_string() + " of " + place + " is missing");
}

bool has_route(const std::vector<netlink::Route>& routes, const Prefix& to, int index, const std::optional<Address>& via) {
  return std::ranges::any_of(routes, [&](const netlink::Route& r) {
    return r.destination == to && r.oif == index && r.gateway == via && r.type == netlink::RouteType::unicast;
  });
}

Status check_link(const netlink::Link& link, const Spec& spec, const std::string& place) {
  if (!link.up) return differs(place + " is down");
  if (!link.running) return differs(place + " has no carrier: its other end is down");
  if (spec.mtu != 0 && link.mtu != spec.mtu) {
    return differs(place + " has MTU " + std::to_string(link.mtu) + ", not " + std::to_string(spec.mtu));
  }
  return {};
}

Result<int> check_host(Kernel& host, const Spec& spec) {
  auto link = host.link(spec.host_ifname);
  if (!link) {
    if (link.error().is(Code::not_found)) return missing(on_host(spec) + " is missing");
    return std::move(link).error();
  }
  if (!is_our_link(*link, spec.handle)) return differs(on_host(spec) + " belongs to something else");
  Spec without_mtu = spec;
  without_mtu.mtu = 0;
  if (auto same = check_link(*link, without_mtu, on_host(spec)); !same) return std::move(same).error();
  auto routes = host.routes({.oif = link->index});
  if (!routes) return std::move(routes).error();
  for (const Address& address : spec.addresses) {
    if (!has_route(*routes, Prefix::host(address), link->index, std::nullopt)) {
      return missing("route " + Prefix::host(address).to_string() + " through " + on_host(spec) + " is missing");
    }
    if (auto same = check_neighbour(host, link->index, address, spec.mac, on_host(spec)); !same) return std::move(same).error();
  }
  const std::string conf = "/proc/sys/net/ipv4/conf/" + spec.host_ifname;
  if (auto same = check_sysctl(conf + "/rp_filter", "1"); !same) return std::move(same).error();
  if (auto same = check_sysctl(conf + "/forwarding", "1"); !same) return std::move(same).error();
  if (auto same = check_ipv6(spec.host_ifname, has_family(spec.addresses, Family::v6)); !same) return std::move(same).error();
  return link->index;
}

Status check_default_by_rule(Kernel& kernel, const Spec& spec, Family family, int index) {
  auto rules = kernel.rules(family);
  if (!rules) return std::move(rules).error();
  for (const Address& address : spec.addresses) {
    if (address.family() == family && std::ranges::find(*rules, rule_for(address, index)) == rules->end()) {
      return missing("default route of " + in_container(spec) + " is missing, and there is no rule for " + address.to_string());
    }
  }
  auto routes = kernel.routes({.family = family, .table = policy_table(index), .oif = index});
  if (!routes) return std::move(routes).error();
  if (has_route(*routes, Prefix::any(family), index, gateway(family))) return {};
  return missing("default route of " + in_container(spec) + " is missing in table " + std::to_string(policy_table(index)));
}

Result<Attached> check_routes(Kernel& kernel, const Spec& spec, int index) {
  auto routes = kernel.routes({.oif = index});
  if (!routes) return std::move(routes).error();
  Attached attached;
  for (const Prefix& to : destinations(spec)) {
    if (has_route(*routes, to, index, gateway(to.family()))) continue;
    if (to.length() != 0) return missing("route " + to.to_string() + " of " + in_container(spec) + " is missing");
    if (auto found = check_default_by_rule(kernel, spec, to.family(), index); !found) return std::move(found).error();
    attached.by_rule.push_back(to.family());
    attached.table = policy_table(index);
  }
  return attached;
}

Result<Attached> check_container(const netlink::Netns& container, const Spec& spec, int host_index) {
  auto inside = Inside::enter(container);
  if (!inside) return std::move(inside).error();
  Kernel& kernel = inside->kernel();
  auto link = kernel.link(spec.ifname);
  if (!link) {
    if (link.error().is(Code::not_found)) return missing(in_container(spec) + " is missing");
    return std::move(link).error();
  }
  if (link->kind != "veth" || link->peer_index != host_index) return differs(in_container(spec) + " belongs to something else");
  if (auto same = check_link(*link, spec, in_container(spec)); !same) return std::move(same).error();
  if (link->mac != spec.mac) {
    return differs(in_container(spec) + " has MAC " + link->mac.to_string() + ", not " + spec.mac.to_string());
  }
  auto addresses = kernel.addresses(link->index);
  if (!addresses) return std::move(addresses).error();
  for (const Address& address : spec.addresses) {
    const netlink::LinkAddress wanted{link->index, {address, address.bits()}};
    if (std::ranges::find(*addresses, wanted) == addresses->end()) {
      return missing("address " + address.to_string() + " of " + in_container(spec) + " is missing");
    }
  }
  auto attached = check_routes(kernel, spec, link->index);
  if (!attached) return attached;
  for (const Family family : {Family::v4, Family::v6}) {
    if (!has_family(spec.addresses, family)) continue;
    auto same = check_neighbour(kernel, link->index, gateway(family), host_mac(), in_container(spec));
    if (!same) return std::move(same).error();
  }
  auto same = check_sysctl("/proc/sys/net/ipv4/conf/" + spec.ifname + "/forwarding", spec.forwarding ? "1" : "0");
  if (same) same = check_ipv6(spec.ifname, has_family(spec.addresses, Family::v6));
  if (!same) return std::move(same).error().context(in_container(spec));
  return attached;
}

}  // namespace

Result<Attached> check(Kernel& host, const netlink::Netns& container, const Spec& spec) {
  auto host_index = check_host(host, spec);
  if (!host_index) return std::move(host_index).error();
  return check_container(container, spec, *host_index);
}

}  // namespace firn::endpoint
