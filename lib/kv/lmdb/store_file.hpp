// The header file of an LMDB store, which is also its lock. LMDB's own lock file is not used: its mutexes know no deadline, and one
// stopped process would hold up every other for ever.
// Owns: the descriptor and, while one is held, the lock on it (open file description lock: it ends with the descriptor, and two
// stores in one process exclude each other). Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::kv {

class StoreFile {
 public:
  enum class Lock { none, shared, exclusive };

  // Makes a missing file (0600, empty) when `create`.
  static Result<StoreFile> open(const std::string& path, bool create, bool read_only, std::chrono::milliseconds deadline);

  const std::string& path() const { return path_; }
  bool writable() const { return writable_; }

  // Code::unavailable when another process does not let go within the deadline.
  Status lock(Lock wanted);
  void unlock();
  Lock held() const { return held_; }

  // The boot named in the header; empty when the file is empty. Code::invalid: not a firn store, or of a newer format.
  Result<std::string> read_boot() const;
  Status write_boot(std::string_view boot_id) const;

  bool replaced() const;  // the path names another file now, or none

 private:
  std::string path_;
  unique_fd file_;
  std::chrono::milliseconds deadline_{};
  bool writable_ = true;
  Lock held_ = Lock::none;
};

}  // namespace firn::kv
