// The cluster store as Overlay wants it. Reads only; who owns each record: ipam (pools, claims), firnctl (nodes).
// Thread safety: as the store.
#pragma once

#include "lib/kv/store.hpp"
#include "routed/overlay.hpp"

namespace firn::routed {

// A record that cannot be read is an error that names it, and a store that does not know this node (another one, or an empty one)
// is none to go by: nothing is concluded from it.
Result<ClusterView> read_cluster(kv::Store& cluster, const std::string& self);

}  // namespace firn::routed
