// Blocks of this host: pools, reservations and claims of the cluster copied into the node store, and one spare block claimed
// ahead for every pool in use, so that an attach finds an address without asking the cluster.
// Owns nothing of its own: ipam keeps all of it in the stores. Thread safety: as the stores.
#pragma once

#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::routed {

// Pools that are in use (an address is leased) and have no wholly free block, in order. Pure.
struct Shortage {
  std::string pool;
  model::Use use = model::Use::routed;
  bool operator==(const Shortage&) const = default;
};
std::vector<Shortage> pools_without_spare(const std::vector<model::Block>& blocks);

struct BlocksOutcome {
  bool changed = false;
  std::vector<std::string> claimed;  // "10.0.0.64/26 of pool default"
};
// One round: mirror, claim what is short, mirror again when something was claimed. A pool that has no block left is no error.
Result<BlocksOutcome> maintain_blocks(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t now);

}  // namespace firn::routed
