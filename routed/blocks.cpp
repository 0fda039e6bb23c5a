#include "routed/blocks.hpp"

#include <map>
#include <utility>

#include "ipam/block.hpp"
#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

Result<std::vector<model::Block>> blocks_of(kv::Store& node) {
  auto listing = node.range(model::keys::blocks);
  if (!listing) return std::move(listing).error();
  std::vector<model::Block> out;
  for (const kv::Entry& entry : listing->entries) {
    auto block = model::decode_block(entry.value);
    // Intake reports unreadable records; here they are no reason to claim or not to.
    if (block) out.push_back(std::move(*block));
  }
  return out;
}

}  // namespace

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

Result<BlocksOutcome> maintain_blocks(kv::Store& cluster, kv::Store& node, const std::string& node_name, int64_t now) {
  BlocksOutcome out;
  const auto copy = [&]() -> Status {
    auto changed = ipam::mirror(cluster, node, node_name);
    if (!changed) return std::move(changed).error();
    out.changed = out.changed || *changed;
    return {};
  };
  if (auto done = copy(); !done) return std::move(done).error();
  const auto blocks = blocks_of(node);
  if (!blocks) return blocks.error();
  for (const Shortage& shortage : pools_without_spare(*blocks)) {
    auto claim = ipam::claim_block(cluster, node_name, shortage.pool, shortage.use, std::nullopt, now);
    if (claim) {
      out.claimed.push_back(claim->prefix.to_string() + " of pool " + shortage.pool);
      continue;
    }
    // not_found: a node-only pool, which the cluster does not know. The others: nothing more to be had, now.
    const Error& why = claim.error();
    if (!why.is(Code::not_found) && !why.is(Code::exhausted) && !why.is(Code::denied)) return why;
  }
  if (!out.claimed.empty()) {
    if (auto done = copy(); !done) return std::move(done).error();
  }
  return out;
}

}  // namespace firn::routed
