#include "lib/netlink/packet_log.hpp"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

constexpr size_t buffer_bytes = 64 * 1024;
constexpr uint32_t copied_bytes = 128;  // IPv6, extension headers, ports
constexpr std::chrono::milliseconds answer_deadline{2000};

uint16_t big16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

std::optional<LoggedPacket> decode(const nlmsghdr* message) {
  if (message->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET)) return std::nullopt;
  if (nlmsg_valid_hdr(message, sizeof(nfgenmsg)) == 0) return std::nullopt;
  const Attributes<NFULA_MAX> attributes(message, sizeof(nfgenmsg));
  LoggedPacket out;
  out.prefix = attributes.text(NFULA_PREFIX);
  if (const nlattr* payload = attributes.raw(NFULA_PAYLOAD); payload != nullptr) {
    const auto* bytes = static_cast<const uint8_t*>(nla_data(payload));
    out.start.assign(bytes, bytes + nla_len(payload));
  }
  out.in_index = static_cast<int>(ntohl(attributes.number<uint32_t>(NFULA_IFINDEX_INDEV).value_or(0)));
  out.out_index = static_cast<int>(ntohl(attributes.number<uint32_t>(NFULA_IFINDEX_OUTDEV).value_or(0)));
  return out;
}

std::string tcp_flags(uint8_t bits) {
  constexpr std::array<const char*, 6> names{"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if ((bits >> i & 1) != 0) out += (out.empty() ? "" : ",") + std::string(names[i]);
  }
  return out;
}

}  // namespace

PacketLog::PacketLog(unique_fd fd) : fd_(std::move(fd)), buffer_(std::make_unique_for_overwrite<uint8_t[]>(buffer_bytes)) {}

Result<std::unique_ptr<PacketLog>> PacketLog::open(uint16_t group) {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!fd) return errno_error("opening a netlink socket for logged packets");
  std::unique_ptr<PacketLog> log(new PacketLog(std::move(fd)));
  if (auto done = log->configure(group); !done) {
    Error error = std::move(done).error();
    if (error.sys == EBUSY) error.code = Code::exists;
    const bool busy = error.is(Code::exists);
    return std::move(error).context("listening to nflog group " + std::to_string(group) +
                                    (busy ? " (another program does already)" : ""));
  }
  return log;
}

Status PacketLog::configure(uint16_t group) {
  nfgenmsg head{};
  head.nfgen_family = AF_UNSPEC;
  head.version = NFNETLINK_V0;
  head.res_id = htons(group);
  nfulnl_msg_config_cmd bind{};
  bind.command = NFULNL_CFG_CMD_BIND;
  nfulnl_msg_config_mode mode{};
  mode.copy_range = htonl(copied_bytes);
  mode.copy_mode = NFULNL_COPY_PACKET;
  Encoder out;
  out.begin(NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG, NLM_F_ACK, head);
  out.put(NFULA_CFG_CMD, &bind, sizeof bind);
  out.put(NFULA_CFG_MODE, &mode, sizeof mode);
  const auto message = out.bytes();
  if (::send(fd_.get(), message.data(), message.size(), 0) < 0) return errno_error("asking the kernel");
  pollfd waiting{fd_.get(), POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(answer_deadline.count())) != 1) return errno_error("waiting for the kernel", ETIMEDOUT);
  bool from_kernel = false;
  auto datagram = receive_now(fd_.get(), {buffer_.get(), buffer_bytes}, from_kernel);
  if (!datagram) return std::move(datagram).error();
  int failed = 0;
  for_each_message(*datagram, [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type == NLMSG_ERROR) failed = decode_answer(answer).err;
    return answer->nlmsg_type != NLMSG_ERROR;
  });
  if (failed != 0) return errno_error("asking the kernel", failed);
  return {};
}

Result<std::vector<LoggedPacket>> PacketLog::read(std::chrono::milliseconds patience) {
  std::vector<LoggedPacket> out;
  pollfd waiting{fd_.get(), POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(patience.count())) <= 0) return out;
  bool from_kernel = false;
  auto datagram = receive_now(fd_.get(), {buffer_.get(), buffer_bytes}, from_kernel);
  if (!datagram) return std::move(datagram).error();
  if (!from_kernel) return out;
  for_each_message(*datagram, [&](const nlmsghdr* message) {
    if (auto packet = decode(message)) out.push_back(std::move(*packet));
    return true;
  });
  return out;
}

std::optional<PacketSummary> summarize(const std::vector<uint8_t>& start) {
  if (start.empty()) return std::nullopt;
  const uint8_t* at = start.data();
  const int version = at[0] >> 4;
  PacketSummary out;
  size_t behind = 0;  // where the transport header begins
  bool first_fragment = true;
  if (version == 4 && start.size() >= 20) {
    behind = static_cast<size_t>(at[0] & 15) * 4;
    out.bytes = big16(at + 2);
    out.protocol = at[9];
    first_fragment = (big16(at + 6) & 0x1fff) == 0;
    out.source = Address::v4(static_cast<uint32_t>(big16(at + 12)) << 16 | big16(at + 14));
    out.destination = Address::v4(static_cast<uint32_t>(big16(at + 16)) << 16 | big16(at + 18));
  } else if (version == 6 && start.size() >= 40) {
    behind = 40;
    out.bytes = 40U + big16(at + 4);
    out.protocol = at[6];
    const auto address = [](const uint8_t* bytes) {
      uint128 value = 0;
      for (int i = 0; i < 16; ++i) value = value << 8 | bytes[i];
      return Address::v6(value);
    };
    out.source = address(at + 8);
    out.destination = address(at + 24);
  } else {
    return std::nullopt;
  }
  if (!first_fragment) return out;
  const bool tcp = out.protocol == IPPROTO_TCP;
  if ((tcp || out.protocol == IPPROTO_UDP || out.protocol == IPPROTO_SCTP) && start.size() >= behind + 4) {
    out.source_port = big16(at + behind);
    out.destination_port = big16(at + behind + 2);
    if (tcp && start.size() >= behind + 14) out.flags = tcp_flags(at[behind + 13]);
  } else if ((out.protocol == IPPROTO_ICMP || out.protocol == IPPROTO_ICMPV6) && start.size() >= behind + 2) {
    out.icmp_type = at[behind];
    out.icmp_code = at[behind + 1];
  }
  return out;
}

}  // namespace firn::netlink
