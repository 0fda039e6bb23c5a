#include "ipam/allocator.hpp"

#include <algorithm>

#include "ipam/block.hpp"
#include "ipam/pick.hpp"
#include "ipam/pools.hpp"
#include "ipam/ports.hpp"
#include "ipam/rebuild.hpp"
#include "ipam/records.hpp"
#include "lib/base/file.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// Each grant either adds a block or shows one that another process has just added; so many of them without an address means
// that others take addresses faster than this process sees them.
constexpr int most_tries = 256;

constexpr std::string_view subnet_pool_prefix = "net-";

std::string subnet_pool_name(const Prefix& cidr) {
  std::string name = std::string(subnet_pool_prefix) + cidr.address().to_string() + "-" + std::to_string(cidr.length());
  std::replace(name.begin(), name.end(), ':', '-');
  return name;
}

int64_t released_before(const Clock& clock, const Options& options) {
  return std::max<int64_t>(0, clock.unix_seconds() - options.cooldown.count());
}

// The block of this host that has the address, in whatever pool; nothing when there is none.
Result<std::optional<model::Block>> block_with(kv::Transaction& tx, const Address& address) {
  auto pools = records::pools(tx);
  if (!pools) return std::move(pools).error();
  for (const model::Pool& pool : *pools) {
    if (!pool.cidr.contains(address)) continue;
    for (const model::Use use : {model::Use::routed, model::Use::bridged}) {
      auto block = records::block(tx, keys::block(use, pool.name, Prefix::of(address, pool.block_size)));
      if (!block || block->has_value()) return block;
    }
  }
  return std::optional<model::Block>();
}

// The block of a lease, as it is now.
Result<std::optional<model::Block>> block_of(kv::Transaction& tx, const model::Lease& lease, const model::Endpoint& endpoint) {
  if (!endpoint.leased) return block_with(tx, lease.address);
  // The lease does not say how its block is used; the kind of endpoint tells, nearly always.
  const bool bridged = endpoint.kind == model::EndpointKind::address;
  for (const bool second : {false, true}) {
    const model::Use use = bridged != second ? model::Use::bridged : model::Use::routed;
    auto block = records::block(tx, keys::block(use, lease.pool, lease.block));
    if (!block || block->has_value()) return block;
  }
  return std::optional<model::Block>();
}

// Frees one address of an endpoint. An address that is not leased by it stays with its holder.
Status give_back_lease(kv::Transaction& tx, const model::Endpoint& endpoint, const Address& address, int64_t now) {
  auto lease = records::lease(tx, address);
  if (!lease) return std::move(lease).error();
  if (!lease->has_value() || (*lease)->handle != model::handle_of(endpoint)) return {};
  auto block = block_of(tx, **lease, endpoint);
  if (!block) return std::move(block).error();
  if (block->has_value()) {
    const bool had_free = !(*block)->free.empty();
    if (give_back(**block, address, now)) records::put_block(tx, **block, had_free);
  }
  tx.erase(keys::lease(address));
  return {};
}

// An address that another IPAM plugin gave out: a lease in our books too, so that it is not given out twice, by us or by two
// networks of one subnet, for which such a plugin keeps separate books.
Status hold_foreign(kv::Transaction& tx, const model::Endpoint& endpoint, const Address& address) {
  auto lease = records::lease(tx, address);
  if (!lease) return std::move(lease).error();
  if (lease->has_value()) {
    return make_error(Code::conflict,
                      "address " + address.to_string() + " for " + model::handle_of(endpoint) + " is held by " + (*lease)->handle);
  }
  auto block = block_with(tx, address);
  if (!block) return std::move(block).error();
  if (block->has_value() && take(**block, address)) records::put_block(tx, **block, true);
  tx.put(keys::lease(address), model::encode(foreign_lease(endpoint, address)));
  return {};
}

}  // namespace

Allocator::Allocator(kv::Store& node, const Clock& clock, Options options)
    : node_(node), clock_(clock), options_(std::move(options)) {
  if (!options_.namespace_alive) options_.namespace_alive = namespace_alive;
}

Status Allocator::check_boot(kv::Transaction& tx) {
  if (options_.boot_id.empty()) return make_error(Code::invalid, "the allocator was started without the id of this boot");
  auto boot = tx.get(keys::boot);
  if (!boot) return std::move(boot).error();
  if (*boot == options_.boot_id) return {};
  RebuildOptions rebuilding;
  rebuilding.boot_id = options_.boot_id;
  rebuilding.now = clock_.unix_seconds();
  rebuilding.keep = [this](const model::Endpoint& endpoint) {
    return endpoint.boot_id == options_.boot_id || options_.namespace_alive(endpoint);
  };
  return rebuild(tx, rebuilding);
}

Status Allocator::begin_boot() {
  auto done = node_.transact([&](kv::Transaction& tx) { return check_boot(tx); });
  if (!done) return std::move(done).error();
  return {};
}

Status Allocator::with_blocks(model::Use use, const std::function<Status(kv::Transaction&, Tries&)>& attempt) {
  Tries tries;
  tries.now = moment(clock_, options_.boot_id);
  tries.may_ask = static_cast<bool>(options_.more_blocks);
  for (int round = 0; round < most_tries; ++round) {
    auto committed = node_.transact([&](kv::Transaction& tx) -> Status {
      tries.wish.reset();
      if (auto status = check_boot(tx); !status) return status;
      return attempt(tx, tries);
    });
    if (committed) return {};
    if (!tries.wish) return std::move(committed).error();
    const BlockWish wish = *tries.wish;
    kv::Revision before = 0;
    auto looked = node_.transact([&](kv::Transaction& tx) -> Status {
      auto owned = records::ownership(tx);
      if (!owned) return std::move(owned).error();
      before = *owned;
      return {};
    });
    if (!looked) return std::move(looked).error();
    auto prefix = options_.more_blocks(wish.pool, use, wish.address);
    if (!prefix) {
      if (wish.address) return std::move(prefix).error().context("lease " + wish.address->to_string());
      tries.refused.emplace(wish.pool.name, std::move(prefix).error());
      continue;
    }
    auto adopted = node_.transact([&](kv::Transaction& tx) -> Status {
      auto now = records::ownership(tx);
      if (!now) return std::move(now).error();
      // Blocks were given back or renamed since the source was asked, this one perhaps: ask again.
      if (*now != before) return {};
      auto block = records::adopt_block(tx, wish.pool.name, use, *prefix);
      if (!block) return std::move(block).error();
      return {};
    });
    if (!adopted) return std::move(adopted).error();
  }
  return make_error(Code::unavailable,
                    "other processes took every address of " + std::to_string(most_tries) + " blocks before this one; try again");
}

Result<model::Endpoint> Allocator::lease(model::Endpoint endpoint, model::Use use, const std::vector<AddressRequest>& requests) {
  const std::string handle = model::handle_of(endpoint);
  if (requests.empty()) return make_error(Code::invalid, "no address was asked for, for " + handle);
  endpoint.leased = true;
  endpoint.boot_id = options_.boot_id;
  if (endpoint.created_at == 0) endpoint.created_at = clock_.unix_seconds();
  auto done = with_blocks(use, [&](kv::Transaction& tx, Tries& tries) -> Status {
    auto existing = records::endpoint(tx, handle);
    if (!existing) return std::move(existing).error();
    if (existing->has_value()) return make_error(Code::exists, "endpoint " + handle + " exists already");
    endpoint.addresses.clear();
    for (const AddressRequest& request : requests) {
      auto lease = pick_address(tx, use, request, released_before(clock_, options_), tries);
      if (!lease) return std::move(lease).error();
      lease->handle = handle;
      tx.put(keys::lease(lease->address), model::encode(*lease));
      endpoint.addresses.push_back(lease->address);
    }
    if (auto held = hold_ports(tx, endpoint); !held) return held;
    tx.put(keys::endpoint(handle), model::encode(endpoint));
    return {};
  });
  if (!done) return std::move(done).error();
  return endpoint;
}

Status Allocator::record(const model::Endpoint& given) {
  model::Endpoint endpoint = given;
  endpoint.leased = false;
  endpoint.boot_id = options_.boot_id;
  if (endpoint.created_at == 0) endpoint.created_at = clock_.unix_seconds();
  const std::string handle = model::handle_of(endpoint);
  auto done = node_.transact([&](kv::Transaction& tx) -> Status {
    if (auto status = check_boot(tx); !status) return status;
    auto existing = records::endpoint(tx, handle);
    if (!existing) return std::move(existing).error();
    if (existing->has_value() && ((*existing)->leased || !(*existing)->addresses.empty())) {
      return make_error(Code::exists, "endpoint " + handle + " exists already");
    }
    for (const Address& address : endpoint.addresses) {
      if (auto status = hold_foreign(tx, endpoint, address); !status) return status;
    }
    // The first record, which knew no addresses, holds the ports in both families.
    if (existing->has_value()) {
      if (auto freed = free_ports(tx, **existing); !freed) return freed;
    }
    if (auto held = hold_ports(tx, endpoint); !held) return held;
    tx.put(keys::endpoint(handle), model::encode(endpoint));
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

Result<std::optional<model::Endpoint>> Allocator::release(const std::string& handle) {
  std::optional<model::Endpoint> released;
  auto done = node_.transact([&](kv::Transaction& tx) -> Status {
    released.reset();
    if (auto status = check_boot(tx); !status) return status;
    auto endpoint = records::endpoint(tx, handle);
    if (!endpoint) return std::move(endpoint).error();
    if (!endpoint->has_value()) return {};
    for (const Address& address : (*endpoint)->addresses) {
      if (auto status = give_back_lease(tx, **endpoint, address, clock_.unix_seconds()); !status) return status;
    }
    if (auto freed = free_ports(tx, **endpoint); !freed) return freed;
    tx.erase(keys::endpoint(handle));
    released = std::move(*endpoint);
    return {};
  });
  if (!done) return std::move(done).error();
  return released;
}

Result<std::optional<model::Endpoint>> Allocator::find(const std::string& handle) {
  const std::string key = keys::endpoint(handle);
  auto entry = node_.get(key);
  if (!entry) return std::move(entry).error();
  if (!entry->has_value()) return std::optional<model::Endpoint>();
  auto endpoint = records::read_endpoint(key, (*entry)->value);
  if (!endpoint) return std::move(endpoint).error();
  return std::optional<model::Endpoint>(std::move(*endpoint));
}

Result<std::optional<model::Lease>> Allocator::holder(const Address& address) {
  const std::string key = keys::lease(address);
  auto entry = node_.get(key);
  if (!entry) return std::move(entry).error();
  if (!entry->has_value()) return std::optional<model::Lease>();
  auto lease = records::read_lease(key, (*entry)->value);
  if (!lease) return std::move(lease).error();
  return std::optional<model::Lease>(std::move(*lease));
}

Result<std::optional<std::string>> Allocator::holder(const model::PortPlace& place) {
  auto entry = node_.get(keys::port(place));
  if (!entry) return std::move(entry).error();
  if (!entry->has_value()) return std::optional<std::string>();
  return std::optional<std::string>(std::move((*entry)->value));
}

Result<std::vector<model::Endpoint>> Allocator::endpoints(std::string_view network) {
  std::string prefix(keys::endpoints);
  if (!network.empty()) prefix.append(network).append("/");
  auto listing = node_.range(prefix);
  if (!listing) return std::move(listing).error();
  std::vector<model::Endpoint> out;
  for (const kv::Entry& entry : listing->entries) {
    auto endpoint = records::read_endpoint(entry.key, entry.value);
    if (!endpoint) return std::move(endpoint).error();
    out.push_back(std::move(*endpoint));
  }
  return out;
}

Result<model::Pool> Allocator::subnet_pool(const Prefix& cidr, std::optional<int> block_size) {
  model::Pool wanted;
  wanted.name = subnet_pool_name(cidr);
  wanted.cidr = cidr;
  wanted.block_size = block_size.value_or(model::default_block_size(cidr));
  wanted.node_only = true;
  if (auto status = validate(wanted); !status) return std::move(status).error().context("pool " + wanted.name);
  const auto settle = [&](model::Pool found) -> Result<model::Pool> {
    if (block_size && found.block_size != *block_size) {
      return make_error(Code::conflict, "the pool of subnet " + cidr.to_string() + " has blocks of /" +
                                            std::to_string(found.block_size) + "; the block size of a pool cannot change");
    }
    return found;
  };
  const std::string key = keys::pool(wanted.name);
  auto entry = node_.get(key);
  if (!entry) return std::move(entry).error();
  if (entry->has_value()) {
    auto found = records::read_pool(key, (*entry)->value);
    if (!found) return found;
    return settle(std::move(*found));
  }
  std::optional<model::Pool> raced;
  auto done = node_.transact([&](kv::Transaction& tx) -> Status {
    raced.reset();
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    for (const model::Pool& pool : *pools) {
      if (pool.name == wanted.name) {
        raced = pool;
        return {};
      }
    }
    if (const auto other = records::overlapping(*pools, wanted.name, cidr)) {
      return make_error(Code::conflict,
                        "subnet " + cidr.to_string() + " overlaps with pool " + other->name + " (" + other->cidr.to_string() + ")");
    }
    tx.put(key, model::encode(wanted));
    return {};
  });
  if (!done) return std::move(done).error();
  if (raced) return settle(std::move(*raced));
  return wanted;
}

Result<std::vector<PoolUse>> Allocator::usage() {
  auto pools = node_.range(keys::pools);
  if (!pools) return std::move(pools).error();
  auto reservations = node_.range(keys::reservations);
  if (!reservations) return std::move(reservations).error();
  auto blocks = node_.range(keys::blocks);
  if (!blocks) return std::move(blocks).error();
  std::vector<PoolUse> out;
  for (const kv::Entry& entry : pools->entries) {
    auto pool = records::read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    out.push_back(PoolUse{std::move(*pool), 0, 0, 0, 0});
  }
  std::vector<Prefix> reserved;
  for (const kv::Entry& entry : reservations->entries) {
    auto reservation = records::read_reservation(entry.key, entry.value);
    if (!reservation) return std::move(reservation).error();
    reserved.push_back(reservation->cidr);
  }
  const int64_t cooled = released_before(clock_, options_);
  const AddressRequest anything;
  for (const kv::Entry& entry : blocks->entries) {
    auto block = records::read_block(entry.key, entry.value);
    if (!block) return std::move(block).error();
    const auto use = std::find_if(out.begin(), out.end(), [&](const PoolUse& u) { return u.pool.name == block->pool; });
    if (use == out.end()) continue;  // its pool is gone: `firnctl ipam check` says so
    const Rules rules(use->pool, block->use, reserved, anything);
    const uint128 size = block->prefix.count();
    ++use->blocks;
    for (uint128 i = 0; i < size; ++i) use->capacity += rules.allows(block->prefix.at(i)) ? 1 : 0;
    use->used += static_cast<uint64_t>(size) - free_count(*block);
    for (const model::FreeRun& run : block->free) {
      if (run.released_at > cooled) use->cooling += run.last - run.first + 1;
    }
  }
  return out;
}

Status Allocator::can_lease(model::Use use, const std::vector<AddressRequest>& requests) {
  // A try that is rolled back once it has succeeded.
  const auto rehearse = [&](kv::Transaction& tx, Tries& tries) -> Status {
    for (const AddressRequest& request : requests) {
      auto lease = pick_address(tx, use, request, released_before(clock_, options_), tries);
      if (!lease) return std::move(lease).error();
      tx.put(keys::lease(lease->address), model::encode(*lease));
    }
    return make_error(Code::interrupted, "rehearsed");
  };
  const auto verdict = [](Status status) -> Status {
    if (status || status.error().is(Code::interrupted)) return {};
    return status;
  };
  if (auto status = begin_boot(); !status) return status;
  // First with what is here: an address that cools is good enough, and no block is claimed for it.
  Tries local;
  local.now = moment(clock_, options_.boot_id);
  auto tried = node_.transact([&](kv::Transaction& tx) { return rehearse(tx, local); });
  Status status = tried ? Status() : verdict(std::move(tried).error());
  if (status || !options_.more_blocks) return status;
  return verdict(with_blocks(use, rehearse));
}

Result<std::string> current_boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return std::move(text).error();
  while (!text->empty() && text->back() == '\n') text->pop_back();
  if (text->empty()) return make_error(Code::io, "/proc/sys/kernel/random/boot_id is empty");
  return text;
}

}  // namespace firn::ipam
