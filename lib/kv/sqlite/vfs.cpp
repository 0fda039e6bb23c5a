#include "lib/kv/sqlite/vfs.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "lib/kv/sqlite/modules.hpp"

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
  leave_out_modules();
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
