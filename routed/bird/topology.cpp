#include "routed/bird/topology.hpp"

#include <algorithm>
#include <map>

#include "lib/base/hash.hpp"

namespace firn::routed::bird {

namespace {

// Hops between two hosts; a session between hosts is no reason to trust what comes from farther than the fabric.
constexpr int hops_between_hosts = 64;

bool can_be_reached(const Address& a) { return !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && !a.is_link_local(); }

std::optional<Address> address_of(const model::Node& node, Family family) {
  for (const Address& address : node.addresses) {
    if (address.family() == family && can_be_reached(address)) return address;
  }
  return std::nullopt;
}

ResolvedPeer session_with(const model::BgpSettings& settings, const model::Node& node, const Address& theirs, const Address& ours) {
  ResolvedPeer out;
  out.host = true;
  out.peer.name = node.name;
  out.peer.address = theirs;
  out.peer.source = ours;
  out.peer.as_number = as_number_of(settings, node);
  out.peer.multihop = hops_between_hosts;
  out.peer.password_file = settings.node_password_file;
  out.peer.hold_time = settings.node_hold_time;
  out.peer.keepalive_time = settings.node_hold_time / 3;
  out.peer.bfd = settings.node_bfd;
  return out;
}

}  // namespace

std::string_view to_string(Shape shape) {
  switch (shape) {
    case Shape::none: return "peers";
    case Shape::mesh: return "mesh";
    case Shape::reflectors: return "reflectors";
  }
  return "";
}

bool is_reflector(const model::BgpSettings& settings, const model::Node& node) {
  return settings.topology != model::Topology::peers && !settings.reflectors.empty() && selects(settings.reflectors, node);
}

Result<Shape> shape_of(const model::BgpSettings& settings, const std::vector<model::Node>& nodes,
                       const std::optional<model::BgpTopology>& before) {
  if (settings.topology == model::Topology::peers) return Shape::none;
  if (settings.topology == model::Topology::mesh) return Shape::mesh;
  const bool any = std::any_of(nodes.begin(), nodes.end(), [&](const model::Node& node) { return is_reflector(settings, node); });
  if (settings.topology == model::Topology::reflectors) {
    if (any) return Shape::reflectors;
    return make_error(
        Code::invalid,
        "the topology is reflectors and no node has the labels of one; label one with 'firnctl node set NODE --label', or "
        "name other labels with 'firnctl bgp settings --reflectors'");
  }
  if (!any) return Shape::mesh;
  const auto hosts = static_cast<int64_t>(nodes.size());
  if (before && before->in_force == model::Topology::reflectors)
    return hosts * 4 > int64_t{settings.mesh_limit} * 3 ? Shape::reflectors : Shape::mesh;
  return hosts > settings.mesh_limit ? Shape::reflectors : Shape::mesh;
}

bool connects(Shape shape, bool one_reflects, bool other_reflects) {
  return shape == Shape::mesh || (shape == Shape::reflectors && (one_reflects || other_reflects));
}

std::string plan_of(const model::BgpSettings& settings, Shape shape, const std::vector<model::Node>& nodes) {
  std::string out(to_string(shape));
  if (shape != Shape::reflectors) return out;
  std::vector<std::string_view> names;
  for (const model::Node& node : nodes) {
    if (is_reflector(settings, node)) names.push_back(node.name);
  }
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string_view name : names) all.append(name).append("/");
  return out + "-" + std::to_string(fnv1a(all));
}

HostSessions possible_sessions(const model::BgpSettings& settings, const model::Node& self, const std::vector<model::Node>& nodes,
                               const std::vector<Address>& taken) {
  HostSessions out;
  std::map<Address, std::string> used;
  for (const Address& address : self.addresses) used.emplace(address, self.name);
  for (const Address& address : taken) used.emplace(address, "");
  for (const model::Node& node : nodes) {
    if (node.name == self.name) continue;
    for (const Family family : {Family::v4, Family::v6}) {
      const auto theirs = address_of(node, family), ours = address_of(self, family);
      if (!theirs || !ours) continue;
      const auto [other, is_new] = used.emplace(*theirs, node.name);
      if (is_new) out.sessions.push_back({session_with(settings, node, *theirs, *ours), is_reflector(settings, node)});
      else if (!other->second.empty())
        out.notes.push_back("no session with node " + node.name + ": its address " + theirs->to_string() +
                            " is also that of node " + other->second);
    }
  }
  return out;
}

}  // namespace firn::routed::bird
