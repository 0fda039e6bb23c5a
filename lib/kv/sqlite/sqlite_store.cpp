#include "lib/kv/sqlite/sqlite_store.hpp"

#include <algorithm>
#include <utility>

#include "lib/kv/directory_watch.hpp"
#include "lib/kv/keys.hpp"
#include "lib/kv/sqlite/connection.hpp"
#include "lib/kv/sqlite/lease.hpp"

namespace firn::kv {

namespace {

constexpr size_t log_row_limit = 64 * 1024;  // a commit that changes more is a gap in the history: "list again"
constexpr size_t changes_limit = 65536;      // keys; beyond that listing is cheaper
constexpr Revision history_kept = 10000;
constexpr Revision history_trim_every = 1024;

class SqliteStore;

class SqliteTransaction final : public Transaction {
 public:
  explicit SqliteTransaction(SqliteStore& store) : store_(store) {}

  Result<std::optional<std::string>> get(std::string_view key) override;
  Result<std::vector<Entry>> range(std::string_view prefix, size_t limit, std::string_view from) override;
  void put(std::string_view key, std::string_view value, LeaseId lease) override;
  void erase(std::string_view key) override;

  // SQLite may have rolled back by itself after a failure: from there on every operation does nothing.
  std::optional<Error> failure;
  bool written = false;
  std::string changed;  // keys, each with a newline in front

 private:
  void changed_key(std::string_view key);
  void erase_ended();
  SqliteStore& store_;
};

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}

  Result<Revision> transact(const Body& body) override;
  Result<std::optional<Entry>> get(std::string_view key) override;
  Result<Listing> range(std::string_view prefix) override;
  Result<int> watch_fd() override;
  Result<Changes> changes(Revision after, std::string_view prefix) override;
  Result<LeaseId> grant(std::chrono::seconds ttl) override;
  Result<std::chrono::seconds> keep_alive(LeaseId lease) override;
  Status revoke(LeaseId lease) override;

  Result<std::vector<Entry>> list(std::string_view prefix, size_t limit, std::string_view from);
  Status check(std::string_view key, std::string_view value) const;
  Status write(std::string_view key, std::string_view value, Revision revision);
  Status write_leased(std::string_view key, std::string_view value, Revision revision, LeaseId lease);
  Result<bool> remove(std::string_view key);
  // The revision of the last commit. REQUIRES: inside a transaction.
  Result<Revision> revision();
  // Keys that the last reads have left out because their lease has ended.
  std::vector<std::string> take_ended() { return std::exchange(ended_, {}); }
  bool any_ended() const { return !ended_.empty(); }

 private:
  // A row as an entry; nothing when its lease has ended.
  Result<std::optional<Entry>> entry_of(Statement& row, std::string_view key, int value_column);
  Status end_lease(Transaction& transaction, LeaseId lease);
  Status begin_leases(Transaction& transaction);
  Status log(Revision revision, std::string_view changed);
  Result<Revision> finish(SqliteTransaction& transaction);
  void rollback();
  Result<Changes> read_changes(Revision after, std::string_view prefix);

  std::unique_ptr<Connection> connection_;
  Leases leases_{*connection_};
  std::vector<std::string> ended_;
  DirectoryWatch watch_;
  // The last row of the log, as of data version `known_at_`.
  Revision revision_ = 0;
  bool last_is_gap_ = false;
  bool known_ = false;
  unsigned known_at_ = 0;
};

Result<std::optional<std::string>> SqliteTransaction::get(std::string_view key) {
  if (failure) return *failure;
  auto entry = store_.get(key);
  if (!entry) return std::move(entry).error();
  if (store_.any_ended()) erase_ended();
  if (!*entry) return std::optional<std::string>();
  return std::optional<std::string>(std::move((*entry)->value));
}

Result<std::vector<Entry>> SqliteTransaction::range(std::string_view prefix, size_t limit, std::string_view from) {
  if (failure) return *failure;
  auto entries = store_.list(prefix, limit, from);
  if (store_.any_ended()) erase_ended();
  return entries;
}

// So that those who wait for changes hear of it.
void SqliteTransaction::erase_ended() {
  for (const std::string& key : store_.take_ended()) erase(key);
}

void SqliteTransaction::put(std::string_view key, std::string_view value, LeaseId lease) {
  if (failure) return;
  auto last = store_.revision();
  if (!last) {
    failure = std::move(last).error();
  } else if (auto status = lease == 0 ? store_.write(key, value, *last + 1) : store_.write_leased(key, value, *last + 1, lease);
             !status) {
    failure = std::move(status).error();
  } else {
    changed_key(key);
  }
}

void SqliteTransaction::erase(std::string_view key) {
  if (failure) return;
  auto removed = store_.remove(key);
  if (!removed) {
    failure = std::move(removed).error();
  } else if (*removed) {
    changed_key(key);
  }
}

void SqliteTransaction::changed_key(std::string_view key) {
  written = true;
  changed.append(1, '\n').append(key);
}

Result<Revision> SqliteStore::transact(const Body& body) {
  if (connection_->in_transaction())
    return make_error(Code::invalid, connection_->options().path + ": a transaction inside a transaction");
  if (auto status = connection_->run(connection_->writable() ? Query::begin_write : Query::begin_read, "begin a transaction");
      !status) {
    return std::move(status).error();
  }
  ended_.clear();
  SqliteTransaction transaction(*this);
  auto status = body(transaction);
  if (status && transaction.failure) status = std::move(*transaction.failure);
  if (!status) {
    rollback();
    return std::move(status).error();
  }
  auto committed = finish(transaction);
  if (!committed) rollback();
  return committed;
}

Result<Revision> SqliteStore::finish(SqliteTransaction& transaction) {
  auto last = revision();
  if (!last) return last;
  Revision reached = *last;
  if (transaction.written) {
    ++reached;
    if (auto status = log(reached, std::string_view(transaction.changed).substr(1)); !status) return std::move(status).error();
  }
  if (auto status = connection_->run(Query::commit, "commit"); !status) {
    known_ = false;
    return std::move(status).error();
  }
  revision_ = reached;
  known_at_ = connection_->data_version();
  return reached;
}

void SqliteStore::rollback() {
  known_ = false;
  // A failure here leaves nothing to do: the transaction ends with the connection at the latest.
  if (connection_->in_transaction()) static_cast<void>(connection_->run(Query::rollback, "roll back"));
}

Result<Revision> SqliteStore::revision() {
  const unsigned version = connection_->data_version();
  if (known_ && version == known_at_) return revision_;
  sqlite3_stmt* prepared = connection_->prepared(Query::revision);
  if (prepared == nullptr) return connection_->prepare_error("read the revision");
  Statement statement(prepared);
  const int rc = statement.step();
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return connection_->error(rc, "read the revision");
  revision_ = rc == SQLITE_ROW ? statement.number(0) : 0;
  last_is_gap_ = rc == SQLITE_ROW && statement.number(1) != 0;
  known_ = true;
  known_at_ = version;
  return revision_;
}

// One row a commit. Without history the last row carries the revision alone (keys NULL: a gap); it is moved up by the next
// commit without history, and stays where it is once a commit with history follows.
Status SqliteStore::log(Revision revision, std::string_view changed) {
  const bool gap = changed.size() > log_row_limit;
  const Query query = !gap ? Query::log : last_is_gap_ ? Query::log_gap_move : Query::log_gap;
  sqlite3_stmt* prepared = connection_->prepared(query);
  if (prepared == nullptr) return connection_->prepare_error("write the history");
  {
    Statement statement(prepared);
    statement.bind_number(1, revision);
    if (query == Query::log) statement.bind_key(2, changed);
    if (query == Query::log_gap_move) statement.bind_number(2, revision - 1);
    if (const int rc = statement.step(); rc != SQLITE_DONE) return connection_->error(rc, "write the history");
  }
  last_is_gap_ = gap;
  if (revision % history_trim_every != 0) return {};
  sqlite3_stmt* trim = connection_->prepared(Query::log_trim);
  if (trim == nullptr) return connection_->prepare_error("trim the history");
  Statement statement(trim);
  statement.bind_number(1, revision - history_kept);
  if (const int rc = statement.step(); rc != SQLITE_DONE) return connection_->error(rc, "trim the history");
  return {};
}

Result<std::optional<Entry>> SqliteStore::get(std::string_view key) {
  if (auto status = check_key(connection_->options().path, key); !status) return std::move(status).error();
  sqlite3_stmt* prepared = connection_->prepared(Query::get);
  if (prepared == nullptr) return connection_->prepare_error("read");
  Statement statement(prepared);
  statement.bind_key(1, key);
  const int rc = statement.step();
  if (rc == SQLITE_DONE) return std::optional<Entry>();
  if (rc != SQLITE_ROW) return connection_->error(rc, "read " + std::string(key));
  return entry_of(statement, key, 0);
}

Result<std::optional<Entry>> SqliteStore::entry_of(Statement& row, std::string_view key, int value_column) {
  const Revision created = row.number(value_column + 1);
  if (created < 0) {
    auto held = leases_.holds(key);
    if (!held) return std::move(held).error();
    if (!*held) {
      if (connection_->writable() && connection_->in_transaction()) ended_.emplace_back(key);
      return std::optional<Entry>();
    }
  }
  return std::optional<Entry>(Entry{std::string(key), std::string(row.bytes(value_column)), created < 0 ? -created : created,
                                    row.number(value_column + 2)});
}

Result<std::vector<Entry>> SqliteStore::list(std::string_view prefix, size_t limit, std::string_view from) {
  sqlite3_stmt* prepared = connection_->prepared(Query::range);
  if (prepared == nullptr) return connection_->prepare_error("list");
  const auto end = prefix_end(prefix);
  Statement statement(prepared);
  statement.bind_key(1, std::max(prefix, from));
  // A blob sorts behind every text: no upper bound.
  if (end) {
    statement.bind_key(2, *end);
  } else {
    statement.bind_value(2, {});
  }
  std::vector<Entry> entries;
  int rc = statement.step();
  for (; rc == SQLITE_ROW; rc = statement.step()) {
    auto entry = entry_of(statement, statement.bytes(0), 1);
    if (!entry) return std::move(entry).error();
    if (*entry) entries.push_back(std::move(**entry));
    if (limit != 0 && entries.size() == limit) return entries;
  }
  if (rc != SQLITE_DONE) return connection_->error(rc, "list " + std::string(prefix));
  return entries;
}

Status SqliteStore::check(std::string_view key, std::string_view value) const {
  if (auto status = check_key(connection_->options().path, key); !status) return status;
  return check_value(connection_->options().path, key, value);
}

Status SqliteStore::write(std::string_view key, std::string_view value, Revision revision) {
  if (auto good = check(key, value); !good) return good;
  sqlite3_stmt* prepared = connection_->prepared(Query::put);
  if (prepared == nullptr) return connection_->prepare_error("write");
  Statement statement(prepared);
  statement.bind_key(1, key);
  statement.bind_value(2, value);
  statement.bind_number(3, revision);
  if (const int rc = statement.step(); rc != SQLITE_DONE) return connection_->error(rc, "write " + std::string(key));
  return {};
}

Status SqliteStore::write_leased(std::string_view key, std::string_view value, Revision revision, LeaseId lease) {
  if (auto good = check(key, value); !good) return good;
  if (auto made = leases_.make_tables(); !made) return made;
  auto alive = leases_.alive(lease);
  if (!alive) return std::move(alive).error();
  if (!*alive) return make_error(Code::not_found, "write " + std::string(key) + ": lease " + std::to_string(lease) + " has ended");
  // What was left of a lease that has ended goes, so that the key is a new one.
  auto before = get(key);
  if (!before) return std::move(before).error();
  if (any_ended()) {
    ended_.clear();
    if (auto removed = remove(key); !removed) return std::move(removed).error();
  }
  return leases_.write(key, value, revision, lease);
}

Result<bool> SqliteStore::remove(std::string_view key) {
  if (auto status = check_key(connection_->options().path, key); !status) return std::move(status).error();
  sqlite3_stmt* prepared = connection_->prepared(Query::erase);
  if (prepared == nullptr) return connection_->prepare_error("erase");
  Statement statement(prepared);
  statement.bind_key(1, key);
  if (const int rc = statement.step(); rc != SQLITE_DONE) return connection_->error(rc, "erase " + std::string(key));
  return connection_->changed_rows() > 0;
}

Result<Listing> SqliteStore::range(std::string_view prefix) {
  if (auto status = connection_->run(Query::begin_read, "begin to read"); !status) return std::move(status).error();
  auto entries = list(prefix, 0, {});
  // The first read of the transaction has fixed the state: the revision is of the same one.
  auto at = revision();
  rollback();
  if (!entries) return std::move(entries).error();
  if (!at) return std::move(at).error();
  return Listing{std::move(*entries), *at};
}

Status SqliteStore::end_lease(Transaction& transaction, LeaseId lease) {
  auto keys = leases_.keys_of(lease);
  if (!keys) return std::move(keys).error();
  for (const std::string& key : *keys) transaction.erase(key);
  return leases_.forget(lease);
}

// Whoever looks after a lease of its own ends those of others whose time is over.
Status SqliteStore::begin_leases(Transaction& transaction) {
  if (auto made = leases_.make_tables(); !made) return made;
  auto ended = leases_.ended();
  if (!ended) return std::move(ended).error();
  for (const LeaseId lease : *ended) {
    if (auto status = end_lease(transaction, lease); !status) return status;
  }
  return {};
}

Result<LeaseId> SqliteStore::grant(std::chrono::seconds ttl) {
  if (ttl.count() <= 0) return make_error(Code::invalid, "a lease of " + std::to_string(ttl.count()) + " s; at least 1");
  LeaseId lease = 0;
  auto committed = transact([&](Transaction& transaction) -> Status {
    if (auto begun = begin_leases(transaction); !begun) return begun;
    auto added = leases_.add(ttl);
    if (!added) return std::move(added).error();
    lease = *added;
    return {};
  });
  if (!committed) return std::move(committed).error();
  return lease;
}

Result<std::chrono::seconds> SqliteStore::keep_alive(LeaseId lease) {
  std::optional<std::chrono::seconds> left;
  auto committed = transact([&](Transaction& transaction) -> Status {
    if (auto begun = begin_leases(transaction); !begun) return begun;
    auto kept = leases_.keep(lease);
    if (!kept) return std::move(kept).error();
    left = *kept;
    return {};
  });
  if (!committed) return std::move(committed).error();
  if (!left) return make_error(Code::not_found, "lease " + std::to_string(lease) + " has ended");
  return *left;
}

Status SqliteStore::revoke(LeaseId lease) {
  bool found = false;
  auto committed = transact([&](Transaction& transaction) -> Status {
    if (auto begun = begin_leases(transaction); !begun) return begun;
    auto alive = leases_.alive(lease);
    if (!alive) return std::move(alive).error();
    found = *alive;
    return found ? end_lease(transaction, lease) : Status();
  });
  if (!committed) return std::move(committed).error();
  if (!found) return make_error(Code::not_found, "lease " + std::to_string(lease) + " has ended");
  return {};
}

// A commit appends to the -wal file before it is visible, and nothing is written to a file afterwards. So changes() takes the
// write lock before it empties the queue of events: every event it throws away is of a commit that it sees.
Result<int> SqliteStore::watch_fd() {
  if (!connection_->writable()) return -1;
  return watch_.fd(connection_->options().path);
}

Result<Changes> SqliteStore::changes(Revision after, std::string_view prefix) {
  const bool locked = connection_->writable();
  if (connection_->file_replaced()) {
    return make_error(Code::unavailable, connection_->options().path + ": was moved or deleted while open; open the store again");
  }
  if (auto status = connection_->run(locked ? Query::begin_write : Query::begin_read, "read the history"); !status)
    return std::move(status).error();
  watch_.drain();
  auto result = read_changes(after, prefix);
  rollback();
  return result;
}

Result<Changes> SqliteStore::read_changes(Revision after, std::string_view prefix) {
  auto at = revision();
  if (!at) return std::move(at).error();
  Changes found{{}, *at, false};
  if (after == *at) return found;
  sqlite3_stmt* prepared = connection_->prepared(Query::changes);
  if (prepared == nullptr) return connection_->prepare_error("read the history");
  Statement statement(prepared);
  statement.bind_number(1, after);
  Revision expected = after + 1;
  int rc = statement.step();
  for (; rc == SQLITE_ROW; rc = statement.step()) {
    if (statement.number(0) != expected || statement.null(1) || found.keys.size() > changes_limit) break;
    ++expected;
    std::string_view rest = statement.bytes(1);
    while (!rest.empty()) {
      const std::string_view key = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), key.size() + 1));
      if (key.starts_with(prefix)) found.keys.emplace_back(key);
    }
  }
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return connection_->error(rc, "read the history");
  // Trimmed, written without history, too much, or `after` is of another store.
  if (expected != *at + 1) return Changes{{}, *at, true};
  std::sort(found.keys.begin(), found.keys.end());
  found.keys.erase(std::unique(found.keys.begin(), found.keys.end()), found.keys.end());
  return found;
}

}  // namespace

Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options) {
  auto connection = Connection::open(options);
  if (!connection) return std::move(connection).error();
  return std::unique_ptr<Store>(std::make_unique<SqliteStore>(std::move(*connection)));
}

}  // namespace firn::kv
