#include "ipam/give_back.hpp"

#include <algorithm>

#include "ipam/block.hpp"
#include "ipam/claims.hpp"
#include "ipam/records.hpp"
#include "ipam/reshape.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/loan.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// `claimed_at` of the mark of a block that the daemon can do without, which is in no hurry to go.
constexpr int64_t unused_mark = 0;

// Nothing of the block is leased, and nothing cools. A lease counts also where the block itself is missing.
Result<bool> rests(kv::Transaction& tx, const Prefix& prefix, const std::optional<model::Block>& block, int64_t cooled) {
  auto lease = tx.range(keys::leases, 1, keys::lease(prefix.address()));
  if (!lease) return std::move(lease).error();
  if (!lease->empty() && lease->front().key <= keys::lease(prefix.last())) return false;
  auto lent = tx.range(keys::lent, 1, keys::lent_address(prefix.address()));
  if (!lent) return std::move(lent).error();
  if (!lent->empty() && lent->front().key <= keys::lent_address(prefix.last())) return false;
  if (!block) return true;
  return free_count(*block) == prefix.count() &&
         std::all_of(block->free.begin(), block->free.end(), [&](const model::FreeRun& run) { return run.released_at <= cooled; });
}

Result<std::vector<model::Pool>> shrinking_pools(kv::Store& node) {
  auto listing = node.range(keys::pools);
  if (!listing) return std::move(listing).error();
  std::vector<model::Pool> out;
  for (const kv::Entry& entry : listing->entries) {
    auto pool = records::read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    if (pool->shrinking_to) out.push_back(std::move(*pool));
  }
  return out;
}

bool is_closed(const std::vector<model::Pool>& shrinking, const model::Claim& claim) {
  const model::Pool* pool = records::pool_with(shrinking, claim.prefix);
  return pool != nullptr && pool->name == claim.pool && !pool->leasable().contains(claim.prefix);
}

// Claims of the node outside of what their pool, as the node store has it, leases from.
Result<std::vector<model::Claim>> closed_claims(kv::Store& cluster, kv::Store& node, const std::string& node_name) {
  auto shrinking = shrinking_pools(node);
  if (!shrinking) return std::move(shrinking).error();
  if (shrinking->empty()) return std::vector<model::Claim>();
  auto claims = claims_of(cluster, node_name);
  if (!claims) return claims;
  std::erase_if(*claims, [&](const model::Claim& claim) { return !is_closed(*shrinking, claim); });
  return claims;
}

}  // namespace

Result<bool> take_out(kv::Transaction& tx, const model::Claim& claim, int64_t cooled) {
  const std::string key = keys::block(claim.use, claim.pool, claim.prefix);
  auto block = records::block(tx, key);
  if (!block) return std::move(block).error();
  auto unused = rests(tx, claim.prefix, *block, cooled);
  if (!unused || !*unused) return unused;
  tx.erase(key);
  tx.erase(keys::available(claim.use, claim.pool, claim.prefix));
  tx.put(keys::returned_block(claim.prefix), model::encode(claim));
  return true;
}

Result<std::vector<model::Claim>> mark_closed(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t cooled) {
  auto closed = closed_claims(cluster, node, node_name);
  if (!closed) return std::move(closed).error();
  if (!closed->empty()) {
    auto marked = node.transact([&](kv::Transaction& tx) -> Status {
      for (const model::Claim& claim : *closed) {
        auto pool = records::pool(tx, claim.pool);
        if (!pool) return std::move(pool).error();
        if (!pool->has_value() || (*pool)->leasable().contains(claim.prefix)) continue;  // open again
        if (auto out = take_out(tx, claim, cooled); !out) return std::move(out).error();
      }
      return {};
    });
    if (!marked) return std::move(marked).error();
  }
  auto marks = node.range(keys::returned);
  if (!marks) return std::move(marks).error();
  std::vector<model::Claim> out;
  for (const kv::Entry& entry : marks->entries) {
    auto claim = model::decode_claim(entry.value);
    if (!claim) return records::unreadable(entry.key, claim.error());
    out.push_back(std::move(*claim));
  }
  return out;
}

GiveUpOutcome give_up(kv::Store& cluster, const std::vector<model::Claim>& marked) {
  GiveUpOutcome out;
  for (const model::Claim& claim : marked) {
    auto gone = give_up_block(cluster, claim);
    if (!gone && gone.error().is(Code::conflict)) {
      // Another node's by now: it is not ours to give, and not here.
      gone = cluster.transact([&](kv::Transaction& tx) -> Status {
        auto read = tx.get(keys::claim(claim.pool, claim.prefix));
        return read ? Status() : Status(std::move(read).error());
      });
    }
    if (!gone) {
      out.failure = std::move(gone).error();
      return out;
    }
    out.given.push_back({claim, *gone});
  }
  if (auto finished = finish_all_shrinking(cluster); !finished) out.failure = std::move(finished).error();
  return out;
}

Status mark_unused(kv::Store& node, const std::vector<model::Block>& blocks, const std::string& node_name, int64_t cooled) {
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    for (const model::Block& block : blocks) {
      auto out = take_out(tx, model::Claim{block.prefix, block.pool, node_name, block.use, unused_mark}, cooled);
      if (!out) return std::move(out).error();
    }
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

Status forget(kv::Store& node, const std::vector<GivenUp>& given) {
  if (given.empty()) return {};
  auto forgotten = node.transact([&](kv::Transaction& tx) -> Status {
    for (const GivenUp& one : given) {
      tx.erase(keys::returned_block(one.claim.prefix));
      if (auto raised = records::raise_ownership(tx, one.revision); !raised) return raised;
    }
    return {};
  });
  if (!forgotten) return std::move(forgotten).error();
  return {};
}

Result<std::vector<model::Claim>> give_back_closed(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t now,
                                                   std::chrono::seconds cooldown) {
  auto marked = mark_closed(cluster, node, node_name, now - cooldown.count());
  if (!marked) return marked;
  auto shrinking = shrinking_pools(node);
  if (!shrinking) return std::move(shrinking).error();
  std::erase_if(*marked,
                [&](const model::Claim& claim) { return claim.claimed_at == unused_mark && !is_closed(*shrinking, claim); });
  auto outcome = give_up(cluster, *marked);
  if (auto done = forget(node, outcome.given); !done) return std::move(done).error();
  if (outcome.failure) return *std::move(outcome.failure);
  std::vector<model::Claim> out;
  for (GivenUp& one : outcome.given) out.push_back(std::move(one.claim));
  return out;
}

}  // namespace firn::ipam
