#include "ipam/pools.hpp"

#include <algorithm>

#include "ipam/mirror.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// An etcd takes at most 128 writes and 128 conditions in a transaction.
constexpr size_t claims_at_once = 100;
constexpr size_t most_nat_exclusions = 1000;

Error invalid(const std::string& field, const std::string& why) { return make_error(Code::invalid, "/" + field + ": " + why); }

Status named(const model::Pool& pool, Status status) {
  return status ? Status() : Status(std::move(status).error().context("pool " + pool.name));
}

// Removes up to claims_at_once claims of a closed pool, at last the pool. `gone`: nothing is left.
Status remove_some(kv::Transaction& tx, const std::string& name, const std::string& node_name, bool& gone) {
  gone = false;
  auto pool = records::pool(tx, name);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value()) {
    gone = true;
    return {};
  }
  if (!(*pool)->disabled) return make_error(Code::conflict, "pool " + name + " was enabled again meanwhile; it is not deleted");
  auto entries = tx.range(keys::claims_of(name), claims_at_once);
  if (!entries) return std::move(entries).error();
  for (const kv::Entry& entry : *entries) {
    auto claim = records::read_claim(entry.key, entry.value);
    if (!claim) return std::move(claim).error();
    if (claim->node != node_name)
      return make_error(Code::conflict, "node " + claim->node + " claimed a block of pool " + name + " meanwhile");
    tx.erase(entry.key);
  }
  if (entries->size() < claims_at_once) {
    tx.erase(keys::pool(name));
    gone = true;
  }
  return {};
}

Status done(Result<kv::Revision> committed) {
  if (!committed) return std::move(committed).error();
  return {};
}

}  // namespace

Status validate(const model::Pool& pool) {
  if (auto spelt = model::check_object_name("pool name", pool.name); !spelt) return spelt;
  if (pool.node_only != pool.name.starts_with("net-")) {
    return invalid("name", "names that begin with \"net-\" are kept for the subnets of CNI configurations");
  }
  const Address& address = pool.cidr.address();
  if (const auto special = special_use(pool.cidr)) {
    return invalid("cidr",
                   pool.cidr.to_string() + " overlaps with " + special->to_string() + ", whose addresses containers cannot use");
  }
  const int least = address.is_v4() ? 20 : 116;
  if (pool.block_size < least || pool.block_size > address.bits()) {
    return invalid("block_size", "must be " + std::to_string(least) + " to " + std::to_string(address.bits()) + " for " +
                                     (address.is_v4() ? "IPv4" : "IPv6") + ", not " + std::to_string(pool.block_size));
  }
  if (pool.block_size < pool.cidr.length()) {
    return invalid("block_size",
                   "a block of /" + std::to_string(pool.block_size) + " is larger than the pool, " + pool.cidr.to_string());
  }
  if (pool.cross_subnet && pool.mode != model::RoutingMode::vxlan) {
    return invalid("cross_subnet", "belongs to mode vxlan, not " + std::string(to_string(pool.mode)));
  }
  if (!pool.nat && !pool.nat_exclude.empty()) return invalid("nat_exclude", "belongs to a pool with nat");
  if (!pool.nat && pool.nat_source) return invalid("nat_source", "belongs to a pool with nat");
  if (pool.nat_exclude.size() > most_nat_exclusions) {
    return invalid("nat_exclude", "has more than " + std::to_string(most_nat_exclusions) + " prefixes");
  }
  for (const Prefix& prefix : pool.nat_exclude) {
    if (prefix.family() != address.family()) return invalid("nat_exclude", prefix.to_string() + " is not of the pool's family");
  }
  if (pool.nat_source && pool.nat_source->first.family() != address.family()) {
    return invalid("nat_source", pool.nat_source->to_string() + " is not of the pool's family");
  }
  for (const auto& [label, value] : pool.node_selector) {
    if (label.empty() || label.size() > 253 || value.size() > 253)
      return invalid("node_selector", "labels and values have at most 253 bytes, labels at least 1");
  }
  return {};
}

Status may_become(const model::Pool& before, const model::Pool& now) {
  if (before.cidr != now.cidr) {
    return invalid("cidr",
                   "cannot change from " + before.cidr.to_string() + " here; 'firnctl pool resize', split and merge do that");
  }
  if (before.block_size != now.block_size) {
    return invalid("block_size", "cannot change from " + std::to_string(before.block_size) + "; create another pool");
  }
  if (before.node_only != now.node_only) return invalid("node_only", "cannot change");
  if (before.shrinking_to != now.shrinking_to) return invalid("shrinking_to", "is written by 'firnctl pool resize' alone");
  if (before.moving_from != now.moving_from) return invalid("moving_from", "is written by 'firnctl pool split' and merge alone");
  return {};
}

Status check_overlap(const std::vector<model::Pool>& pools, const model::Pool& pool) {
  const auto other = records::overlapping(pools, pool.name, pool.cidr);
  if (!other) return {};
  return make_error(Code::conflict, "pool " + pool.name + " (" + pool.cidr.to_string() + ") overlaps with pool " + other->name +
                                        " (" + other->cidr.to_string() + ")");
}

Status check_not_moving(kv::Transaction& tx, const model::Pool& pool) {
  auto pools = records::pools(tx);
  if (!pools) return std::move(pools).error();
  for (const model::Pool& other : *pools) {
    const bool from_here = std::find(other.moving_from.begin(), other.moving_from.end(), pool.name) != other.moving_from.end();
    if (!from_here && (other.name != pool.name || other.moving_from.empty())) continue;
    return make_error(Code::conflict, "pool " + other.name + " takes blocks over from " + other.moving_from.front() +
                                          "; complete that first with 'firnctl pool resume'");
  }
  return {};
}

Status create_pool(kv::Store& cluster, const model::Pool& pool) {
  if (auto sound = validate(pool); !sound) return named(pool, std::move(sound));
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    if (std::any_of(pools->begin(), pools->end(), [&](const model::Pool& other) { return other.name == pool.name; })) {
      return make_error(Code::exists, "pool " + pool.name + " exists already");
    }
    if (auto apart = check_overlap(*pools, pool); !apart) return apart;
    tx.put(keys::pool(pool.name), model::encode(pool));
    return {};
  }));
}

Status update_pool(kv::Store& cluster, const model::Pool& pool) {
  if (auto sound = validate(pool); !sound) return named(pool, std::move(sound));
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    auto old = records::pool(tx, pool.name);
    if (!old) return std::move(old).error();
    if (!old->has_value()) return make_error(Code::not_found, "pool " + pool.name + " does not exist");
    if (auto may = may_become(**old, pool); !may) return named(pool, std::move(may));
    if (**old != pool) tx.put(keys::pool(pool.name), model::encode(pool));
    return {};
  }));
}

Status delete_pool(kv::Store& cluster, kv::Store& node, const std::string& name, const std::string& node_name) {
  std::optional<model::Pool> here;
  // A node-only pool is here alone.
  auto looked = node.transact([&](kv::Transaction& tx) -> Status {
    auto pool = records::pool(tx, name);
    if (!pool) return std::move(pool).error();
    here = std::move(*pool);
    if (here && here->node_only) return drop_unused_pool(tx, *here, 0);
    return {};
  });
  if (!looked) return std::move(looked).error();
  if (here && here->node_only) return {};

  // First the pool is closed, so that no block or address is taken while it goes. A kill from here on leaves it disabled.
  model::Pool before;
  const auto close = [&](kv::Transaction& tx) -> Status {
    auto pool = records::pool(tx, name);
    if (!pool) return std::move(pool).error();
    if (!pool->has_value()) return make_error(Code::not_found, "pool " + name + " does not exist");
    before = **pool;
    if (auto idle = check_not_moving(tx, before); !idle) return idle;
    auto entries = tx.range(keys::claims_of(name));
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if (claim->node == node_name) continue;
      return make_error(Code::conflict, "pool " + name + " is in use on node " + claim->node + ", which owns its block " +
                                            claim->prefix.to_string());
    }
    if ((*pool)->disabled) return {};
    (*pool)->disabled = true;
    tx.put(keys::pool(name), model::encode(**pool));
    return {};
  };
  auto at = cluster.transact(close);
  if (!at) return std::move(at).error();
  auto dropped = node.transact([&](kv::Transaction& tx) -> Status { return drop_unused_pool(tx, before, *at); });
  if (!dropped) {
    if (!before.disabled) {
      const auto reopened = cluster.transact([&](kv::Transaction& tx) -> Status {
        tx.put(keys::pool(name), model::encode(before));
        return {};
      });
      if (!reopened)
        return std::move(dropped).error().context("pool " + name + " stays disabled (" + reopened.error().message + ")");
    }
    return std::move(dropped).error();
  }
  for (bool gone = false; !gone;) {
    auto removed = cluster.transact([&](kv::Transaction& tx) { return remove_some(tx, name, node_name, gone); });
    if (!removed) return std::move(removed).error();
    at = removed;
  }
  // A mirror() in between may have copied the closed pool back.
  return done(node.transact([&](kv::Transaction& tx) { return drop_unused_pool(tx, before, *at); }));
}

}  // namespace firn::ipam
