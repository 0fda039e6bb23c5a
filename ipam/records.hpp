// Typed access to the records of the node store inside a transaction. Every read checks that the record can be decoded and says
// the same as its key; one that does not is an error that names the key: nothing is leased or freed on the strength of it.
// Owns nothing. Thread safety: as the Transaction.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam::records {

// Prefix of every available/ key; behind it the key goes on as the block's own key does behind keys::blocks.
inline constexpr std::string_view available = "available/";

// "the record KEY cannot be read: why; run 'firnctl ipam check'"
Error unreadable(std::string_view key, const Error& why);

// Reading keys back. Nothing when the text is no such key.
std::optional<Prefix> parse_prefix_key(std::string_view text);
std::optional<Address> parse_address_key(std::string_view text);
struct BlockName {
  model::Use use = model::Use::routed;
  std::string pool;
  Prefix prefix;
};
std::optional<BlockName> parse_block_name(std::string_view use_pool_prefix);  // "routed/web/4-0a000000-1a"

// Decoders that also hold the record against its key.
Result<model::Pool> read_pool(std::string_view key, std::string_view value);
Result<model::Reservation> read_reservation(std::string_view key, std::string_view value);
Result<model::Block> read_block(std::string_view key, std::string_view value);
Result<model::Lease> read_lease(std::string_view key, std::string_view value);
Result<model::Endpoint> read_endpoint(std::string_view key, std::string_view value);
Result<model::Claim> read_claim(std::string_view key, std::string_view value);

Result<std::optional<model::Pool>> pool(kv::Transaction& tx, std::string_view name);
Result<std::optional<model::Block>> block(kv::Transaction& tx, const std::string& key);
Result<std::optional<model::Lease>> lease(kv::Transaction& tx, const Address& address);
Result<std::optional<model::Endpoint>> endpoint(kv::Transaction& tx, std::string_view handle);
Result<std::vector<model::Pool>> pools(kv::Transaction& tx);
// What is never leased here: reservations, and in a node store addresses that are lent to other hosts.
Result<std::vector<Prefix>> reserved(kv::Transaction& tx);
// Of the cluster store: what carries encapsulated packets. Two hosts do so over IPv4 when both have such an address; one node
// without is enough for the larger header, which is right for all. A record that cannot be read counts as one: who reads nodes for
// their own sake reports it.
Result<Family> underlay(kv::Transaction& tx);

// Every record behind the prefix; those that `take` cannot use are kept by their keys, with the reason.
Status each(kv::Transaction& tx, std::string_view prefix, std::map<std::string, Error>& damaged,
            const std::function<Status(const kv::Entry&)>& take);

// The value of an available/ key is a hint: no free address of the block was released before that time. Empty: 0.
int64_t released_hint(std::string_view value);
void put_hint(kv::Transaction& tx, const model::Block& block, int64_t released);

// Writes the block, and its available/ key when it became full or stopped being so.
void put_block(kv::Transaction& tx, const model::Block& block, bool had_free);
// Puts a block that the store does not have under the pool: all free but for the addresses that are leased already (after a
// damaged or rolled back store). Code::conflict when the block is there for the other use; Code::unavailable when it is not of
// this pool any more, or on its way back to the cluster. An existing one is returned as it is.
Result<model::Block> adopt_block(kv::Transaction& tx, const std::string& pool, model::Use use, const Prefix& prefix);

// The pool that has the addresses of the prefix; nullptr: none. Pools never overlap, so this, and not the name that a record was
// written under, says which pool a block belongs to while pools are split and merged (reshape.hpp).
const model::Pool* pool_with(const std::vector<model::Pool>& pools, const Prefix& prefix);
// In the cluster store: the claim of the prefix under that name of a pool.
Result<std::optional<model::Claim>> claim_at(kv::Transaction& tx, std::string_view pool, const Prefix& prefix);
// The claim of the prefix, which the pool has now; while pools are split or merged it may still be under one of their old names.
Result<std::optional<model::Claim>> claim_of(kv::Transaction& tx, const model::Pool& pool, const Prefix& prefix);
// The claim under the name of the pool that has its addresses now.
model::Claim as_of_now(const std::vector<model::Pool>& pools, model::Claim claim);

// keys::ownership, 0 at first. Every transaction that takes a block or its name away raises it to the revision at which the cluster
// store said so.
Result<kv::Revision> ownership(kv::Transaction& tx);
Status raise_ownership(kv::Transaction& tx, kv::Revision revision);

// The first pool other than `name` that overlaps with the CIDR.
std::optional<model::Pool> overlapping(const std::vector<model::Pool>& pools, const std::string& name, const Prefix& cidr);

}  // namespace firn::ipam::records
