#include "routed/blocks.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "ipam/block.hpp"
#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {

Result<std::vector<model::Block>> blocks_of(kv::Store& node) {
  auto listing = node.range(model::keys::blocks);
  if (!listing) return std::move(listing).error();
  std::vector<model::Block> out;
  for (const kv::Entry& entry : listing->entries) {
    auto block = model::decode_block(entry.value);
    if (block) out.push_back(std::move(*block));
  }
  return out;
}

std::vector<Shortage> pools_without_spare(const std::vector<model::Block>& blocks) {
  struct State {
    bool used = false, spare = false;
  };
  std::map<std::pair<std::string, model::Use>, State> pools;
  for (const model::Block& block : blocks) {
    State& state = pools[{block.pool, block.use}];
    if (ipam::free_count(block) == block.prefix.count()) state.spare = true;
    else state.used = true;
  }
  std::vector<Shortage> out;
  for (const auto& [pool, state] : pools) {
    if (state.used && !state.spare) out.push_back({pool.first, pool.second});
  }
  return out;
}

std::vector<model::Block> blocks_above_high_water(const std::vector<model::Block>& blocks, int64_t cooled) {
  const auto is_free = [](const model::Block& block) { return ipam::free_count(block) == block.prefix.count(); };
  const auto rests = [&](const model::Block& block) {
    return std::all_of(block.free.begin(), block.free.end(), [&](const model::FreeRun& run) { return run.released_at <= cooled; });
  };
  std::map<std::pair<std::string, model::Use>, size_t> kept;
  std::vector<model::Block> out;
  // Those that may not go yet are kept first: they count too.
  for (const bool resting : {false, true}) {
    for (const model::Block& block : blocks) {
      if (!is_free(block) || rests(block) != resting) continue;
      if (++kept[{block.pool, block.use}] > high_water && resting) out.push_back(block);
    }
  }
  std::reverse(out.begin(), out.end());
  return out;
}

ClaimsOutcome claim_blocks(kv::Store* cluster, const model::Identity& self, const std::vector<Shortage>& shortages, int64_t now) {
  ClaimsOutcome out;
  if (cluster == nullptr) return out;
  for (const Shortage& shortage : shortages) {
    auto claim = ipam::claim_block(*cluster, self, shortage.pool, shortage.use, std::nullopt, now);
    if (claim) {
      out.claimed.push_back(*std::move(claim));
      continue;
    }
    // not_found: a node-only pool, which the cluster does not know. The others: nothing more to be had, now.
    Error& why = claim.error();
    if (why.is(Code::exhausted)) out.exhausted.push_back(shortage);
    if (why.is(Code::not_found) || why.is(Code::exhausted) || why.is(Code::denied)) continue;
    out.failure = std::move(why);
    return out;
  }
  out.complete = true;
  return out;
}

}  // namespace firn::routed
