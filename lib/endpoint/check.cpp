// Comparing an endpoint with the kernel, from the host inwards. The first difference is the answer; its code is not_found when
// any part is missing.
#include <algorithm>

#include "lib/base/file.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/endpoint/inside.hpp"
#include "lib/endpoint/parts.hpp"

namespace firn::endpoint {

namespace {

using netlink::Kernel;

// Goes on past the first difference: an interface that is down because its attach was killed also lacks its address, and the
// caller must be able to tell it from one that somebody has only changed.
class Differences {
 public:
  // Passes on what is neither: a kernel that refuses to answer says nothing about the endpoint.
  Status note(Status compared) {
    if (compared) return {};
    Error& error = compared.error();
    if (!error.is(Code::conflict) && !error.is(Code::not_found)) return compared;
    if (error.is(Code::not_found)) missing_ = true;
    if (!first_) first_ = std::move(error);
    return {};
  }
  Status outcome() && {
    if (!first_) return {};
    first_->code = missing_ ? Code::not_found : Code::conflict;
    return *std::move(first_);
  }

 private:
  std::optional<Error> first_;
  bool missing_ = false;
};

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

// A setting that cannot be found is a kernel without it, not a part that attach() did not come to.
Status check_setting(Status compared) {
  if (!compared && compared.error().is(Code::not_found)) compared.error().code = Code::conflict;
  return compared;
}

Status check_link(const netlink::Link& link, const Spec& spec, const std::string& place) {
  if (!link.up) return differs(place + " is down");
  if (!link.running) return differs(place + " has no carrier: its other end is down");
  if (spec.mtu != 0 && link.mtu != spec.mtu) {
    return differs(place + " has MTU " + std::to_string(link.mtu) + ", not " + std::to_string(spec.mtu));
  }
  return {};
}

// Bounds that nobody asked for are somebody else's business.
Status check_bandwidth(Kernel& host, const Spec& spec, int index) {
  if (spec.bandwidth == model::Bandwidth{}) return {};
  auto bounds = host.traffic_bounds(index);
  if (!bounds) return std::move(bounds).error();
  const auto wrong = [&](const char* direction, bool there) {
    std::string text = std::string("the limit of what the container ") + direction + ", on " + on_host(spec) + ", is ";
    return there ? differs(text + "another") : missing(text + "missing");
  };
  const netlink::TokenBucket in = in_bytes(spec.bandwidth.ingress), out = in_bytes(spec.bandwidth.egress);
  if (in.rate != 0 && bounds->outgoing_rate != in.rate) return wrong("receives", bounds->outgoing_rate.has_value());
  if (out.rate != 0 && bounds->incoming != out) return wrong("sends", bounds->incoming.has_value());
  return {};
}

Result<int> check_host(Kernel& host, const Spec& spec, Differences& found) {
  auto link = host.link(spec.host_ifname);
  if (!link) {
    if (link.error().is(Code::not_found)) return missing(on_host(spec) + " is missing");
    return std::move(link).error();
  }
  if (!is_our_link(*link, spec.handle)) return differs(on_host(spec) + " belongs to something else");
  if (link->group == netlink::dead_group && !link->up) return missing(on_host(spec) + " is detached");
  Spec without_mtu = spec;
  without_mtu.mtu = 0;
  if (auto noted = found.note(check_link(*link, without_mtu, on_host(spec))); !noted) return std::move(noted).error();
  auto routes = host.routes({.oif = link->index});
  if (!routes) return std::move(routes).error();
  for (const Address& address : spec.addresses) {
    Status same;
    if (!has_route(*routes, Prefix::host(address), link->index, std::nullopt)) {
      same = missing("route " + Prefix::host(address).to_string() + " through " + on_host(spec) + " is missing");
    }
    if (auto noted = found.note(std::move(same)); !noted) return std::move(noted).error();
    auto noted = found.note(check_neighbour(host, link->index, address, spec.mac, on_host(spec)));
    if (!noted) return std::move(noted).error();
  }
  const std::string conf = "/proc/sys/net/ipv4/conf/" + spec.host_ifname;
  Status noted = found.note(check_setting(check_sysctl(conf + "/rp_filter", "1")));
  if (noted) noted = found.note(check_setting(check_sysctl(conf + "/forwarding", "1")));
  if (noted) noted = found.note(check_setting(check_ipv6(spec.host_ifname, has_family(spec.addresses, Family::v6))));
  if (noted) noted = found.note(check_bandwidth(host, spec, link->index));
  if (!noted) return std::move(noted).error();
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

// A route that is wanted and not there was never made, or the interface was made for other routes, or a later plugin has moved
// them: where other routes lead to our gateway, or some of several do, it is one of the latter, and nothing is missing.
Result<bool> made_for_others(Kernel& kernel, const Spec& spec, int index) {
  auto routes = kernel.routes({.table = std::nullopt, .oif = index});
  if (!routes) return std::move(routes).error();
  const std::vector<Prefix> wanted = destinations(spec);
  return std::ranges::any_of(*routes, [&](const netlink::Route& r) {
    if (r.type != netlink::RouteType::unicast || r.gateway != gateway(r.destination.family())) return false;
    if (!spec.routes.empty() || std::ranges::find(wanted, r.destination) == wanted.end()) return true;
    return r.table != 254 && r.table != policy_table(index);
  });
}

Result<Attached> check_routes(Kernel& kernel, const Spec& spec, int index, Differences& found) {
  auto routes = kernel.routes({.oif = index});
  if (!routes) return std::move(routes).error();
  Attached attached;
  for (const Prefix& to : destinations(spec)) {
    if (has_route(*routes, to, index, gateway(to.family()))) continue;
    Status same;
    if (to.length() != 0) {
      same = missing("route " + to.to_string() + " of " + in_container(spec) + " is missing");
    } else {
      same = check_default_by_rule(kernel, spec, to.family(), index);
      attached.by_rule.push_back(to.family());
      attached.table = policy_table(index);
    }
    if (!same && same.error().is(Code::not_found)) {
      auto others = made_for_others(kernel, spec, index);
      if (!others) return std::move(others).error();
      if (*others) same.error().code = Code::conflict;
    }
    if (auto noted = found.note(std::move(same)); !noted) return std::move(noted).error();
  }
  return attached;
}

Result<Attached> check_container(const netlink::Netns& container, const Spec& spec, int host_index, Differences& found) {
  auto inside = Inside::enter(container);
  if (!inside) return std::move(inside).error();
  Kernel& kernel = inside->kernel();
  auto link = kernel.link(spec.ifname);
  if (!link) {
    if (link.error().is(Code::not_found)) return missing(in_container(spec) + " is missing");
    return std::move(link).error();
  }
  if (link->kind != "veth" || link->peer_index != host_index) return differs(in_container(spec) + " belongs to something else");
  Status noted = found.note(check_link(*link, spec, in_container(spec)));
  if (noted && link->mac != spec.mac) {
    noted = found.note(differs(in_container(spec) + " has MAC " + link->mac.to_string() + ", not " + spec.mac.to_string()));
  }
  if (!noted) return std::move(noted).error();
  auto addresses = kernel.addresses(link->index);
  if (!addresses) return std::move(addresses).error();
  for (const Address& address : spec.addresses) {
    const netlink::LinkAddress wanted{link->index, {address, address.bits()}};
    if (std::ranges::find(*addresses, wanted) != addresses->end()) continue;
    noted = found.note(missing("address " + address.to_string() + " of " + in_container(spec) + " is missing"));
    if (!noted) return std::move(noted).error();
  }
  auto attached = check_routes(kernel, spec, link->index, found);
  if (!attached) return attached;
  for (const Family family : {Family::v4, Family::v6}) {
    if (!has_family(spec.addresses, family)) continue;
    noted = found.note(check_neighbour(kernel, link->index, gateway(family), host_mac(), in_container(spec)));
    if (!noted) return std::move(noted).error();
  }
  Status same = check_sysctl("/proc/sys/net/ipv4/conf/" + spec.ifname + "/forwarding", spec.forwarding ? "1" : "0");
  if (same) same = check_ipv6(spec.ifname, has_family(spec.addresses, Family::v6));
  if (!same) same = std::move(same).error().context(in_container(spec));
  noted = found.note(check_setting(std::move(same)));
  if (!noted) return std::move(noted).error();
  return attached;
}

}  // namespace

Result<Attached> check(Kernel& host, const netlink::Netns& container, const Spec& spec) {
  Differences found;
  auto host_index = check_host(host, spec, found);
  if (!host_index) return std::move(host_index).error();
  auto attached = check_container(container, spec, *host_index, found);
  if (!attached && !attached.error().is(Code::not_found) && !attached.error().is(Code::conflict)) return attached;
  if (!attached) {
    if (auto noted = found.note(std::move(attached).error()); !noted) return std::move(noted).error();
  }
  if (auto same = std::move(found).outcome(); !same) return std::move(same).error();
  return attached;
}

}  // namespace firn::endpoint
