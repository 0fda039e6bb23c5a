#include "lib/kv/sqlite/connection.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "lib/base/unique_fd.hpp"
#include "lib/kv/sqlite/vfs.hpp"

namespace firn::kv {

namespace {

constexpr uint32_t application_id = 0x6669726e;  // "firn"
constexpr uint32_t format_version = 1;
constexpr int row_limit = 2 * 1024 * 1024;  // bytes; a value has at most 1 MiB, and so has a row of the log

constexpr const char* create_sql =
    "PRAGMA application_id=0x6669726e;"
    "PRAGMA user_version=1;"
    "CREATE TABLE kv(key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE log(rev INTEGER PRIMARY KEY, keys TEXT);"
    "COMMIT";

constexpr std::array<std::string_view, static_cast<size_t>(Query::count_)> queries = {
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SELECT value,created,modified FROM kv WHERE key=?1",
    "SELECT key,value,created,modified FROM kv WHERE key>=?1 AND key<?2",
    "INSERT INTO kv VALUES(?1,?2,?3,?3) ON CONFLICT(key) DO UPDATE SET value=?2,modified=?3,created=iif(created<0,?3,created)",
    "DELETE FROM kv WHERE key=?1",
    "SELECT rev,keys IS NULL FROM log ORDER BY rev DESC LIMIT 1",
    "INSERT INTO log VALUES(?1,?2)",
    "INSERT INTO log VALUES(?1,NULL)",
    "UPDATE log SET rev=?1 WHERE rev=?2",
    "DELETE FROM log WHERE rev<=?1",
    "SELECT rev,keys FROM log WHERE rev>?1 ORDER BY rev",
    "CREATE TABLE IF NOT EXISTS lease(id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, until INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS leased(key TEXT PRIMARY KEY, lease INTEGER NOT NULL) WITHOUT ROWID",
    "SELECT 1 FROM lease WHERE id=?1 AND until>?2",
    "INSERT INTO lease VALUES(?1,?2,?3)",
    "UPDATE lease SET until=?2+ttl*1000 WHERE id=?1 AND until>?2 RETURNING ttl",
    "DELETE FROM lease WHERE id=?1",
    "SELECT id FROM lease WHERE until<=?1",
    "SELECT 1 FROM leased JOIN lease ON id=lease WHERE key=?1 AND until>?2",
    "SELECT key FROM leased JOIN kv USING(key) WHERE lease=?1 AND created<0",
    "INSERT INTO kv VALUES(?1,?2,-?3,?3) ON CONFLICT(key) DO UPDATE SET value=?2,modified=?3,created=-abs(created)",
    "INSERT INTO leased VALUES(?1,?2) ON CONFLICT(key) DO UPDATE SET lease=?2",
    "DELETE FROM leased WHERE lease=?1",
};

// The first bytes of a database file (https://www.sqlite.org/fileformat2.html, "The Database Header").
struct Header {
  std::array<unsigned char, 100> bytes{};
  bool empty = false;

  uint32_t word(size_t offset) const {
    return uint32_t{bytes[offset]} << 24 | uint32_t{bytes[offset + 1]} << 16 | uint32_t{bytes[offset + 2]} << 8 | bytes[offset + 3];
  }
  bool is_sqlite() const { return std::memcmp(bytes.data(), "SQLite format 3", 16) == 0; }
  bool is_wal() const { return bytes[18] == 2 && bytes[19] == 2; }
  uint32_t version() const { return word(60); }
  uint32_t application() const { return word(68); }
};

// Through SQLite's own descriptor: closing another one of the same file would drop the locks this process holds on it.
int read_header(sqlite3* handle, Header& header) {
  sqlite3_file* file = nullptr;
  int rc = sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (rc != SQLITE_OK) return rc;
  // Another process may write the first page between the size and the read, never the other way round.
  sqlite3_int64 size = 0;
  if (rc = file->pMethods->xFileSize(file, &size); rc != SQLITE_OK) return rc;
  header.empty = size == 0;
  if (header.empty) return SQLITE_OK;
  rc = file->pMethods->xRead(file, header.bytes.data(), static_cast<int>(header.bytes.size()), 0);
  return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : rc;
}

bool is_busy(int rc) { return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED || (rc & 0xff) == SQLITE_PROTOCOL; }

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const SqliteOptions& options) {
  if (options.path.empty() || options.path.find('\0') != std::string::npos || options.path.back() == '/') {
    return make_error(Code::invalid, "open the store: \"" + options.path + "\" is not the path of a file");
  }
  std::unique_ptr<Connection> connection(new Connection(options));
  if (auto status = connection->open_handle(); !status) return std::move(status).error();
  if (auto status = connection->check_format(); !status) return std::move(status).error();
  return connection;
}

Connection::~Connection() {
  for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Status Connection::open_handle() {
  bool missing = false;
  auto status = open_once(missing);
  // SQLite tries a file that it cannot write once more, for reading: one that another process makes just then seems read-only.
  if (!status && !missing && status.error().is(Code::denied)) status = open_once(missing);
  if (status || !missing) return status;
  if (!options_.create || options_.read_only) return make_error(Code::not_found, options_.path + ": there is no such store");
  if (auto created = create_file(); !created) return created;
  return open_once(missing);
}

Status Connection::open_once(bool& missing) {
  const char* vfs = firn_vfs();
  if (vfs == nullptr) return make_error(Code::io, options_.path + ": SQLite does not start");
  sqlite3_close(handle_);
  handle_ = nullptr;
  const int access = options_.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  const int rc = sqlite3_open_v2(options_.path.c_str(), &handle_, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
  if (rc != SQLITE_OK) {
    struct stat info {};
    missing = (rc & 0xff) == SQLITE_CANTOPEN && ::lstat(options_.path.c_str(), &info) != 0 && errno == ENOENT;
    return error(rc, "open");
  }
  if (!options_.read_only && sqlite3_db_readonly(handle_, "main") == 1) {
    return make_error(Code::denied, options_.path + ": may be read but not written by this user, or its file system is read-only");
  }
  sqlite3_busy_handler(
      handle_, [](void* self, int attempt) { return static_cast<Connection*>(self)->wait(attempt); }, this);
  // A file is data, even a crafted one: nothing in its schema may run.
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, row_limit);
  return {};
}

// SQLite gives its -wal and -shm the mode of the database file, whatever the umask.
Status Connection::create_file() const {
  unique_fd file(::open(options_.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return errno == EEXIST ? Status() : Status(errno_error("create the store " + options_.path));
  if (::fchmod(file.get(), 0600) != 0) return errno_error("set the mode of the store " + options_.path);
  return {};
}

// The header on disk tells all: a store is made, and its format changed, outside WAL mode. So a normal open costs one read.
Status Connection::check_format() {
  const auto deadline = std::chrono::steady_clock::now() + options_.deadline;
  for (;;) {
    Header header;
    if (const int rc = read_header(handle_, header); rc != SQLITE_OK) return error(rc, "read the header");
    if (!header.empty) {
      if (!header.is_sqlite() || header.application() != application_id) {
        return make_error(Code::invalid, options_.path +
                                             ": is not a firn store; another program's file, or damaged at its beginning; "
                                             "move it away, or name another state directory");
      }
      if (header.version() > format_version) {
        return make_error(Code::invalid, options_.path + ": has format " + std::to_string(header.version()) +
                                             ", made by a newer firn; this one reads up to format " +
                                             std::to_string(format_version));
      }
      if (header.is_wal() || options_.read_only) return {};
    } else if (options_.read_only) {
      return make_error(Code::unavailable, options_.path + ": is empty; the process that makes it has not finished, or was killed");
    }
    auto status = initialise();
    if (!status && (!status.error().is(Code::unavailable) || std::chrono::steady_clock::now() >= deadline)) return status;
    // Sleeps because a file that another process is making tells nobody when it is made.
    if (!status) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Several processes may come here at once, and one may have been killed here: each step is a transaction of its own.
Status Connection::initialise() {
  int rc = execute("BEGIN EXCLUSIVE");
  if (rc != SQLITE_OK) return error(rc, "create");
  Header header;
  rc = read_header(handle_, header);
  if (rc == SQLITE_OK) rc = execute(header.empty ? create_sql : "COMMIT");
  if (rc == SQLITE_OK) rc = execute("PRAGMA journal_mode=WAL");
  if (rc == SQLITE_OK) return {};
  auto failure = error(rc, "create");
  if (in_transaction()) execute("ROLLBACK");
  return failure;
}

int Connection::execute(const char* sql) { return sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr); }

// A transaction takes some microseconds, so the first waits are short; they grow fast, because 64 waiting processes that try
// again every 100 us leave the one that holds the lock a quarter of the processor. With these pauses the store does as much
// under contention as with a blocking lock in front of it (measured), which would have no deadline.
int Connection::wait(int attempt) {
  const auto now = std::chrono::steady_clock::now();
  if (attempt == 0) wait_until_ = now + options_.deadline;
  if (now >= wait_until_) return 0;
  const auto pause = std::chrono::microseconds(std::min(50 << std::min(attempt, 10), 4000));
  // Sleeps because SQLite's locks wake nobody.
  std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, wait_until_ - now));
  return 1;
}

sqlite3_stmt* Connection::prepared(Query query) {
  const auto index = static_cast<size_t>(query);
  if (statements_[index] == nullptr) {
    const std::string_view sql = queries[index];
    sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statements_[index], nullptr);
  }
  return statements_[index];
}

Status Connection::run(Query query, std::string_view doing) {
  sqlite3_stmt* statement = prepared(query);
  if (statement == nullptr) return prepare_error(doing);
  const int rc = Statement(statement).step();
  if (rc != SQLITE_DONE) return error(rc, doing);
  return {};
}

unsigned Connection::data_version() const {
  unsigned version = 0;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_DATA_VERSION, &version);
  return version;
}

bool Connection::file_replaced() const {
  int moved = 0;
  return sqlite3_file_control(handle_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

Error Connection::damaged(std::string_view what) const {
  return make_error(Code::io, options_.path + " is damaged: " + std::string(what) +
                                  "; stop what uses it, move it away together with its -wal and -shm files, "
                                  "and restore a copy or begin anew");
}

Error Connection::error(int rc, std::string_view doing) const {
  const int sys = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_);
  const std::string text = handle_ == nullptr ? sqlite3_errstr(rc) : sqlite3_errmsg(handle_);
  const std::string where = options_.path + ": " + std::string(doing) + ": ";
  if (is_busy(rc)) {
    return make_error(Code::unavailable, where + "another process has held the store's lock for " +
                                             std::to_string(options_.deadline.count()) + " ms (fuser -v " + options_.path +
                                             " lists who has it open)");
  }
  switch (rc & 0xff) {
    case SQLITE_FULL: return Error{Code::exhausted, where + "no space left on its file system", ENOSPC};
    case SQLITE_NOMEM: return Error{Code::exhausted, where + "out of memory", ENOMEM};
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return damaged(text);
    case SQLITE_TOOBIG: return damaged("a record is larger than " + std::to_string(row_limit) + " bytes");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return Error{Code::denied, where + text + "; the user must be able to write the file and its directory", sys};
    case SQLITE_CANTOPEN: break;
    case SQLITE_IOERR:
      if (sys == 0) return make_error(Code::io, where + text);
      break;
    default: return make_error(Code::io, where + text);
  }
  struct stat info {};
  if (::lstat(options_.path.c_str(), &info) == 0) {
    if (S_ISLNK(info.st_mode)) return Error{Code::denied, where + "is a symbolic link; a store must be the file itself", ELOOP};
    if (!S_ISREG(info.st_mode)) return make_error(Code::invalid, where + "is not a regular file");
  }
  if (sys == 0) return Error{Code::denied, where + text + "; the user must be able to write the file and its directory", 0};
  auto failure = errno_error(where + text, sys);
  return failure;
}

}  // namespace firn::kv
