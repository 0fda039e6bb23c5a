// The SQLite engine of lib/kv. sqlite3.h is used in this folder alone.
// Owns: one database file and SQLite's own files beside it (-wal, -shm). Format: docs/ipam.md, "The store file".
// After a restart it is recognised by its application_id; another file is refused. A kill -9 at any point leaves the last
// committed transaction, and so does a power cut; the next open recovers.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "lib/kv/store.hpp"

namespace firn::kv {

struct SqliteOptions {
  std::string path;
  bool create = true;  // false: a missing file is Code::not_found
  bool read_only = false;
  std::chrono::milliseconds deadline{5000};  // for getting the write lock
};

// Errors: not_found, denied, invalid (not a firn store, or a newer format), io (damaged: the message says what to do).
Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options);

}  // namespace firn::kv
