#include "lib/kv/lmdb/lmdb_store.hpp"

#include <algorithm>
#include <utility>

#include "lib/kv/directory_watch.hpp"
#include "lib/kv/keys.hpp"
#include "lib/kv/lmdb/environment.hpp"
#include "lib/kv/lmdb/store_file.hpp"

namespace firn::kv {

namespace {

constexpr size_t log_row_limit = 64 * 1024;  // a commit that changes more is a gap in the history: "list again"
constexpr size_t changes_limit = 65536;      // keys; beyond that listing is cheaper
constexpr Revision history_kept = 10000;
constexpr Revision history_trim_every = 1024;

// A row of the log is the changed keys, each with a newline in front; or this, and then what changed is not known.
constexpr std::string_view gap = "-";

MDB_val value_of(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }
std::string_view text_of(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

void append_number(std::string& out, Revision number) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(static_cast<uint64_t>(number) >> shift));
}
Revision read_number(std::string_view text) {
  uint64_t number = 0;
  for (const char c : text.substr(0, 8)) number = number << 8 | static_cast<unsigned char>(c);
  return static_cast<Revision>(number);
}
std::string log_key(Revision revision) {
  std::string key(1, '\0');
  append_number(key, revision);
  return key;
}
bool is_log_key(std::string_view key) { return key.size() == log_key_size && key.front() == '\0'; }

class Cursor {
 public:
  Cursor(MDB_txn* txn, MDB_dbi database) { status_ = mdb_cursor_open(txn, database, &cursor_); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  // The first key at or behind `from`.
  int seek(std::string_view from) {
    key_ = value_of(from);
    return from.empty() ? move(MDB_FIRST) : move(MDB_SET_RANGE);
  }
  int move(MDB_cursor_op operation) {
    if (status_ == 0) return mdb_cursor_get(cursor_, &key_, &value_, operation);
    return status_;
  }
  int erase() { return mdb_cursor_del(cursor_, 0); }
  std::string_view key() const { return text_of(key_); }
  std::string_view value() const { return text_of(value_); }

 private:
  MDB_cursor* cursor_ = nullptr;
  int status_ = 0;
  MDB_val key_{}, value_{};
};

class LmdbStore final : public Store {
 public:
  LmdbStore(const LmdbOptions& options, StoreFile file, Environment environment)
      : options_(options), file_(std::move(file)), environment_(std::move(environment)) {}

  Result<Revision> transact(const Body& body) override;
  Result<std::optional<Entry>> get(std::string_view key) override;
  Result<Listing> range(std::string_view prefix) override;
  Result<int> watch_fd() override;
  Result<Changes> changes(Revision after, std::string_view prefix) override;
  Result<LeaseId> grant(std::chrono::seconds) override { return no_leases(); }
  Result<std::chrono::seconds> keep_alive(LeaseId) override { return no_leases(); }
  Status revoke(LeaseId) override { return no_leases(); }
  Error no_leases() const { return make_error(Code::unsupported, file_.path() + ": a node store has no leases"); }

  // All of these REQUIRE an open transaction.
  Result<std::optional<Entry>> read(std::string_view key);
  Result<std::vector<Entry>> list(std::string_view prefix, size_t limit, std::string_view from);
  Status write(std::string_view key, std::string_view value);
  Result<bool> remove(std::string_view key);

 private:
  friend class LmdbTransaction;
  // The lock and an LMDB transaction, until finished or gone out of scope.
  Status begin(bool write);
  Status commit();
  void end();
  Result<Revision> last_revision();
  Status log(Revision revision, std::string_view changed);
  Status trim(Revision before);
  Result<Changes> read_changes(Revision after, std::string_view prefix);
  Error failed(int rc, std::string_view doing) const { return environment_.error(rc, doing); }
  // Runs `work` in a read transaction, or in the one that is open.
  template <class Work>
  auto reading(const Work& work) -> decltype(work());

  LmdbOptions options_;
  StoreFile file_;
  Environment environment_;
  DirectoryWatch watch_;
  MDB_txn* txn_ = nullptr;
  Revision revision_ = 0;  // of the last commit, as this transaction found it
  bool last_is_gap_ = false;
};

class LmdbTransaction final : public Transaction {
 public:
  explicit LmdbTransaction(LmdbStore& store) : store_(store) {}

  Result<std::optional<std::string>> get(std::string_view key) override {
    if (failure) return *failure;
    auto entry = store_.read(key);
    if (!entry) return std::move(entry).error();
    if (!*entry) return std::optional<std::string>();
    return std::optional<std::string>(std::move((*entry)->value));
  }
  Result<std::vector<Entry>> range(std::string_view prefix, size_t limit, std::string_view from) override {
    if (failure) return *failure;
    return store_.list(prefix, limit, from);
  }
  void put(std::string_view key, std::string_view value, LeaseId lease) override {
    if (failure) return;
    if (lease != 0) {
      failure = store_.no_leases();
      return;
    }
    if (auto status = store_.write(key, value); status) changed.append(1, '\n').append(key);
    else failure = std::move(status).error();
  }
  void erase(std::string_view key) override {
    if (failure) return;
    auto removed = store_.remove(key);
    if (!removed) failure = std::move(removed).error();
    else if (*removed) changed.append(1, '\n').append(key);
  }

  // After a failure LMDB's transaction is not to be used: from there on every operation does nothing.
  std::optional<Error> failure;
  std::string changed;

 private:
  LmdbStore& store_;
};

Status LmdbStore::begin(bool write) {
  if (txn_ != nullptr) return make_error(Code::invalid, file_.path() + ": a transaction inside a transaction");
  if (auto locked = file_.lock(write ? StoreFile::Lock::exclusive : StoreFile::Lock::shared); !locked) return locked;
  if (const int rc = mdb_txn_begin(environment_.handle(), nullptr, write ? 0 : MDB_RDONLY, &txn_); rc != 0) {
    txn_ = nullptr;
    file_.unlock();
    return failed(rc, "begin a transaction");
  }
  auto last = last_revision();
  if (!last) {
    end();
    return std::move(last).error();
  }
  revision_ = *last;
  return {};
}

Status LmdbStore::commit() {
  const int rc = mdb_txn_commit(std::exchange(txn_, nullptr));
  file_.unlock();
  if (rc != 0) return failed(rc, "commit");
  return {};
}

void LmdbStore::end() {
  if (txn_ != nullptr) mdb_txn_abort(std::exchange(txn_, nullptr));
  file_.unlock();
}

Result<Revision> LmdbStore::transact(const Body& body) {
  if (auto begun = begin(file_.writable()); !begun) return std::move(begun).error();
  LmdbTransaction transaction(*this);
  auto status = body(transaction);
  if (status && transaction.failure) status = std::move(*transaction.failure);
  if (!status || transaction.changed.empty()) {
    const Revision at = revision_;
    end();
    if (!status) return std::move(status).error();
    return at;
  }
  const Revision reached = revision_ + 1;
  if (auto logged = log(reached, transaction.changed); !logged) {
    end();
    return std::move(logged).error();
  }
  if (auto committed = commit(); !committed) return std::move(committed).error();
  return reached;
}

Result<Revision> LmdbStore::last_revision() {
  Cursor cursor(txn_, environment_.database());
  // Keys of callers begin with \1 at the least: the row before the first of them is the last one of the log.
  int rc = cursor.seek("\x01");
  rc = cursor.move(rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
  if (rc == MDB_NOTFOUND) return Revision{0};
  if (rc != 0) return failed(rc, "read the revision");
  if (!is_log_key(cursor.key())) return Environment::damaged(file_.path(), "it has no history");
  last_is_gap_ = cursor.value() == gap;
  return read_number(cursor.key().substr(1));
}

// One row a commit. A gap that follows a gap takes its place, so that without history the log stays one row.
Status LmdbStore::log(Revision revision, std::string_view changed) {
  const bool is_gap = changed.size() > log_row_limit;
  if (is_gap && last_is_gap_ && revision_ > 0) {
    const std::string before = log_key(revision_);
    MDB_val key = value_of(before);
    if (const int rc = mdb_del(txn_, environment_.database(), &key, nullptr); rc != 0) return failed(rc, "write the history");
  }
  const std::string name = log_key(revision);
  MDB_val key = value_of(name);
  MDB_val row = value_of(is_gap ? gap : changed);
  if (const int rc = mdb_put(txn_, environment_.database(), &key, &row, 0); rc != 0) return failed(rc, "write the history");
  return revision % history_trim_every == 0 ? trim(revision - history_kept) : Status();
}

Status LmdbStore::trim(Revision before) {
  Cursor cursor(txn_, environment_.database());
  for (int rc = cursor.seek({});; rc = cursor.move(MDB_FIRST)) {
    if (rc == MDB_NOTFOUND) return {};
    if (rc == 0 && (!is_log_key(cursor.key()) || read_number(cursor.key().substr(1)) > before)) return {};
    if (rc == 0) rc = cursor.erase();
    if (rc != 0) return failed(rc, "trim the history");
  }
}

Result<std::optional<Entry>> LmdbStore::read(std::string_view name) {
  if (auto status = check_key(file_.path(), name); !status) return std::move(status).error();
  MDB_val key = value_of(name);
  MDB_val value{};
  const int rc = mdb_get(txn_, environment_.database(), &key, &value);
  if (rc == MDB_NOTFOUND) return std::optional<Entry>();
  if (rc != 0) return failed(rc, "read " + std::string(name));
  const std::string_view text = text_of(value);
  if (text.size() < value_header_size)
    return Environment::damaged(file_.path(), "the value of " + std::string(name) + " is cut off");
  return std::optional<Entry>(
      Entry{std::string(name), std::string(text.substr(value_header_size)), read_number(text), read_number(text.substr(8))});
}

Result<std::vector<Entry>> LmdbStore::list(std::string_view prefix, size_t limit, std::string_view from) {
  std::vector<Entry> entries;
  Cursor cursor(txn_, environment_.database());
  // Not before \1: in front of that is the log.
  int rc = cursor.seek(std::max({prefix, from, std::string_view("\x01")}));
  for (; rc == 0 && cursor.key().starts_with(prefix) && (limit == 0 || entries.size() < limit); rc = cursor.move(MDB_NEXT)) {
    const std::string_view text = cursor.value();
    if (text.size() < value_header_size)
      return Environment::damaged(file_.path(), "the value of " + std::string(cursor.key()) + " is cut off");
    entries.push_back(Entry{std::string(cursor.key()), std::string(text.substr(value_header_size)), read_number(text),
                            read_number(text.substr(8))});
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return failed(rc, "list " + std::string(prefix));
  return entries;
}

Status LmdbStore::write(std::string_view name, std::string_view content) {
  if (!file_.writable()) return make_error(Code::denied, file_.path() + ": was opened to be read only");
  if (auto status = check_key(file_.path(), name); !status) return status;
  if (auto status = check_value(file_.path(), name, content); !status) return status;
  MDB_val key = value_of(name);
  MDB_val value{};
  const int found = mdb_get(txn_, environment_.database(), &key, &value);
  if (found != 0 && found != MDB_NOTFOUND) return failed(found, "write " + std::string(name));
  const Revision created = found == 0 && value.mv_size >= value_header_size ? read_number(text_of(value)) : revision_ + 1;
  std::string record;
  record.reserve(value_header_size + content.size());
  append_number(record, created);
  append_number(record, revision_ + 1);
  record.append(content);
  value = value_of(record);
  if (const int rc = mdb_put(txn_, environment_.database(), &key, &value, 0); rc != 0)
    return failed(rc, "write " + std::string(name));
  return {};
}

Result<bool> LmdbStore::remove(std::string_view name) {
  if (!file_.writable()) return make_error(Code::denied, file_.path() + ": was opened to be read only");
  if (auto status = check_key(file_.path(), name); !status) return std::move(status).error();
  MDB_val key = value_of(name);
  const int rc = mdb_del(txn_, environment_.database(), &key, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) return failed(rc, "erase " + std::string(name));
  return rc == 0;
}

template <class Work>
auto LmdbStore::reading(const Work& work) -> decltype(work()) {
  // Inside a body: of the state that the body sees.
  if (txn_ != nullptr) return work();
  if (auto begun = begin(false); !begun) return std::move(begun).error();
  auto result = work();
  end();
  return result;
}

Result<std::optional<Entry>> LmdbStore::get(std::string_view key) {
  return reading([&] { return read(key); });
}

Result<Listing> LmdbStore::range(std::string_view prefix) {
  return reading([&]() -> Result<Listing> {
    auto entries = list(prefix, 0, {});
    if (!entries) return std::move(entries).error();
    return Listing{std::move(*entries), revision_};
  });
}

// A commit writes its pages, and with the last write becomes visible, all under the exclusive lock. So who throws events away
// under the shared lock sees every commit that they tell of.
Result<int> LmdbStore::watch_fd() { return watch_.fd(file_.path()); }

Result<Changes> LmdbStore::changes(Revision after, std::string_view prefix) {
  if (file_.replaced()) {
    return make_error(Code::unavailable, file_.path() + ": was moved or deleted while open; open the store again");
  }
  return reading([&] {
    watch_.drain();
    return read_changes(after, prefix);
  });
}

Result<Changes> LmdbStore::read_changes(Revision after, std::string_view prefix) {
  Changes found{{}, revision_, false};
  if (after == revision_) return found;
  Cursor cursor(txn_, environment_.database());
  Revision expected = after + 1;
  int rc = cursor.seek(log_key(expected));
  for (; rc == 0 && is_log_key(cursor.key()); rc = cursor.move(MDB_NEXT)) {
    std::string_view rest = cursor.value();
    if (read_number(cursor.key().substr(1)) != expected || rest == gap || found.keys.size() > changes_limit) break;
    ++expected;
    while (!rest.empty()) {
      rest.remove_prefix(1);
      const std::string_view key = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(key.size());
      if (key.starts_with(prefix)) found.keys.emplace_back(key);
    }
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return failed(rc, "read the history");
  // Trimmed, written without history, too much, or `after` is of another store.
  if (expected != revision_ + 1) return Changes{{}, revision_, true};
  std::sort(found.keys.begin(), found.keys.end());
  found.keys.erase(std::unique(found.keys.begin(), found.keys.end()), found.keys.end());
  return found;
}

// Empty, or of another boot. Each step leaves a store that the next open takes up: the header is written last.
Result<Environment> prepare(StoreFile& file, const LmdbOptions& options) {
  if (auto locked = file.lock(StoreFile::Lock::exclusive); !locked) return std::move(locked).error();
  auto boot = file.read_boot();
  if (!boot) return std::move(boot).error();
  const bool changes = boot->empty() || (!options.boot_id.empty() && *boot != options.boot_id);
  if (changes) {
    // A header without a boot: new, or who made it was killed before it said so. What lies there may be records all the same.
    if (auto carried = carry_over(options.path, boot->empty()); !carried) return std::move(carried).error();
  }
  auto environment = Environment::open(options.path, false, false);
  if (environment && changes) {
    if (auto written = file.write_boot(options.boot_id); !written) return std::move(written).error();
  }
  file.unlock();
  return environment;
}

}  // namespace

Result<std::unique_ptr<Store>> open_lmdb(const LmdbOptions& options) {
  auto file = StoreFile::open(options.path, options.create, options.read_only, options.deadline);
  if (!file) return std::move(file).error();
  auto boot = file->read_boot();
  const bool ready = boot && !boot->empty() && (options.boot_id.empty() || *boot == options.boot_id);
  if (!ready && options.read_only) {
    if (!boot) return std::move(boot).error();
    return make_error(Code::unavailable, options.path +
                                             ": has not been used since the boot, or the process that makes it has not "
                                             "finished; open it for writing first");
  }
  auto environment = ready ? Environment::open(options.path, false, options.read_only) : prepare(*file, options);
  if (!environment) return std::move(environment).error();
  return std::unique_ptr<Store>(std::make_unique<LmdbStore>(options, std::move(*file), std::move(*environment)));
}

}  // namespace firn::kv
