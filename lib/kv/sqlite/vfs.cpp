#include "lib/kv/sqlite/vfs.hpp"

#include <sqlite3.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "lib/kv/sqlite/modules.hpp"

namespace firn::kv {

namespace {

constexpr int frame_header = 24;
constexpr int page_size = 4096;
constexpr int wal_header = 32;
constexpr sqlite3_int64 most_kept = 256 * 1024;  // of a -wal that nobody uses

// A -wal file: the header of a frame waits for its page; anything else that is asked meanwhile writes the header first.
// SQLite shows frames to others (through the -shm) after it has written them all, so nobody looks for the one that waits.
struct WalFile {
  sqlite3_file base;
  sqlite3_int64 header_at;  // -1: none is waiting
  char* frame;              // room for a header and a page; apart, because SQLite zeroes this struct for every other file too
};

// The "unix" layer's own file lies behind ours, in the memory SQLite gives for both.
constexpr size_t alignment = alignof(std::max_align_t);
constexpr size_t wal_file_size = (sizeof(WalFile) + alignment - 1) / alignment * alignment;

WalFile* wal_file(sqlite3_file* file) { return reinterpret_cast<WalFile*>(file); }
sqlite3_file* unix_file(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + wal_file_size);
}
const sqlite3_io_methods* unix_methods(sqlite3_file* file) { return unix_file(file)->pMethods; }

int flush(sqlite3_file* file) {
  WalFile* wal = wal_file(file);
  if (wal->header_at < 0) return SQLITE_OK;
  return unix_methods(file)->xWrite(unix_file(file), wal->frame, frame_header, std::exchange(wal->header_at, -1));
}

int wal_write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  WalFile* wal = wal_file(file);
  if (size == page_size && wal->header_at >= 0 && at == wal->header_at + frame_header) {
    std::memcpy(wal->frame + frame_header, data, page_size);
    return unix_methods(file)->xWrite(unix_file(file), wal->frame, frame_header + page_size, std::exchange(wal->header_at, -1));
  }
  if (const int rc = flush(file); rc != SQLITE_OK) return rc;
  if (size != frame_header) return unix_methods(file)->xWrite(unix_file(file), data, size, at);
  std::memcpy(wal->frame, data, frame_header);
  wal->header_at = at;
  return SQLITE_OK;
}

int wal_read(sqlite3_file* file, void* data, int size, sqlite3_int64 at) {
  const int rc = flush(file);
  return rc != SQLITE_OK ? rc : unix_methods(file)->xRead(unix_file(file), data, size, at);
}

// SQLite empties the -wal when the last process closes it. A header of zeros is as empty to the next one (the magic number is
// not there), and spares the file system taking the blocks away only to give them back at the next commit.
int wal_truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (const int rc = flush(file); rc != SQLITE_OK) return rc;
  sqlite3_int64 now = 0;
  if (const int rc = unix_methods(file)->xFileSize(unix_file(file), &now); rc != SQLITE_OK) return rc;
  static constexpr char empty_header[wal_header] = {};
  if (size == 0 && now >= wal_header && now <= most_kept) return unix_methods(file)->xWrite(unix_file(file), empty_header, wal_header, 0);
  return unix_methods(file)->xTruncate(unix_file(file), size);
}

int wal_sync(sqlite3_file* file, int flags) {
  const int rc = flush(file);
  return rc != SQLITE_OK ? rc : unix_methods(file)->xSync(unix_file(file), flags);
}

int wal_size(sqlite3_file* file, sqlite3_int64* size) {
  const int rc = flush(file);
  return rc != SQLITE_OK ? rc : unix_methods(file)->xFileSize(unix_file(file), size);
}

int wal_close(sqlite3_file* file) {
  const int rc = flush(file);
  const int closed = unix_methods(file)->xClose(unix_file(file));
  sqlite3_free(wal_file(file)->frame);
  return rc != SQLITE_OK ? rc : closed;
}

int wal_lock(sqlite3_file* file, int level) { return unix_methods(file)->xLock(unix_file(file), level); }
int wal_unlock(sqlite3_file* file, int level) { return unix_methods(file)->xUnlock(unix_file(file), level); }
int wal_reserved(sqlite3_file* file, int* held) { return unix_methods(file)->xCheckReservedLock(unix_file(file), held); }
int wal_control(sqlite3_file* file, int operation, void* argument) {
  return unix_methods(file)->xFileControl(unix_file(file), operation, argument);
}
int wal_sector(sqlite3_file* file) { return unix_methods(file)->xSectorSize(unix_file(file)); }
int wal_device(sqlite3_file* file) { return unix_methods(file)->xDeviceCharacteristics(unix_file(file)); }

// Version 1: a -wal is not mapped, and the shared memory belongs to the database file.
constexpr sqlite3_io_methods wal_methods = {
    1,           wal_close,  wal_read,   wal_write, wal_truncate, wal_sync, wal_size, wal_lock, wal_unlock, wal_reserved,
    wal_control, wal_sector, wal_device, nullptr,   nullptr,      nullptr,  nullptr,  nullptr,  nullptr,
};

using OpenFile = int (*)(sqlite3_vfs*, const char*, sqlite3_file*, int, int*);
OpenFile unix_open = nullptr;  // set once, before the layer is registered

int open_file(sqlite3_vfs* layer, const char* name, sqlite3_file* file, int flags, int* flags_out) {
  if ((flags & SQLITE_OPEN_WAL) == 0) return unix_open(layer, name, file, flags, flags_out);
  file->pMethods = nullptr;
  auto* frame = static_cast<char*>(sqlite3_malloc(frame_header + page_size));
  if (frame == nullptr) return SQLITE_NOMEM;
  if (const int rc = unix_open(layer, name, unix_file(file), flags, flags_out); rc != SQLITE_OK) {
    sqlite3_free(frame);
    return rc;
  }
  wal_file(file)->frame = frame;
  file->pMethods = &wal_methods;
  wal_file(file)->header_at = -1;
  return SQLITE_OK;
}

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

// SQLite wants a salt for each new -wal; its own layer opens /dev/urandom for it.
int randomness(sqlite3_vfs*, int size, char* out) {
  const ssize_t n = ::getrandom(out, static_cast<size_t>(size), 0);
  return n < 0 ? 0 : static_cast<int>(n);
}

const char* register_vfs() {
  leave_out_modules();
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
  layer.szOsFile = static_cast<int>(wal_file_size) + unix_vfs->szOsFile;
  layer.xFullPathname = full_pathname;
  layer.xRandomness = randomness;
  unix_open = unix_vfs->xOpen;
  layer.xOpen = open_file;
  return sqlite3_vfs_register(&layer, 0) == SQLITE_OK ? layer.zName : nullptr;
}

}  // namespace

const char* firn_vfs() {
  static const char* const name = register_vfs();
  return name;
}

}  // namespace firn::kv
