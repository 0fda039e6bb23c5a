#include "ipam/claims.hpp"

#include <algorithm>
#include <memory>
#include <set>

#include "ipam/block.hpp"
#include "ipam/identity.hpp"
#include "ipam/loans.hpp"
#include "ipam/records.hpp"
#include "ipam/unclaimed.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

Result<model::Pool> pool_for_claim(kv::Transaction& tx, const std::string& node, const std::string& name) {
  auto pool = records::pool(tx, name);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value()) return make_error(Code::not_found, "pool " + name + " does not exist");
  if ((*pool)->disabled) return make_error(Code::denied, "pool " + name + " is disabled");
  if (!(*pool)->moving_from.empty()) {
    return make_error(Code::unavailable, "pool " + name + " takes blocks over from " + (*pool)->moving_from.front() +
                                             " just now; if that was interrupted, 'firnctl pool resume' completes it");
  }
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

// The first loan of an address inside the block.
Result<std::optional<model::Claim>> loans_in(kv::Transaction& tx, const std::string& pool, const Prefix& block) {
  auto entries = tx.range(keys::claims_of(pool), 2, keys::claim(pool, block));
  if (!entries) return std::move(entries).error();
  for (const kv::Entry& entry : *entries) {
    auto claim = records::read_claim(entry.key, entry.value);
    if (!claim) return std::move(claim).error();
    if (claim->prefix != block && block.contains(claim->prefix)) return std::optional(std::move(*claim));
  }
  return std::optional<model::Claim>();
}

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

}  // namespace

Result<model::Claim> claim_block(kv::Store& cluster, const model::Identity& self, const std::string& pool_name, model::Use use,
                                 const std::optional<Address>& wanted, int64_t now) {
  const std::string& node = self.name;
  model::Claim claim;
  int attempt = 0;
  auto committed = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto known = check_identity(tx, self); !known) return known;
    auto pool = pool_for_claim(tx, node, pool_name);
    if (!pool) return std::move(pool).error();
    Prefix prefix;
    if (wanted) {
      if (!pool->cidr.contains(*wanted)) {
        return make_error(Code::invalid,
                          wanted->to_string() + " is not inside pool " + pool_name + " (" + pool->cidr.to_string() + ")");
      }
      if (!pool->leasable().contains(*wanted)) {
        return make_error(Code::denied, wanted->to_string() + " lies in the part that pool " + pool_name +
                                            " gives up (it becomes " + pool->shrinking_to->to_string() + ")");
      }
      prefix = Prefix::of(*wanted, pool->block_size);
      auto existing = records::claim_at(tx, pool_name, prefix);
      if (!existing) return std::move(existing).error();
      if (existing->has_value()) {
        claim = std::move(**existing);
        if (claim.node == node && claim.use == use) return {};
        const std::string why = claim.node != node
                                    ? "is owned by node " + claim.node
                                    : "serves " + std::string(to_string(claim.use)) + " containers; a block has one use";
        return make_error(Code::conflict, "block " + prefix.to_string() + " of pool " + pool_name + " " + why);
      }
      auto lent = loans_in(tx, pool_name, prefix);
      if (!lent) return std::move(lent).error();
      if (*lent) {
        return make_error(Code::conflict, "block " + prefix.to_string() + " of pool " + pool_name + " is nobody's, but " +
                                              (*lent)->prefix.to_string() + " of it is still lent to node " + (*lent)->node);
      }
    } else {
      auto reserved = records::reserved(tx);
      if (!reserved) return std::move(reserved).error();
      auto unclaimed = unclaimed_block(tx, *pool, *reserved, node, attempt++);
      if (!unclaimed) return std::move(unclaimed).error();
      prefix = *unclaimed;
    }
    claim = model::Claim{prefix, pool_name, node, use, now};
    tx.put(keys::claim(pool_name, prefix), model::encode(claim));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return claim;
}

Result<kv::Revision> give_up_block(kv::Store& cluster, const model::Claim& claim) {
  return cluster.transact([&](kv::Transaction& tx) -> Status {
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    // Under whatever name it is by now.
    const model::Pool* pool = records::pool_with(*pools, claim.prefix);
    auto existing = pool == nullptr ? records::claim_at(tx, claim.pool, claim.prefix) : records::claim_of(tx, *pool, claim.prefix);
    if (!existing) return std::move(existing).error();
    if (!existing->has_value()) return {};
    if ((*existing)->node != claim.node) {
      return make_error(Code::conflict,
                        "block " + claim.prefix.to_string() + " of pool " + claim.pool + " is owned by node " + (*existing)->node);
    }
    tx.erase(keys::claim((*existing)->pool, claim.prefix));
    return note_return(tx, claim);
  });
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
      auto claim = claim_block(cluster, {name}, pool.name, use, wanted, clock.unix_seconds());
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
        if (claim.use != use || offered->count(claim.prefix) != 0 || !pool.leasable().contains(claim.prefix)) continue;
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
      auto unclaimed = unclaimed_block(tx, *allowed, *reserved, name, 0);
      if (!unclaimed) return std::move(unclaimed).error();
      ready = *unclaimed;
      const model::Claim claim{*unclaimed, pool.name, name, use, clock.unix_seconds()};
      tx.put(keys::claim(pool.name, *unclaimed), model::encode(claim));
      return {};
    });
    if (!looked) return std::move(looked).error();
    offered->insert(*ready);
    return *ready;
  };
}

}  // namespace firn::ipam
