#include "ipam/ownership.hpp"

#include <set>

#include "ipam/identity.hpp"
#include "ipam/mirror.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

enum class Outcome { was_ours, claimed_again, lost };

// The owner's name goes into `owner`.
Result<Outcome> settle(kv::Transaction& tx, const model::Identity& self, const model::Block& block, int64_t now,
                       std::string& owner) {
  auto pools = records::pools(tx);
  if (!pools) return std::move(pools).error();
  const model::Pool* pool = records::pool_with(*pools, block.prefix);
  auto claim = pool == nullptr ? records::claim_at(tx, block.pool, block.prefix) : records::claim_of(tx, *pool, block.prefix);
  if (!claim) return std::move(claim).error();
  if (claim->has_value()) {
    owner = (*claim)->node;
    return owner == self.name ? Outcome::was_ours : Outcome::lost;
  }
  if (auto known = check_identity(tx, self); !known) return std::move(known).error();
  // Gone: mirror() and `firnctl ipam check` tell of it.
  if (pool == nullptr) return Outcome::was_ours;
  if (!pool->moving_from.empty()) {
    return make_error(Code::unavailable, "pool " + pool->name + " takes blocks over from " + pool->moving_from.front() +
                                             " just now; if that was interrupted, 'firnctl pool resume' completes it");
  }
  tx.put(keys::claim(pool->name, block.prefix), model::encode(model::Claim{block.prefix, pool->name, self.name, block.use, now}));
  return Outcome::claimed_again;
}

}  // namespace

Status adopt_blocks(kv::Store& node, const std::vector<model::Claim>& claims) {
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    for (const model::Claim& claim : claims) {
      auto pool = records::pool(tx, claim.pool);
      if (!pool) return std::move(pool).error();
      if (!pool->has_value()) continue;
      auto block = records::adopt_block(tx, claim.pool, claim.use, claim.prefix);
      if (!block && !block.error().is(Code::unavailable)) return std::move(block).error();
    }
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

Result<std::vector<model::Block>> blocks_here(kv::Store& node) {
  auto pools = node.range(keys::pools);
  if (!pools) return std::move(pools).error();
  std::set<std::string> shared;
  for (const kv::Entry& entry : pools->entries) {
    auto pool = records::read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    if (!pool->node_only) shared.insert(pool->name);
  }
  auto blocks = node.range(keys::blocks);
  if (!blocks) return std::move(blocks).error();
  std::vector<model::Block> out;
  for (const kv::Entry& entry : blocks->entries) {
    auto block = records::read_block(entry.key, entry.value);
    // `firnctl ipam check` tells of it; the others are settled all the same.
    if (block && shared.contains(block->pool)) out.push_back(std::move(*block));
  }
  return out;
}

Result<std::vector<model::Block>> blocks_without_claim(kv::Store& node, kv::Store& cluster, const std::string& node_name) {
  auto blocks = blocks_here(node);
  if (!blocks) return blocks;
  std::vector<model::Block> out;
  for (model::Block& block : *blocks) {
    auto entry = cluster.get(keys::claim(block.pool, block.prefix));
    if (!entry) return std::move(entry).error();
    auto claim = *entry ? records::read_claim((*entry)->key, (*entry)->value) : Result<model::Claim>(model::Claim{});
    if (!claim) return std::move(claim).error();
    if (claim->node != node_name) out.push_back(std::move(block));
  }
  return out;
}

Settled settle_blocks(kv::Store& cluster, const model::Identity& self, const std::vector<model::Block>& blocks, int64_t now) {
  Settled out;
  for (const model::Block& block : blocks) {
    Outcome outcome{};
    std::string owner;
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      auto settled = settle(tx, self, block, now, owner);
      if (!settled) return std::move(settled).error();
      outcome = *settled;
      return {};
    });
    // The others may be lost all the same.
    if (!done) out.refused = std::move(done).error();
    else if (outcome == Outcome::claimed_again) out.claimed.push_back(block);
    else if (outcome == Outcome::lost) out.lost.push_back({block, owner, *done});
    if (out.refused && !out.refused->is(Code::denied)) break;
  }
  return out;
}

Result<std::vector<std::string>> drop_blocks(kv::Store& node, const std::vector<Settled::Lost>& lost) {
  std::vector<std::string> holders;
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    holders.clear();
    for (const auto& [block, owner, revision] : lost) {
      auto here = holders_here(tx, block.pool, block.prefix);
      if (!here) return std::move(here).error();
      holders.insert(holders.end(), here->begin(), here->end());
      tx.erase(keys::block(block.use, block.pool, block.prefix));
      tx.erase(keys::available(block.use, block.pool, block.prefix));
      if (auto raised = records::raise_ownership(tx, revision); !raised) return raised;
    }
    return {};
  });
  if (!done) return std::move(done).error();
  return holders;
}

}  // namespace firn::ipam
