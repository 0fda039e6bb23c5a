// A drain as the hosts see it together (docs/bgp.md, maintenance). A host that speaks BGP with a draining one says in its
// status/drain/NODE once every route from there carries the community of a graceful shutdown: it has chosen anew by then, and another
// way if it has one. When all such neighbours have said so the draining host withdraws; what is no host of the cluster cannot be
// asked and has the whole grace. Pure. Thread safety: plain values.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/model/bgp_status.hpp"
#include "routed/bird/keeper.hpp"

namespace firn::routed {

// Nodes that are being drained, by Drain::since.
using Drains = std::map<std::string, int64_t>;

// Of sessions with these hosts.
std::set<std::string> protocols_of(const Drains& drains);
// Those of them that this host has left, with which it has sessions. Nothing while BIRD does not answer.
Drains left_by(const Drains& drains, const bird::Report& report);
// Who of the neighbours of this host, which is being drained, has moved. `hosts`: those of the cluster it may have sessions with;
// `has_moved`: whether that host says so.
model::DrainReport::Own ask_around(int64_t since, const bird::Report& report, const std::vector<std::string>& hosts,
                                   const std::function<bool(const std::string&)>& has_moved);

}  // namespace firn::routed
