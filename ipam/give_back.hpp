// Blocks that leave this host. A block may be leased from by many processes of the host, and claimed by another host the moment its
// claim is gone; so the order is:
//   1. node store: the block is taken out, if nothing of it is leased or cools, and `returned/` says that it is on its way;
//   2. cluster store: the claim is given up;
//   3. node store: `returned/` goes.
// Nobody adopts a block with that mark, nor by a view of the cluster from before 1 or 3 (`ownership` has been raised). A kill
// leaves the mark, and the next run does 2 and 3.
// Owns: returned/ of the node store. Thread safety: as the Store.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Takes the block out of the node store, if it is there, and marks it (step 1). False: something of it is leased or still cools.
Result<bool> take_out(kv::Transaction& tx, const model::Claim& claim, int64_t cooled);
// Steps 2 and 3 for all that is marked; what was given back.
Result<std::vector<model::Claim>> give_back_marked(kv::Store& cluster, kv::Store& node);

// All steps, for the claims of this node that lie in parts that pools give up (shrinking_to); then the pools that can become
// smaller do. mirror() comes first: the node store must know of the part.
Result<std::vector<model::Claim>> give_back_closed(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t now,
                                                   std::chrono::seconds cooldown);

}  // namespace firn::ipam
