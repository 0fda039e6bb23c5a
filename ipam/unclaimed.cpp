#include "ipam/unclaimed.hpp"

#include <algorithm>
#include <optional>
#include <string>

#include "ipam/records.hpp"
#include "lib/base/hash.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

constexpr size_t near_claims = 32;  // claims read in search of the lowest gap
constexpr int places = 8;           // of a node's own that are looked at next
constexpr size_t page = 512;        // claims read at a time when nothing else has helped

Result<Prefix> claimed_prefix(const kv::Entry& entry, const std::string& claims) {
  const auto taken = records::parse_prefix_key(std::string_view(entry.key).substr(claims.size()));
  if (taken) return *taken;
  return records::unreadable(entry.key, make_error(Code::invalid, "it is not the key of a claim"));
}

// The lowest block without a claim. Claims are sorted as their blocks are, so the first gap is it. With `most`: among that many
// claims; nothing when they have no gap.
Result<std::optional<Prefix>> lowest_unclaimed(kv::Transaction& tx, const model::Pool& pool, const std::vector<Prefix>& reserved,
                                               std::optional<size_t> most) {
  const std::string claims = keys::claims_of(pool.name);
  const Prefix within = pool.leasable();
  Prefix candidate = Prefix::of(within.address(), pool.block_size);
  bool full = false;
  // Steps over reservations that cover whole blocks; sets `full` at the end of the pool.
  const auto advance = [&](Address last) {
    full = last >= within.last();
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
  const size_t at_once = most.value_or(page);
  while (!full) {
    auto entries = tx.range(claims, at_once, from);
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      const auto taken = claimed_prefix(entry, claims);
      if (!taken) return std::move(taken).error();
      if (taken->last() < candidate.address()) continue;
      // A block that nobody has is not to be had while one address of it is still lent.
      if (!candidate.overlaps(*taken)) return std::optional(candidate);
      advance(candidate.last());
      skip_reserved();
      if (full) break;
    }
    if (!full && entries->size() < at_once) return std::optional(candidate);
    if (most) break;
    if (!entries->empty()) from = entries->back().key + '\x01';
  }
  return std::optional<Prefix>();
}

Prefix place_of(const model::Pool& pool, std::string_view node, int number) {
  const Prefix within = pool.leasable();
  const uint128 size = Prefix::of(within.address(), pool.block_size).count();
  const uint64_t hash = fnv1a(pool.name + "/" + std::string(node) + "/" + std::to_string(number));
  return Prefix::of(within.at(hash % (within.count() / size) * size), pool.block_size);
}

}  // namespace

Result<Prefix> unclaimed_block(kv::Transaction& tx, const model::Pool& pool, const std::vector<Prefix>& reserved,
                               std::string_view node, int attempt) {
  if (attempt == 0) {
    auto lowest = lowest_unclaimed(tx, pool, reserved, near_claims);
    if (!lowest) return std::move(lowest).error();
    if (*lowest) return **lowest;
  }
  const std::string claims = keys::claims_of(pool.name);
  for (int place = 0; place < places; ++place) {
    const Prefix candidate = place_of(pool, node, attempt * places + place);
    if (std::any_of(reserved.begin(), reserved.end(), [&](const Prefix& prefix) { return prefix.contains(candidate); })) continue;
    // A claim of the block, or a loan of one of its addresses, is the first key from there on.
    auto next = tx.range(claims, 1, keys::claim(pool.name, candidate));
    if (!next) return std::move(next).error();
    if (next->empty()) return candidate;
    auto taken = claimed_prefix(next->front(), claims);
    if (!taken) return std::move(taken).error();
    if (!candidate.overlaps(*taken)) return candidate;
  }
  auto lowest = lowest_unclaimed(tx, pool, reserved, std::nullopt);
  if (!lowest) return std::move(lowest).error();
  if (*lowest) return **lowest;
  return make_error(Code::exhausted,
                    "every block of pool " + pool.name + " (" + pool.leasable().to_string() + ") is claimed or reserved");
}

}  // namespace firn::ipam
