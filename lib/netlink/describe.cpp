// Requests in words, and the normal form of routes. Pure.
#include <string_view>

#include "lib/netlink/types.hpp"

namespace firn::netlink {

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

std::string_view name_of(RouteType type) {
  switch (type) {
    case RouteType::unicast: return "";
    case RouteType::local: return "local ";
    case RouteType::blackhole: return "blackhole ";
    case RouteType::unreachable: return "unreachable ";
    case RouteType::prohibit: return "prohibit ";
  }
  return "";
}

std::string text(const Route& r) {
  std::string out = "route ";
  out.append(name_of(r.type)).append(r.destination.to_string());
  if (r.gateway) out.append(" via ").append(r.gateway->to_string());
  if (r.oif != 0) out.append(" dev ").append(std::to_string(r.oif));
  if (r.onlink) out.append(" onlink");
  if (r.table != 254) out.append(" table ").append(number(r.table));
  if (r.metric != 0) out.append(" metric ").append(number(r.metric));
  if (r.protocol != route_protocol) out.append(" proto ").append(number(r.protocol));
  return out;
}

std::string text(const Neighbour& n) {
  return "neighbour " + n.address.to_string() + " lladdr " + n.mac.to_string() + " dev " + std::to_string(n.index);
}

std::string text(const Forward& f) {
  return "forwarding entry " + f.mac.to_string() + " dst " + f.destination.to_string() + " dev " + std::to_string(f.index);
}

std::string text(const LinkAddress& a) { return "address " + a.address.to_string() + " dev " + std::to_string(a.index); }

std::string text(const Rule& r) {
  return "rule from " + r.from.to_string() + " lookup " + number(r.table) + " priority " + number(r.priority);
}

std::string text(const TokenBucket& b) { return number(b.rate) + " bytes/s, burst " + number(b.burst) + " bytes"; }

struct Describe {
  std::string operator()(const CreateVeth& r) const {
    std::string out = "create veth " + r.name + " with peer " + r.peer_name;
    if (r.peer_netns_fd >= 0) out.append(" in another network namespace");
    return out;
  }
  std::string operator()(const CreateVxlan& r) const {
    return "create vxlan " + r.name + " id " + number(r.vxlan.vni) + " dstport " + number(r.vxlan.port) + " local " +
           r.vxlan.local.to_string();
  }
  std::string operator()(const SetLink& r) const {
    std::string out = "set link " + std::to_string(r.index);
    if (r.name) out.append(" name ").append(*r.name);
    if (r.up) out.append(*r.up ? " up" : " down");
    if (r.group) out.append(" group ").append(number(*r.group));
    if (r.mtu) out.append(" mtu ").append(std::to_string(*r.mtu));
    if (r.ipv4_strict_source) out.append(*r.ipv4_strict_source ? " rp_filter 1" : " rp_filter 0");
    if (r.ipv4_forwarding) out.append(*r.ipv4_forwarding ? " forwarding 1" : " forwarding 0");
    if (r.alias) out.append(" alias ").append(*r.alias);
    return out;
  }
  std::string operator()(const DeleteLink& r) const { return "delete link " + (r.name.empty() ? std::to_string(r.index) : r.name); }
  std::string operator()(const DeleteGroup& r) const { return "delete links of group " + number(r.group); }
  std::string operator()(const AddAddress& r) const { return "add " + text(r.address); }
  std::string operator()(const RemoveAddress& r) const { return "remove " + text(r.address); }
  std::string operator()(const AddRoute& r) const { return "add " + text(r.route); }
  std::string operator()(const ReplaceRoute& r) const { return "replace " + text(r.route); }
  std::string operator()(const RemoveRoute& r) const { return "remove " + text(r.route); }
  std::string operator()(const ReplaceNeighbour& r) const { return "replace " + text(r.neighbour); }
  std::string operator()(const RemoveNeighbour& r) const { return "remove " + text(r.neighbour); }
  std::string operator()(const ReplaceForward& r) const { return "replace " + text(r.forward); }
  std::string operator()(const ShapeOutgoing& r) const {
    return "shape what leaves by link " + std::to_string(r.index) + " to " + text(r.bucket);
  }
  std::string operator()(const AddClassifier& r) const { return "add clsact to link " + std::to_string(r.index); }
  std::string operator()(const PoliceIncoming& r) const {
    return "police what comes in by link " + std::to_string(r.index) + " to " + text(r.bucket);
  }
  std::string operator()(const RemoveForward& r) const { return "remove " + text(r.forward); }
  std::string operator()(const AddRule& r) const { return "add " + text(r.rule); }
  std::string operator()(const RemoveRule& r) const { return "remove " + text(r.rule); }
};

}  // namespace

std::string describe(const Request& request) { return std::visit(Describe{}, request); }

Route normalise(Route route) {
  const bool discards =
      route.type == RouteType::blackhole || route.type == RouteType::unreachable || route.type == RouteType::prohibit;
  if (discards) {
    // IPv6 keeps such a route on the loopback device and shows it there; IPv4 refuses a device.
    route.oif = 0;
    route.gateway.reset();
    route.onlink = false;
  }
  if (route.destination.family() == Family::v6) {
    // IPv6 knows no scopes, and shows the default metric, which IPv4 leaves out.
    route.scope = 0;
    if (route.metric == 1024) route.metric = 0;
  }
  // RT_TABLE_UNSPEC means main for a route that is written.
  if (route.table == 0) route.table = 254;
  return route;
}

}  // namespace firn::netlink
