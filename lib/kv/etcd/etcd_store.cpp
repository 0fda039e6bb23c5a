#include "lib/kv/etcd/etcd_store.hpp"

#include <sys/random.h>

#include <algorithm>

#include "lib/kv/etcd/gateway.hpp"
#include "lib/kv/etcd/transaction.hpp"
#include "lib/kv/etcd/watch.hpp"
#include "lib/kv/etcd/wire.hpp"
#include "lib/kv/keys.hpp"

namespace firn::kv {
namespace {

using Clock = std::chrono::steady_clock;
using Effect = Gateway::Effect;

Result<std::string> random_number() {
  unsigned char random[16];
  if (::getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return errno_error("number a transaction");
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : random) out.append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
  return out;
}

class GatewayStore final : public Store {
 public:
  explicit GatewayStore(std::unique_ptr<Gateway> gateway)
      : gateway_(std::move(gateway)), own_(gateway_->options().prefix), watch_(*gateway_, own_) {}

  Result<Revision> transact(const Body& body) override;
  Result<std::optional<Entry>> get(std::string_view key) override;
  Result<Listing> range(std::string_view prefix) override;
  Result<int> watch_fd() override;
  Result<Changes> changes(Revision after, std::string_view prefix) override;
  Result<LeaseId> grant(std::chrono::seconds ttl) override;
  Result<std::chrono::seconds> keep_alive(LeaseId lease) override;
  Status revoke(LeaseId lease) override;

  // The last commit; its revision is 0 before the first.
  struct Mark {
    std::string number;
    Revision modified = 0;
    Revision now = 0;  // of the store
  };
  Result<Mark> mark(Revision at, http::Deadline until);

 private:
  http::Deadline until() const { return Clock::now() + gateway_->options().deadline; }
  // The revision of the commit, or nothing when something that was read has changed.
  Result<std::optional<Revision>> commit(const EtcdTransaction& transaction, http::Deadline until);
  Result<std::optional<Revision>> find_out(const std::string& number, Revision since, http::Deadline until);

  std::unique_ptr<Gateway> gateway_;
  OwnKeys own_;
  Watch watch_;
  bool inside_ = false;
};

Result<GatewayStore::Mark> GatewayStore::mark(Revision at, http::Deadline until) {
  wire::Range query;
  query.key = own_.commit;
  query.revision = at;
  auto answer = gateway_->call("/v3/kv/range", wire::range(query), Effect::none, until);
  if (!answer) return std::move(answer).error();
  auto page = wire::read_page(answer->root());
  if (!page) return std::move(page).error();
  Mark found;
  found.now = page->revision;
  if (page->entries.empty()) return found;
  found.number = std::move(page->entries.front().entry.value);
  found.modified = page->entries.front().entry.modified;
  return found;
}

Result<Revision> GatewayStore::transact(const Body& body) {
  if (inside_) return make_error(Code::invalid, "etcd: a transaction inside a transaction");
  const http::Deadline end = until();
  for (int attempt = 0;; ++attempt) {
    EtcdTransaction transaction(*gateway_, own_, end);
    inside_ = true;
    auto done = body(transaction);
    inside_ = false;
    if (done && transaction.failure()) done = *transaction.failure();
    if (done) done = transaction.settle();
    if (!done && !transaction.stale()) return std::move(done).error();
    if (done && !transaction.writes()) return transaction.revision();
    if (done) {
      auto committed = commit(transaction, end);
      if (!committed) return std::move(committed).error();
      if (*committed) return **committed;
    }
    if (!pause(attempt, end)) {
      return make_error(Code::unavailable, "etcd: others changed what the transaction had read each time it was tried, for " +
                                               std::to_string(gateway_->options().deadline.count()) + " ms; nothing was written");
    }
  }
}

Result<std::optional<Revision>> GatewayStore::commit(const EtcdTransaction& transaction, http::Deadline end) {
  auto number = random_number();
  if (!number) return std::move(number).error();
  auto request = transaction.request(*number);
  if (!request) return std::move(request).error();
  auto answer = gateway_->call("/v3/kv/txn", *request, Effect::write, end);
  if (!answer && answer.error().is(Code::interrupted)) {
    auto found = find_out(*number, transaction.revision(), end);
    if (found) return found;
    return make_error(found.error().is(Code::conflict) ? Code::conflict : Code::interrupted,
                      "etcd: the answer to a commit was lost (" + answer.error().message + "), and whether it was written cannot be told (" +
                          found.error().message + "); look before doing it again");
  }
  if (!answer) return std::move(answer).error();
  auto succeeded = answer->root()["succeeded"].boolean_or(false);
  auto revision = wire::number(answer->root()["header"]["revision"]);
  if (!succeeded) return std::move(succeeded).error();
  if (!revision) return std::move(revision).error();
  if (!*succeeded) return std::optional<Revision>();
  return std::optional<Revision>(*revision);
}

// First the fence: a transaction of before, wherever it still waits, fails from then on. Then every commit since the body began
// is looked at, newest first; etcd keeps what each of them wrote.
Result<std::optional<Revision>> GatewayStore::find_out(const std::string& number, Revision since, http::Deadline end) {
  wire::Txn fence;
  fence.put(own_.fence, number, 0);
  // Writing the fence twice is as good as once.
  auto fenced = gateway_->call("/v3/kv/txn", std::move(fence).take(), Effect::none, end);
  if (!fenced) return std::move(fenced).error();
  for (Revision at = 0;;) {
    auto found = mark(at, end);
    if (!found) return std::move(found).error();
    if (found->modified <= since) return std::optional<Revision>();
    if (found->number == number) return std::optional<Revision>(found->modified);
    at = found->modified - 1;
    if (at == 0) return std::optional<Revision>();
  }
}

Result<std::optional<Entry>> GatewayStore::get(std::string_view key) {
  if (auto good = check_key("etcd", key); !good) return std::move(good).error();
  EtcdTransaction reader(*gateway_, own_, until());
  auto found = reader.read(gateway_->options().prefix + std::string(key), "", 1);
  if (!found) return std::move(found).error();
  if (found->empty()) return std::optional<Entry>();
  return std::optional<Entry>(std::move(found->front().entry));
}

Result<Listing> GatewayStore::range(std::string_view prefix) {
  const http::Deadline end = until();
  const std::string& root = gateway_->options().prefix;
  const std::string start = prefix.empty() ? own_.data : root + std::string(prefix);
  for (int attempt = 0;; ++attempt) {
    EtcdTransaction reader(*gateway_, own_, end);
    auto found = reader.read(start, *prefix_end(root + std::string(prefix)), 0);
    // Compacted between two pages: again from the first.
    if (!found && reader.stale() && pause(attempt, end)) continue;
    if (!found) return std::move(found).error();
    Listing listing;
    listing.revision = reader.revision();
    for (wire::Stored& stored : *found) listing.entries.push_back(std::move(stored.entry));
    return listing;
  }
}

Result<int> GatewayStore::watch_fd() { return watch_.fd(until()); }

Result<Changes> GatewayStore::changes(Revision after, std::string_view prefix) {
  const http::Deadline end = until();
  auto last = mark(0, end);
  if (!last) return std::move(last).error();
  const auto list_again = [&]() -> Result<Changes> {
    watch_.begin_behind(last->now);
    // Opens the stream; where that fails the descriptor tells when to come again.
    auto begun = watch_.catch_up(last->now, last->now, end);
    if (!begun && begun.error().is(Code::conflict)) return std::move(begun).error();
    return Changes{{}, last->now, true};
  };
  // From the beginning, or from another store's future: the state says it with less.
  if (after <= 0 || after > last->now) return list_again();
  auto reached = watch_.catch_up(after, last->modified, end);
  if (!reached) return std::move(reached).error();
  if (*reached == Watch::Reached::compacted) return list_again();
  Changes found{{}, std::max(after, watch_.reached()), false};
  for (const Watch::Change& change : watch_.changes()) {
    if (change.revision > after && change.key.starts_with(prefix)) found.keys.push_back(change.key);
  }
  watch_.trim();
  std::sort(found.keys.begin(), found.keys.end());
  found.keys.erase(std::unique(found.keys.begin(), found.keys.end()), found.keys.end());
  return found;
}

Result<LeaseId> GatewayStore::grant(std::chrono::seconds ttl) {
  if (ttl.count() <= 0) return make_error(Code::invalid, "a lease of " + std::to_string(ttl.count()) + " s; at least 1");
  json::Writer w;
  w.begin_object().field("TTL", std::to_string(ttl.count())).end_object();
  // A lease that was granted twice because an answer was lost ends by itself.
  auto answer = gateway_->call("/v3/lease/grant", w.text(), Effect::none, until());
  if (!answer) return std::move(answer).error().context("grant a lease");
  auto lease = wire::number(answer->root()["ID"]);
  if (!lease) return lease;
  if (*lease == 0) return make_error(Code::io, "etcd granted a lease without a number");
  return lease;
}

Result<std::chrono::seconds> GatewayStore::keep_alive(LeaseId lease) {
  json::Writer w;
  w.begin_object().field("ID", std::to_string(lease)).end_object();
  auto answer = gateway_->call("/v3/lease/keepalive", w.text(), Effect::none, until());
  if (!answer) return std::move(answer).error().context("keep a lease alive");
  const json::Value root = answer->root();
  if (root["error"].present()) return std::move(read_refusal(200, root["error"].dump()).error).context("keep a lease alive");
  auto left = wire::number(root["result"]["TTL"]);
  if (!left) return std::move(left).error();
  if (*left <= 0) return make_error(Code::not_found, "lease " + std::to_string(lease) + " has ended");
  return std::chrono::seconds(*left);
}

Status GatewayStore::revoke(LeaseId lease) {
  json::Writer w;
  w.begin_object().field("ID", std::to_string(lease)).end_object();
  auto answer = gateway_->call("/v3/lease/revoke", w.text(), Effect::none, until());
  if (!answer) return std::move(answer).error().context("end lease " + std::to_string(lease));
  return {};
}

Status check(const EtcdOptions& options) {
  const std::string& prefix = options.prefix;
  const bool clean = std::all_of(prefix.begin(), prefix.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!clean || prefix.size() < 2 || prefix.size() > 128 || prefix.front() != '/' || prefix.back() != '/') {
    return make_error(Code::invalid, "\"" + prefix.substr(0, 128) + "\" is no prefix for etcd (as in /firn/v1/: 2 to 128 printable "
                                                                    "characters, a slash at each end)");
  }
  if (options.user.empty() != options.password.empty()) return make_error(Code::invalid, "a user of etcd needs a password, and a password a user");
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> open_etcd(const EtcdOptions& options) {
  if (auto good = check(options); !good) return std::move(good).error();
  auto gateway = Gateway::make(options);
  if (!gateway) return std::move(gateway).error();
  auto store = std::make_unique<GatewayStore>(std::move(*gateway));
  if (auto asked = store->mark(0, Clock::now() + options.deadline); !asked) return std::move(asked).error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace firn::kv
