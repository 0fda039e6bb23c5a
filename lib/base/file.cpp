#include "lib/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "lib/base/unique_fd.hpp"

namespace firn {

Result<std::string> read_descriptor(int fd, size_t limit) {
  std::string out;
  char buffer[8192];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno_error("read");
    }
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > limit) {
      return make_error(Code::invalid, "content is larger than " + std::to_string(limit) + " bytes");
    }
    out.append(buffer, static_cast<size_t>(n));
  }
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error("open " + path);
  auto content = read_descriptor(fd.get(), limit);
  if (!content) return std::move(content).error().context(path);
  return content;
}

namespace {

Status write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno_error("write " + path);
    }
    content.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Status write_file_atomic(const std::string& path, std::string_view content, mode_t mode) {
  const std::string temp = path + ".tmp";
  unique_fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return errno_error("create " + temp);
  // The umask or an older temp file may have left other permissions.
  if (::fchmod(fd.get(), mode) != 0) return errno_error("chmod " + temp);
  auto written = write_all(fd.get(), content, temp);
  if (written && ::fsync(fd.get()) != 0) written = errno_error("fsync " + temp);
  if (written && ::rename(temp.c_str(), path.c_str()) != 0) written = errno_error("rename " + temp + " to " + path);
  if (!written) {
    ::unlink(temp.c_str());
    return written;
  }
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  unique_fd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || ::fsync(dir.get()) != 0) return errno_error("fsync " + directory);
  return {};
}

Status write_sysctl(const std::string& path, std::string_view value) {
  unique_fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno_error("open " + path);
  const ssize_t n = ::write(fd.get(), value.data(), value.size());
  if (n != static_cast<ssize_t>(value.size())) return errno_error("write " + std::string(value) + " to " + path, n < 0 ? errno : EIO);
  return {};
}

Status make_directories(const std::string& path, mode_t mode) {
  if (path.empty()) return make_error(Code::invalid, "empty directory name");
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    const mode_t part_mode = at == std::string::npos ? mode : 0755;
    if (::mkdir(part.c_str(), part_mode) != 0 && errno != EEXIST) return errno_error("create directory " + part);
    if (at != std::string::npos) ++at;
  }
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return errno_error("stat " + path);
  if (!S_ISDIR(info.st_mode)) return make_error(Code::exists, path + " exists and is not a directory");
  return {};
}

}  // namespace firn
