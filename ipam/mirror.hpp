// The node store's copy of what the cluster says: pools, reservations, and the blocks that this host has claimed. Blocks whose
// pool was split or merged take their new name with all that belongs to them; leases, and what cools, stay as they are.
// Owns: pool/ (but for node-only ones), reservation/, `ownership` of the node store. One transaction: a kill leaves the copy of
// before or of after. Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Copies pools and reservations of the cluster into the node store, where leases are made, and adopts claimed blocks that
// the node store does not have. Returns whether anything changed. Idempotent. Code::conflict when something could not be
// copied; the rest was. Code::unavailable when `cluster` is older than what has taken a block away from here: nothing is done.
Result<bool> mirror(kv::Store& cluster, kv::Store& node, const std::string& node_name);
// For a cluster store whose revisions are others than before, as after a restore or on another engine.
Status forget_revision(kv::Store& node);

// Who has addresses of the pool on this host that lie inside of one prefix and not inside of the other: "HANDLE (ADDRESS)".
Result<std::vector<std::string>> holders_here(kv::Transaction& tx, const std::string& pool, const Prefix& inside,
                                              const std::optional<Prefix>& except = std::nullopt);
// The first 20 of them and how many more there are: "a (10.0.0.1), b (10.0.0.2) and 7 more".
std::string holders_text(const std::vector<std::string>& holders);
// No address is leased: removes the pool with its blocks, as of that revision of the cluster (0: a pool of this node alone). Otherwise
// Code::conflict names the holders.
Status drop_unused_pool(kv::Transaction& tx, const model::Pool& pool, kv::Revision revision);

}  // namespace firn::ipam
