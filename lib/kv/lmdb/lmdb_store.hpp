// The LMDB engine of lib/kv: the node store, which a program of one millisecond opens, changes once and leaves. lmdb.h is used in
// this folder alone. Format: docs/ipam.md, "The store files".
// Owns: PATH (a header of one line, and the lock) and PATH-data (the LMDB file). After a restart PATH is recognised by its header;
// another file is refused.
// A commit is in the page cache when transact() returns and is not waited for on the disk: a killed process, at any point, leaves
// the last committed transaction. A power cut may leave PATH-data damaged, and LMDB, which maps it, does not check what it reads.
// So the header names the boot in which the file was written, and the first open after another boot copies the records in a
// child process: if that process finds nonsense or crashes, the store is reported as damaged and is not used.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "lib/kv/store.hpp"

namespace firn::kv {

struct LmdbOptions {
  std::string path;
  std::string boot_id;  // of this boot; empty: the file is taken as it is
  bool create = true;   // false: a missing file is Code::not_found
  bool read_only = false;
  std::chrono::milliseconds deadline{5000};  // for getting the lock
};

// What a store consists of, as suffixes of its path; the header last.
inline constexpr std::array<const char*, 2> lmdb_suffixes{"-data", ""};

// Errors: not_found, denied, invalid (not a firn store, or a newer format), unavailable (the lock), exhausted, io (damaged: the
// message says what to do).
Result<std::unique_ptr<Store>> open_lmdb(const LmdbOptions& options);

}  // namespace firn::kv
