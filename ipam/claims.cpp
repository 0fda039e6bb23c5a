#include "ipam/claims.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "ipam/block.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

constexpr size_t page = 512;
constexpr size_t most_holders_named = 20;

Result<model::Pool> pool_for_claim(kv::Transaction& tx, const std::string& node, const std::string& name) {
  auto pool = records::pool(tx, name);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value()) return make_error(Code::not_found, "pool " + name + " does not exist");
  if ((*pool)->disabled) return make_error(Code::denied, "pool " + name + " is disabled");
  if ((*pool)->node_selector.empty()) return std::move(**pool);
  const std::string key = keys::node(node);
  auto value = tx.get(key);
  if (!value) return std::move(value).error();
  if (!value->has_value()) {
    return make_error(Code::denied,
                      "pool " + name + " selects nodes by label, and node " + node + " has not joined; run 'firnctl init'");
  }
  auto record = model::decode_node(**value);
  if (!record) return records::unreadable(key, record.error());
  for (const auto& [label, wanted] : (*pool)->node_selector) {
    const auto has = record->labels.find(label);
    if (has == record->labels.end() || has->second != wanted) {
      return make_error(Code::denied,
                        "pool " + name + " is for nodes labelled " + label + "=" + wanted + ", which " + node + " is not");
    }
  }
  return std::move(**pool);
}

Result<std::optional<model::Claim>> claim_at(kv::Transaction& tx, const std::string& pool, const Prefix& prefix) {
  const std::string key = keys::claim(pool, prefix);
  auto value = tx.get(key);
  if (!value) return std::move(value).error();
  if (!value->has_value()) return std::optional<model::Claim>();
  auto claim = records::read_claim(key, **value);
  if (!claim) return std::move(claim).error();
  return std::optional<model::Claim>(std::move(*claim));
}

// The lowest block without a claim. Claims are sorted as their blocks are, so the first gap is it.
Result<Prefix> lowest_unclaimed(kv::Transaction& tx, const model::Pool& pool, const std::vector<Prefix>& reserved) {
  const std::string claims = keys::claims_of(pool.name);
  Prefix candidate = Prefix::of(pool.cidr.address(), pool.block_size);
  bool full = false;
  // Steps over reservations that cover whole blocks; sets `full` at the end of the pool.
  const auto advance = [&](Address last) {
    full = last >= pool.cidr.last();
    if (!full) candidate = Prefix::of(last.plus(1), pool.block_size);
  };
  const auto skip_reserved = [&] {
    for (bool again = true; again && !full;) {
      again = false;
      for (const Prefix& prefix : reserved) {
        if (full || !prefix.contains(candidate)) continue;
        advance(prefix.last());
        again = true;
      }
    }
  };
  skip_reserved();
  std::string from = keys::claim(pool.name, candidate);
  while (!full) {
    auto entries = tx.range(claims, page, from);
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      const std::string wanted = keys::claim(pool.name, candidate);
      if (entry.key < wanted) continue;
      if (entry.key != wanted) return candidate;
      advance(candidate.last());
      skip_reserved();
      if (full) break;
    }
    if (!full && entries->size() < page) return candidate;
    if (!entries->empty()) from = entries->back().key + '\x01';
  }
  return make_error(Code::exhausted,
                    "every block of pool " + pool.name + " (" + pool.cidr.to_string() + ") is claimed or reserved");
}

Error invalid(const std::string& field, const std::string& why) { return make_error(Code::invalid, "/" + field + ": " + why); }

Status named(const model::Pool& pool, Status status) {
  return status ? Status() : Status(std::move(status).error().context("pool " + pool.name));
}

// The cluster's side of mirror(), read in one transaction.
struct ClusterState {
  std::map<std::string, model::Pool> pools;         // with their overhead, as the node store has them
  std::map<std::string, std::string> reservations;  // key -> record
  std::vector<model::Claim> claims;                 // of this node
};

Result<std::vector<model::Claim>> claims_in(kv::Transaction& tx, const std::string& prefix, const std::string& node) {
  auto entries = tx.range(prefix);
  if (!entries) return std::move(entries).error();
  std::vector<model::Claim> out;
  for (const kv::Entry& entry : *entries) {
    auto claim = records::read_claim(entry.key, entry.value);
    if (!claim) return std::move(claim).error();
    if (node.empty() || claim->node == node) out.push_back(std::move(*claim));
  }
  return out;
}

Result<ClusterState> read_cluster(kv::Store& cluster, const std::string& node) {
  ClusterState out;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    out = {};
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    auto underlay = records::underlay(tx);
    if (!underlay) return std::move(underlay).error();
    for (model::Pool& pool : *pools) {
      pool.overhead = pool.mode == model::RoutingMode::vxlan ? model::vxlan_overhead(*underlay) : 0;
      out.pools[pool.name] = std::move(pool);
    }
    auto reservations = tx.range(keys::reservations);
    if (!reservations) return std::move(reservations).error();
    for (const kv::Entry& entry : *reservations) {
      if (auto sound = records::read_reservation(entry.key, entry.value); !sound) return std::move(sound).error();
      out.reservations[entry.key] = entry.value;
    }
    auto claims = claims_in(tx, std::string(keys::claims), node);
    if (!claims) return std::move(claims).error();
    out.claims = std::move(*claims);
    return {};
  });
  if (!done) return std::move(done).error();
  return out;
}

// Up to 20 holders of addresses of the pool, and how many there are in all.
Result<std::vector<std::string>> holders_of(kv::Transaction& tx, const model::Pool& pool) {
  auto leases = tx.range(keys::leases, 0, keys::lease(pool.cidr.address()));
  if (!leases) return std::move(leases).error();
  std::vector<std::string> out;
  for (const kv::Entry& entry : *leases) {
    if (entry.key > keys::lease(pool.cidr.last())) break;
    auto lease = records::read_lease(entry.key, entry.value);
    if (!lease) return std::move(lease).error();
    if (lease->pool == pool.name) out.push_back(lease->handle + " (" + lease->address.to_string() + ")");
  }
  return out;
}

Status drop_pool_here(kv::Transaction& tx, const std::string& name) {
  for (const model::Use use : {model::Use::routed, model::Use::bridged}) {
    for (const std::string& prefix : {keys::blocks_of(use, name), keys::available_of(use, name)}) {
      auto entries = tx.range(prefix);
      if (!entries) return std::move(entries).error();
      for (const kv::Entry& entry : *entries) tx.erase(entry.key);
    }
  }
  tx.erase(keys::pool(name));
  return {};
}

// No address is leased: removes the pool with its blocks. Otherwise Code::conflict names the holders.
Status drop_unused_pool(kv::Transaction& tx, const model::Pool& pool) {
  auto holders = holders_of(tx, pool);
  if (!holders) return std::move(holders).error();
  if (holders->empty()) return drop_pool_here(tx, pool.name);
  std::string text = "pool " + pool.name + " is in use by " + std::to_string(holders->size()) + " addresses: ";
  for (size_t i = 0; i < std::min(holders->size(), most_holders_named); ++i) text += (i == 0 ? "" : ", ") + (*holders)[i];
  if (holders->size() > most_holders_named) text += " and " + std::to_string(holders->size() - most_holders_named) + " more";
  return make_error(Code::conflict, text + "; stop them first, or disable the pool so that it empties");
}

Status done(Result<kv::Revision> committed) {
  if (!committed) return std::move(committed).error();
  return {};
}

}  // namespace

Result<model::Claim> claim_block(kv::Store& cluster, const std::string& node, const std::string& pool_name, model::Use use,
                                 const std::optional<Address>& wanted, int64_t now) {
  model::Claim claim;
  auto committed = cluster.transact([&](kv::Transaction& tx) -> Status {
    auto pool = pool_for_claim(tx, node, pool_name);
    if (!pool) return std::move(pool).error();
    Prefix prefix;
    if (wanted) {
      if (!pool->cidr.contains(*wanted)) {
        return make_error(Code::invalid,
                          wanted->to_string() + " is not inside pool " + pool_name + " (" + pool->cidr.to_string() + ")");
      }
      prefix = Prefix::of(*wanted, pool->block_size);
      auto existing = claim_at(tx, pool_name, prefix);
      if (!existing) return std::move(existing).error();
      if (existing->has_value()) {
        claim = std::move(**existing);
        if (claim.node == node && claim.use == use) return {};
        const std::string why = claim.node != node
                                    ? "is owned by node " + claim.node
                                    : "serves " + std::string(to_string(claim.use)) + " containers; a block has one use";
        return make_error(Code::conflict, "block " + prefix.to_string() + " of pool " + pool_name + " " + why);
      }
    } else {
      auto reserved = records::reserved(tx);
      if (!reserved) return std::move(reserved).error();
      auto lowest = lowest_unclaimed(tx, *pool, *reserved);
      if (!lowest) return std::move(lowest).error();
      prefix = *lowest;
    }
    claim = model::Claim{prefix, pool_name, node, use, now};
    tx.put(keys::claim(pool_name, prefix), model::encode(claim));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return claim;
}

Status give_up_block(kv::Store& cluster, const model::Claim& claim) {
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    auto existing = claim_at(tx, claim.pool, claim.prefix);
    if (!existing) return std::move(existing).error();
    if (!existing->has_value()) return {};
    if ((*existing)->node != claim.node) {
      return make_error(Code::conflict,
                        "block " + claim.prefix.to_string() + " of pool " + claim.pool + " is owned by node " + (*existing)->node);
    }
    tx.erase(keys::claim(claim.pool, claim.prefix));
    return {};
  }));
}

Result<std::vector<model::Claim>> claims_of(kv::Store& cluster, const std::string& node) {
  auto listing = cluster.range(keys::claims);
  if (!listing) return std::move(listing).error();
  std::vector<model::Claim> out;
  for (const kv::Entry& entry : listing->entries) {
    auto claim = records::read_claim(entry.key, entry.value);
    if (!claim) return std::move(claim).error();
    if (claim->node == node) out.push_back(std::move(*claim));
  }
  return out;
}

BlockSource single_host_blocks(kv::Store& cluster, kv::Store& node, std::string node_name, const Clock& clock,
                               std::chrono::seconds cooldown) {
  // Blocks offered to this process before: none is offered a second time without a claim, so asking again comes to an end.
  const auto offered = std::make_shared<std::set<Prefix>>();
  return [&cluster, &node, &clock, cooldown, offered, name = std::move(node_name)](
             const model::Pool& pool, model::Use use, const std::optional<Address>& wanted) -> Result<Prefix> {
    if (wanted) {
      auto claim = claim_block(cluster, name, pool.name, use, wanted, clock.unix_seconds());
      if (!claim) return std::move(claim).error();
      return claim->prefix;
    }
    std::optional<Prefix> ready;
    // The cluster store's write lock orders the processes of this host: who waits for it sees what the one before claimed.
    auto looked = cluster.transact([&](kv::Transaction& tx) -> Status {
      ready.reset();
      auto claims = claims_in(tx, keys::claims_of(pool.name), name);
      if (!claims) return std::move(claims).error();
      const int64_t cooled = std::max<int64_t>(0, clock.unix_seconds() - cooldown.count());
      for (const model::Claim& claim : *claims) {
        if (claim.use != use || offered->count(claim.prefix) != 0) continue;
        const std::string key = keys::block(use, pool.name, claim.prefix);
        auto entry = node.get(key);
        if (!entry) return std::move(entry).error();
        if (entry->has_value()) {
          auto available = node.get(keys::available(use, pool.name, claim.prefix));
          if (!available) return std::move(available).error();
          if (!available->has_value()) continue;
          auto block = records::read_block(key, (*entry)->value);
          if (!block) return std::move(block).error();
          if (!take_first(*block, cooled, {})) continue;
        }
        ready = claim.prefix;
        return {};
      }
      auto allowed = pool_for_claim(tx, name, pool.name);
      if (!allowed) return std::move(allowed).error();
      auto reserved = records::reserved(tx);
      if (!reserved) return std::move(reserved).error();
      auto lowest = lowest_unclaimed(tx, *allowed, *reserved);
      if (!lowest) return std::move(lowest).error();
      ready = *lowest;
      const model::Claim claim{*lowest, pool.name, name, use, clock.unix_seconds()};
      tx.put(keys::claim(pool.name, *lowest), model::encode(claim));
      return {};
    });
    if (!looked) return std::move(looked).error();
    offered->insert(*ready);
    return *ready;
  };
}

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
  for (const auto& [label, value] : pool.node_selector) {
    if (label.empty() || label.size() > 253 || value.size() > 253)
      return invalid("node_selector", "labels and values have at most 253 bytes, labels at least 1");
  }
  return {};
}

Status may_become(const model::Pool& before, const model::Pool& now) {
  if (before.cidr != now.cidr) {
    return invalid("cidr", "cannot change from " + before.cidr.to_string() + ": a live address never moves; create another pool");
  }
  if (before.block_size != now.block_size) {
    return invalid("block_size", "cannot change from " + std::to_string(before.block_size) + "; create another pool");
  }
  if (before.node_only != now.node_only) return invalid("node_only", "cannot change");
  return {};
}

Status check_overlap(const std::vector<model::Pool>& pools, const model::Pool& pool) {
  const auto other = records::overlapping(pools, pool.name, pool.cidr);
  if (!other) return {};
  return make_error(Code::conflict, "pool " + pool.name + " (" + pool.cidr.to_string() + ") overlaps with pool " + other->name +
                                        " (" + other->cidr.to_string() + ")");
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

Result<bool> mirror(kv::Store& cluster, kv::Store& node, const std::string& node_name) {
  auto state = read_cluster(cluster, node_name);
  if (!state) return std::move(state).error();
  bool changed = false;
  std::optional<Error> refused;  // one object that could not be copied; the others are
  auto committed = node.transact([&](kv::Transaction& tx) -> Status {
    changed = false;
    refused.reset();
    auto present = records::pools(tx);
    if (!present) return std::move(present).error();
    std::vector<model::Pool> local;
    for (const model::Pool& pool : *present) {
      const auto wanted = state->pools.find(pool.name);
      if (pool.node_only) {
        local.push_back(pool);
      } else if (wanted == state->pools.end()) {
        auto holders = holders_of(tx, pool);
        if (!holders) return std::move(holders).error();
        if (holders->empty()) {
          changed = true;
          if (auto dropped = drop_pool_here(tx, pool.name); !dropped) return dropped;
        } else if (!pool.disabled) {
          // Deleted behind our back: its addresses live on, and no new one is leased.
          changed = true;
          model::Pool closed = pool;
          closed.disabled = true;
          tx.put(keys::pool(pool.name), model::encode(closed));
        }
      }
    }
    for (const auto& [name, pool] : state->pools) {
      if (auto apart = check_overlap(local, pool); !apart) {
        refused = std::move(apart).error();
        continue;
      }
      const auto old =
          std::find_if(present->begin(), present->end(), [&wanted = pool](const model::Pool& p) { return p.name == wanted.name; });
      if (old != present->end() && *old == pool) continue;
      changed = true;
      tx.put(keys::pool(name), model::encode(pool));
    }
    auto reservations = tx.range(keys::reservations);
    if (!reservations) return std::move(reservations).error();
    std::map<std::string, std::string> old;
    for (const kv::Entry& entry : *reservations) old[entry.key] = entry.value;
    for (const auto& [key, value] : old) {
      if (state->reservations.count(key) != 0) continue;
      changed = true;
      tx.erase(key);
    }
    for (const auto& [key, value] : state->reservations) {
      const auto same = old.find(key);
      if (same != old.end() && same->second == value) continue;
      changed = true;
      tx.put(key, value);
    }
    for (const model::Claim& claim : state->claims) {
      const auto pool = state->pools.find(claim.pool);
      if (pool == state->pools.end() || !check_overlap(local, pool->second)) continue;
      auto there = tx.get(keys::block(claim.use, claim.pool, claim.prefix));
      if (!there) return std::move(there).error();
      if (there->has_value()) continue;
      auto block = records::adopt_block(tx, claim.pool, claim.use, claim.prefix);
      if (block) {
        changed = true;
      } else if (block.error().is(Code::conflict)) {
        refused = std::move(block).error();
      } else {
        return std::move(block).error();
      }
    }
    return {};
  });
  if (!committed) return std::move(committed).error();
  if (refused) return *std::move(refused);
  return changed;
}

Status delete_pool(kv::Store& cluster, kv::Store& node, const std::string& name, const std::string& node_name) {
  std::optional<model::Pool> here;
  // A node-only pool is here alone.
  auto looked = node.transact([&](kv::Transaction& tx) -> Status {
    auto pool = records::pool(tx, name);
    if (!pool) return std::move(pool).error();
    here = std::move(*pool);
    if (here && here->node_only) return drop_unused_pool(tx, *here);
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
    auto claims = claims_in(tx, keys::claims_of(name), "");
    if (!claims) return std::move(claims).error();
    for (const model::Claim& claim : *claims) {
      if (claim.node != node_name) {
        return make_error(Code::conflict, "pool " + name + " is in use on node " + claim.node + ", which owns its block " +
                                              claim.prefix.to_string());
      }
    }
    if ((*pool)->disabled) return {};
    (*pool)->disabled = true;
    tx.put(keys::pool(name), model::encode(**pool));
    return {};
  };
  if (auto closed = cluster.transact(close); !closed) return std::move(closed).error();
  auto dropped = node.transact([&](kv::Transaction& tx) -> Status { return drop_unused_pool(tx, before); });
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
  auto removed = cluster.transact([&](kv::Transaction& tx) -> Status {
    auto entries = tx.range(keys::claims_of(name));
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if (claim->node != node_name)
        return make_error(Code::conflict, "node " + claim->node + " claimed a block of pool " + name + " meanwhile");
      tx.erase(entry.key);
    }
    tx.erase(keys::pool(name));
    return {};
  });
  if (!removed) return std::move(removed).error();
  // A mirror() in between may have copied the closed pool back.
  return done(node.transact([&](kv::Transaction& tx) { return drop_unused_pool(tx, before); }));
}

}  // namespace firn::ipam
