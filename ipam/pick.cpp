#include "ipam/pick.hpp"

#include <algorithm>

#include "ipam/block.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

std::string describe(const AddressRequest& request) {
  std::string text = request.pools.size() == 1 ? "pool " : "pools ";
  for (size_t i = 0; i < request.pools.size(); ++i) text += (i == 0 ? "" : ", ") + request.pools[i];
  return text;
}

model::Lease lease_of(const Address& address, const model::Block& block) {
  return model::Lease{address, "", block.pool, block.prefix};
}

// The key behind `prefix` of the same block under available/ and under block/.
std::string block_key(const std::string& available_key) {
  return std::string(keys::blocks) + available_key.substr(records::available.size());
}

// Works for one request: walks its pools in order.
class Picker {
 public:
  Picker(kv::Transaction& tx, model::Use use, const AddressRequest& request, int64_t released_before, Tries& tries)
      : tx_(tx), use_(use), request_(request), released_before_(released_before), tries_(tries) {}

  Result<model::Lease> run() {
    if (request_.pools.empty()) return make_error(Code::invalid, "an address was asked for without naming a pool");
    auto reserved = records::reserved(tx_);
    if (!reserved) return std::move(reserved).error();
    reserved_ = std::move(*reserved);
    for (const std::string& name : request_.pools) {
      auto pool = records::pool(tx_, name);
      if (!pool) return std::move(pool).error();
      if (!pool->has_value()) {
        return make_error(Code::not_found, "pool " + name + " does not exist on this host; 'firnctl pool list' shows the pools");
      }
      if (auto open = check_fence(**pool); !open) return std::move(open).error();
      if ((*pool)->cidr.family() != request_.family) {
        return make_error(Code::invalid, "pool " + name + " (" + (*pool)->cidr.to_string() + ") is of the other address family");
      }
      if (request_.address) {
        if ((*pool)->cidr.contains(*request_.address)) return pick_static(**pool);
        continue;
      }
      if ((*pool)->disabled) {
        reasons_ += "; pool " + name + " is disabled";
        continue;
      }
      auto lease = pick_cooled(**pool);
      if (!lease) return std::move(lease).error();
      if (lease->has_value()) return std::move(**lease);
      usable_.push_back(std::move(**pool));
    }
    if (request_.address) {
      return make_error(Code::invalid, request_.address->to_string() + " is not inside " + describe(request_));
    }
    return pick_cooling();
  }

 private:
  // Whether the cluster still lets this host lease from its pools.
  Status check_fence(const model::Pool& pool) {
    if (pool.node_only) return {};
    auto found = fence(tx_, tries_.now);
    if (!found) return std::move(found).error();
    if (!found->has_value()) return {};
    return make_error(Code::unavailable, "pool " + pool.name + ": nothing is leased on this host: " + (*found)->why);
  }

  Result<model::Lease> commit(model::Block& block, const Address& address, bool had_free) {
    records::put_block(tx_, block, had_free);
    return lease_of(address, block);
  }

  // Calls visit(block) for each owned block that has a free address and may hold an allowed one, until it returns true. Blocks of
  // which nothing was released before a time that is not worth(time) are passed over unread.
  template <class Worth, class Visit>
  Status each_available(const model::Pool& pool, const Rules& rules, Worth worth, Visit visit) {
    const std::string prefix = keys::available_of(use_, pool.name);
    std::string from;
    if (request_.first && pool.cidr.contains(*request_.first)) {
      from = keys::available(use_, pool.name, Prefix::of(*request_.first, pool.block_size));
    }
    // Nearly always the first one will do; a pool whose blocks all cool is walked in larger steps.
    for (size_t step = 1;; step = std::min<size_t>(step * 4, 256)) {
      auto entries = tx_.range(prefix, step, from);
      if (!entries) return std::move(entries).error();
      for (const kv::Entry& entry : *entries) {
        const auto at = records::parse_prefix_key(std::string_view(entry.key).substr(prefix.size()));
        if (at && request_.last && at->address() > *request_.last) return {};
        if (at && !rules.allows_any(*at)) continue;
        if (!worth(records::released_hint(entry.value))) continue;
        const std::string key = block_key(entry.key);
        auto block = records::block(tx_, key);
        if (!block) return std::move(block).error();
        if (!block->has_value()) {
          return records::unreadable(entry.key, make_error(Code::invalid, "there is no block behind it"));
        }
        if (!pool.cidr.contains((*block)->prefix)) {
          return records::unreadable(key, make_error(Code::invalid, "its prefix is not inside pool " + pool.name));
        }
        if (visit(**block)) return {};
      }
      if (entries->size() < step) return {};
      from = entries->back().key + '\x01';
    }
  }

  // An address past its cooldown: in an owned block, or in a new one.
  Result<std::optional<model::Lease>> pick_cooled(const model::Pool& pool) {
    const Rules rules(pool, use_, reserved_, request_);
    const Allowed allowed = [&rules](const Address& address) { return rules.allows(address); };
    std::optional<model::Lease> out;
    const auto worth = [&](int64_t released) { return released <= released_before_; };
    auto done = each_available(pool, rules, worth, [&](model::Block& block) {
      const auto address = take_first(block, released_before_, allowed);
      if (!address) {
        // It cools as a whole: the next ones need not read it to see that.
        if (const auto oldest = oldest_release(block, {}); oldest && !worth(*oldest)) records::put_hint(tx_, block, *oldest);
        return false;
      }
      records::put_block(tx_, block, true);
      out = lease_of(*address, block);
      return true;
    });
    if (!done) return std::move(done).error();
    if (out) return out;
    if (!pool.node_only) {
      if (!tries_.may_ask) return out;
      if (const auto refused = tries_.refused.find(pool.name); refused != tries_.refused.end()) return out;
      tries_.wish = BlockWish{pool, std::nullopt};
      return make_error(Code::exhausted, "pool " + pool.name + " has no free address in the blocks of this host");
    }
    auto prefix = next_block(pool, rules);
    if (!prefix) return std::move(prefix).error();
    if (!prefix->has_value()) return out;
    auto block = records::adopt_block(tx_, pool.name, use_, **prefix);
    if (!block) return std::move(block).error();
    const bool had_free = !block->free.empty();
    const auto address = take_first(*block, released_before_, allowed);
    if (!address) return out;
    auto lease = commit(*block, *address, had_free);
    if (!lease) return std::move(lease).error();
    return std::optional<model::Lease>(std::move(*lease));
  }

  // The lowest block of a node-only pool that is not there for either use and has an address that may be given out.
  Result<std::optional<Prefix>> next_block(const model::Pool& pool, const Rules& rules) {
    std::vector<Prefix> present;
    for (const model::Use use : {model::Use::routed, model::Use::bridged}) {
      const std::string prefix = keys::blocks_of(use, pool.name);
      auto entries = tx_.range(prefix);
      if (!entries) return std::move(entries).error();
      for (const kv::Entry& entry : *entries) {
        const auto at = records::parse_prefix_key(std::string_view(entry.key).substr(prefix.size()));
        if (!at) return records::unreadable(entry.key, make_error(Code::invalid, "it is not the key of a block"));
        present.push_back(*at);
      }
    }
    std::sort(present.begin(), present.end());
    Prefix candidate = Prefix::of(pool.cidr.address(), pool.block_size);
    if (request_.first && pool.cidr.contains(*request_.first)) candidate = Prefix::of(*request_.first, pool.block_size);
    auto next = std::lower_bound(present.begin(), present.end(), candidate);
    while (true) {
      const bool taken = next != present.end() && *next == candidate;
      if (!taken && rules.allows_any(candidate) && allows_one(rules, candidate)) return std::optional<Prefix>(candidate);
      const Address last = rules.end_of_reservation(candidate).value_or(candidate.last());
      if (last >= pool.cidr.last() || (request_.last && last >= *request_.last)) return std::optional<Prefix>();
      candidate = Prefix::of(last.plus(1), pool.block_size);
      next = std::lower_bound(next, present.end(), candidate);
    }
  }

  static bool allows_one(const Rules& rules, const Prefix& block) {
    for (uint128 i = 0; i < block.count(); ++i) {
      if (rules.allows(block.at(i))) return true;
    }
    return false;
  }

  // Nothing has cooled long enough: the address that was released first, in any of the pools.
  Result<model::Lease> pick_cooling() {
    std::optional<int64_t> oldest;
    std::optional<model::Block> from;
    const model::Pool* of = nullptr;
    for (const model::Pool& pool : usable_) {
      const Rules rules(pool, use_, reserved_, request_);
      const auto worth = [&](int64_t released) { return !oldest || released < *oldest; };
      auto done = each_available(pool, rules, worth, [&](model::Block& block) {
        const auto release = oldest_release(block, [&rules](const Address& address) { return rules.allows(address); });
        if (release && (!oldest || *release < *oldest)) {
          oldest = release;
          from = block;
          of = &pool;
        }
        return false;
      });
      if (!done) return std::move(done).error();
    }
    if (!from) return exhausted();
    const Rules rules(*of, use_, reserved_, request_);
    const auto address = take_first(*from, *oldest, [&rules](const Address& a) { return rules.allows(a); });
    if (!address) return exhausted();
    return commit(*from, *address, true);
  }

  Error exhausted() const {
    Code code = Code::exhausted;
    std::string text = "no free address for " + std::string(to_string(use_)) + " use in " + describe(request_);
    if (request_.first || request_.last) {
      text += " between " + (request_.first ? request_.first->to_string() : "its beginning") + " and " +
              (request_.last ? request_.last->to_string() : "its end");
    }
    text += reasons_;
    for (const auto& [pool, why] : tries_.refused) {
      text += "; pool " + pool + ": " + why.message;
      // The blocks are there, only their store is not: a later try may do better.
      if (!why.is(Code::exhausted) && !why.is(Code::denied)) code = why.code;
    }
    return make_error(code, text + "; 'firnctl ipam show' shows what is used");
  }

  Result<model::Lease> pick_static(const model::Pool& pool) {
    const Address& address = *request_.address;
    const std::string name = address.to_string();
    if (pool.disabled) return make_error(Code::denied, name + " cannot be leased: pool " + pool.name + " is disabled");
    if (const char* why = Rules(pool, use_, reserved_, request_).refusal(address)) {
      return make_error(Code::invalid, name + " cannot be leased: it " + why);
    }
    auto held = records::lease(tx_, address);
    if (!held) return std::move(held).error();
    if (held->has_value()) return held_by(name, (*held)->handle);
    const Prefix prefix = Prefix::of(address, pool.block_size);
    auto block = records::block(tx_, keys::block(use_, pool.name, prefix));
    if (!block) return std::move(block).error();
    if (!block->has_value() && !pool.node_only) {
      if (!tries_.may_ask) {
        return make_error(Code::exhausted, name + " cannot be leased: this host does not own the block " + prefix.to_string() +
                                               " of pool " + pool.name);
      }
      tries_.wish = BlockWish{pool, address};
      return make_error(Code::exhausted, "this host does not own the block " + prefix.to_string() + " of pool " + pool.name);
    }
    if (!block->has_value()) {
      auto adopted = records::adopt_block(tx_, pool.name, use_, prefix);
      if (!adopted) return std::move(adopted).error();
      *block = std::move(*adopted);
    }
    if (!take(**block, address)) {
      return records::unreadable(keys::block(use_, pool.name, prefix),
                                 make_error(Code::invalid, name + " is neither free nor leased"));
    }
    return commit(**block, address, true);
  }

  Error held_by(const std::string& address, const std::string& handle) {
    std::string text = address + " is leased by " + handle;
    const auto holder = records::endpoint(tx_, handle);
    if (holder && *holder && !(*holder)->pod_name.empty()) {
      text += " (pod " + (*holder)->pod_namespace + "/" + (*holder)->pod_name + ")";
    }
    return make_error(Code::conflict, std::move(text));
  }

  kv::Transaction& tx_;
  const model::Use use_;
  const AddressRequest& request_;
  const int64_t released_before_;
  Tries& tries_;
  std::vector<Prefix> reserved_;
  std::vector<model::Pool> usable_;
  std::string reasons_;
};

}  // namespace

Rules::Rules(const model::Pool& pool, model::Use use, const std::vector<Prefix>& reserved, const AddressRequest& request)
    : reserved_(reserved), request_(request), leasable_(pool.leasable()) {
  // On a layer-2 network the first address of a subnet means the network (IPv6: its routers, RFC 4291), the last of an IPv4
  // one everybody. Links of two or one address have neither (RFC 3021, RFC 6164).
  if (use != model::Use::bridged || pool.cidr.length() + 1 >= pool.cidr.address().bits()) return;
  network_ = pool.cidr.address();
  if (pool.cidr.address().is_v4()) broadcast_ = pool.cidr.last();
}

const char* Rules::refusal(const Address& address) const {
  if (!leasable_.contains(address)) return "lies in the part that its pool gives up";
  if (network_ == address) return "is the network address of its subnet";
  if (broadcast_ == address) return "is the broadcast address of its subnet";
  if (request_.first && address < *request_.first) return "lies before the first address of the range";
  if (request_.last && address > *request_.last) return "lies behind the last address of the range";
  for (const Address& excluded : request_.excluded) {
    if (excluded == address) return "is excluded, as the gateway of a network is";
  }
  for (const Prefix& prefix : reserved_) {
    if (prefix.contains(address)) return "is reserved";
  }
  return nullptr;
}

bool Rules::allows_any(const Prefix& block) const {
  if (!leasable_.contains(block)) return false;
  if (request_.first && block.last() < *request_.first) return false;
  if (request_.last && block.address() > *request_.last) return false;
  return !end_of_reservation(block);
}

std::optional<Address> Rules::end_of_reservation(const Prefix& block) const {
  for (const Prefix& prefix : reserved_) {
    if (prefix.contains(block)) return prefix.last();
  }
  return std::nullopt;
}

Result<model::Lease> pick_address(kv::Transaction& tx, model::Use use, const AddressRequest& request, int64_t released_before,
                                  Tries& tries) {
  return Picker(tx, use, request, released_before, tries).run();
}

}  // namespace firn::ipam
