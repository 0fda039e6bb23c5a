// Blocks that leave this host. A block may be leased from by many processes of the host, and claimed by another host the moment its
// claim is gone; so the order is:
//   1. node store: the block is taken out, if nothing of it is leased or cools, and `returned/` says that it is on its way;
//   2. cluster store: the claim is given up;
//   3. node store: `returned/` goes, and `ownership` says at which revision the claim was gone.
// Nobody adopts a block with that mark, nor by a view of the cluster that is older than that. A kill leaves the mark, and the next
// run does 2 and 3. A daemon does 2 on another thread than the rest; who has both stores calls give_back_closed().
// Owns: returned/ of the node store. Thread safety: as the Store.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Takes the block out of the node store, if it is there, and marks it. False: something of it is leased, or was after `cooled`.
Result<bool> take_out(kv::Transaction& tx, const model::Claim& claim, int64_t cooled);

// Step 1 for the claims of this node that lie in parts that pools give up (shrinking_to). mirror() comes first: the node store must
// know of the part. `cluster` is only read. All that is marked.
Result<std::vector<model::Claim>> mark_closed(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t cooled);

// Step 1 for blocks that this node can do without. One that is not at rest any more is left.
Status mark_unused(kv::Store& node, const std::vector<model::Block>& blocks, const std::string& node_name, int64_t cooled);

struct GivenUp {
  model::Claim claim;
  kv::Revision revision = 0;
};
struct GiveUpOutcome {
  std::vector<GivenUp> given;
  std::optional<Error> failure;  // the rest is for another time
};
// Step 2. Then the pools that can become smaller do.
GiveUpOutcome give_up(kv::Store& cluster, const std::vector<model::Claim>& marked);
// Step 3.
Status forget(kv::Store& node, const std::vector<GivenUp>& given);

// The three, for parts that pools give up alone: firnctl runs this beside the daemon, and a block that mark_unused() has marked may
// be given up and claimed anew by then. What was given back.
Result<std::vector<model::Claim>> give_back_closed(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t now,
                                                   std::chrono::seconds cooldown);

}  // namespace firn::ipam
