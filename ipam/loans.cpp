#include "ipam/loans.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "ipam/block.hpp"
#include "ipam/ownership.hpp"
#include "ipam/records.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

Status done(Result<kv::Revision> committed) {
  if (!committed) return std::move(committed).error();
  return {};
}

// A free address of the block that rests, from the back of the queue, where the lender would come last; not the last one of it.
std::optional<Address> spare_address(const model::Block& block, int64_t cooled, const std::vector<Prefix>& reserved) {
  if (free_count(block) < 2) return std::nullopt;
  for (auto run = block.free.rbegin(); run != block.free.rend(); ++run) {
    if (run->released_at > cooled) continue;
    for (uint32_t i = run->last + 1; i-- > run->first;) {
      const Address address = block.prefix.at(i);
      const bool closed =
          std::any_of(reserved.begin(), reserved.end(), [&](const Prefix& prefix) { return prefix.contains(address); });
      if (!closed) return address;
    }
  }
  return std::nullopt;
}

Result<std::optional<model::Lent>> choose(kv::Transaction& tx, const model::Ask& ask, int64_t cooled, const Moment& now) {
  auto fenced = fence(tx, now);
  if (!fenced) return std::move(fenced).error();
  auto pool = records::pool(tx, ask.pool);
  if (!pool) return std::move(pool).error();
  if (*fenced || !pool->has_value() || (*pool)->disabled || (*pool)->node_only) return std::optional<model::Lent>();
  auto reserved = records::reserved(tx);
  if (!reserved) return std::move(reserved).error();
  auto blocks = tx.range(keys::blocks_of(model::Use::routed, ask.pool));
  if (!blocks) return std::move(blocks).error();
  for (const kv::Entry& entry : *blocks) {
    auto block = records::read_block(entry.key, entry.value);
    if (!block) return std::move(block).error();
    if (model::is_loan(**pool, block->prefix) || !(*pool)->leasable().contains(block->prefix)) continue;
    if (const auto address = spare_address(*block, cooled, *reserved))
      return std::optional(model::Lent{*address, ask.pool, ask.borrower});
  }
  return std::optional<model::Lent>();
}

}  // namespace

Status ask_for_address(kv::Store& cluster, const model::Identity& self, const std::string& pool_name,
                       const std::vector<std::string>& lenders, size_t turn) {
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto known = check_identity(tx, self); !known) return known;
    auto pool = records::pool(tx, pool_name);
    if (!pool) return std::move(pool).error();
    if (!pool->has_value() || (*pool)->disabled) return make_error(Code::denied, "pool " + pool_name + " is not there or disabled");
    if ((*pool)->strict) return make_error(Code::exhausted, "pool " + pool_name + " is strict: no address is borrowed");
    for (size_t i = 0; i < lenders.size(); ++i) {
      const std::string& lender = lenders[(turn + i) % lenders.size()];
      auto beat = tx.get(keys::beat(lender));
      if (!beat) return std::move(beat).error();
      if (!beat->has_value() || lender == self.name) continue;
      const model::Ask ask{lender, self.name, pool_name, self.generation};
      tx.put(keys::ask(ask), model::encode(ask));
      return {};
    }
    return make_error(Code::exhausted, "no host that is alive has a block of pool " + pool_name + " to borrow from");
  }));
}

Result<std::optional<model::Lent>> set_aside(kv::Store& node, const model::Ask& ask, int64_t cooled, const Moment& now) {
  std::optional<model::Lent> out;
  auto committed = node.transact([&](kv::Transaction& tx) -> Status {
    auto chosen = choose(tx, ask, cooled, now);
    if (!chosen) return std::move(chosen).error();
    out = *std::move(chosen);
    if (out) tx.put(keys::lent_address(out->address), model::encode(*out));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return out;
}

Status make_durable(const std::string& path) {
  const std::string data = path + "-data";
  const unique_fd fd(::open(data.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd || ::fdatasync(fd.get()) != 0) return errno_error("write " + data + " to the disk");
  return {};
}

Status lend(kv::Store& cluster, const model::Identity& self, const model::Ask& ask, const std::optional<model::Lent>& lent,
            int64_t now) {
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    const std::string key = keys::ask(ask);
    auto asked = tx.get(key);
    if (!asked) return std::move(asked).error();
    if (!lent) {
      if (asked->has_value()) tx.erase(key);
      return {};
    }
    const auto refuse = [&](const std::string& why) {
      return make_error(Code::conflict, lent->address.to_string() + " is not lent to node " + ask.borrower + ": " + why);
    };
    if (auto known = check_identity(tx, self); !known)
      return known.error().is(Code::denied) ? refuse(known.error().message) : known;
    auto pool = records::pool(tx, ask.pool);
    if (!pool) return std::move(pool).error();
    if (!asked->has_value()) return refuse("it does not ask any more");
    if (!pool->has_value() || !(*pool)->cidr.contains(lent->address)) return refuse("it is not of pool " + ask.pool + " any more");
    if (!(*pool)->moving_from.empty()) return refuse("pool " + ask.pool + " takes blocks over from others just now");
    const std::string borrower_key = keys::node(ask.borrower);
    auto borrower = tx.get(borrower_key);
    if (!borrower) return std::move(borrower).error();
    auto record = borrower->has_value() ? model::decode_node(**borrower) : Result<model::Node>(model::Node{});
    if (!record) return records::unreadable(borrower_key, record.error());
    if (!borrower->has_value() || record->generation != ask.generation) return refuse("it was removed");
    const std::string block_key = keys::claim(ask.pool, Prefix::of(lent->address, (*pool)->block_size));
    auto block = tx.get(block_key);
    if (!block) return std::move(block).error();
    auto owner = block->has_value() ? records::read_claim(block_key, **block) : Result<model::Claim>(model::Claim{});
    if (!owner) return std::move(owner).error();
    if (owner->node != self.name) return refuse("the block is not this host's");
    const Prefix single = Prefix::host(lent->address);
    auto other = tx.get(keys::claim(ask.pool, single));
    if (!other) return std::move(other).error();
    if (other->has_value()) return refuse("it is lent already");
    tx.put(keys::claim(ask.pool, single), model::encode(model::Claim{single, ask.pool, ask.borrower, model::Use::routed, now}));
    tx.erase(key);
    return {};
  }));
}

Status take_back(kv::Store& node, const std::vector<Address>& addresses) {
  return done(node.transact([&](kv::Transaction& tx) -> Status {
    for (const Address& address : addresses) tx.erase(keys::lent_address(address));
    return {};
  }));
}

Status end_returns(kv::Store& cluster, const std::string& lender, const std::vector<Address>& addresses) {
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    for (const Address& address : addresses) tx.erase(keys::return_of(lender, address));
    return {};
  }));
}

Status note_return(kv::Transaction& cluster, const model::Claim& claim) {
  if (!claim.prefix.is_host()) return {};
  auto pools = records::pools(cluster);
  if (!pools) return std::move(pools).error();
  const model::Pool* pool = records::pool_with(*pools, claim.prefix);
  if (pool == nullptr || !model::is_loan(*pool, claim.prefix)) return {};
  auto owner = records::claim_of(cluster, *pool, Prefix::of(claim.prefix.address(), pool->block_size));
  if (!owner) return std::move(owner).error();
  if (!owner->has_value()) return {};  // the lender is no node any more: its blocks are free once the loans are
  cluster.put(keys::return_of((*owner)->node, claim.prefix.address()), "");
  return {};
}

Result<std::vector<model::Lent>> lent_here(kv::Transaction& node) {
  auto entries = node.range(keys::lent);
  if (!entries) return std::move(entries).error();
  std::vector<model::Lent> out;
  for (const kv::Entry& entry : *entries) {
    auto lent = model::decode_lent(entry.value);
    if (!lent) return records::unreadable(entry.key, lent.error());
    out.push_back(*std::move(lent));
  }
  return out;
}

Result<std::vector<model::Block>> select_blocks(kv::Store& node, bool loans) {
  auto blocks = blocks_here(node);
  if (!blocks) return blocks;
  std::vector<model::Pool> pools;
  auto listing = node.range(keys::pools);
  if (!listing) return std::move(listing).error();
  for (const kv::Entry& entry : listing->entries) {
    auto pool = records::read_pool(entry.key, entry.value);
    if (!pool) return std::move(pool).error();
    pools.push_back(std::move(*pool));
  }
  std::erase_if(*blocks, [&](const model::Block& block) {
    const model::Pool* pool = records::pool_with(pools, block.prefix);
    return (pool != nullptr && model::is_loan(*pool, block.prefix)) != loans;
  });
  return blocks;
}

}  // namespace firn::ipam
