// One connection to one database file: opening and its checks, prepared statements, the wait for locks, and SQLite's result
// codes as firn's errors. Inside this folder only. Owns: the sqlite3 handle. Thread safety: one thread at a time.
#pragma once

#include <sqlite3.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"

namespace firn::kv {

// What the engine ever asks of SQLite. Prepared at first use, kept for the life of the connection.
enum class Query {
  begin_read,
  begin_write,
  commit,
  rollback,
  get,
  range,
  put,
  erase,
  revision,
  log,
  log_gap,
  log_gap_move,
  log_trim,
  changes,
  lease_table,
  leased_table,
  lease_alive,
  lease_add,
  lease_keep,
  lease_forget,
  lease_ended,
  leased_holds,
  leased_keys,
  leased_put,
  leased_note,
  leased_forget,
  count_
};

// A prepared statement in use; reset when it goes out of scope, so that it holds no read transaction open.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_reset(statement_); }

  // Bound memory must outlive the statement. A key is text, a value is a blob.
  void bind_key(int index, std::string_view key) {
    sqlite3_bind_text64(statement_, index, data(key), key.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  void bind_value(int index, std::string_view value) {
    sqlite3_bind_blob64(statement_, index, data(value), value.size(), SQLITE_STATIC);
  }
  void bind_number(int index, int64_t number) { sqlite3_bind_int64(statement_, index, number); }
  int step() { return sqlite3_step(statement_); }
  std::string_view bytes(int column) {
    const void* start = sqlite3_column_blob(statement_, column);
    return start == nullptr
               ? std::string_view()
               : std::string_view(static_cast<const char*>(start), static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
  }
  int64_t number(int column) { return sqlite3_column_int64(statement_, column); }
  bool null(int column) { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  static const char* data(std::string_view text) { return text.data() == nullptr ? "" : text.data(); }
  sqlite3_stmt* statement_;
};

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const SqliteOptions& options);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // The prepared statement of a query; nullptr when it cannot be prepared (the reason is in prepare_error()).
  sqlite3_stmt* prepared(Query query);
  // Runs a query that gives no rows and takes no parameters.
  Status run(Query query, std::string_view doing);
  // The last failure as an Error. `rc`: what SQLite returned; `doing`: "read KEY", "commit" ...
  Error error(int rc, std::string_view doing) const;
  Error prepare_error(std::string_view doing) const { return error(sqlite3_extended_errcode(handle_), doing); }
  Error damaged(std::string_view what) const;

  bool in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
  // Rises whenever this connection or another one has committed; read inside a transaction.
  unsigned data_version() const;
  bool file_replaced() const;  // the path names another file now, or none
  int changed_rows() const { return sqlite3_changes(handle_); }
  bool writable() const { return !options_.read_only; }
  const SqliteOptions& options() const { return options_; }

 private:
  explicit Connection(const SqliteOptions& options) : options_(options) {}
  Status open_handle();
  Status open_once(bool& missing);
  Status create_file() const;
  Status check_format();
  Status initialise();
  int execute(const char* sql);
  int wait(int attempt);

  SqliteOptions options_;
  sqlite3* handle_ = nullptr;
  std::array<sqlite3_stmt*, static_cast<size_t>(Query::count_)> statements_{};
  std::chrono::steady_clock::time_point wait_until_;
};

}  // namespace firn::kv
