// Pools as the cluster knows them: what a sound one is, making, changing and deleting one. What changes their CIDR is in
// reshape.hpp.
// Owns: pool/ and reservation/ of the cluster store. A kill in the middle of delete_pool() leaves the pool disabled; doing it
// again completes it. Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Validation shared by every way in: name ("net-" is kept for node-only pools), CIDR, lengths (IPv4 block 20..32, IPv6 116..128:
// at most 4096 addresses, not shorter than the CIDR's own length). Code::invalid begins with the JSON pointer of the field.
Status validate(const model::Pool& pool);
// What of a pool may change: all but its CIDR, block size, and what reshape.hpp keeps there. Code::invalid as above.
Status may_become(const model::Pool& before, const model::Pool& now);
// Code::conflict names the other pool that it overlaps with.
Status check_overlap(const std::vector<model::Pool>& pools, const model::Pool& pool);
// Code::conflict: claims under its name are on their way into another pool, or the other way round (reshape.hpp).
Status check_not_moving(kv::Transaction& tx, const model::Pool& pool);
// The range of addresses of special use (loopback, link-local, multicast ...) that the CIDR overlaps: no container can use those.
std::optional<Prefix> special_use(const Prefix& cidr);
// Code::conflict names the overlapping pool; Code::exists for a taken name.
Status create_pool(kv::Store& cluster, const model::Pool& pool);
// may_become() and validate(), then the pool is stored.
Status update_pool(kv::Store& cluster, const model::Pool& pool);
// Refused (Code::conflict, naming up to 20 holders) while any address of the pool is leased here, or while it is being reshaped;
// otherwise removes the pool, its claims by this node and its blocks. On several hosts every other node must have given its
// blocks up. Claims go in batches, which an etcd wants.
Status delete_pool(kv::Store& cluster, kv::Store& node, const std::string& name, const std::string& node_name);

}  // namespace firn::ipam
