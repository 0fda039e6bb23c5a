// Network namespaces as file descriptors.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/netlink/kernel.hpp"

namespace firn::netlink {

Result<Netns> open_netns(const std::string& path) {
  const std::string what = "network namespace '" + path.substr(0, 256) + "'";
  if (path.empty() || path.find('\0') != std::string::npos) return make_error(Code::invalid, what + ": not a path");
  // O_NONBLOCK: a FIFO or a device in its place must not hold us up.
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return errno_error(what);
  // Checked on the descriptor: the path may become another file at any time, this cannot.
  struct statfs filesystem {};
  if (::fstatfs(fd.get(), &filesystem) != 0) return errno_error(what);
  if (filesystem.f_type != NSFS_MAGIC) return make_error(Code::invalid, what + ": the file is no namespace");
  const int type = ::ioctl(fd.get(), NS_GET_NSTYPE);
  if (type < 0) return errno_error(what);
  if (type != CLONE_NEWNET) return make_error(Code::invalid, what + ": it is a namespace, but not of the network kind");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return errno_error(what);
  return Netns{std::move(fd), status.st_ino};
}

Result<uint64_t> current_netns_inode() {
  struct stat status {};
  if (::stat("/proc/thread-self/ns/net", &status) != 0) return errno_error("reading /proc/thread-self/ns/net (is /proc mounted?)");
  return status.st_ino;
}

Status enter_netns(const Netns& netns) {
  if (::setns(netns.fd.get(), CLONE_NEWNET) != 0) {
    const int err = errno;
    Error error = errno_error("entering network namespace " + std::to_string(netns.inode), err);
    if (err == EPERM) error.message.append("; CAP_SYS_ADMIN is needed");
    return error;
  }
  return {};
}

}  // namespace firn::netlink
