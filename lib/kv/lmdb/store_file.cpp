#include "lib/kv/lmdb/store_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

namespace firn::kv {

namespace {

constexpr std::string_view magic = "firn node store ";
constexpr std::string_view format = "1";
constexpr size_t header_limit = 128;

}  // namespace

Result<StoreFile> StoreFile::open(const std::string& path, bool create, bool read_only, std::chrono::milliseconds deadline) {
  if (path.empty() || path.find('\0') != std::string::npos || path.back() == '/') {
    return make_error(Code::invalid, "open the store: \"" + path + "\" is not the path of a file");
  }
  StoreFile out;
  out.path_ = path;
  out.deadline_ = deadline;
  out.writable_ = !read_only;
  const int access = (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  out.file_.reset(::open(path.c_str(), access));
  if (!out.file_ && errno == ENOENT && create && !read_only) {
    out.file_.reset(::open(path.c_str(), access | O_CREAT, 0600));
    // The umask may have taken bits away.
    if (out.file_ && ::fchmod(out.file_.get(), 0600) != 0) return errno_error("set the mode of the store " + path);
  }
  if (out.file_) return out;
  switch (errno) {
    case ENOENT: return make_error(Code::not_found, path + ": there is no such store");
    case ELOOP: return Error{Code::denied, path + ": is a symbolic link; a store must be the file itself", ELOOP};
    case EISDIR: return make_error(Code::invalid, path + ": is not a regular file");
    default: return errno_error("open the store " + path + " (the user must be able to write the file and its directory)");
  }
}

Status StoreFile::lock(Lock wanted) {
  struct flock range {};
  range.l_type = wanted == Lock::exclusive ? F_WRLCK : F_RDLCK;
  range.l_whence = SEEK_SET;
  std::chrono::steady_clock::time_point end;
  for (int attempt = 0;; ++attempt) {
    if (::fcntl(file_.get(), F_OFD_SETLK, &range) == 0) {
      held_ = wanted;
      return {};
    }
    if (errno != EAGAIN && errno != EACCES && errno != EINTR) return errno_error("lock the store " + path_);
    const auto now = std::chrono::steady_clock::now();
    if (attempt == 0) end = now + deadline_;
    if (now >= end) {
      return make_error(Code::unavailable, path_ + ": another process has held the store's lock for " +
                                               std::to_string(deadline_.count()) + " ms (fuser -v " + path_ +
                                               " lists who has it open)");
    }
    // Sleeps because a wait for a file lock knows no deadline. A transaction takes some microseconds, so the first waits are
    // short; they grow fast, because 64 processes that try every 50 us leave the one that works a quarter of the processor.
    const auto pause = std::chrono::microseconds(std::min(50 << std::min(attempt, 10), 4000));
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, end - now));
  }
}

void StoreFile::unlock() {
  if (held_ == Lock::none) return;
  struct flock range {};
  range.l_type = F_UNLCK;
  range.l_whence = SEEK_SET;
  ::fcntl(file_.get(), F_OFD_SETLK, &range);
  held_ = Lock::none;
}

Result<std::string> StoreFile::read_boot() const {
  char text[header_limit];
  const ssize_t n = ::pread(file_.get(), text, sizeof text, 0);
  if (n < 0)
    return errno == EISDIR ? Result<std::string>(make_error(Code::invalid, path_ + ": is not a regular file"))
                           : errno_error("read the header of the store " + path_);
  std::string_view header(text, static_cast<size_t>(n));
  if (header.empty()) return std::string();
  const size_t end = header.find('\n');
  if (!header.starts_with(magic) || end == std::string_view::npos) {
    return make_error(Code::invalid, path_ +
                                         ": is not a firn store; another program's file, or damaged at its beginning; "
                                         "move it away, or name another state directory");
  }
  header = header.substr(magic.size(), end - magic.size());
  const size_t space = header.find(' ');
  if (header.substr(0, space) != format) {
    return make_error(Code::invalid, path_ + ": has format " + std::string(header.substr(0, space)) +
                                         ", made by a newer firn; this one reads format " + std::string(format));
  }
  return std::string(space == std::string_view::npos ? std::string_view("-") : header.substr(space + 1));
}

// One write of less than a page: who reads it sees the old header or the new one, also after a kill.
Status StoreFile::write_boot(std::string_view boot_id) const {
  std::string header;
  header.append(magic).append(format).append(1, ' ').append(boot_id.empty() ? "-" : boot_id).append(1, '\n');
  if (header.size() > header_limit) return make_error(Code::invalid, "boot id of " + std::to_string(boot_id.size()) + " bytes");
  if (::pwrite(file_.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size()) ||
      ::ftruncate(file_.get(), static_cast<off_t>(header.size())) != 0) {
    return errno_error("write the header of the store " + path_);
  }
  return {};
}

bool StoreFile::replaced() const {
  struct stat mine = {};
  struct stat now = {};
  return ::fstat(file_.get(), &mine) != 0 || ::lstat(path_.c_str(), &now) != 0 || mine.st_ino != now.st_ino ||
         mine.st_dev != now.st_dev;
}

}  // namespace firn::kv
