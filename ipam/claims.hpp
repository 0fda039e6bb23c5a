// Block ownership in the cluster store; a claim is one transaction. Used by the CNI plugin on a single host (when its blocks
// are full), by firn-routed, by firnctl.
// Owns: claim/ of the cluster store, but for the names in it (reshape.hpp). Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/allocator.hpp"
#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Claims an unclaimed block of the pool (unclaimed.hpp says which, or the one that holds `wanted`) for the node. Claims are idempotent for the
// owner when `wanted` is set. Errors: exhausted, conflict (owned by another node: named), denied (pool disabled, or the
// node's labels do not match its selector, or check_identity() refuses), not_found.
Result<model::Claim> claim_block(kv::Store& cluster, const model::Identity& self, const std::string& pool, model::Use use,
                                 const std::optional<Address>& wanted, int64_t now);
// Returns a revision of the cluster store at which the claim is gone. Code::conflict: it is another node's.
Result<kv::Revision> give_up_block(kv::Store& cluster, const model::Claim& claim);
Result<std::vector<model::Claim>> claims_of(kv::Store& cluster, const std::string& node);

// The BlockSource of a single host, where the plugin itself opens the cluster store: a block that this node has claimed and the
// node store does not have yet, or one that another process has just added there, or a new claim. So many processes that find
// the blocks full at once claim one block, not one each. The stores must outlive it.
BlockSource single_host_blocks(kv::Store& cluster, kv::Store& node, std::string node_name, const Clock& clock,
                               std::chrono::seconds cooldown);

}  // namespace firn::ipam
