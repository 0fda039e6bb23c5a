// Kernel events. The socket is bound to multicast groups, so it is another one than the Kernel's.
#include <sys/socket.h>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

constexpr size_t buffer_bytes = 64 * 1024;
// Beyond this, listing everything again is cheaper than keeping all the events, and memory stays bounded.
constexpr size_t most_events = 16384;

class LibnlMonitor final : public Monitor {
 public:
  explicit LibnlMonitor(unique_fd fd) : fd_(std::move(fd)), buffer_(std::make_unique_for_overwrite<uint8_t[]>(buffer_bytes)) {}

  int fd() const override { return fd_.get(); }

  Result<Events> read() override {
    Events out;
    for (;;) {
      bool from_kernel = false;
      auto datagram = receive_now(fd_.get(), {buffer_.get(), buffer_bytes}, from_kernel);
      if (!datagram) {
        // ENOBUFS, or a message beyond the buffer: read on, what follows is still in order.
        if (!datagram.error().is(Code::interrupted)) return std::move(datagram).error();
        out.lost = true;
        continue;
      }
      if (datagram->empty()) return out;
      if (!from_kernel) continue;
      for_each_message(*datagram, [&](const nlmsghdr* message) {
        auto event = decode_event(message);
        if (!event) return true;
        if (out.events.size() < most_events) out.events.push_back(std::move(*event));
        else out.lost = true;
        return true;
      });
    }
  }

 private:
  unique_fd fd_;
  std::unique_ptr<uint8_t[]> buffer_;
};

uint32_t groups_of(const MonitorOptions& options) {
  uint32_t groups = 0;
  if (options.links) groups |= RTMGRP_LINK;
  if (options.addresses) groups |= RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (options.routes) groups |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (options.neighbours) groups |= RTMGRP_NEIGH;
  return groups;
}

}  // namespace

Result<std::unique_ptr<Monitor>> open_monitor(const MonitorOptions& options) {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) return errno_error("opening a netlink socket for events");
  const int size = options.receive_buffer;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0 &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0) {
    return errno_error("setting the receive buffer for netlink events");
  }
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = groups_of(options);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
    return errno_error("subscribing to netlink events");
  }
  return std::unique_ptr<Monitor>(std::make_unique<LibnlMonitor>(std::move(fd)));
}

}  // namespace firn::netlink
