#include "lib/kv/sqlite/vfs.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace firn::kv {

namespace {

int full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
  std::string path(name);
  if (path.front() != '/') {
    char directory[4096];
    if (::getcwd(directory, sizeof directory) == nullptr) return SQLITE_CANTOPEN_FULLPATH;
    path = std::string(directory) + "/" + path;
  }
  if (path.size() >= static_cast<size_t>(size)) return SQLITE_CANTOPEN_FULLPATH;
  std::memcpy(out, path.c_str(), path.size() + 1);
  return SQLITE_OK;
}

const char* register_vfs() {
  // Refused when somebody in this process has started SQLite before; all are only savings. The page cache would
  // prepare 20 pages ahead and so fault in 90 KiB, a tenth of what a short process costs.
  sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0);
  const sqlite3_vfs* unix_vfs = sqlite3_vfs_find("unix");
  if (unix_vfs == nullptr) return nullptr;
  static sqlite3_vfs layer;
  layer = *unix_vfs;
  layer.pNext = nullptr;
  layer.zName = "firn";
  layer.xFullPathname = full_pathname;
  return sqlite3_vfs_register(&layer, 0) == SQLITE_OK ? layer.zName : nullptr;
}

}  // namespace

const char* firn_vfs() {
  static const char* const name = register_vfs();
  return name;
}

}  // namespace firn::kv
