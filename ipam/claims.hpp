// Block ownership in the cluster store, and pools as the cluster knows them. A claim is one transaction; so is every change
// of a pool. Used by the CNI plugin on a single host (when its blocks are full), by firn-routed, by firnctl.
// Owns: claim/, pool/, reservation/ of the cluster store. Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/allocator.hpp"
#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Claims the lowest unclaimed block of the pool (or the one that holds `wanted`) for the node. Claims are idempotent for the
// owner when `wanted` is set. Errors: exhausted, conflict (owned by another node: named), denied (pool disabled, or the
// node's labels do not match its selector), not_found.
Result<model::Claim> claim_block(kv::Store& cluster, const std::string& node, const std::string& pool, model::Use use,
                                 const std::optional<Address>& wanted, int64_t now);
Status give_up_block(kv::Store& cluster, const model::Claim& claim);
Result<std::vector<model::Claim>> claims_of(kv::Store& cluster, const std::string& node);

// The BlockSource of a single host, where the plugin itself opens the cluster store: a block that this node has claimed and the
// node store does not have yet, or one that another process has just added there, or a new claim. So many processes that find
// the blocks full at once claim one block, not one each. The stores must outlive it.
BlockSource single_host_blocks(kv::Store& cluster, kv::Store& node, std::string node_name, const Clock& clock,
                               std::chrono::seconds cooldown);

// Validation shared by every way in: name ("net-" is kept for node-only pools), CIDR, lengths (IPv4 block 20..32, IPv6 116..128:
// at most 4096 addresses, not shorter than the CIDR's own length). Code::invalid names the field.
Status validate(const model::Pool& pool);
// The range of addresses of special use (loopback, link-local, multicast ...) that the CIDR overlaps: no container can use those.
std::optional<Prefix> special_use(const Prefix& cidr);
// Code::conflict names the overlapping pool; Code::exists for a taken name.
Status create_pool(kv::Store& cluster, const model::Pool& pool);
// Everything but name, CIDR, block size and node_only may change: a live address never moves. Code::invalid otherwise.
Status update_pool(kv::Store& cluster, const model::Pool& pool);

// Copies pools and reservations of the cluster into the node store, where leases are made, and adopts claimed blocks that
// the node store does not have. Returns whether anything changed. Idempotent.
Result<bool> mirror(kv::Store& cluster, kv::Store& node, const std::string& node_name);
// Refused (Code::conflict, naming up to 20 holders) while any address of the pool is leased here; otherwise removes the
// pool, its claims by this node and its blocks. On several hosts every other node must have given its blocks up.
Status delete_pool(kv::Store& cluster, kv::Store& node, const std::string& name, const std::string& node_name);

}  // namespace firn::ipam
