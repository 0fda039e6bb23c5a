// Wakes a reader of a store that is a file: an inotify queue on the file's directory. It says that something may have happened,
// never what. Owns the queue. Thread safety: as its store.
#pragma once

#include <string>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::kv {

class DirectoryWatch {
 public:
  // The descriptor to wait on; the queue is made at the first call. `file`: any file of the store.
  Result<int> fd(const std::string& file);
  // Throws away what is queued. A store calls it under its lock, so that each event thrown away is of a commit it sees.
  void drain();

 private:
  unique_fd queue_;
};

}  // namespace firn::kv
