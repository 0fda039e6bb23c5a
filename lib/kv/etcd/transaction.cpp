#include "lib/kv/etcd/transaction.hpp"

#include <algorithm>

#include "lib/kv/keys.hpp"

namespace firn::kv {
namespace {

constexpr size_t page_entries = 1000;
constexpr size_t most_operations = 128;  // etcd's --max-txn-ops, for guards and for writes

}  // namespace

OwnKeys::OwnKeys(const std::string& prefix)
    : commit(prefix + '\0' + "commit"),
      fence(prefix + '\0' + "fence"),
      erased(prefix + '\0' + "erased/"),
      data(prefix + '\x01'),
      end(*prefix_end(prefix)) {}

std::string_view first_part(std::string_view key) { return key.substr(0, key.find('/')); }

Result<std::vector<wire::Stored>> EtcdTransaction::read(std::string start, const std::string& end, size_t limit) {
  std::vector<wire::Stored> out;
  for (;;) {
    wire::Range query;
    query.key = std::move(start);
    query.end = end;
    query.limit = limit == 0 ? page_entries : std::min(page_entries, limit - out.size());
    query.revision = revision_;
    auto answer = gateway_.call("/v3/kv/range", wire::range(query), Gateway::Effect::none, until_);
    auto page = answer ? wire::read_page(answer->root()) : Result<wire::Page>(std::move(answer).error());
    if (!page) {
      stale_ = stale_ || page.error().is(Code::interrupted);
      return std::move(page).error();
    }
    if (revision_ == 0) revision_ = page->revision;
    for (wire::Stored& stored : page->entries) {
      if (!stored.entry.key.starts_with(gateway_.options().prefix)) return make_error(Code::io, "etcd gave a key that was not asked for");
      stored.entry.key.erase(0, gateway_.options().prefix.size());
      out.push_back(std::move(stored));
    }
    if (!page->more || page->entries.empty() || (limit != 0 && out.size() >= limit)) return out;
    start = gateway_.options().prefix + out.back().entry.key + '\0';
  }
}

Result<std::optional<wire::Stored>> EtcdTransaction::look(std::string_view key) {
  if (const auto known = looked_.find(key); known != looked_.end()) return known->second;
  auto found = read(gateway_.options().prefix + std::string(key), "", 1);
  if (!found) return std::move(found).error();
  std::optional<wire::Stored> stored;
  if (!found->empty()) stored = std::move(found->front());
  looked_.emplace(key, stored);
  return stored;
}

Result<std::optional<std::string>> EtcdTransaction::get(std::string_view key) {
  if (failure_) return *failure_;
  if (auto good = check_key("etcd", key); !good) return std::move(good).error();
  if (const auto own = writes_.find(key); own != writes_.end()) return own->second.value;
  auto stored = look(key);
  if (!stored) return std::move(stored).error();
  if (!*stored) return std::optional<std::string>();
  return std::optional<std::string>((*stored)->entry.value);
}

Result<std::vector<Entry>> EtcdTransaction::range(std::string_view prefix, size_t limit, std::string_view from) {
  if (failure_) return *failure_;
  const auto behind = prefix_end(prefix);
  const std::string& root = gateway_.options().prefix;
  const std::string first(std::max(prefix, from));
  std::vector<Entry> out;
  if (behind && first >= *behind) return out;
  const auto own_begin = writes_.lower_bound(first);
  const auto own_end = behind ? writes_.lower_bound(*behind) : writes_.end();
  // What this body has erased does not count towards the limit.
  const size_t wanted = limit == 0 ? 0 : limit + static_cast<size_t>(std::distance(own_begin, own_end));
  auto stored = read(first.empty() ? own_.data : root + first, behind ? root + *behind : own_.end, wanted);
  if (!stored) return std::move(stored).error();

  Seen seen{first, behind.value_or(""), {}};
  if (wanted != 0 && stored->size() >= wanted) seen.end = stored->back().entry.key + '\0';
  for (const wire::Stored& found : *stored) {
    if (found.lease != 0) seen.leased.emplace_back(found.entry.key, found.entry.modified);
  }
  seen_.push_back(std::move(seen));
  seen_parts_.emplace(first_part(prefix), prefix.find('/') != std::string_view::npos);

  auto own = own_begin;
  const auto add_own = [&] {
    if (own->second.value) out.push_back(Entry{own->first, *own->second.value, revision_ + 1, revision_ + 1});
    ++own;
  };
  for (wire::Stored& found : *stored) {
    while (own != own_end && own->first < found.entry.key) add_own();
    if (own == own_end || own->first != found.entry.key) {
      out.push_back(std::move(found.entry));
    } else {
      add_own();
    }
  }
  while (own != own_end) add_own();
  if (limit != 0 && out.size() > limit) out.resize(limit);
  return out;
}

void EtcdTransaction::put(std::string_view key, std::string_view value, LeaseId lease) {
  if (failure_) return;
  if (auto good_key = check_key("etcd", key); !good_key) {
    failure_ = std::move(good_key).error();
  } else if (auto good = check_value("etcd", key, value); !good) {
    failure_ = std::move(good).error();
  } else {
    writes_.insert_or_assign(std::string(key), Write{std::string(value), lease});
  }
}

void EtcdTransaction::erase(std::string_view key) {
  if (failure_) return;
  if (auto good = check_key("etcd", key); !good) {
    failure_ = std::move(good).error();
  } else {
    writes_.insert_or_assign(std::string(key), Write{});
  }
}

Status EtcdTransaction::settle() {
  for (auto write = writes_.begin(); write != writes_.end();) {
    if (!write->second.value) {
      auto there = look(write->first);
      if (!there) return std::move(there).error();
      if (!*there) {
        write = writes_.erase(write);
        continue;
      }
    }
    ++write;
  }
  if (revision_ != 0) return {};
  // Also for writes alone: a cluster that is not the one it was must be found out before something is written to it.
  auto now = read(own_.commit, "", 1);
  if (!now) return std::move(now).error();
  return {};
}

Result<std::string> EtcdTransaction::request(std::string_view number) const {
  const std::string& root = gateway_.options().prefix;
  wire::Txn txn;
  txn.if_not_after(own_.fence, "", revision_);
  for (const auto& [key, stored] : looked_) {
    if (stored) txn.if_unchanged(root + key, stored->entry.modified);
    else txn.if_absent(root + key);
  }
  for (const Seen& seen : seen_) {
    txn.if_not_after(seen.start.empty() ? own_.data : root + seen.start, seen.end.empty() ? own_.end : root + seen.end, revision_);
    for (const auto& [key, modified] : seen.leased) txn.if_unchanged(root + key, modified);
  }
  for (const auto& [part, whole] : seen_parts_) {
    const std::string start = own_.erased + part;
    txn.if_not_after(start, whole ? "" : *prefix_end(start), revision_);
  }
  std::set<std::string_view> parts;
  for (const auto& [key, write] : writes_) {
    if (write.value) {
      txn.put(root + key, *write.value, write.lease);
    } else {
      txn.erase(root + key);
      parts.insert(first_part(key));
    }
  }
  for (const std::string_view part : parts) txn.put(own_.erased + std::string(part), number, 0);
  txn.put(own_.commit, number, 0);
  if (txn.guards() > most_operations || txn.writes() > most_operations) {
    return make_error(Code::invalid, "a transaction that reads " + std::to_string(txn.guards()) + " keys and ranges and writes " +
                                         std::to_string(txn.writes()) + " keys; etcd takes at most " + std::to_string(most_operations) +
                                         " of each (with those of the engine), so it must be done in parts");
  }
  return std::move(txn).take();
}

}  // namespace firn::kv
