#include "ipam/block.hpp"

#include <algorithm>

namespace firn::ipam {
namespace {

constexpr uint64_t most_addresses = 65536;

uint64_t size_of(const model::Block& block) {
  const uint128 count = block.prefix.count();
  return count == 0 || count > most_addresses ? 0 : static_cast<uint64_t>(count);
}

// Cuts one ordinal out of the run at `index`.
void remove(std::vector<model::FreeRun>& runs, size_t index, uint32_t ordinal) {
  model::FreeRun& run = runs[index];
  const auto at = runs.begin() + static_cast<std::ptrdiff_t>(index);
  if (run.first == run.last) {
    runs.erase(at);
  } else if (ordinal == run.first) {
    ++run.first;
  } else if (ordinal == run.last) {
    --run.last;
  } else {
    const model::FreeRun tail{ordinal + 1, run.last, run.released_at};
    run.last = ordinal - 1;
    runs.insert(at + 1, tail);
  }
}

// Joins the last run when that keeps the order of the queue and the release times exact.
void push_back(std::vector<model::FreeRun>& runs, uint32_t ordinal, int64_t released_at) {
  if (!runs.empty() && runs.back().released_at == released_at && runs.back().last + 1 == ordinal) {
    runs.back().last = ordinal;
  } else {
    runs.push_back({ordinal, ordinal, released_at});
  }
}

}  // namespace

model::Block fresh_block(const Prefix& prefix, std::string pool, model::Use use) {
  model::Block block{prefix, std::move(pool), use, {}};
  if (const uint64_t size = size_of(block); size > 0) block.free.push_back({0, static_cast<uint32_t>(size - 1), 0});
  return block;
}

uint64_t free_count(const model::Block& block) {
  uint64_t count = 0;
  for (const model::FreeRun& run : block.free) count += run.last - run.first + 1;
  return count;
}

bool is_free(const model::Block& block, uint32_t ordinal) {
  return std::any_of(block.free.begin(), block.free.end(),
                     [ordinal](const model::FreeRun& run) { return run.first <= ordinal && ordinal <= run.last; });
}

std::optional<Address> take_first(model::Block& block, int64_t released_before, const Allowed& allowed) {
  for (size_t i = 0; i < block.free.size(); ++i) {
    const model::FreeRun run = block.free[i];
    // The queue is in order of release, but a clock that was set back may have put later times in front: look at every run.
    if (run.released_at > released_before) continue;
    for (uint32_t ordinal = run.first; ordinal <= run.last; ++ordinal) {
      const Address address = block.prefix.at(ordinal);
      if (allowed && !allowed(address)) continue;
      remove(block.free, i, ordinal);
      return address;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> oldest_release(const model::Block& block, const Allowed& allowed) {
  std::optional<int64_t> oldest;
  for (const model::FreeRun& run : block.free) {
    if (oldest && run.released_at >= *oldest) continue;
    for (uint32_t ordinal = run.first; ordinal <= run.last; ++ordinal) {
      if (allowed && !allowed(block.prefix.at(ordinal))) continue;
      oldest = run.released_at;
      break;
    }
  }
  return oldest;
}

bool take(model::Block& block, const Address& address) {
  if (!block.prefix.contains(address)) return false;
  const auto ordinal = static_cast<uint32_t>(block.prefix.offset_of(address));
  for (size_t i = 0; i < block.free.size(); ++i) {
    if (block.free[i].first > ordinal || ordinal > block.free[i].last) continue;
    remove(block.free, i, ordinal);
    return true;
  }
  return false;
}

bool give_back(model::Block& block, const Address& address, int64_t now) {
  if (!block.prefix.contains(address)) return false;
  const auto ordinal = static_cast<uint32_t>(block.prefix.offset_of(address));
  if (is_free(block, ordinal)) return false;
  push_back(block.free, ordinal, now);
  return true;
}

Status check_queue(const model::Block& block) {
  const uint64_t size = size_of(block);
  if (size == 0) return make_error(Code::invalid, "the block " + block.prefix.to_string() + " has more than 65536 addresses");
  std::vector<bool> seen(size);
  for (const model::FreeRun& run : block.free) {
    if (run.first > run.last || run.last >= size) {
      return make_error(Code::invalid, "the free run " + std::to_string(run.first) + ".." + std::to_string(run.last) +
                                           " is not inside the block " + block.prefix.to_string());
    }
    for (uint32_t ordinal = run.first; ordinal <= run.last; ++ordinal) {
      if (seen[ordinal]) return make_error(Code::invalid, block.prefix.at(ordinal).to_string() + " is in the free queue twice");
      seen[ordinal] = true;
    }
  }
  return {};
}

void rebuild_queue(model::Block& block, const std::vector<bool>& held, int64_t now) {
  const uint64_t size = size_of(block);
  std::vector<bool> seen = held;
  seen.resize(size);
  std::vector<model::FreeRun> runs;
  for (const model::FreeRun& run : block.free) {
    for (uint64_t ordinal = run.first; ordinal <= run.last && ordinal < size; ++ordinal) {
      if (seen[ordinal]) continue;
      seen[ordinal] = true;
      push_back(runs, static_cast<uint32_t>(ordinal), run.released_at);
    }
  }
  for (uint64_t ordinal = 0; ordinal < size; ++ordinal) {
    if (!seen[ordinal]) push_back(runs, static_cast<uint32_t>(ordinal), now);
  }
  block.free = std::move(runs);
}

}  // namespace firn::ipam
