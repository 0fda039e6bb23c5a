// Pools that are resized, split and merged while containers run. No address ever has two owners, and none moves: an address
// belongs to the block it is in, a block to the host that claimed it, and both stay so. What changes is which pool a block is of,
// and that follows from the addresses: it is the pool whose CIDR has them (records::pool_with).
//
// Splitting and merging: one transaction writes the new pools and removes the old ones. Claims are keyed by their pool's name, so
// they follow, in batches that an etcd takes; until they have, `moving_from` of the new pool names the old ones, and nobody claims
// a block of it. That field is all there is of the operation: whoever finds it can complete it. Hosts need no record of it either:
// mirror() gives blocks and leases the name of the pool that has their addresses, also weeks later.
//
// Shrinking: `shrinking_to` is the part that stays. From then on nothing outside of it is claimed or leased; hosts give back the
// blocks there that are empty (give_back.hpp), and with the last of them the CIDR becomes the smaller one.
//
// Owns: those two fields and cidr of pool/, the names in claim/. Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// A CIDR that contains the pool's extends it; one inside of it begins to shrink it; the pool's own ends a shrinking. Code::invalid:
// none of these. Code::conflict: it would overlap with another pool, or is being reshaped. Returns the pool as it is now.
Result<model::Pool> resize_pool(kv::Store& cluster, const std::string& name, const Prefix& cidr);
// The claims outside of the part that stays. When there is none (any more), the pool has become that part.
Result<std::vector<model::Claim>> finish_shrinking(kv::Store& cluster, const std::string& name);
// finish_shrinking() for each pool that shrinks.
Status finish_all_shrinking(kv::Store& cluster);

struct Part {
  std::string name;
  std::optional<Prefix> cidr;
};
// Cuts the pool into parts that inherit its settings. Their CIDRs are together exactly the pool's; when no part has one, they are
// of equal size. One of them may keep the pool's name. Returns the parts, complete.
Result<std::vector<model::Pool>> split_pool(kv::Store& cluster, const std::string& name, const std::vector<Part>& parts);
// The pools' CIDRs are together exactly one CIDR, and their settings the same. `into` is a new name or that of one of them.
Result<model::Pool> merge_pools(kv::Store& cluster, const std::vector<std::string>& names, const std::string& into);
// Completes a split or a merge that was interrupted, for one of the new pools: the claims under the names of its moving_from
// follow. Nothing to do is no error.
Status finish_moving(kv::Store& cluster, const std::string& name);

}  // namespace firn::ipam
