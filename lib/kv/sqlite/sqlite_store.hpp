// The SQLite engine of lib/kv. sqlite3.h is used in this folder alone.
// Owns: one database file and SQLite's own files beside it (-wal, -shm). Format: docs/ipam.md, "The store file".
// After a restart it is recognised by its application_id; another file is refused. A kill -9 at any point leaves the last
// committed transaction; the next open recovers.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "lib/kv/store.hpp"

namespace firn::kv {

struct SqliteOptions {
  std::string path;
  // committed: a commit survives a killed process but the last ones may be lost, or the file be damaged, by a power cut
  //            (node state: its leases end with the boot anyway, see ipam's recovery).
  // durable:   a commit survives a power cut (cluster state).
  enum class Durability { committed, durable } durability = Durability::durable;
  bool create = true;       // false: a missing file is Code::not_found
  bool read_only = false;
  std::chrono::milliseconds deadline{5000};  // for getting the write lock
  bool keep_history = true;  // record changed keys, for changes(); costs one row a commit
};

// Errors: not_found, denied, invalid (not a firn store, or a newer format), io (damaged: the message says what to do).
Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options);

}  // namespace firn::kv
