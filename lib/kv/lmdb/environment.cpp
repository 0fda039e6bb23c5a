#include "lib/kv/lmdb/environment.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "lib/base/unique_fd.hpp"
#include "lib/kv/keys.hpp"

namespace firn::kv {

namespace {

// Address space, not memory nor disk: a thousand bytes for each of a million endpoints.
constexpr size_t most_bytes = size_t{1} << 30;
constexpr int carry_over_limit_ms = 20'000;

int open_database(MDB_env* env, MDB_dbi* database) {
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  if (rc != 0) return rc;
  rc = mdb_dbi_open(txn, nullptr, 0, database);
  // The handle outlives a transaction that is committed, and only that.
  if (rc != 0) {
    mdb_txn_abort(txn);
    return rc;
  }
  return mdb_txn_commit(txn);
}

bool plausible(const MDB_val& key, const MDB_val& value) {
  const std::string_view name(static_cast<const char*>(key.mv_data), key.mv_size);
  if (!name.empty() && name.front() == '\0') return name.size() == log_key_size;
  return check_key({}, name).ok() && value.mv_size >= value_header_size && value.mv_size <= value_header_size + value_limit;
}

// In the child: 0, or what is wrong as an exit code.
int copy_records(const std::string& from, const std::string& to) {
  auto old_file = Environment::open(from, false, true);
  auto new_file = Environment::open(to, true, false);
  if (!old_file || !new_file) return 1;
  MDB_txn *reading = nullptr, *writing = nullptr;
  MDB_cursor* cursor = nullptr;
  if (mdb_txn_begin(old_file->handle(), nullptr, MDB_RDONLY, &reading) != 0) return 1;
  if (mdb_txn_begin(new_file->handle(), nullptr, 0, &writing) != 0) return 1;
  if (mdb_cursor_open(reading, old_file->database(), &cursor) != 0) return 1;
  MDB_val key{}, value{};
  std::string last;
  int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
    const std::string_view name(static_cast<const char*>(key.mv_data), key.mv_size);
    // Out of order: a page of another time, and for a tree that leads into itself the way out.
    if (!plausible(key, value) || (!last.empty() && name <= last)) return 2;
    last = name;
    if (mdb_put(writing, new_file->database(), &key, &value, MDB_APPEND) != 0) return 1;
  }
  if (rc != MDB_NOTFOUND) return 2;
  if (mdb_txn_commit(writing) != 0) return 1;
  return 0;
}

// By way of another name: LMDB writes its first pages in several steps.
Status make_empty(const std::string& path, const std::string& fresh) {
  ::unlink((fresh + "-data").c_str());
  if (auto made = Environment::open(fresh, true, false); !made) return std::move(made).error();
  if (::rename((fresh + "-data").c_str(), (path + "-data").c_str()) != 0) return errno_error("make the store " + path + "-data");
  return {};
}

}  // namespace

Result<Environment> Environment::open(const std::string& path, bool create, bool read_only) {
  Environment out;
  out.path_ = path;
  const std::string data = path + "-data";
  // LMDB would follow a link; it is given what was opened here.
  unique_fd file(::open(data.c_str(), (read_only ? O_RDONLY : O_RDWR) | (create ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) {
    if (errno == ENOENT) return damaged(path, data + " is not there");
    return errno_error("open the store " + data);
  }
  if (create && ::fchmod(file.get(), 0600) != 0) return errno_error("set the mode of the store " + data);
  MDB_env* handle = nullptr;
  if (const int rc = mdb_env_create(&handle); rc != 0) return error(path, rc, "open");
  out.handle_.reset(handle);
  mdb_env_set_mapsize(handle, most_bytes);
  const unsigned flags =
      MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NOMEMINIT | MDB_NORDAHEAD | MDB_NOTLS | (read_only ? MDB_RDONLY : 0);
  const std::string name = "/proc/self/fd/" + std::to_string(file.get());
  if (const int rc = mdb_env_open(handle, name.c_str(), flags, 0600); rc != 0) return error(path, rc, "open");
  // A delegated IPAM plugin inherits nothing of it.
  int descriptor = -1;
  if (mdb_env_get_fd(handle, &descriptor) == 0) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  if (const int rc = open_database(handle, &out.database_); rc != 0) return error(path, rc, "open");
  return out;
}

Error Environment::damaged(const std::string& path, std::string_view what) {
  return make_error(Code::io, path + " is damaged: " + std::string(what) + "; stop what uses it, move it away together with " +
                                  path + "-data, and begin anew");
}

Error Environment::error(const std::string& path, int rc, std::string_view doing) {
  const std::string where = path + ": " + std::string(doing) + ": ";
  switch (rc) {
    case MDB_MAP_FULL:
      return Error{Code::exhausted, where + "the store has reached " + std::to_string(most_bytes >> 20) + " MiB", ENOSPC};
    case ENOSPC:
    case EDQUOT: return Error{Code::exhausted, where + "no space left on its file system", ENOSPC};
    case ENOMEM: return Error{Code::exhausted, where + "out of memory", ENOMEM};
    case MDB_TXN_FULL: return make_error(Code::exhausted, where + "a transaction that changes too much");
    case MDB_PANIC: return make_error(Code::unavailable, where + "an earlier write failed half-way; open the store again");
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: return damaged(path, mdb_strerror(rc));
    default: break;
  }
  return rc > 0 ? errno_error(where.substr(0, where.size() - 2), rc) : make_error(Code::io, where + mdb_strerror(rc));
}

Status carry_over(const std::string& path, bool may_be_new) {
  const std::string fresh = path + ".new";
  struct stat info {};
  if (may_be_new && ::lstat((path + "-data").c_str(), &info) != 0 && errno == ENOENT) return make_empty(path, fresh);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return errno_error(path + ": start the process that checks the store after a boot");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::unlink((fresh + "-data").c_str());
    // No destructors and no exit handlers: they are the parent's.
    ::_exit(copy_records(path, fresh));
  }
  unique_fd done(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  struct pollfd waiting {
    done.get(), POLLIN, 0
  };
  if (done && ::poll(&waiting, 1, carry_over_limit_ms) == 0) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (status != 0) {
    ::unlink((fresh + "-data").c_str());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
      return make_error(Code::io, path + ": its records could not be copied after the boot; is the file system full or read-only?");
    }
    return Environment::damaged(path, "it was written before the last boot, and not all of it reached the disk");
  }
  if (::rename((fresh + "-data").c_str(), (path + "-data").c_str()) != 0) return errno_error("replace the store " + path + "-data");
  return {};
}

}  // namespace firn::kv
