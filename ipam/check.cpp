#include "ipam/check.hpp"

#include <algorithm>
#include <map>

#include "ipam/block.hpp"
#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "ipam/rebuild.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// What the cluster store says about this node; all empty without one.
struct ClusterView {
  std::map<std::string, std::string> pools, reservations;  // key -> record, decodable ones alone
  std::map<std::string, model::Claim> claims;              // of this node, by key, under the pools' names of now
  std::map<std::string, Error> damaged;
};

Result<ClusterView> read_cluster(const Surroundings& surroundings) {
  ClusterView out;
  if (surroundings.cluster == nullptr) return out;
  auto done = surroundings.cluster->transact([&](kv::Transaction& tx) -> Status {
    out = {};
    const auto each = [&](std::string_view prefix, const std::function<Status(const kv::Entry&)>& take) {
      return records::each(tx, prefix, out.damaged, take);
    };
    const auto keep = [](const kv::Entry& entry, const auto& record, std::map<std::string, std::string>& to) -> Status {
      if (!record) return record.error();
      to[entry.key] = entry.value;
      return {};
    };
    std::vector<model::Pool> pools;
    Status read = each(keys::pools, [&](const kv::Entry& e) {
      auto pool = records::read_pool(e.key, e.value);
      if (pool) pools.push_back(*pool);
      return keep(e, pool, out.pools);
    });
    if (read) {
      read = each(keys::reservations,
                  [&](const kv::Entry& e) { return keep(e, records::read_reservation(e.key, e.value), out.reservations); });
    }
    if (!read) return read;
    return each(keys::claims, [&](const kv::Entry& entry) -> Status {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if (claim->node != surroundings.self.name) return {};
      model::Claim now = records::as_of_now(pools, std::move(*claim));
      out.claims[keys::claim(now.pool, now.prefix)] = std::move(now);
      return {};
    });
  });
  if (!done) return std::move(done).error();
  return out;
}

bool is_live(const Surroundings& surroundings, const std::string& handle) {
  return surroundings.live && surroundings.live->count(handle) != 0;
}

// Whether nothing on this host can use the endpoint's addresses any more. Not knowing counts as "in use".
bool is_gone(const Surroundings& surroundings, const model::Endpoint& endpoint) {
  if (is_live(surroundings, model::handle_of(endpoint))) return false;
  if (endpoint.netns.empty()) return !surroundings.boot_id.empty() && endpoint.boot_id != surroundings.boot_id;
  return !(surroundings.namespace_alive ? surroundings.namespace_alive(endpoint) : namespace_alive(endpoint));
}

const model::Block* block_with(const Snapshot& store, const Address& address) {
  const auto at = std::find_if(store.blocks.begin(), store.blocks.end(), [&](const auto& b) { return b.prefix.contains(address); });
  return at == store.blocks.end() ? nullptr : &*at;
}

bool pool_with(const Snapshot& store, const Address& address) {
  return std::any_of(store.pools.begin(), store.pools.end(), [&](const auto& p) { return p.second.cidr.contains(address); });
}

// A damaged endpoint says nothing about its namespace. It is surely unused when it is of an earlier boot (no endpoint of this
// one has been recorded), or when its leases are those of an interface of firn's and the host has no such interface.
bool damaged_endpoint_unused(const Snapshot& store, const Surroundings& surroundings, const std::string& handle) {
  if (is_live(surroundings, handle)) return false;
  if (!surroundings.boot_id.empty() && store.boot != surroundings.boot_id) return true;
  if (!surroundings.live) return false;
  for (const auto& [key, why] : store.damaged) {
    if (key.starts_with(keys::leases)) return false;
  }
  return std::all_of(store.leases.begin(), store.leases.end(), [&](const auto& entry) {
    if (entry.second.handle != handle) return true;
    const model::Block* block = block_with(store, entry.first);
    return block != nullptr && block->use == model::Use::routed;
  });
}

class Checker {
 public:
  Checker(const Snapshot& store, const ClusterView& cluster, const Surroundings& surroundings)
      : store_(store), cluster_(cluster), surroundings_(surroundings) {}

  std::vector<Problem> run() {
    damaged();
    endpoints();
    leases();
    blocks();
    available();
    ports();
    if (surroundings_.cluster != nullptr) claims();
    if (surroundings_.live) interfaces();
    return std::move(problems_);
  }

 private:
  void add(ProblemKind kind, std::string object, std::string words, bool fixable = true) {
    problems_.push_back({kind, std::move(object), std::move(words), fixable});
  }

  void damaged() {
    for (const auto& [key, why] : store_.damaged) {
      const std::string_view view = key;
      bool fixable = true;
      std::string advice;
      if (view.starts_with(keys::endpoints)) {
        const std::string handle(view.substr(keys::endpoints.size()));
        unknown_.insert(handle);
        fixable = damaged_endpoint_unused(store_, surroundings_, handle);
        if (!fixable) advice = "; its addresses stay leased until the container is stopped and the host has booted again";
      } else if (view.starts_with(keys::pools)) {
        fixable = cluster_.pools.count(key) != 0 || subnet_of(view.substr(keys::pools.size())).has_value();
        if (!fixable) advice = "; the cluster store has no copy of it";
      } else if (view.starts_with(keys::reservations)) {
        fixable = surroundings_.cluster != nullptr;
        if (!fixable) advice = "; run this with the cluster store at hand";
      }
      add(ProblemKind::damaged, key, why.message + advice, fixable);
    }
    for (const auto& [key, why] : cluster_.damaged) {
      add(ProblemKind::damaged, key, "in the cluster store: " + why.message + "; restore it from a copy", false);
    }
  }

  void endpoints() {
    std::map<Address, std::string> first;
    for (const auto& [handle, endpoint] : store_.endpoints) {
      const bool gone = is_gone(surroundings_, endpoint);
      if (gone) add(ProblemKind::namespace_gone, handle, "the network namespace " + endpoint.netns + " of this endpoint is gone");
      for (const Address& address : endpoint.addresses) {
        const std::string text = address.to_string();
        const auto [other, alone] = first.emplace(address, handle);
        const auto lease = store_.leases.find(address);
        if (!alone) {
          add(ProblemKind::address_conflict, text, "is recorded for " + other->second + " and for " + handle + "; stop one of them",
              gone);
        } else if (lease == store_.leases.end()) {
          if (store_.damaged.count(keys::lease(address)) != 0) continue;
          const bool home = !endpoint.leased || block_with(store_, address) != nullptr || pool_with(store_, address);
          add(ProblemKind::endpoint_without_lease, handle,
              "uses " + text + ", which is not leased to it" + (home ? "" : "; no pool of this host has the address"),
              home || gone);
        } else if (lease->second.handle != handle && store_.endpoints.count(lease->second.handle) == 0) {
          add(ProblemKind::endpoint_without_lease, handle, "uses " + text + ", which is leased to " + lease->second.handle);
        }
      }
    }
  }

  void leases() {
    for (const auto& [address, lease] : store_.leases) {
      const std::string text = address.to_string();
      const auto holder = store_.endpoints.find(lease.handle);
      if (holder == store_.endpoints.end()) {
        if (unknown_.count(lease.handle) == 0) {
          add(ProblemKind::lease_without_endpoint, text, "is leased to " + lease.handle + ", which is not attached");
        }
      } else if (const auto& own = holder->second.addresses; std::find(own.begin(), own.end(), address) == own.end()) {
        add(ProblemKind::lease_without_endpoint, text, "is leased to " + lease.handle + ", which does not use it");
      }
      if (lease.pool.empty()) continue;  // another IPAM plugin's: of no block
      const model::Block* block = block_with(store_, address);
      if (block == nullptr) {
        const bool home = pool_with(store_, address);
        add(ProblemKind::address_outside_block, text,
            "its block " + lease.block.to_string() + " is not on this host" + (home ? "" : ", and no pool has it"), home);
      } else if (block->prefix != lease.block || block->pool != lease.pool) {
        add(ProblemKind::address_outside_block, text,
            "its lease names block " + lease.block.to_string() + " of pool " + lease.pool + ", but it is in " +
                block->prefix.to_string() + " of pool " + block->pool);
      }
    }
  }

  void blocks() {
    const model::Block* last = nullptr;
    for (const model::Block& block : store_.blocks) {
      const std::string name = block.prefix.to_string() + " (" + std::string(to_string(block.use)) + ", pool " + block.pool + ")";
      if (last != nullptr && last->prefix.overlaps(block.prefix)) {
        const bool both = any_lease(last->prefix) && any_lease(block.prefix) && last->prefix != block.prefix;
        add(ProblemKind::blocks_overlap, name,
            "has the same addresses as block " + last->prefix.to_string() + " (" + std::string(to_string(last->use)) + ", pool " +
                last->pool + ")",
            !both);
      }
      last = &block;
      const auto pool = store_.pools.find(block.pool);
      if (pool != store_.pools.end() && !pool->second.cidr.contains(block.prefix)) {
        add(ProblemKind::block_outside_pool, name, "is not inside its pool, " + pool->second.cidr.to_string(), false);
      } else if (pool == store_.pools.end() && store_.damaged.count(keys::pool(block.pool)) == 0) {
        add(ProblemKind::block_outside_pool, name, "its pool is not on this host", !any_lease(block.prefix));
      }
      addresses(block, name);
    }
  }

  void addresses(const model::Block& block, const std::string& name) {
    uint64_t lost = 0;
    std::string some;
    for (uint128 i = 0; i < block.prefix.count(); ++i) {
      const Address address = block.prefix.at(i);
      const bool unused = is_free(block, static_cast<uint32_t>(i));
      const bool leased = store_.leases.count(address) != 0;
      if (unused && leased) {
        add(ProblemKind::free_and_leased, address.to_string(),
            "is leased to " + store_.leases.at(address).handle + " and free in block " + name);
      } else if (!unused && !leased && store_.damaged.count(keys::lease(address)) == 0) {
        if (lost++ < 5) some += (some.empty() ? "" : ", ") + address.to_string();
      }
    }
    if (lost == 0) return;
    add(ProblemKind::neither_free_nor_leased, name,
        std::to_string(lost) + " of its addresses are neither free nor leased: " + some + (lost > 5 ? " ..." : ""));
  }

  void available() {
    std::set<std::string> wanted;
    for (const model::Block& block : store_.blocks) {
      if (block.free.empty()) continue;
      const std::string name = keys::block(block.use, block.pool, block.prefix).substr(keys::blocks.size());
      wanted.insert(name);
      const auto mark = store_.available.find(name);
      if (mark == store_.available.end()) {
        add(ProblemKind::available_missing, name, "the block has free addresses, but is not marked so");
      } else if (records::released_hint(mark->second) > oldest_release(block, {}).value_or(0)) {
        add(ProblemKind::available_stale, name, "its mark says that its addresses were released later than they were");
      }
    }
    for (const auto& [name, hint] : store_.available) {
      const bool block_damaged = store_.damaged.count(std::string(keys::blocks) + name) != 0;
      if (wanted.count(name) == 0 && !block_damaged)
        add(ProblemKind::available_stale, name, "is marked as a block with free addresses and is none");
    }
  }

  void ports() {
    std::vector<std::pair<model::PortPlace, std::string>> wanted;
    for (const auto& [handle, endpoint] : store_.endpoints) {
      for (const model::PortPlace& place : model::places_of(endpoint)) wanted.emplace_back(place, handle);
    }
    // An unspecified address sorts before the others of its port, and overlaps with all of them.
    std::sort(wanted.begin(), wanted.end());
    std::set<std::string> keys_wanted;
    const std::pair<model::PortPlace, std::string>* before = nullptr;
    for (const auto& at : wanted) {
      const std::string key = keys::port(at.first);
      const auto held = store_.ports.find(key);
      keys_wanted.insert(key);
      if (before != nullptr && before->first.overlaps(at.first)) {
        add(ProblemKind::port_conflict, to_string(at.first),
            "is published by " + before->second + " and by " + at.second + "; stop one of them", false);
      } else {
        before = &at;
        if (held == store_.ports.end() || (held->second != at.second && store_.endpoints.count(held->second) == 0)) {
          add(ProblemKind::endpoint_without_port, at.second, "publishes " + to_string(at.first) + ", which is not held for it");
        }
      }
    }
    for (const auto& [key, handle] : store_.ports) {
      if (keys_wanted.count(key) != 0 || unknown_.count(handle) != 0) continue;
      add(ProblemKind::port_without_endpoint, key, "is held for " + handle + ", which does not publish it");
    }
  }

  void claims() {
    std::set<std::string> claimed;
    for (const auto& [key, claim] : cluster_.claims) {
      const std::string block = keys::block(claim.use, claim.pool, claim.prefix);
      claimed.insert(block);
      const bool here = std::any_of(store_.blocks.begin(), store_.blocks.end(), [&wanted = claim](const model::Block& b) {
        return b.prefix == wanted.prefix && b.use == wanted.use && b.pool == wanted.pool;
      });
      const auto pool = store_.pools.find(claim.pool);
      if (pool != store_.pools.end() && !pool->second.leasable().contains(claim.prefix)) continue;  // on its way back
      if (!here && store_.damaged.count(block) == 0) {
        add(ProblemKind::claim_without_block, claim.prefix.to_string(),
            "of pool " + claim.pool + " is claimed by this node and not in its store");
      }
    }
    for (const model::Block& block : store_.blocks) {
      const auto pool = store_.pools.find(block.pool);
      if (pool != store_.pools.end() && pool->second.node_only) continue;
      if (claimed.count(keys::block(block.use, block.pool, block.prefix)) != 0) continue;
      add(ProblemKind::block_without_claim, block.prefix.to_string(),
          "of pool " + block.pool + " is used here, but not claimed by this node");
    }
  }

  void interfaces() {
    for (const std::string& handle : *surroundings_.live) {
      if (store_.endpoints.count(handle) != 0 || unknown_.count(handle) != 0) continue;
      add(ProblemKind::interface_without_endpoint, handle,
          "an interface of this host carries this handle, and no endpoint is recorded; its addresses may be leased again: stop the "
          "container",
          false);
    }
  }

  bool any_lease(const Prefix& prefix) const {
    const auto lease = store_.leases.lower_bound(prefix.address());
    return lease != store_.leases.end() && prefix.contains(lease->first);
  }

 public:
  // The CIDR that the name of a node-only pool spells: "net-10.1.0.0-16", "net-fd00---64".
  static std::optional<Prefix> subnet_of(std::string_view name) {
    const size_t dash = name.rfind('-');
    if (!name.starts_with("net-") || dash < 5) return std::nullopt;
    std::string text(name.substr(4, dash - 4));
    std::replace(text.begin(), text.end(), '-', ':');
    auto prefix = Prefix::parse(text.append("/").append(name.substr(dash + 1)));
    if (!prefix) return std::nullopt;
    return *prefix;
  }

 private:
  const Snapshot& store_;
  const ClusterView& cluster_;
  const Surroundings& surroundings_;
  std::set<std::string> unknown_;
  std::vector<Problem> problems_;
};

// Puts back damaged copies of pools and reservations, so that rebuild and mirror can work with them.
void restore_copies(kv::Transaction& tx, const Snapshot& store, const ClusterView& cluster, bool have_cluster) {
  for (const auto& [key, why] : store.damaged) {
    const std::string_view view = key;
    const bool is_pool = view.starts_with(keys::pools);
    if (!is_pool && !view.starts_with(keys::reservations)) continue;
    const auto& copies = is_pool ? cluster.pools : cluster.reservations;
    if (const auto copy = copies.find(key); copy != copies.end()) {
      tx.put(key, copy->second);
    } else if (!is_pool && have_cluster) {
      tx.erase(key);
    } else if (is_pool) {
      const auto cidr = Checker::subnet_of(view.substr(keys::pools.size()));
      if (!cidr) continue;
      model::Pool pool;
      pool.name = view.substr(keys::pools.size());
      pool.cidr = *cidr;
      pool.block_size = std::max(cidr->address().is_v4() ? 26 : 122, cidr->length());
      pool.node_only = true;
      for (const model::Block& block : store.blocks) {
        if (block.pool == pool.name) pool.block_size = block.prefix.length();
      }
      tx.put(key, model::encode(pool));
    }
  }
}

// Blocks that the cluster does not know: unused ones go. Those with leases are returned, to be claimed.
Result<std::vector<model::Block>> drop_unclaimed(kv::Transaction& tx, const ClusterView& cluster) {
  auto store = read_snapshot(tx);
  if (!store) return std::move(store).error();
  std::vector<model::Block> used;
  for (const model::Block& block : store->blocks) {
    const auto pool = store->pools.find(block.pool);
    if (pool != store->pools.end() && pool->second.node_only) continue;
    const auto claim = cluster.claims.find(keys::claim(block.pool, block.prefix));
    if (claim != cluster.claims.end() && claim->second.use == block.use) continue;
    if (free_count(block) < block.prefix.count()) {
      used.push_back(block);
      continue;
    }
    tx.erase(keys::block(block.use, block.pool, block.prefix));
    tx.erase(keys::available(block.use, block.pool, block.prefix));
  }
  return used;
}

}  // namespace

std::string_view to_string(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::damaged: return "damaged";
    case ProblemKind::lease_without_endpoint: return "lease-without-endpoint";
    case ProblemKind::endpoint_without_lease: return "endpoint-without-lease";
    case ProblemKind::address_conflict: return "address-conflict";
    case ProblemKind::free_and_leased: return "free-and-leased";
    case ProblemKind::neither_free_nor_leased: return "neither-free-nor-leased";
    case ProblemKind::address_outside_block: return "address-outside-block";
    case ProblemKind::block_outside_pool: return "block-outside-pool";
    case ProblemKind::blocks_overlap: return "blocks-overlap";
    case ProblemKind::block_without_claim: return "block-without-claim";
    case ProblemKind::claim_without_block: return "claim-without-block";
    case ProblemKind::available_missing: return "available-missing";
    case ProblemKind::available_stale: return "available-stale";
    case ProblemKind::port_without_endpoint: return "port-without-endpoint";
    case ProblemKind::endpoint_without_port: return "endpoint-without-port";
    case ProblemKind::port_conflict: return "port-conflict";
    case ProblemKind::namespace_gone: return "namespace-gone";
    case ProblemKind::interface_without_endpoint: return "interface-without-endpoint";
    case ProblemKind::address_in_two_places: return "address-in-two-places";
    case ProblemKind::claim_without_node: return "claim-without-node";
    case ProblemKind::published_outside_block: return "published-outside-block";
    case ProblemKind::published_without_node: return "published-without-node";
    case ProblemKind::publication_missing: return "publication-missing";
    case ProblemKind::publication_stale: return "publication-stale";
    case ProblemKind::pool_incomplete: return "pool-incomplete";
  }
  return "unknown";
}

Result<std::vector<Problem>> check(kv::Store& node, const Surroundings& surroundings) {
  auto cluster = read_cluster(surroundings);
  if (!cluster) return std::move(cluster).error();
  Snapshot store;
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    auto read = read_snapshot(tx);
    if (!read) return std::move(read).error();
    store = std::move(*read);
    return {};
  });
  if (!done) return std::move(done).error();
  return Checker(store, *cluster, surroundings).run();
}

FixReport fix_report(std::vector<Problem> before, std::vector<Problem> after) {
  FixReport report;
  report.left = std::move(after);
  for (Problem& problem : before) {
    const bool remains = std::any_of(report.left.begin(), report.left.end(), [&](const Problem& left) {
      return left.kind == problem.kind && left.object == problem.object;
    });
    if (!remains) report.fixed.push_back(std::move(problem));
  }
  return report;
}

Result<FixReport> fix(kv::Store& node, const Surroundings& surroundings, const Clock& clock) {
  auto before = check(node, surroundings);
  if (!before) return std::move(before).error();
  auto cluster = read_cluster(surroundings);
  if (!cluster) return std::move(cluster).error();
  const bool have_cluster = surroundings.cluster != nullptr;
  std::vector<model::Block> unclaimed;
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    auto store = read_snapshot(tx);
    if (!store) return std::move(store).error();
    restore_copies(tx, *store, *cluster, have_cluster);
    RebuildOptions options;
    options.boot_id = surroundings.boot_id;
    options.now = clock.unix_seconds();
    options.keep = [&](const model::Endpoint& endpoint) { return !is_gone(surroundings, endpoint); };
    options.repair = true;
    for (const auto& [key, why] : store->damaged) {
      if (!key.starts_with(keys::endpoints)) continue;
      const std::string handle = key.substr(keys::endpoints.size());
      if (damaged_endpoint_unused(*store, surroundings, handle)) options.drop_damaged.insert(handle);
    }
    if (auto rebuilt = rebuild(tx, options); !rebuilt) return rebuilt;
    if (!have_cluster) return {};
    auto used = drop_unclaimed(tx, *cluster);
    if (!used) return std::move(used).error();
    unclaimed = std::move(*used);
    return {};
  });
  if (!done) return std::move(done).error();
  if (have_cluster) {
    for (const model::Block& block : unclaimed) {
      // Refused when another node has it: the check afterwards still finds the block, and a person must decide.
      static_cast<void>(claim_block(*surroundings.cluster, surroundings.self, block.pool, block.use, block.prefix.address(),
                                    clock.unix_seconds()));
    }
    // A pool or claim that cannot be copied is in the check afterwards, too.
    static_cast<void>(mirror(*surroundings.cluster, node, surroundings.self.name));
  }
  auto after = check(node, surroundings);
  if (!after) return std::move(after).error();
  return fix_report(std::move(*before), std::move(*after));
}

}  // namespace firn::ipam
