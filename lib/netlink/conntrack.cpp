#include "lib/netlink/conntrack.hpp"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

constexpr size_t buffer_bytes = 64 * 1024;

bool is_icmp(uint8_t protocol) { return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6; }

std::optional<FlowTuple> decode_tuple(const nlattr* nested) {
  if (nested == nullptr) return std::nullopt;
  const Attributes<CTA_TUPLE_MAX> tuple(nested);
  if (tuple.raw(CTA_TUPLE_IP) == nullptr || tuple.raw(CTA_TUPLE_PROTO) == nullptr) return std::nullopt;
  const Attributes<CTA_IP_MAX> ip(tuple.raw(CTA_TUPLE_IP));
  const Attributes<CTA_PROTO_MAX> proto(tuple.raw(CTA_TUPLE_PROTO));
  const bool v4 = ip.raw(CTA_IP_V4_SRC) != nullptr;
  const auto source = v4 ? ip.address(CTA_IP_V4_SRC, Family::v4) : ip.address(CTA_IP_V6_SRC, Family::v6);
  const auto destination = v4 ? ip.address(CTA_IP_V4_DST, Family::v4) : ip.address(CTA_IP_V6_DST, Family::v6);
  const auto protocol = proto.number<uint8_t>(CTA_PROTO_NUM);
  if (!source || !destination || !protocol) return std::nullopt;
  FlowTuple out{*source, *destination, *protocol};
  const bool six = *protocol == IPPROTO_ICMPV6;
  if (is_icmp(*protocol)) {
    out.icmp_id = ntohs(proto.number<uint16_t>(six ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID).value_or(0));
    out.icmp_type = proto.number<uint8_t>(six ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE).value_or(0);
    out.icmp_code = proto.number<uint8_t>(six ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE).value_or(0);
  } else {
    out.source_port = ntohs(proto.number<uint16_t>(CTA_PROTO_SRC_PORT).value_or(0));
    out.destination_port = ntohs(proto.number<uint16_t>(CTA_PROTO_DST_PORT).value_or(0));
  }
  return out;
}

std::optional<Flow> decode_flow(const nlmsghdr* message) {
  if (message->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)) return std::nullopt;
  if (nlmsg_datalen(message) < static_cast<int>(sizeof(nfgenmsg))) return std::nullopt;
  const Attributes<CTA_MAX> attributes(message, sizeof(nfgenmsg));
  const auto original = decode_tuple(attributes.raw(CTA_TUPLE_ORIG));
  const auto reply = decode_tuple(attributes.raw(CTA_TUPLE_REPLY));
  if (!original || !reply) return std::nullopt;
  Flow out{*original, *original, ntohl(attributes.number<uint32_t>(CTA_ID).value_or(0)),
           ntohs(attributes.number<uint16_t>(CTA_ZONE).value_or(0))};
  out.real.destination = reply->source;
  if (!is_icmp(original->protocol)) out.real.destination_port = reply->source_port;
  return out;
}

void encode_tuple(Encoder& out, const FlowTuple& t) {
  const bool v4 = t.source.is_v4(), six = t.protocol == IPPROTO_ICMPV6;
  nlattr* tuple = out.nest(CTA_TUPLE_ORIG | NLA_F_NESTED);
  nlattr* ip = out.nest(CTA_TUPLE_IP | NLA_F_NESTED);
  out.put_address(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, t.source);
  out.put_address(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, t.destination);
  out.end(ip);
  nlattr* proto = out.nest(CTA_TUPLE_PROTO | NLA_F_NESTED);
  const auto put16 = [&out](int type, uint16_t value) {
    const uint16_t wire = htons(value);
    out.put(type, &wire, sizeof wire);
  };
  out.put(CTA_PROTO_NUM, &t.protocol, 1);
  if (is_icmp(t.protocol)) {
    put16(six ? CTA_PROTO_ICMPV6_ID : CTA_PROTO_ICMP_ID, t.icmp_id);
    out.put(six ? CTA_PROTO_ICMPV6_TYPE : CTA_PROTO_ICMP_TYPE, &t.icmp_type, 1);
    out.put(six ? CTA_PROTO_ICMPV6_CODE : CTA_PROTO_ICMP_CODE, &t.icmp_code, 1);
  } else {
    put16(CTA_PROTO_SRC_PORT, t.source_port);
    put16(CTA_PROTO_DST_PORT, t.destination_port);
  }
  out.end(proto);
  out.end(tuple);
}

class KernelConntrack final : public Conntrack {
 public:
  explicit KernelConntrack(Socket socket)
      : socket_(std::move(socket)), buffer_(std::make_unique_for_overwrite<uint8_t[]>(buffer_bytes)) {}

  Status list(size_t most, const std::function<void(const Flow&)>& each) override {
    size_t count = 0;
    auto got = exchange(
        IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, AF_UNSPEC, [](Encoder&) {},
        [&](const nlmsghdr* message) {
          const auto flow = decode_flow(message);
          if (flow && count++ < most) each(*flow);
        });
    if (!got) return std::move(got).error().context("listing connections");
    if (count > most) return make_error(Code::exhausted, "listing connections: there are more than " + std::to_string(most));
    return {};
  }

  Status end(const Flow& flow) override {
    auto got = exchange(
        IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, flow.original.source.is_v4() ? AF_INET : AF_INET6,
        [&](Encoder& out) {
          encode_tuple(out, flow.original);
          out.put_u32(CTA_ID, htonl(flow.id));
          const uint16_t zone = htons(flow.zone);
          if (flow.zone != 0) out.put(CTA_ZONE, &zone, sizeof zone);
        },
        [](const nlmsghdr*) {});
    if (got) return {};
    if (got.error().sys == ENOENT) return make_error(Code::not_found, "the connection has ended by itself");
    return std::move(got).error().context("ending a connection");
  }

 private:
  template <class Fill, class Each>
  Status exchange(uint8_t what, uint16_t flags, uint8_t family, Fill fill, Each each) {
    nfgenmsg body{};
    body.nfgen_family = family;
    encoder_.begin(static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | what), flags, body);
    fill(encoder_);
    if (!encoder_.good()) return make_error(Code::invalid, "the request does not fit");
    const auto bytes = encoder_.bytes();
    const uint32_t sequence = socket_.next_sequence();
    std::vector<uint8_t> request(bytes.begin(), bytes.end());
    reinterpret_cast<nlmsghdr*>(request.data())->nlmsg_seq = sequence;
    if (auto sent = socket_.send(request); !sent) return sent;
    const auto until = std::chrono::steady_clock::now() + Socket::deadline;
    std::optional<Status> outcome;
    while (!outcome) {
      const auto datagram = socket_.receive({buffer_.get(), buffer_bytes}, until);
      if (!datagram) return datagram.error();
      for_each_message(*datagram, [&](const nlmsghdr* message) {
        if (message->nlmsg_seq != sequence) return true;
        if (message->nlmsg_type != NLMSG_ERROR && message->nlmsg_type != NLMSG_DONE) {
          each(message);
          return true;
        }
        const Answer answer = decode_answer(message);
        outcome = answer.err == 0 ? Status()
                                  : Status(errno_error(answer.reason.empty() ? "the kernel refused" : answer.reason, answer.err));
        return false;
      });
    }
    return *outcome;
  }

  Socket socket_;
  Encoder encoder_;
  std::unique_ptr<uint8_t[]> buffer_;
};

}  // namespace

Result<std::unique_ptr<Conntrack>> open_conntrack() {
  auto socket = Socket::open(NETLINK_NETFILTER);
  if (!socket) return std::move(socket).error().context("connections");
  (void)socket->enlarge_receive_buffer();  // a dump answers at its reader's pace: more room is a matter of speed alone
  return std::unique_ptr<Conntrack>(std::make_unique<KernelConntrack>(*std::move(socket)));
}

}  // namespace firn::netlink
