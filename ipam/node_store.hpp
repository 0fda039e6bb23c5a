// The node store as a file: which engine it has, and how a program opens it. Everybody who opens node.db comes here.
// Owns: nothing; see lib/kv/lmdb/lmdb_store.hpp for the files. Thread safety: as the Store.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "lib/kv/store.hpp"

namespace firn::ipam {

struct NodeStoreOptions {
  std::string path = {};                     // STATE_DIR/node.db
  std::string boot_id = {};                  // of this boot, see current_boot_id() of allocator.hpp; empty: asked for
  bool create = true;                        // false: a missing file is Code::not_found
  std::chrono::milliseconds deadline{5000};  // for getting the lock
};

// Errors: as open_lmdb().
Result<std::unique_ptr<kv::Store>> open_node_store(const NodeStoreOptions& options);

// Moves the files of the store to PATH.damaged-N, N the first that is free, and returns that path. Files that are not there are
// no error. Nothing may use the store meanwhile.
Result<std::string> set_node_store_aside(const std::string& path);

}  // namespace firn::ipam
