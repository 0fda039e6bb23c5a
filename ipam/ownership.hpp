// Blocks that this host leases from, held against what the cluster says: a block is leased from when it is claimed by this host,
// and no longer when it is another's. Owns nothing of its own: blocks are the node store's, claims the cluster store's. A kill
// leaves one of the two behind, and the next look finds it. Thread safety: as the Stores.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Puts the blocks of claims of this node into the node store, where they are leased from. A pool that is not there yet, and a block
// that is on its way back, are left to mirror(). Idempotent.
Status adopt_blocks(kv::Store& node, const std::vector<model::Claim>& claims);

// Blocks of the cluster's pools in the node store; `claimed` false: only those that `cluster` does not know as the node's.
Result<std::vector<model::Block>> blocks_here(kv::Store& node);
Result<std::vector<model::Block>> blocks_without_claim(kv::Store& node, kv::Store& cluster, const std::string& node_name);

// What the cluster says of blocks of this host that it may not know any more: after a restored backup, or when the host was
// removed.
struct Settled {
  struct Lost {
    model::Block block;
    std::string owner;
    kv::Revision revision = 0;  // at which it was so
  };
  std::vector<model::Block> claimed;  // nobody had them: claimed again
  std::vector<Lost> lost;             // another node has them
  std::optional<Error> refused;       // why the rest was not claimed (Code::denied: check_identity)
};
Settled settle_blocks(kv::Store& cluster, const model::Identity& self, const std::vector<model::Block>& blocks, int64_t now);
// Takes the blocks out of the node store, so that nothing is leased from them and no route leads to them. What is leased stays with
// its containers; who that is: "HANDLE (ADDRESS)".
Result<std::vector<std::string>> drop_blocks(kv::Store& node, const std::vector<Settled::Lost>& lost);

}  // namespace firn::ipam
