#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

Status set_option(int fd, int level, int option, int value, std::string_view what) {
  if (::setsockopt(fd, level, option, &value, sizeof value) != 0) return errno_error(what);
  return {};
}

}  // namespace

Result<Socket> Socket::open(int protocol) {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return errno_error("opening a netlink socket");
  // Reasons in words (Linux 4.12), and no copy of the request in the answer. Both only make errors better: not having them is fine.
  (void)set_option(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK");
  (void)set_option(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK");
  return Socket(std::move(fd));
}

Status Socket::send(std::span<const uint8_t> bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};  // NOLINT: iovec serves reading and writing
  msghdr message{};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  for (;;) {
    if (::sendmsg(fd_.get(), &message, 0) >= 0) return {};
    if (errno != EINTR) return errno_error("sending to netlink");
  }
}

Result<std::span<const uint8_t>> receive_now(int fd, std::span<uint8_t> buffer, bool& from_kernel) {
  sockaddr_nl sender{};
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_name = &sender;
  message.msg_namelen = sizeof sender;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  for (;;) {
    const ssize_t size = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (size >= 0) {
      if ((message.msg_flags & MSG_TRUNC) != 0) {
        return make_error(Code::interrupted, "reading from netlink: a message is larger than the buffer");
      }
      from_kernel = sender.nl_pid == 0;
      return std::span<const uint8_t>(buffer.data(), static_cast<size_t>(size));
    }
    if (errno == EAGAIN) return std::span<const uint8_t>();
    if (errno != EINTR) return errno_error("reading from netlink");
  }
}

Result<std::span<const uint8_t>> Socket::receive(std::span<uint8_t> buffer, std::chrono::steady_clock::time_point until) {
  for (;;) {
    bool from_kernel = false;
    auto got = receive_now(fd_.get(), buffer, from_kernel);
    if (!got) return got;
    if (!got->empty()) {
      if (from_kernel) return got;
      continue;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return errno_error("waiting for the kernel's netlink answer", ETIMEDOUT);
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) return errno_error("waiting for netlink");
  }
}

bool Socket::enlarge_receive_buffer() {
  constexpr int size = 4 * 1024 * 1024;
  if (!enlarged_) enlarged_ = set_option(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, size, "SO_RCVBUFFORCE").ok();
  return *enlarged_;
}

Status Socket::enable_strict_dumps() {
  if (strict_) return {};
  auto status = set_option(fd_.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1,
                           "asking netlink for filtered dumps (NETLINK_GET_STRICT_CHK, Linux 4.20 or newer is needed)");
  strict_ = status.ok();
  return status;
}

}  // namespace firn::netlink
