#include "ipam/records.hpp"

#include <algorithm>
#include <charconv>

#include "ipam/block.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/loan.hpp"

namespace firn::ipam::records {
namespace {

namespace keys = model::keys;

Error differs(std::string_view key) { return unreadable(key, make_error(Code::invalid, "its content belongs to another key")); }

template <class Record, class Decode>
Result<Record> decoded(std::string_view key, std::string_view value, Decode decode) {
  Result<Record> record = decode(value);
  if (!record) return unreadable(key, record.error());
  return record;
}

template <class Record, class Read>
Result<std::optional<Record>> found(kv::Transaction& tx, const std::string& key, Read read) {
  auto value = tx.get(key);
  if (!value) return std::move(value).error();
  if (!value->has_value()) return std::optional<Record>();
  Result<Record> record = read(key, **value);
  if (!record) return std::move(record).error();
  return std::optional<Record>(std::move(*record));
}

std::optional<unsigned> hex_byte(std::string_view two) {
  unsigned byte = 0;
  const auto [end, ec] = std::from_chars(two.data(), two.data() + two.size(), byte, 16);
  if (two.size() != 2 || ec != std::errc{} || end != two.data() + 2) return std::nullopt;
  return byte;
}

}  // namespace

Error unreadable(std::string_view key, const Error& why) {
  return make_error(Code::io, "the record " + std::string(key) + " cannot be used: " + why.message + "; run 'firnctl ipam check'");
}

std::optional<Address> parse_address_key(std::string_view text) {
  const bool v4 = text.starts_with("4-");
  if (!v4 && !text.starts_with("6-")) return std::nullopt;
  const size_t size = v4 ? 4 : 16;
  if (text.size() != 2 + 2 * size) return std::nullopt;
  uint8_t bytes[16];
  for (size_t i = 0; i < size; ++i) {
    const auto byte = hex_byte(text.substr(2 + 2 * i, 2));
    if (!byte) return std::nullopt;
    bytes[i] = static_cast<uint8_t>(*byte);
  }
  const Address address = Address::from_bytes(v4 ? Family::v4 : Family::v6, bytes);
  // One spelling for one address: capital digits are another key.
  if (keys::address_key(address) != text) return std::nullopt;
  return address;
}

std::optional<Prefix> parse_prefix_key(std::string_view text) {
  if (text.size() < 3 || text[text.size() - 3] != '-') return std::nullopt;
  const auto address = parse_address_key(text.substr(0, text.size() - 3));
  const auto length = hex_byte(text.substr(text.size() - 2));
  if (!address || !length || *length > static_cast<unsigned>(address->bits())) return std::nullopt;
  const Prefix prefix = Prefix::of(*address, static_cast<int>(*length));
  if (keys::prefix_key(prefix) != text) return std::nullopt;
  return prefix;
}

std::optional<BlockName> parse_block_name(std::string_view text) {
  BlockName name;
  const size_t slash = text.find('/');
  const size_t last = text.rfind('/');
  if (slash == std::string_view::npos || last == slash) return std::nullopt;
  const std::string_view use = text.substr(0, slash);
  if (use == to_string(model::Use::bridged)) {
    name.use = model::Use::bridged;
  } else if (use != to_string(model::Use::routed)) {
    return std::nullopt;
  }
  name.pool = text.substr(slash + 1, last - slash - 1);
  const auto prefix = parse_prefix_key(text.substr(last + 1));
  if (!prefix || name.pool.find('/') != std::string::npos) return std::nullopt;
  name.prefix = *prefix;
  return name;
}

Result<model::Pool> read_pool(std::string_view key, std::string_view value) {
  auto pool = decoded<model::Pool>(key, value, model::decode_pool);
  if (pool && keys::pool(pool->name) != key) return differs(key);
  return pool;
}

Result<model::Reservation> read_reservation(std::string_view key, std::string_view value) {
  auto reservation = decoded<model::Reservation>(key, value, model::decode_reservation);
  if (reservation && keys::reservation(reservation->cidr) != key) return differs(key);
  return reservation;
}

Result<model::Block> read_block(std::string_view key, std::string_view value) {
  auto block = decoded<model::Block>(key, value, model::decode_block);
  if (!block) return block;
  if (keys::block(block->use, block->pool, block->prefix) != key) return differs(key);
  if (auto sound = check_queue(*block); !sound) return unreadable(key, sound.error());
  return block;
}

Result<model::Lease> read_lease(std::string_view key, std::string_view value) {
  auto lease = decoded<model::Lease>(key, value, model::decode_lease);
  if (lease && keys::lease(lease->address) != key) return differs(key);
  return lease;
}

Result<model::Endpoint> read_endpoint(std::string_view key, std::string_view value) {
  auto endpoint = decoded<model::Endpoint>(key, value, model::decode_endpoint);
  if (endpoint && keys::endpoint(model::handle_of(*endpoint)) != key) return differs(key);
  return endpoint;
}

Result<model::Claim> read_claim(std::string_view key, std::string_view value) {
  auto claim = decoded<model::Claim>(key, value, model::decode_claim);
  if (claim && keys::claim(claim->pool, claim->prefix) != key) return differs(key);
  return claim;
}

Result<std::optional<model::Pool>> pool(kv::Transaction& tx, std::string_view name) {
  return found<model::Pool>(tx, keys::pool(name), read_pool);
}

Result<std::optional<model::Block>> block(kv::Transaction& tx, const std::string& key) {
  return found<model::Block>(tx, key, read_block);
}

Result<std::optional<model::Lease>> lease(kv::Transaction& tx, const Address& address) {
  return found<model::Lease>(tx, keys::lease(address), read_lease);
}

Result<std::optional<model::Endpoint>> endpoint(kv::Transaction& tx, std::string_view handle) {
  return found<model::Endpoint>(tx, keys::endpoint(handle), read_endpoint);
}

Result<std::vector<model::Pool>> pools(kv::Transaction& tx) {
  auto entries = tx.range(keys::pools);
  if (!entries) return std::move(entries).error();
  std::vector<model::Pool> out;
  for (const kv::Entry& entry : *entries) {
    auto pool = read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    out.push_back(std::move(*pool));
  }
  return out;
}

Result<Family> underlay(kv::Transaction& tx) {
  auto nodes = tx.range(keys::nodes);
  if (!nodes) return std::move(nodes).error();
  for (const kv::Entry& entry : *nodes) {
    auto node = model::decode_node(entry.value);
    if (!node || std::none_of(node->addresses.begin(), node->addresses.end(), [](const Address& a) { return a.is_v4(); }))
      return Family::v6;
  }
  return Family::v4;
}

Result<std::vector<Prefix>> reserved(kv::Transaction& tx) {
  auto entries = tx.range(keys::reservations);
  if (!entries) return std::move(entries).error();
  std::vector<Prefix> out;
  for (const kv::Entry& entry : *entries) {
    auto reservation = read_reservation(entry.key, entry.value);
    if (!reservation) return std::move(reservation).error();
    out.push_back(reservation->cidr);
  }
  auto lent = tx.range(model::keys::lent);
  if (!lent) return std::move(lent).error();
  for (const kv::Entry& entry : *lent) {
    const auto address = parse_address_key(std::string_view(entry.key).substr(model::keys::lent.size()));
    if (!address) return unreadable(entry.key, make_error(Code::invalid, "it names no address"));
    out.push_back(Prefix::host(*address));
  }
  return out;
}

Status each(kv::Transaction& tx, std::string_view prefix, std::map<std::string, Error>& damaged,
            const std::function<Status(const kv::Entry&)>& take) {
  auto entries = tx.range(prefix);
  if (!entries) return std::move(entries).error();
  for (const kv::Entry& entry : *entries) {
    if (Status sound = take(entry); !sound) damaged.emplace(entry.key, std::move(sound).error());
  }
  return {};
}

int64_t released_hint(std::string_view value) {
  int64_t released = 0;
  const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), released);
  // Not a number: no hint, and the block itself is read.
  return ec == std::errc{} && end == value.data() + value.size() ? released : 0;
}

void put_hint(kv::Transaction& tx, const model::Block& block, int64_t released) {
  tx.put(keys::available(block.use, block.pool, block.prefix), released == 0 ? std::string() : std::to_string(released));
}

void put_block(kv::Transaction& tx, const model::Block& block, bool had_free) {
  tx.put(keys::block(block.use, block.pool, block.prefix), model::encode(block));
  const bool has_free = !block.free.empty();
  if (has_free == had_free) return;
  if (has_free) {
    put_hint(tx, block, oldest_release(block, {}).value_or(0));
  } else {
    tx.erase(keys::available(block.use, block.pool, block.prefix));
  }
}

Result<model::Block> adopt_block(kv::Transaction& tx, const std::string& pool, model::Use use, const Prefix& prefix) {
  auto existing = block(tx, keys::block(use, pool, prefix));
  if (!existing) return std::move(existing).error();
  if (existing->has_value()) return std::move(**existing);
  auto record = records::pool(tx, pool);
  if (!record) return std::move(record).error();
  auto leaving = tx.get(keys::returned_block(prefix));
  if (!leaving) return std::move(leaving).error();
  if (!record->has_value() || !(*record)->leasable().contains(prefix) || leaving->has_value()) {
    return make_error(Code::unavailable,
                      "block " + prefix.to_string() + " is no longer one that pool " + pool + " leases from; try again");
  }
  const model::Use other = use == model::Use::routed ? model::Use::bridged : model::Use::routed;
  auto rival = tx.get(keys::block(other, pool, prefix));
  if (!rival) return std::move(rival).error();
  if (rival->has_value()) {
    return make_error(Code::conflict, "block " + prefix.to_string() + " of pool " + pool + " serves " +
                                          std::string(to_string(other)) + " containers on this host; a block has one use");
  }
  model::Block block = fresh_block(prefix, pool, use);
  auto leases = tx.range(keys::leases, static_cast<size_t>(prefix.count()), keys::lease(prefix.address()));
  if (!leases) return std::move(leases).error();
  const std::string last = keys::lease(prefix.last());
  for (const kv::Entry& entry : *leases) {
    if (entry.key > last) break;
    // The key alone says that somebody holds the address, whatever has become of the record.
    const auto address = parse_address_key(std::string_view(entry.key).substr(keys::leases.size()));
    if (address) take(block, *address);
  }
  put_block(tx, block, false);
  return block;
}

const model::Pool* pool_with(const std::vector<model::Pool>& pools, const Prefix& prefix) {
  const auto found = std::find_if(pools.begin(), pools.end(), [&](const model::Pool& pool) { return pool.cidr.contains(prefix); });
  return found == pools.end() ? nullptr : &*found;
}

Result<std::optional<model::Claim>> claim_at(kv::Transaction& tx, std::string_view pool, const Prefix& prefix) {
  const std::string key = keys::claim(pool, prefix);
  auto value = tx.get(key);
  if (!value) return std::move(value).error();
  if (!value->has_value()) return std::optional<model::Claim>();
  auto claim = read_claim(key, **value);
  if (!claim) return std::move(claim).error();
  return std::optional<model::Claim>(std::move(*claim));
}

Result<std::optional<model::Claim>> claim_of(kv::Transaction& tx, const model::Pool& pool, const Prefix& prefix) {
  auto claim = claim_at(tx, pool.name, prefix);
  for (size_t i = 0; claim && !claim->has_value() && i < pool.moving_from.size(); ++i)
    claim = claim_at(tx, pool.moving_from[i], prefix);
  return claim;
}

model::Claim as_of_now(const std::vector<model::Pool>& pools, model::Claim claim) {
  if (const model::Pool* pool = pool_with(pools, claim.prefix)) claim.pool = pool->name;
  return claim;
}

Result<kv::Revision> ownership(kv::Transaction& tx) {
  auto value = tx.get(keys::ownership);
  if (!value) return std::move(value).error();
  kv::Revision revision = 0;
  if (!value->has_value()) return revision;
  const char* const end = (*value)->data() + (*value)->size();
  if (const auto [at, ec] = std::from_chars((*value)->data(), end, revision); ec != std::errc{} || at != end) {
    return unreadable(keys::ownership, make_error(Code::invalid, "it is no number"));
  }
  return revision;
}

Status raise_ownership(kv::Transaction& tx, kv::Revision revision) {
  auto known = ownership(tx);
  if (!known) return std::move(known).error();
  if (revision > *known) tx.put(keys::ownership, std::to_string(revision));
  return {};
}

std::optional<model::Pool> overlapping(const std::vector<model::Pool>& pools, const std::string& name, const Prefix& cidr) {
  for (const model::Pool& pool : pools) {
    if (pool.name != name && pool.cidr.overlaps(cidr)) return pool;
  }
  return std::nullopt;
}

}  // namespace firn::ipam::records
