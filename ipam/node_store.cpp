#include "ipam/node_store.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "ipam/allocator.hpp"
#include "lib/kv/lmdb/lmdb_store.hpp"

namespace firn::ipam {

Result<std::unique_ptr<kv::Store>> open_node_store(const NodeStoreOptions& options) {
  kv::LmdbOptions opening;
  opening.path = options.path;
  opening.boot_id = options.boot_id;
  opening.create = options.create;
  opening.deadline = options.deadline;
  if (opening.boot_id.empty()) {
    auto boot = current_boot_id();
    if (!boot) return std::move(boot).error();
    opening.boot_id = std::move(*boot);
  }
  return kv::open_lmdb(opening);
}

Result<std::string> set_node_store_aside(const std::string& path) {
  for (int n = 1; n < 1000; ++n) {
    const std::string aside = path + ".damaged-" + std::to_string(n);
    struct stat info {};
    if (::lstat(aside.c_str(), &info) == 0 || errno != ENOENT) continue;
    // The header last: after a kill in between, the store is still the damaged one, and a second run finishes.
    for (const char* suffix : kv::lmdb_suffixes) {
      if (::rename((path + suffix).c_str(), (aside + suffix).c_str()) != 0 && errno != ENOENT) {
        return errno_error("move the damaged store " + path + suffix + " to " + aside + suffix);
      }
    }
    return aside;
  }
  return make_error(Code::exists, "there are 999 damaged stores beside " + path + " already; remove them");
}

}  // namespace firn::ipam
