// The LMDB file of a store, mapped: opening it, making it, carrying it over a boot, and LMDB's result codes as firn's errors.
// Owns: the mapping and its descriptors. Locking is the caller's (StoreFile). Thread safety: one thread at a time.
#pragma once

#include <lmdb.h>

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn::kv {

// Keys of the engine itself begin with NUL, which no key of a caller does: "\0" + revision as 8 bytes, big end first.
inline constexpr size_t log_key_size = 9;
// In front of every value of a caller: the revisions of its creation and of its last change, 8 bytes each, big end first.
inline constexpr size_t value_header_size = 16;

class Environment {
 public:
  // `path`: of the header file, for messages; the data lie in path + "-data". REQUIRES: the lock, exclusive when `create`.
  static Result<Environment> open(const std::string& path, bool create, bool read_only);
  Environment() = default;

  MDB_env* handle() const { return handle_.get(); }
  MDB_dbi database() const { return database_; }
  Error error(int rc, std::string_view doing) const { return error(path_, rc, doing); }
  static Error error(const std::string& path, int rc, std::string_view doing);
  static Error damaged(const std::string& path, std::string_view what);

 private:
  struct Close {
    void operator()(MDB_env* handle) const { mdb_env_close(handle); }
  };
  std::string path_;
  std::unique_ptr<MDB_env, Close> handle_;
  MDB_dbi database_ = 0;
};

// Copies every record of the data file into a new one, in a child process that checks each, and puts the new one in its place.
// `may_be_new`: an empty one is made when there is none. REQUIRES: the exclusive lock. A kill leaves the old file, or none, and at most
// ".new-data" beside it. Code::io: the old one is damaged.
Status carry_over(const std::string& path, bool may_be_new);

}  // namespace firn::kv
