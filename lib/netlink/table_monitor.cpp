#include "lib/netlink/table_monitor.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

constexpr size_t buffer_bytes = 64 * 1024;
constexpr int receive_buffer = 4 * 1024 * 1024;

// Every message about an object of a table names it in its first attribute (NFTA_TABLE_NAME, NFTA_RULE_TABLE, ...), but for those
// about the ruleset as a whole and traces of packets.
bool is_about(const nlmsghdr* message, const std::string& table) {
  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) return false;
  const int what = message->nlmsg_type & 0xff;
  if (what == NFT_MSG_NEWGEN || what == NFT_MSG_GETGEN || what == NFT_MSG_TRACE) return false;
  if (nlmsg_valid_hdr(message, sizeof(nfgenmsg)) == 0) return false;
  if (static_cast<const nfgenmsg*>(nlmsg_data(message))->nfgen_family != NFPROTO_INET) return false;
  const nlattr* name = nlmsg_find_attr(const_cast<nlmsghdr*>(message), sizeof(nfgenmsg), NFTA_TABLE_NAME);  // NOLINT: libnl
  if (name == nullptr || nla_len(name) < 1) return false;
  const auto* text = static_cast<const char*>(nla_data(name));
  return std::string_view(text, static_cast<size_t>(nla_len(name)) - 1) == table;
}

}  // namespace

TableMonitor::TableMonitor(unique_fd fd, std::string table)
    : fd_(std::move(fd)), table_(std::move(table)), buffer_(std::make_unique_for_overwrite<uint8_t[]>(buffer_bytes)) {}

Result<std::unique_ptr<TableMonitor>> TableMonitor::open(const std::string& table) {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) return errno_error("opening a netlink socket for changes of nftables");
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer) != 0 &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) != 0) {
    return errno_error("setting the receive buffer for changes of nftables");
  }
  sockaddr_nl local{};
  local.nl_family = AF_NETLINK;
  local.nl_groups = 1U << (NFNLGRP_NFTABLES - 1);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
    return errno_error("subscribing to changes of nftables (CAP_NET_ADMIN and a kernel with nf_tables are needed)");
  }
  return std::unique_ptr<TableMonitor>(new TableMonitor(std::move(fd), table));
}

Status TableMonitor::set_own_port(uint32_t port) {
  if (port == own_port_) return {};
  // All messages of one datagram come from one transaction. What a filter loads is turned from network order.
  std::array<sock_filter, 4> code{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(nlmsghdr, nlmsg_pid)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, htonl(port)},
      {BPF_RET | BPF_K, 0, 0, 0},
      {BPF_RET | BPF_K, 0, 0, 0xffffffff},
  }};
  // Port 0 is the kernel itself: nobody's transaction.
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return errno_error("leaving our own changes of nftables out");
  }
  own_port_ = port;
  return {};
}

Result<TableMonitor::News> TableMonitor::read() {
  News out;
  for (;;) {
    bool from_kernel = false;
    auto datagram = receive_now(fd_.get(), {buffer_.get(), buffer_bytes}, from_kernel);
    if (!datagram) {
      // ENOBUFS, or a message beyond the buffer: read on.
      if (!datagram.error().is(Code::interrupted)) return std::move(datagram).error();
      out.lost = true;
      continue;
    }
    if (datagram->empty()) return out;
    if (!from_kernel) continue;
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      out.changed = out.changed || (is_about(message, table_) && message->nlmsg_pid != own_port_);
      return true;
    });
  }
}

}  // namespace firn::netlink
