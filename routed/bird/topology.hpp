// Which hosts of the cluster speak BGP with each other: from the settings and the node records to the sessions of one host. Pure:
// every host computes its own part, and both ends of a session come to the same answer. A session belongs to a pair of hosts and a
// family in which both have an address. Its parameters do not depend on the topology, so that one may be kept while another is
// built (handover.hpp). Thread safety: plain values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "lib/model/bgp.hpp"
#include "routed/bird/config.hpp"

namespace firn::routed::bird {

enum class Shape { none, mesh, reflectors };
std::string_view to_string(Shape shape);

bool is_reflector(const model::BgpSettings& settings, const model::Node& node);
// `before`: what the cluster's record says is in force, for the automatic topology. It becomes reflectors above mesh_limit hosts,
// and mesh again at three quarters of that.
// Code::invalid when reflectors are wanted and no node is one: nothing would be left.
Result<Shape> shape_of(const model::BgpSettings& settings, const std::vector<model::Node>& nodes,
                       const std::optional<model::BgpTopology>& before);
// Whether the shape has a session between the two.
bool connects(Shape shape, bool one_reflects, bool other_reflects);
// A word for the shape and for who reflects in it: equal on every host that sees the same records. Hosts that only come or go make
// no other plan, because no session of the others is taken away for them.
std::string plan_of(const model::BgpSettings& settings, Shape shape, const std::vector<model::Node>& nodes);

struct HostSession {
  ResolvedPeer peer;      // password still to be read
  bool reflects = false;  // the other host is a reflector
};
struct HostSessions {
  std::vector<HostSession> sessions;
  std::vector<std::string> notes;  // nodes that are left out, and why
};
// With every other host, whatever the shape. `taken`: addresses of peers, with which there is a session already.
HostSessions possible_sessions(const model::BgpSettings& settings, const model::Node& self, const std::vector<model::Node>& nodes,
                               const std::vector<Address>& taken);

}  // namespace firn::routed::bird
