#include "ipam/shortage.hpp"

#include <algorithm>
#include <set>

#include "ipam/block.hpp"
#include "ipam/loans.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {

namespace keys = model::keys;

Status note_shortages(kv::Store& node, const std::vector<Shortage>& shortages) {
  std::set<std::string> wanted;
  for (const Shortage& shortage : shortages) wanted.insert(keys::low(shortage.use, shortage.pool));
  const auto differ = [&](const std::vector<kv::Entry>& entries) {
    return entries.size() != wanted.size() ||
           !std::ranges::all_of(entries, [&](const kv::Entry& entry) { return wanted.contains(entry.key); });
  };
  // Nearly always nothing is to be written.
  auto there = node.range(keys::lows);
  if (!there) return std::move(there).error();
  if (!differ(there->entries)) return {};
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    auto entries = tx.range(keys::lows);
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      if (!wanted.contains(entry.key)) tx.erase(entry.key);
    }
    for (const std::string& key : wanted) tx.put(key, "");
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

Result<bool> is_low(kv::Store& node, const Shortage& pool) {
  auto noted = node.get(keys::low(pool.use, pool.pool));
  if (!noted) return std::move(noted).error();
  if (!*noted) return false;
  auto blocks = select_blocks(node, false);
  if (!blocks) return std::move(blocks).error();
  return std::ranges::none_of(*blocks, [&](const model::Block& block) {
    return block.pool == pool.pool && block.use == pool.use && free_count(block) == block.prefix.count();
  });
}

}  // namespace firn::ipam
