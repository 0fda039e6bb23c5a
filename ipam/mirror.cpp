#include "ipam/mirror.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "ipam/pools.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/loan.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

constexpr size_t most_holders_named = 20;
// Each round that must be done again means that a block left this host meanwhile, which few things do.
constexpr int most_rounds = 8;

// The cluster's side, read in one transaction.
struct ClusterState {
  kv::Revision revision = 0;
  std::map<std::string, model::Pool> pools;         // with their overhead, as the node store has them
  std::map<std::string, std::string> reservations;  // key -> record
  std::vector<model::Claim> claims;                 // of this node, under the pools' names of now
  std::vector<model::Claim> loans;                  // of single addresses to other nodes
};

Result<ClusterState> read_cluster(kv::Store& cluster, const std::string& node) {
  ClusterState out;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    out = {};
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    auto underlay = records::underlay(tx);
    if (!underlay) return std::move(underlay).error();
    auto reservations = tx.range(keys::reservations);
    if (!reservations) return std::move(reservations).error();
    for (const kv::Entry& entry : *reservations) {
      if (auto sound = records::read_reservation(entry.key, entry.value); !sound) return std::move(sound).error();
      out.reservations[entry.key] = entry.value;
    }
    auto claims = tx.range(keys::claims);
    if (!claims) return std::move(claims).error();
    for (const kv::Entry& entry : *claims) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if (claim->node == node) out.claims.push_back(records::as_of_now(*pools, std::move(*claim)));
      else if (claim->prefix.is_host()) out.loans.push_back(std::move(*claim));
    }
    for (model::Pool& pool : *pools) {
      pool.overhead = pool.mode == model::RoutingMode::vxlan ? model::vxlan_overhead(*underlay) : 0;
      out.pools[pool.name] = std::move(pool);
    }
    return {};
  });
  if (!done) return std::move(done).error();
  out.revision = *done;
  return out;
}

Status drop_pool_here(kv::Transaction& tx, const std::string& name, kv::Revision revision) {
  for (const model::Use use : {model::Use::routed, model::Use::bridged}) {
    for (const std::string& prefix : {keys::blocks_of(use, name), keys::available_of(use, name)}) {
      auto entries = tx.range(prefix);
      if (!entries) return std::move(entries).error();
      for (const kv::Entry& entry : *entries) tx.erase(entry.key);
    }
  }
  tx.erase(keys::pool(name));
  return records::raise_ownership(tx, revision);
}

// The same block under another pool's name, with its queue and its leases.
Status rename_block(kv::Transaction& tx, const records::BlockName& name, const std::string& pool, kv::Revision revision) {
  const std::string key = keys::block(name.use, name.pool, name.prefix);
  auto block = records::block(tx, key);
  if (!block) return std::move(block).error();
  if (!block->has_value()) return {};
  const std::string mark = keys::available(name.use, name.pool, name.prefix);
  auto hint = tx.get(mark);
  if (!hint) return std::move(hint).error();
  tx.erase(key);
  tx.erase(mark);
  (*block)->pool = pool;
  tx.put(keys::block(name.use, pool, name.prefix), model::encode(**block));
  if (hint->has_value()) tx.put(keys::available(name.use, pool, name.prefix), **hint);
  auto leases = tx.range(keys::leases, static_cast<size_t>(name.prefix.count()), keys::lease(name.prefix.address()));
  if (!leases) return std::move(leases).error();
  const std::string last = keys::lease(name.prefix.last());
  for (const kv::Entry& entry : *leases) {
    if (entry.key > last) break;
    auto lease = records::read_lease(entry.key, entry.value);
    if (!lease) return std::move(lease).error();
    if (lease->pool != name.pool) continue;
    lease->pool = pool;
    tx.put(entry.key, model::encode(*lease));
  }
  return records::raise_ownership(tx, revision);
}

// Brings one node store to the state; one object of this runs in one transaction.
class Copy {
 public:
  Copy(kv::Transaction& tx, const ClusterState& state) : tx_(tx), state_(state) {}

  Status run() {
    auto present = records::pools(tx_);
    if (!present) return std::move(present).error();
    for (model::Pool& pool : *present) (pool.node_only ? local_ : copied_).push_back(std::move(pool));
    for (const auto& [name, pool] : state_.pools) {
      if (auto apart = check_overlap(local_, pool); apart) wanted_.push_back(pool);
      else refused = std::move(apart).error();
    }
    if (auto done = rename(); !done) return done;
    if (auto done = pools(); !done) return done;
    if (auto done = reservations(); !done) return done;
    // Before the first lease from a block that is adopted.
    if (auto done = loans(); !done) return done;
    return adopt();
  }

  bool changed = false;
  std::optional<Error> refused;  // one object that could not be copied; the others are

 private:
  // Only a block that the cluster says is this host's follows the addresses into another pool.
  Status rename() {
    std::map<std::pair<Prefix, model::Use>, std::string> pool_of;
    for (const model::Claim& claim : state_.claims) pool_of[{claim.prefix, claim.use}] = claim.pool;
    auto blocks = tx_.range(keys::blocks);
    if (!blocks) return std::move(blocks).error();
    for (const kv::Entry& entry : *blocks) {
      const auto name = records::parse_block_name(std::string_view(entry.key).substr(keys::blocks.size()));
      if (!name || named(local_, name->pool) != nullptr) continue;
      const auto claimed = pool_of.find({name->prefix, name->use});
      if (claimed == pool_of.end() || claimed->second == name->pool || named(wanted_, claimed->second) == nullptr) continue;
      changed = true;
      if (auto done = rename_block(tx_, *name, claimed->second, state_.revision); !done) return done;
    }
    return {};
  }

  Status pools() {
    for (const model::Pool& pool : copied_) {
      if (state_.pools.contains(pool.name)) continue;
      auto holders = holders_here(tx_, pool.name, pool.cidr);
      if (!holders) return std::move(holders).error();
      if (holders->empty()) {
        changed = true;
        if (auto dropped = drop_pool_here(tx_, pool.name, state_.revision); !dropped) return dropped;
      } else if (!pool.disabled) {
        // Deleted behind our back: its addresses live on, and no new one is leased.
        changed = true;
        model::Pool closed = pool;
        closed.disabled = true;
        tx_.put(keys::pool(pool.name), model::encode(closed));
      }
    }
    for (const model::Pool& pool : wanted_) {
      const model::Pool* old = named(copied_, pool.name);
      if (old != nullptr && *old == pool) continue;
      changed = true;
      tx_.put(keys::pool(pool.name), model::encode(pool));
    }
    return {};
  }

  Status reservations() {
    auto present = tx_.range(keys::reservations);
    if (!present) return std::move(present).error();
    std::map<std::string, std::string> old;
    for (const kv::Entry& entry : *present) old[entry.key] = entry.value;
    for (const auto& [key, value] : old) {
      if (state_.reservations.contains(key)) continue;
      changed = true;
      tx_.erase(key);
    }
    for (const auto& [key, value] : state_.reservations) {
      const auto same = old.find(key);
      if (same != old.end() && same->second == value) continue;
      changed = true;
      tx_.put(key, value);
    }
    return {};
  }

  // What of this host's blocks is lent, as the cluster says: this store may be a new one.
  Status loans() {
    for (const model::Claim& loan : state_.loans) {
      const bool ours = std::any_of(state_.claims.begin(), state_.claims.end(),
                                    [&](const model::Claim& claim) { return claim.prefix.contains(loan.prefix); });
      if (!ours) continue;
      const std::string key = keys::lent_address(loan.prefix.address());
      auto there = tx_.get(key);
      if (!there) return std::move(there).error();
      if (there->has_value()) continue;
      changed = true;
      tx_.put(key, model::encode(model::Lent{loan.prefix.address(), loan.pool, loan.node}));
    }
    return {};
  }

  Status adopt() {
    for (const model::Claim& claim : state_.claims) {
      const model::Pool* pool = named(wanted_, claim.pool);
      if (pool == nullptr || !pool->leasable().contains(claim.prefix)) continue;
      auto there = tx_.get(keys::block(claim.use, claim.pool, claim.prefix));
      if (!there) return std::move(there).error();
      if (there->has_value()) continue;
      auto leaving = tx_.get(keys::returned_block(claim.prefix));
      if (!leaving) return std::move(leaving).error();
      if (leaving->has_value()) continue;
      auto block = records::adopt_block(tx_, claim.pool, claim.use, claim.prefix);
      if (block) {
        changed = true;
      } else if (block.error().is(Code::conflict)) {
        refused = std::move(block).error();
      } else {
        return std::move(block).error();
      }
    }
    return {};
  }

  static const model::Pool* named(const std::vector<model::Pool>& pools, const std::string& name) {
    const auto found = std::find_if(pools.begin(), pools.end(), [&](const model::Pool& pool) { return pool.name == name; });
    return found == pools.end() ? nullptr : &*found;
  }

  kv::Transaction& tx_;
  const ClusterState& state_;
  std::vector<model::Pool> local_, copied_;  // as they are: of this host alone, and copies
  std::vector<model::Pool> wanted_;          // as the copies should be
};

}  // namespace

Result<std::vector<std::string>> holders_here(kv::Transaction& tx, const std::string& pool, const Prefix& inside,
                                              const std::optional<Prefix>& except) {
  auto leases = tx.range(keys::leases, 0, keys::lease(inside.address()));
  if (!leases) return std::move(leases).error();
  std::vector<std::string> out;
  for (const kv::Entry& entry : *leases) {
    if (entry.key > keys::lease(inside.last())) break;
    auto lease = records::read_lease(entry.key, entry.value);
    if (!lease) return std::move(lease).error();
    if (lease->pool != pool || (except && except->contains(lease->address))) continue;
    out.push_back(lease->handle + " (" + lease->address.to_string() + ")");
  }
  return out;
}

std::string holders_text(const std::vector<std::string>& holders) {
  std::string text;
  for (size_t i = 0; i < std::min(holders.size(), most_holders_named); ++i) text += (i == 0 ? "" : ", ") + holders[i];
  if (holders.size() > most_holders_named) text += " and " + std::to_string(holders.size() - most_holders_named) + " more";
  return text;
}

Status drop_unused_pool(kv::Transaction& tx, const model::Pool& pool, kv::Revision revision) {
  auto holders = holders_here(tx, pool.name, pool.cidr);
  if (!holders) return std::move(holders).error();
  if (holders->empty()) return drop_pool_here(tx, pool.name, revision);
  return make_error(Code::conflict, "pool " + pool.name + " is in use by " + std::to_string(holders->size()) + " addresses: " +
                                        holders_text(*holders) + "; stop them first, or disable the pool so that it empties");
}

Result<bool> mirror(kv::Store& cluster, kv::Store& node, const std::string& node_name) {
  kv::Revision seen = 0, known = 0;
  for (int round = 0; round < most_rounds; ++round) {
    auto state = read_cluster(cluster, node_name);
    if (!state) return std::move(state).error();
    seen = state->revision;
    bool changed = false;
    std::optional<Error> refused;
    auto committed = node.transact([&](kv::Transaction& tx) -> Status {
      auto owned = records::ownership(tx);
      if (!owned) return std::move(owned).error();
      known = *owned;
      // A block has left this host since: what was read of the cluster may still say that it is here.
      if (seen < known) return {};
      Copy copy(tx, *state);
      auto done = copy.run();
      changed = copy.changed;
      refused = std::move(copy.refused);
      return done;
    });
    if (!committed) return std::move(committed).error();
    if (seen < known) continue;
    if (refused) return *std::move(refused);
    return changed;
  }
  return make_error(Code::unavailable, "the cluster store is at revision " + std::to_string(seen) +
                                           ", and this host's blocks are as of " + std::to_string(known) +
                                           "; if it was restored from a copy, 'firnctl cluster accept' takes it as it is now");
}

Status forget_revision(kv::Store& node) {
  auto done = node.transact([](kv::Transaction& tx) -> Status {
    tx.erase(keys::ownership);
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

}  // namespace firn::ipam
