#include "lib/endpoint/parts.hpp"

#include "lib/endpoint/inside.hpp"

namespace firn::endpoint {

namespace {

constexpr uint8_t link_scope = 253;
constexpr uint32_t rule_priority = 20000;  // before the main table (32766), behind what an administrator puts first
constexpr Family families[] = {Family::v4, Family::v6};

netlink::Route through_gateway(const Prefix& destination, int index) {
  netlink::Route route{.destination = destination, .oif = index, .gateway = gateway(destination.family())};
  // The gateway is on no link. Saying so spares a lookup, and lets a second interface use the same gateway address.
  route.onlink = destination.family() == Family::v4;
  return route;
}

}  // namespace

std::vector<Prefix> destinations(const Spec& spec) {
  if (!spec.routes.empty()) return spec.routes;
  std::vector<Prefix> out;
  for (const Family family : families) {
    if (has_family(spec.addresses, family)) out.push_back(Prefix::any(family));
  }
  return out;
}

std::vector<netlink::Request> host_requests(const Spec& spec, int index) {
  std::vector<netlink::Request> out;
  out.reserve(2 + 2 * spec.addresses.size());
  if (has_family(spec.addresses, Family::v6)) {
    // The kernel would give the link this address itself, and use it for nothing until another work item has looked at it.
    constexpr int link_local_length = 64;  // RFC 4291, 2.5.6
    out.emplace_back(netlink::AddAddress{.address = {index, {gateway(Family::v6), link_local_length}}});
  }
  netlink::SetLink link{.index = index};
  link.up = true;
  link.ipv4_strict_source = true;
  link.ipv4_forwarding = true;
  link.alias = alias_for(spec.handle);
  out.emplace_back(std::move(link));
  for (const Address& address : spec.addresses) {
    // Replace: the blackhole or stale route of a dead endpoint with this address must not stop a new one.
    netlink::Route route{.destination = Prefix::host(address), .oif = index};
    if (address.is_v4()) route.scope = link_scope;
    out.emplace_back(netlink::ReplaceRoute{std::move(route)});
    out.emplace_back(netlink::ReplaceNeighbour{{.index = index, .address = address, .mac = spec.mac}});
  }
  return out;
}

netlink::TokenBucket in_bytes(const model::Bucket& bucket) { return {bucket.rate / 8, bucket.burst / 8}; }

std::vector<netlink::Request> bandwidth_requests(const Spec& spec, int index, int policer) {
  std::vector<netlink::Request> out;
  // What the container receives leaves by the host's side, and the other way round.
  if (spec.bandwidth.ingress) {
    out.emplace_back(netlink::ShapeOutgoing{.index = index, .bucket = in_bytes(spec.bandwidth.ingress)});
  }
  if (spec.bandwidth.egress) {
    out.emplace_back(netlink::AddClassifier{index});
    out.emplace_back(netlink::PoliceIncoming{.index = index, .bucket = in_bytes(spec.bandwidth.egress), .program = policer});
  }
  return out;
}

std::vector<netlink::Request> container_requests(const Spec& spec, int index) {
  std::vector<netlink::Request> out;
  out.reserve(8 + spec.addresses.size());
  // Made in place: moved, its empty alias would be a false -Wmaybe-uninitialized of GCC 12 (bug 80635).
  auto& link = std::get<netlink::SetLink>(out.emplace_back(std::in_place_type<netlink::SetLink>));
  link.index = index;
  link.up = true;
  link.ipv4_forwarding = spec.forwarding;
  for (const Address& address : spec.addresses) {
    out.emplace_back(netlink::AddAddress{.address = {index, {address, address.bits()}}, .no_dad = !address.is_v4()});
  }
  for (const Family family : families) {
    if (!has_family(spec.addresses, family)) continue;
    const Address via = gateway(family);
    if (family == Family::v4) {
      netlink::Route route{.destination = Prefix::host(via), .oif = index, .scope = link_scope};
      out.emplace_back(netlink::AddRoute{std::move(route)});
    }
    out.emplace_back(netlink::ReplaceNeighbour{{.index = index, .address = via, .mac = host_mac()}});
  }
  for (const Prefix& destination : destinations(spec)) out.emplace_back(netlink::AddRoute{through_gateway(destination, index)});
  return out;
}

netlink::Rule rule_for(const Address& address, int index) {
  return {.from = Prefix::host(address), .table = policy_table(index), .priority = rule_priority};
}

std::vector<netlink::Request> policy_requests(const Spec& spec, const Attached& attached, int index) {
  std::vector<netlink::Request> out;
  for (const Family family : attached.by_rule) {
    netlink::Route route = through_gateway(Prefix::any(family), index);
    route.table = attached.table;
    out.emplace_back(netlink::ReplaceRoute{std::move(route)});
  }
  for (const Address& address : spec.addresses) {
    if (attached.in_table(address.family())) out.emplace_back(netlink::AddRule{rule_for(address, index)});
  }
  return out;
}

bool is_our_link(const netlink::Link& link, std::string_view handle) {
  if (link.kind != "veth") return false;
  if (link.alias == alias_for(handle)) return true;
  return link.alias.empty() && link.mac == host_mac();
}

void forget_rules(const netlink::Netns& container, const Spec& spec) {
  auto inside = Inside::enter(container);
  if (!inside) return;
  auto index = inside->kernel().index_of(spec.ifname);
  if (!index) return;
  std::vector<netlink::Request> requests;
  for (const Address& address : spec.addresses) requests.emplace_back(netlink::RemoveRule{rule_for(address, *index)});
  (void)inside->kernel().apply(requests);
}

}  // namespace firn::endpoint
