// Blocks of this host: one spare block is claimed ahead for every pool in use, so that an attach finds an address without asking
// the cluster. Owns nothing of its own: ipam keeps all of it in the stores. Thread safety: as the stores.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/shortage.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::routed {

// The blocks in the node store. A record that cannot be read is left out: Intake reports it.
Result<std::vector<model::Block>> blocks_of(kv::Store& node);

using ipam::Shortage;
// Pools that are in use (an address is leased) and have no wholly free block, in order. Pure.
std::vector<Shortage> pools_without_spare(const std::vector<model::Block>& blocks);

// Wholly free blocks that rest (nothing of them was released after `cooled`), above the high-water mark of their pool and use; the
// highest first. Between the marks nothing is claimed or given back. Pure.
inline constexpr size_t high_water = 2;
std::vector<model::Block> blocks_above_high_water(const std::vector<model::Block>& blocks, int64_t cooled);

struct ClaimsOutcome {
  std::vector<model::Claim> claimed;
  std::vector<Shortage> exhausted;  // of which there is none to claim
  bool complete = false;            // every pool was asked for
  std::optional<Error> failure;  // a pool that has no block left is none
};
// For the thread of the cluster store, which may be nullptr.
ClaimsOutcome claim_blocks(kv::Store* cluster, const model::Identity& self, const std::vector<Shortage>& shortages, int64_t now);

}  // namespace firn::routed
