#include "ipam/reshape.hpp"

#include <algorithm>
#include <set>

#include "ipam/pools.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// An etcd takes 128 writes and 128 conditions in a transaction. Each moved claim is two of both, each pool another condition.
constexpr size_t claims_at_once = 40;
constexpr size_t most_parts = 32;

Error invalid(const std::string& why) { return make_error(Code::invalid, why); }

// A pool that may be reshaped now.
Result<model::Pool> idle_pool(kv::Transaction& tx, const std::string& name) {
  auto pool = records::pool(tx, name);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value()) return make_error(Code::not_found, "there is no pool " + name + "; 'firnctl pool list' shows them");
  if (auto idle = check_not_moving(tx, **pool); !idle) return std::move(idle).error();
  return std::move(**pool);
}

Status check_not_shrinking(const model::Pool& pool) {
  if (!pool.shrinking_to) return {};
  return make_error(Code::conflict, "pool " + pool.name + " shrinks to " + pool.shrinking_to->to_string() +
                                        "; let that end, or end it with 'firnctl pool resize " + pool.name + " " +
                                        pool.cidr.to_string() + "'");
}

// What two pools must have in common to become one.
std::string settings_of(model::Pool pool) {
  pool.name = "any";
  pool.cidr = Prefix::of(pool.cidr.address().is_v4() ? Address::v4(0) : Address::v6(0), 0);
  return model::encode(pool);
}

Result<std::vector<Prefix>> halves(const Prefix& cidr, size_t count) {
  int bits = 0;
  while ((size_t{1} << bits) < count) ++bits;
  if ((size_t{1} << bits) != count) {
    return invalid("parts of equal size are 2, 4, 8, 16 or 32, not " + std::to_string(count) +
                   "; or give each its CIDR, as NAME=CIDR");
  }
  if (cidr.length() + bits > cidr.address().bits())
    return invalid(cidr.to_string() + " cannot be cut into " + std::to_string(count) + " parts");
  std::vector<Prefix> out;
  for (size_t i = 0; i < count; ++i) {
    out.push_back(Prefix::of(out.empty() ? cidr.address() : out.back().last().plus(1), cidr.length() + bits));
  }
  return out;
}

// The parts as pools, if they are sound ones and together the whole.
Result<std::vector<model::Pool>> cut(const model::Pool& whole, const std::vector<Part>& parts) {
  if (parts.size() < 2 || parts.size() > most_parts)
    return invalid("a pool is split into 2 to " + std::to_string(most_parts) + " parts");
  const auto with_cidr = std::count_if(parts.begin(), parts.end(), [](const Part& part) { return part.cidr.has_value(); });
  std::vector<Prefix> cidrs;
  if (with_cidr == 0) {
    auto equal = halves(whole.cidr, parts.size());
    if (!equal) return std::move(equal).error();
    cidrs = std::move(*equal);
  } else if (static_cast<size_t>(with_cidr) == parts.size()) {
    for (const Part& part : parts) cidrs.push_back(*part.cidr);
  } else {
    return invalid("give every part its CIDR, or none");
  }
  std::vector<model::Pool> out;
  uint128 count = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    model::Pool pool = whole;
    pool.name = parts[i].name;
    pool.cidr = cidrs[i];
    pool.moving_from.clear();
    if (pool.name != whole.name) pool.moving_from.push_back(whole.name);
    if (auto sound = validate(pool); !sound) return std::move(sound).error().context("part " + pool.name);
    if (!whole.cidr.contains(pool.cidr)) {
      return invalid("part " + pool.name + " (" + pool.cidr.to_string() + ") is not inside pool " + whole.name + " (" +
                     whole.cidr.to_string() + ")");
    }
    for (const model::Pool& other : out) {
      if (other.name == pool.name) return invalid("two parts have the name " + pool.name);
      if (other.cidr.overlaps(pool.cidr))
        return invalid("the parts " + other.name + " (" + other.cidr.to_string() + ") and " + pool.name + " (" +
                       pool.cidr.to_string() + ") overlap");
    }
    count += pool.cidr.count();
    out.push_back(std::move(pool));
  }
  if (count != whole.cidr.count())
    return invalid("the parts leave out some of " + whole.cidr.to_string() + "; name a part for the rest, '" + whole.name +
                   "=CIDR' for one");
  return out;
}

// The one pool that the others become.
Result<model::Pool> join(std::vector<model::Pool> pools, const std::string& into) {
  std::sort(pools.begin(), pools.end(), [](const auto& a, const auto& b) { return a.cidr < b.cidr; });
  model::Pool whole = pools.front();
  uint128 count = 0;
  for (const model::Pool& pool : pools) {
    if (pool.cidr.family() != whole.cidr.family()) return invalid("pools of IPv4 and of IPv6 addresses cannot become one");
    if (pool.block_size != whole.block_size) {
      return invalid("pool " + whole.name + " has blocks of /" + std::to_string(whole.block_size) + ", pool " + pool.name +
                     " of /" + std::to_string(pool.block_size) + ": they cannot become one");
    }
    if (settings_of(pool) != settings_of(whole)) {
      return make_error(Code::conflict, "the settings of the pools " + whole.name + " and " + pool.name +
                                            " differ ('firnctl pool list'); make them the same with 'firnctl pool set' first");
    }
    count += pool.cidr.count();
  }
  int length = whole.cidr.length();
  while (length > 0 && Prefix::of(whole.cidr.address(), length).count() < count) --length;
  const Prefix cidr = Prefix::of(whole.cidr.address(), length);
  const bool all = std::all_of(pools.begin(), pools.end(), [&](const model::Pool& pool) { return cidr.contains(pool.cidr); });
  if (!all || cidr.count() != count) {
    std::string text;
    for (const model::Pool& pool : pools) text += (text.empty() ? "" : ", ") + pool.cidr.to_string();
    return invalid("the CIDRs of the pools (" + text + ") are together no CIDR");
  }
  for (const model::Pool& pool : pools) {
    if (pool.name != into) whole.moving_from.push_back(pool.name);
  }
  whole.name = into;
  whole.cidr = cidr;
  return whole;
}

Status rename_claim(kv::Transaction& tx, model::Claim claim, const std::string& name) {
  const std::string key = keys::claim(name, claim.prefix);
  auto there = tx.get(key);
  if (!there) return std::move(there).error();
  if (there->has_value()) {
    return make_error(Code::conflict, "block " + claim.prefix.to_string() + " is claimed in pool " + claim.pool + " (by node " +
                                          claim.node + ") and in pool " + name + ", too");
  }
  tx.erase(keys::claim(claim.pool, claim.prefix));
  claim.pool = name;
  tx.put(key, model::encode(claim));
  return {};
}

// Up to claims_at_once claims inside the pool that are under one of the old names; with the last, the pool is complete.
Status move_some(kv::Transaction& tx, const std::string& name, bool& complete) {
  complete = true;
  auto pool = records::pool(tx, name);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value() || (*pool)->moving_from.empty()) return {};
  size_t room = claims_at_once;
  for (const std::string& old : (*pool)->moving_from) {
    auto entries = tx.range(keys::claims_of(old), room, keys::claim(old, Prefix::of((*pool)->cidr.address(), (*pool)->block_size)));
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if (!(*pool)->cidr.contains(claim->prefix)) break;
      if (auto done = rename_claim(tx, std::move(*claim), name); !done) return done;
      if (--room > 0) continue;
      complete = false;
      return {};
    }
  }
  (*pool)->moving_from.clear();
  tx.put(keys::pool(name), model::encode(**pool));
  return {};
}

}  // namespace

Result<model::Pool> resize_pool(kv::Store& cluster, const std::string& name, const Prefix& cidr) {
  model::Pool now;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    auto pool = idle_pool(tx, name);
    if (!pool) return std::move(pool).error();
    now = *pool;
    now.shrinking_to.reset();
    if (cidr.contains(now.cidr)) {
      now.cidr = cidr;
      if (auto sound = validate(now); !sound) return std::move(sound).error().context("pool " + name);
    } else if (now.cidr.contains(cidr)) {
      model::Pool smaller = now;
      smaller.cidr = cidr;
      if (auto sound = validate(smaller); !sound) return std::move(sound).error().context("pool " + name);
      now.shrinking_to = cidr;
    } else {
      return invalid(cidr.to_string() + " neither contains " + now.cidr.to_string() + ", the addresses of pool " + name +
                     ", nor lies inside of it");
    }
    auto pools = records::pools(tx);
    if (!pools) return std::move(pools).error();
    if (auto apart = check_overlap(*pools, now); !apart) return apart;
    if (now != *pool) tx.put(keys::pool(name), model::encode(now));
    return {};
  });
  if (!done) return std::move(done).error();
  return now;
}

Result<std::vector<model::Claim>> finish_shrinking(kv::Store& cluster, const std::string& name) {
  std::vector<model::Claim> left;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    left.clear();
    auto pool = records::pool(tx, name);
    if (!pool) return std::move(pool).error();
    if (!pool->has_value() || !(*pool)->shrinking_to) return {};
    auto entries = tx.range(keys::claims_of(name));
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      if ((*pool)->cidr.contains(claim->prefix) && !(*pool)->leasable().contains(claim->prefix)) left.push_back(std::move(*claim));
    }
    if (!left.empty()) return {};
    (*pool)->cidr = *std::exchange((*pool)->shrinking_to, std::nullopt);
    tx.put(keys::pool(name), model::encode(**pool));
    return {};
  });
  if (!done) return std::move(done).error();
  return left;
}

Status finish_all_shrinking(kv::Store& cluster) {
  auto pools = cluster.range(keys::pools);
  if (!pools) return std::move(pools).error();
  for (const kv::Entry& entry : pools->entries) {
    auto pool = records::read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    if (!pool->shrinking_to) continue;
    if (auto left = finish_shrinking(cluster, pool->name); !left) return std::move(left).error();
  }
  return {};
}

Result<std::vector<model::Pool>> split_pool(kv::Store& cluster, const std::string& name, const std::vector<Part>& parts) {
  std::vector<model::Pool> made;
  auto begun = cluster.transact([&](kv::Transaction& tx) -> Status {
    auto whole = idle_pool(tx, name);
    if (!whole) return std::move(whole).error();
    if (auto still = check_not_shrinking(*whole); !still) return still;
    auto pieces = cut(*whole, parts);
    if (!pieces) return std::move(pieces).error();
    tx.erase(keys::pool(name));
    for (const model::Pool& piece : *pieces) {
      auto taken = tx.get(keys::pool(piece.name));
      if (!taken) return std::move(taken).error();
      if (taken->has_value()) return make_error(Code::exists, "pool " + piece.name + " exists already");
      tx.put(keys::pool(piece.name), model::encode(piece));
    }
    made = std::move(*pieces);
    return {};
  });
  if (!begun) return std::move(begun).error();
  for (model::Pool& pool : made) {
    if (auto moved = finish_moving(cluster, pool.name); !moved) return std::move(moved).error();
    pool.moving_from.clear();
  }
  return made;
}

Result<model::Pool> merge_pools(kv::Store& cluster, const std::vector<std::string>& names, const std::string& into) {
  model::Pool made;
  auto begun = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (names.size() < 2 || names.size() > most_parts) return invalid("2 to " + std::to_string(most_parts) + " pools are merged");
    if (std::set(names.begin(), names.end()).size() != names.size()) return invalid("a pool is named twice");
    std::vector<model::Pool> pools;
    for (const std::string& name : names) {
      auto pool = idle_pool(tx, name);
      if (!pool) return std::move(pool).error();
      if (auto still = check_not_shrinking(*pool); !still) return still;
      pools.push_back(std::move(*pool));
    }
    auto whole = join(std::move(pools), into);
    if (!whole) return std::move(whole).error();
    if (auto sound = validate(*whole); !sound) return std::move(sound).error().context("pool " + into);
    for (const std::string& name : names) tx.erase(keys::pool(name));
    auto taken = tx.get(keys::pool(into));
    if (!taken) return std::move(taken).error();
    if (taken->has_value()) return make_error(Code::exists, "pool " + into + " exists already");
    tx.put(keys::pool(into), model::encode(*whole));
    made = std::move(*whole);
    return {};
  });
  if (!begun) return std::move(begun).error();
  if (auto moved = finish_moving(cluster, into); !moved) return std::move(moved).error();
  made.moving_from.clear();
  return made;
}

Status finish_moving(kv::Store& cluster, const std::string& name) {
  for (bool complete = false; !complete;) {
    auto done = cluster.transact([&](kv::Transaction& tx) { return move_some(tx, name, complete); });
    if (!done) {
      return std::move(done).error().context("pool " + name +
                                             " is not complete yet; containers go on, and 'firnctl pool resume' completes it");
    }
  }
  return {};
}

}  // namespace firn::ipam
