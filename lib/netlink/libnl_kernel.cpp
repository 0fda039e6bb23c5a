// The real Kernel: one netlink socket, requests in batches.
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

constexpr size_t chunk_bytes = 64 * 1024;
// As many answers as the default receive buffer surely holds, when we may not enlarge it.
constexpr size_t small_chunk_requests = 64;
constexpr size_t answer_bytes = 8 * 1024;
constexpr size_t dump_bytes = 64 * 1024;  // the kernel fills at most 32 KiB a read
constexpr int dump_attempts = 5;

std::string_view hint_for(const Request& request, int err) {
  if (err == EPERM) return "; CAP_NET_ADMIN in the network namespace is needed";
  // The kernel says ENOENT of a queueing discipline or a classifier that it does not have, and cannot load.
  if (err == ENOENT || err == EOPNOTSUPP) {
    if (std::holds_alternative<ShapeOutgoing>(request)) return "; the kernel needs CONFIG_NET_SCH_TBF (module sch_tbf)";
    if (std::holds_alternative<AddClassifier>(request)) return "; the kernel needs CONFIG_NET_SCH_INGRESS (module sch_ingress)";
    if (std::holds_alternative<PoliceIncoming>(request)) return "; the kernel needs CONFIG_NET_CLS_BPF (module cls_bpf)";
  }
  if (err != EOPNOTSUPP && err != EAFNOSUPPORT && err != ENOTSUP) return "";
  if (std::holds_alternative<CreateVeth>(request)) {
    return "; the kernel has no veth driver: load the module 'veth' or build the kernel with CONFIG_VETH";
  }
  if (std::holds_alternative<CreateVxlan>(request)) {
    return "; the kernel has no vxlan driver: load the module 'vxlan' or build the kernel with CONFIG_VXLAN";
  }
  if (std::holds_alternative<AddRule>(request) || std::holds_alternative<RemoveRule>(request)) {
    return "; the kernel has no policy rules: it needs CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES";
  }
  return "; the kernel may lack this address family (CONFIG_IPV6, or started with ipv6.disable=1)";
}

Error answer_error(std::string_view what, const Answer& answer, std::string_view hint) {
  Error error = errno_error(what, answer.err);
  if (!answer.reason.empty()) error.message.append(" (").append(answer.reason).append(")");
  error.message.append(hint);
  // What the kernel says of an address that is not there, and of a route through a link that is down.
  if (answer.err == EADDRNOTAVAIL) error.code = Code::not_found;
  if (answer.err == ENETDOWN) error.code = Code::unavailable;
  return error;
}

class LibnlKernel final : public Kernel {
 public:
  explicit LibnlKernel(Socket socket) : socket_(std::move(socket)) {}

  Result<std::vector<Failure>> apply(std::span<const Request> requests) override;
  Result<Link> link(const std::string& name) override;
  Result<Link> link(int index) override;
  Result<int> index_of(const std::string& name) override;
  Result<std::vector<Link>> links() override;
  Result<std::vector<LinkAddress>> addresses(int index) override;
  Result<std::vector<Route>> routes(const RouteFilter& filter) override;
  Result<std::vector<Neighbour>> neighbours(int index) override;
  Result<std::vector<Forward>> forwards(int index) override;
  Result<std::vector<Rule>> rules(Family family) override;
  Result<TrafficBounds> traffic_bounds(int index) override;
  using Kernel::lookup;
  Result<Route> lookup(const Address& destination, int through) override;

 private:
  Status flush(std::span<const Request> requests, std::vector<Failure>& failures);
  Result<Link> one_link(const std::string& what);
  // Sends the encoder's message and decodes what comes before the acknowledgement; nothing: there is no such object.
  template <class Decode>
  auto one(const std::string& what, Decode decode) -> Result<decltype(decode(nullptr))>;
  // Sends the encoder's message as a dump; hands each answer to `take`. `clear` empties what an interrupted dump has left.
  template <class Take, class Clear>
  Status dump(std::string_view what, Take take, Clear clear);
  template <class Take>
  Status dump_once(std::string_view what, Take& take, bool& interrupted);
  std::span<uint8_t> large_buffer();
  std::span<const uint8_t> stamp(uint16_t flags, uint32_t sequence);

  Socket socket_;
  Encoder encoder_;
  std::vector<uint8_t> chunk_;
  std::vector<size_t> chunk_requests_;  // index of each message of the chunk in the batch
  size_t last_offset_ = 0;              // of the chunk's last message
  uint32_t chunk_sequence_ = 0;         // of the chunk's first message
  std::unique_ptr<uint8_t[]> large_buffer_;
};

Result<std::vector<Failure>> LibnlKernel::apply(std::span<const Request> requests) {
  std::vector<Failure> failures;
  size_t most = chunk_bytes;  // no message is shorter than a byte
  if (requests.size() > small_chunk_requests && !socket_.enlarge_receive_buffer()) most = small_chunk_requests;
  chunk_.clear();
  chunk_requests_.clear();
  for (size_t i = 0; i < requests.size(); ++i) {
    if (auto status = encode(requests[i], encoder_); !status.ok()) {
      failures.push_back({i, std::move(status).error().context(describe(requests[i]))});
      continue;
    }
    const auto bytes = encoder_.bytes();
    if (chunk_.size() + NLMSG_ALIGN(bytes.size()) > chunk_bytes || chunk_requests_.size() == most) {
      if (auto status = flush(requests, failures); !status.ok()) return std::move(status).error();
    }
    const uint32_t sequence = socket_.next_sequence();
    if (chunk_requests_.empty()) chunk_sequence_ = sequence;
    last_offset_ = chunk_.size();
    chunk_.insert(chunk_.end(), bytes.begin(), bytes.end());
    chunk_.resize(NLMSG_ALIGN(chunk_.size()));
    reinterpret_cast<nlmsghdr*>(chunk_.data() + last_offset_)->nlmsg_seq = sequence;
    chunk_requests_.push_back(i);
  }
  if (auto status = flush(requests, failures); !status.ok()) return std::move(status).error();
  std::ranges::sort(failures, {}, &Failure::index);
  return failures;
}

// The kernel works through the whole datagram inside sendmsg and answers errors in any case: one acknowledgement, asked for with
// the last message, tells that all have been done, and is there to be read when sendmsg returns.
Status LibnlKernel::flush(std::span<const Request> requests, std::vector<Failure>& failures) {
  if (chunk_requests_.empty()) return {};
  reinterpret_cast<nlmsghdr*>(chunk_.data() + last_offset_)->nlmsg_flags |= NLM_F_ACK;
  if (auto status = socket_.send(chunk_); !status.ok()) return status;
  const auto until = std::chrono::steady_clock::now() + Socket::deadline;
  alignas(nlmsghdr) std::array<uint8_t, answer_bytes> buffer;
  bool done = false;
  while (!done) {
    auto datagram = socket_.receive(buffer, until);
    if (!datagram) return std::move(datagram).error();
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      // Answers to an earlier call that gave up at its deadline have other numbers.
      const uint32_t position = message->nlmsg_seq - chunk_sequence_;
      if (message->nlmsg_type != NLMSG_ERROR || position >= chunk_requests_.size()) return true;
      if (const auto answer = decode_answer(message); answer.err != 0) {
        const size_t index = chunk_requests_[position];
        failures.push_back({index, answer_error(describe(requests[index]), answer, hint_for(requests[index], answer.err))});
      }
      done = position + 1 == chunk_requests_.size();
      return !done;
    });
  }
  chunk_.clear();
  chunk_requests_.clear();
  return {};
}

std::span<uint8_t> LibnlKernel::large_buffer() {
  if (!large_buffer_) large_buffer_ = std::make_unique_for_overwrite<uint8_t[]>(dump_bytes);
  return {large_buffer_.get(), dump_bytes};
}

std::span<const uint8_t> LibnlKernel::stamp(uint16_t flags, uint32_t sequence) {
  const auto bytes = encoder_.bytes();
  chunk_.assign(bytes.begin(), bytes.end());
  auto* header = reinterpret_cast<nlmsghdr*>(chunk_.data());
  header->nlmsg_flags |= flags;
  header->nlmsg_seq = sequence;
  return chunk_;
}

template <class Take>
Status LibnlKernel::dump_once(std::string_view what, Take& take, bool& interrupted) {
  const uint32_t sequence = socket_.next_sequence();
  if (auto status = socket_.send(stamp(NLM_F_DUMP, sequence)); !status.ok()) return std::move(status).error().context(what);
  Status outcome;
  bool done = false;
  while (!done) {
    // The deadline is for each answer: a dump of a million routes takes longer and makes progress all the while.
    auto datagram = socket_.receive(large_buffer(), std::chrono::steady_clock::now() + Socket::deadline);
    if (!datagram) return std::move(datagram).error().context(what);
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      if (message->nlmsg_seq != sequence) return true;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
        if (const auto answer = decode_answer(message); answer.err != 0) outcome = answer_error(what, answer, "");
        done = true;
        return false;
      }
      take(message);
      return true;
    });
  }
  return outcome;
}

template <class Take, class Clear>
Status LibnlKernel::dump(std::string_view what, Take take, Clear clear) {
  if (auto status = socket_.enable_strict_dumps(); !status.ok()) return status;
  for (int attempt = 0; attempt < dump_attempts; ++attempt) {
    bool interrupted = false;
    auto status = dump_once(what, take, interrupted);
    if (!status.ok() || !interrupted) return status;
    clear();
  }
  return make_error(Code::interrupted, std::string(what) + ": changed under each of " + std::to_string(dump_attempts) +
                                           " readings; try again when less is going on");
}

Result<Link> LibnlKernel::one_link(const std::string& what) {
  const uint32_t sequence = socket_.next_sequence();
  if (auto status = socket_.send(stamp(0, sequence)); !status.ok()) return std::move(status).error();
  std::optional<Result<Link>> out;
  while (!out) {
    auto datagram = socket_.receive(large_buffer(), std::chrono::steady_clock::now() + Socket::deadline);
    if (!datagram) return std::move(datagram).error().context(what);
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      if (message->nlmsg_seq != sequence) return true;
      if (message->nlmsg_type == NLMSG_ERROR) {
        out = answer_error(what, decode_answer(message), "");
      } else if (auto decoded = decode_link(message)) {
        out = std::move(*decoded);
      } else {
        out = make_error(Code::io, what + ": the kernel's answer cannot be read");
      }
      return false;
    });
  }
  return std::move(*out);
}

Result<Link> LibnlKernel::link(const std::string& name) {
  if (auto parsed = IfName::parse(name); !parsed) return std::move(parsed).error();
  encoder_.begin(RTM_GETLINK, 0, ifinfomsg{});
  encoder_.put_string(IFLA_IFNAME, name);
  encoder_.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return one_link("link " + name);
}

Result<Link> LibnlKernel::link(int index) {
  if (index <= 0) return make_error(Code::invalid, "link " + std::to_string(index) + ": an index is above 0");
  ifinfomsg body{};
  body.ifi_index = index;
  encoder_.begin(RTM_GETLINK, 0, body);
  encoder_.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return one_link("link " + std::to_string(index));
}

Result<int> LibnlKernel::index_of(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) {
    return make_error(Code::invalid, "link '" + name.substr(0, 64) + "': a name has 1 to 15 bytes");
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (::ioctl(socket_.fd(), SIOCGIFINDEX, &request) != 0) return errno_error("link " + name);
  return request.ifr_ifindex;
}

Result<std::vector<Link>> LibnlKernel::links() {
  std::vector<Link> out;
  encoder_.begin(RTM_GETLINK, 0, ifinfomsg{});
  encoder_.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto status = dump(
      "listing links",
      [&](const nlmsghdr* message) {
        if (auto value = decode_link(message)) out.push_back(std::move(*value));
      },
      [&] { out.clear(); });
  if (!status.ok()) return std::move(status).error();
  return out;
}

Result<std::vector<LinkAddress>> LibnlKernel::addresses(int index) {
  std::vector<LinkAddress> out;
  ifaddrmsg body{};
  body.ifa_index = static_cast<uint32_t>(index);
  encoder_.begin(RTM_GETADDR, 0, body);
  auto status = dump(
      "listing addresses",
      [&](const nlmsghdr* message) {
        if (auto value = decode_address(message); value && (index == 0 || value->index == index)) out.push_back(*value);
      },
      [&] { out.clear(); });
  if (!status.ok()) return std::move(status).error();
  return out;
}

Result<std::vector<Route>> LibnlKernel::routes(const RouteFilter& filter) {
  std::vector<Route> out;
  for (const Family family : {Family::v4, Family::v6}) {
    if (filter.family && *filter.family != family) continue;
    const size_t before = out.size();
    rtmsg body{};
    body.rtm_family = family == Family::v4 ? AF_INET : AF_INET6;
    body.rtm_protocol = filter.protocol.value_or(0);
    encoder_.begin(RTM_GETROUTE, 0, body);
    if (filter.table) encoder_.put_u32(RTA_TABLE, *filter.table);
    if (filter.oif) encoder_.put_u32(RTA_OIF, static_cast<uint32_t>(*filter.oif));
    auto status = dump(
        family == Family::v4 ? "listing IPv4 routes" : "listing IPv6 routes",
        [&](const nlmsghdr* message) {
          if (auto value = decode_route(message)) out.push_back(std::move(*value));
        },
        [&] { out.resize(before); });
    // A table that nobody has written to does not exist, nor does a link that is gone: both have no routes.
    const int err = status.ok() ? 0 : status.error().sys;
    if (err != 0 && err != ENOENT && err != ENODEV && err != EAFNOSUPPORT && err != EOPNOTSUPP) return std::move(status).error();
    if (err == 0 && !status.ok()) return std::move(status).error();
  }
  return out;
}

Result<std::vector<Neighbour>> LibnlKernel::neighbours(int index) {
  std::vector<Neighbour> out;
  encoder_.begin(RTM_GETNEIGH, 0, ndmsg{});
  if (index != 0) encoder_.put_u32(NDA_IFINDEX, static_cast<uint32_t>(index));
  auto status = dump(
      "listing neighbours",
      [&](const nlmsghdr* message) {
        if (auto value = decode_neighbour(message); value && value->permanent) out.push_back(*value);
      },
      [&] { out.clear(); });
  if (!status.ok()) return std::move(status).error();
  return out;
}

Result<std::vector<Forward>> LibnlKernel::forwards(int index) {
  if (index <= 0) return make_error(Code::invalid, "listing forwarding entries: the link's index is missing");
  std::vector<Forward> out;
  ndmsg body{};
  body.ndm_family = AF_BRIDGE;
  body.ndm_ifindex = index;
  encoder_.begin(RTM_GETNEIGH, 0, body);
  auto status = dump(
      "listing forwarding entries",
      [&](const nlmsghdr* message) {
        if (auto value = decode_forward(message); value && value->index == index) out.push_back(*value);
      },
      [&] { out.clear(); });
  if (!status.ok()) return std::move(status).error();
  return out;
}

Result<std::vector<Rule>> LibnlKernel::rules(Family family) {
  std::vector<Rule> out;
  fib_rule_hdr body{};
  body.family = family == Family::v4 ? AF_INET : AF_INET6;
  encoder_.begin(RTM_GETRULE, 0, body);
  auto status = dump(
      "listing policy rules",
      [&](const nlmsghdr* message) {
        if (auto value = decode_rule(message)) out.push_back(*value);
      },
      [&] { out.clear(); });
  if (!status.ok()) return std::move(status).error();
  return out;
}

// Queueing disciplines answer to NLM_F_ECHO alone, and those that the kernel hides to nothing but NLM_F_ACK.
template <class Decode>
auto LibnlKernel::one(const std::string& what, Decode decode) -> Result<decltype(decode(nullptr))> {
  const uint32_t sequence = socket_.next_sequence();
  if (auto status = socket_.send(stamp(NLM_F_ECHO | NLM_F_ACK, sequence)); !status.ok()) {
    return std::move(status).error().context(what);
  }
  decltype(decode(nullptr)) out;
  std::optional<Answer> end;
  while (!end) {
    auto datagram = socket_.receive(large_buffer(), std::chrono::steady_clock::now() + Socket::deadline);
    if (!datagram) return std::move(datagram).error().context(what);
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      if (message->nlmsg_seq != sequence) return true;
      if (message->nlmsg_type == NLMSG_ERROR) end = decode_answer(message);
      else out = decode(message);
      return !end;
    });
  }
  // EINVAL: there is no clsact in which a filter could be.
  if (end->err != 0 && end->err != ENOENT && end->err != EINVAL) return answer_error(what, *end, "");
  return out;
}

Result<TrafficBounds> LibnlKernel::traffic_bounds(int index) {
  if (index <= 0) return make_error(Code::invalid, "reading the bounds of traffic: the link's index is missing");
  const std::string what = "bounds of traffic of link " + std::to_string(index);
  TrafficBounds out;
  encoder_.begin(RTM_GETQDISC, 0, shaper_place(index));
  auto shaper = one(what, &decode_shaper);
  if (!shaper) return std::move(shaper).error();
  out.outgoing_rate = *shaper;
  encoder_.begin(RTM_GETTFILTER, 0, policer_place(index));
  encoder_.put_string(TCA_KIND, "bpf");
  auto policer = one(what, &decode_policer);
  if (!policer) return std::move(policer).error();
  out.incoming = *policer;
  return out;
}

Result<Route> LibnlKernel::lookup(const Address& destination, int through) {
  const std::string what = "route to " + destination.to_string();
  rtmsg body{};
  body.rtm_family = destination.is_v4() ? AF_INET : AF_INET6;
  body.rtm_dst_len = static_cast<uint8_t>(destination.bits());
  // IPv6 always answers from the table, and refuses a flag that asks for it.
  body.rtm_flags = destination.is_v4() ? RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH : RTM_F_FIB_MATCH;
  encoder_.begin(RTM_GETROUTE, 0, body);
  encoder_.put_address(RTA_DST, destination);
  if (through != 0) encoder_.put_u32(RTA_OIF, static_cast<uint32_t>(through));
  const uint32_t sequence = socket_.next_sequence();
  if (auto status = socket_.send(stamp(0, sequence)); !status.ok()) return std::move(status).error();
  std::optional<Result<Route>> out;
  while (!out) {
    auto datagram = socket_.receive(large_buffer(), std::chrono::steady_clock::now() + Socket::deadline);
    if (!datagram) return std::move(datagram).error().context(what);
    for_each_message(*datagram, [&](const nlmsghdr* message) {
      if (message->nlmsg_seq != sequence) return true;
      if (message->nlmsg_type == NLMSG_ERROR) {
        out = answer_error(what, decode_answer(message), "");
        // IPv4 reports a blackhole as EINVAL, prohibit as EACCES, unreachable as EHOSTUNREACH.
        const int err = out->error().sys;
        if (err == ENETUNREACH || err == EHOSTUNREACH || err == EINVAL || err == EACCES) out->error().code = Code::not_found;
      } else if (auto decoded = decode_route(message); !decoded) {
        out = make_error(Code::not_found, what + ": the answer is neither a unicast nor a local route");
      } else if (decoded->type != RouteType::unicast && decoded->type != RouteType::local) {
        out = make_error(Code::not_found, what + ": discarded by the route " + decoded->destination.to_string());
      } else {
        out = std::move(*decoded);
      }
      return false;
    });
  }
  return std::move(*out);
}

}  // namespace

Status all_done(Result<std::vector<Failure>> outcome) {
  if (!outcome) return std::move(outcome).error();
  if (!outcome->empty()) return std::move(outcome->front().error);
  return {};
}

Result<std::unique_ptr<Kernel>> open_kernel() {
  auto socket = Socket::open();
  if (!socket) return std::move(socket).error();
  return std::unique_ptr<Kernel>(std::make_unique<LibnlKernel>(std::move(*socket)));
}

}  // namespace firn::netlink
