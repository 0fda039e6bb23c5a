// rtnetlink message -> value. Whatever the kernel (or a fuzzer) sends: short headers and attributes of a wrong size are absent.
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

// IFF_LOWER_UP and IF_OPER_UP of linux/if.h, which cannot be included beside net/if.h.
constexpr unsigned lower_up = 1U << 16;
constexpr uint8_t operational = 6;

template <class Body>
const Body* body_of(const nlmsghdr* message) {
  if (nlmsg_datalen(message) < static_cast<int>(sizeof(Body))) return nullptr;
  return static_cast<const Body*>(nlmsg_data(message));
}

std::optional<Family> family_of(int family) {
  if (family == AF_INET) return Family::v4;
  if (family == AF_INET6) return Family::v6;
  return std::nullopt;
}

std::optional<Prefix> prefix_of(const std::optional<Address>& address, Family family, int length) {
  const int bits = family == Family::v4 ? 32 : 128;
  if (length < 0 || length > bits || (!address && length != 0)) return std::nullopt;
  return address ? Prefix::of(*address, length) : Prefix::any(family);
}

bool is_known(uint8_t type) {
  switch (static_cast<RouteType>(type)) {
    case RouteType::unicast:
    case RouteType::local:
    case RouteType::blackhole:
    case RouteType::unreachable:
    case RouteType::prohibit: return true;
  }
  return false;
}

template <int Max>
std::optional<Address> gateway_of(const Attributes<Max>& attributes, Family family) {
  if (auto plain = attributes.address(RTA_GATEWAY, family)) return plain;
  const nlattr* via = attributes.raw(RTA_VIA);
  uint16_t other = 0;
  if (via == nullptr || nla_len(via) < static_cast<int>(sizeof other)) return std::nullopt;
  const auto* bytes = static_cast<const uint8_t*>(nla_data(via));
  std::copy_n(bytes, sizeof other, reinterpret_cast<uint8_t*>(&other));
  const auto other_family = family_of(other);
  if (!other_family || nla_len(via) != static_cast<int>(sizeof other) + (*other_family == Family::v4 ? 4 : 16)) return std::nullopt;
  return Address::from_bytes(*other_family, bytes + sizeof other);
}

// Somebody else's multipath route: show its first next hop, so that "which link has the default route" has an answer.
void take_first_hop(const nlattr* hops, Family family, Route& route) {
  route.multipath = true;
  rtnexthop hop{};
  if (nla_len(hops) < static_cast<int>(sizeof hop)) return;
  const auto* bytes = static_cast<const uint8_t*>(nla_data(hops));
  std::copy_n(bytes, sizeof hop, reinterpret_cast<uint8_t*>(&hop));
  if (hop.rtnh_len < sizeof hop || hop.rtnh_len > nla_len(hops)) return;
  route.oif = hop.rtnh_ifindex;
  route.onlink = (hop.rtnh_flags & RTNH_F_ONLINK) != 0;
  auto* first = const_cast<nlattr*>(reinterpret_cast<const nlattr*>(bytes + sizeof hop));  // NOLINT: libnl wants no const
  const int size = hop.rtnh_len - static_cast<int>(sizeof hop);
  if (nlattr* gateway = nla_find(first, size, RTA_GATEWAY);
      gateway != nullptr && nla_len(gateway) == (family == Family::v4 ? 4 : 16)) {
    route.gateway = Address::from_bytes(family, nla_data(gateway));
  }
}

std::optional<Vxlan> vxlan_of(const nlattr* data) {
  const Attributes<IFLA_VXLAN_MAX> attributes(data);
  const auto either = [&](int v4, int v6) {
    auto address = attributes.address(v4, Family::v4);
    return address ? address : attributes.address(v6, Family::v6);
  };
  Vxlan out;
  out.vni = attributes.number<uint32_t>(IFLA_VXLAN_ID).value_or(0);
  out.port = ntohs(attributes.number<uint16_t>(IFLA_VXLAN_PORT).value_or(0));
  out.local = either(IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6).value_or(Address());
  out.learning = attributes.number<uint8_t>(IFLA_VXLAN_LEARNING).value_or(0) != 0;
  out.remote = either(IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6);
  return out;
}

}  // namespace

std::optional<Link> decode_link(const nlmsghdr* message) {
  const auto* body = body_of<ifinfomsg>(message);
  // Messages of AF_BRIDGE tell of a bridge port, not of the link: RTM_DELLINK there leaves the link alive.
  if (body == nullptr || body->ifi_family != AF_UNSPEC) return std::nullopt;
  const Attributes<IFLA_MAX> attributes(message, sizeof *body);
  Link out;
  out.index = body->ifi_index;
  out.up = (body->ifi_flags & IFF_UP) != 0;
  out.running = (body->ifi_flags & lower_up) != 0 && attributes.number<uint8_t>(IFLA_OPERSTATE) == operational;
  out.name = attributes.text(IFLA_IFNAME);
  out.alias = attributes.text(IFLA_IFALIAS);
  out.mac = attributes.mac(IFLA_ADDRESS).value_or(Mac());
  out.mtu = static_cast<int>(attributes.number<uint32_t>(IFLA_MTU).value_or(0));
  out.group = attributes.number<uint32_t>(IFLA_GROUP).value_or(0);
  out.peer_index = attributes.number<int>(IFLA_LINK).value_or(0);
  if (const nlattr* info = attributes.raw(IFLA_LINKINFO)) {
    const Attributes<IFLA_INFO_MAX> of_kind(info);
    out.kind = of_kind.text(IFLA_INFO_KIND);
    if (const nlattr* data = of_kind.raw(IFLA_INFO_DATA); data != nullptr && out.kind == "vxlan") out.vxlan = vxlan_of(data);
  }
  return out;
}

std::optional<LinkAddress> decode_address(const nlmsghdr* message) {
  const auto* body = body_of<ifaddrmsg>(message);
  if (body == nullptr) return std::nullopt;
  const auto family = family_of(body->ifa_family);
  if (!family || body->ifa_prefixlen > (*family == Family::v4 ? 32 : 128)) return std::nullopt;
  const Attributes<IFA_MAX> attributes(message, sizeof *body);
  // IFA_ADDRESS is the other end of a point-to-point link; then IFA_LOCAL is ours. IPv6 leaves IFA_LOCAL out otherwise.
  auto address = attributes.address(IFA_LOCAL, *family);
  if (!address) address = attributes.address(IFA_ADDRESS, *family);
  if (!address) return std::nullopt;
  return LinkAddress{static_cast<int>(body->ifa_index), InterfaceAddress{*address, body->ifa_prefixlen}};
}

std::optional<Route> decode_route(const nlmsghdr* message) {
  const auto* body = body_of<rtmsg>(message);
  if (body == nullptr || (body->rtm_flags & RTM_F_CLONED) != 0 || !is_known(body->rtm_type)) return std::nullopt;
  const auto family = family_of(body->rtm_family);
  if (!family) return std::nullopt;
  const Attributes<RTA_MAX> attributes(message, sizeof *body);
  const auto destination = prefix_of(attributes.address(RTA_DST, *family), *family, body->rtm_dst_len);
  if (!destination) return std::nullopt;
  Route out;
  out.destination = *destination;
  out.type = static_cast<RouteType>(body->rtm_type);
  out.protocol = body->rtm_protocol;
  out.scope = body->rtm_scope;
  out.onlink = (body->rtm_flags & RTNH_F_ONLINK) != 0;
  out.table = attributes.number<uint32_t>(RTA_TABLE).value_or(body->rtm_table);
  out.metric = attributes.number<uint32_t>(RTA_PRIORITY).value_or(0);
  out.oif = attributes.number<int>(RTA_OIF).value_or(0);
  out.gateway = gateway_of(attributes, *family);
  out.source = attributes.address(RTA_PREFSRC, *family);
  if (const nlattr* metrics = attributes.raw(RTA_METRICS)) {
    out.mtu = static_cast<int>(Attributes<RTAX_MAX>(metrics).template number<uint32_t>(RTAX_MTU).value_or(0));
  }
  if (const nlattr* hops = attributes.raw(RTA_MULTIPATH)) take_first_hop(hops, *family, out);
  return normalise(out);
}

std::optional<Neighbour> decode_neighbour(const nlmsghdr* message) {
  const auto* body = body_of<ndmsg>(message);
  if (body == nullptr || (body->ndm_flags & NTF_PROXY) != 0) return std::nullopt;
  const auto family = family_of(body->ndm_family);
  if (!family) return std::nullopt;
  const Attributes<NDA_MAX> attributes(message, sizeof *body);
  const auto address = attributes.address(NDA_DST, *family);
  if (!address) return std::nullopt;
  return Neighbour{body->ndm_ifindex, *address, attributes.mac(NDA_LLADDR).value_or(Mac()), (body->ndm_state & NUD_PERMANENT) != 0};
}

std::optional<Forward> decode_forward(const nlmsghdr* message) {
  const auto* body = body_of<ndmsg>(message);
  if (body == nullptr || body->ndm_family != AF_BRIDGE || (body->ndm_flags & NTF_SELF) == 0) return std::nullopt;
  const Attributes<NDA_MAX> attributes(message, sizeof *body);
  const auto mac = attributes.mac(NDA_LLADDR);
  auto destination = attributes.address(NDA_DST, Family::v4);
  if (!destination) destination = attributes.address(NDA_DST, Family::v6);
  if (!mac || !destination) return std::nullopt;
  return Forward{body->ndm_ifindex, *mac, *destination, (body->ndm_state & NUD_PERMANENT) != 0};
}

std::optional<Rule> decode_rule(const nlmsghdr* message) {
  const auto* body = body_of<fib_rule_hdr>(message);
  if (body == nullptr || body->action != FR_ACT_TO_TBL) return std::nullopt;
  const auto family = family_of(body->family);
  if (!family) return std::nullopt;
  const Attributes<FRA_MAX> attributes(message, sizeof *body);
  const auto from = prefix_of(attributes.address(FRA_SRC, *family), *family, body->src_len);
  if (!from || attributes.number<uint8_t>(FRA_PROTOCOL).value_or(0) != route_protocol) return std::nullopt;
  return Rule{*from, attributes.number<uint32_t>(FRA_TABLE).value_or(body->table),
              attributes.number<uint32_t>(FRA_PRIORITY).value_or(0)};
}

std::optional<Event> decode_event(const nlmsghdr* message) {
  Event out;
  const auto take = [&](Event::What what, auto& member, auto value) -> std::optional<Event> {
    if (!value) return std::nullopt;
    out.what = what;
    member = std::move(*value);
    return std::move(out);
  };
  const auto type = message->nlmsg_type;
  out.removed = type == RTM_DELLINK || type == RTM_DELADDR || type == RTM_DELROUTE || type == RTM_DELNEIGH;
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: return take(Event::What::link, out.link, decode_link(message));
    case RTM_NEWADDR:
    case RTM_DELADDR: return take(Event::What::address, out.address, decode_address(message));
    case RTM_NEWROUTE:
    case RTM_DELROUTE: return take(Event::What::route, out.route, decode_route(message));
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      if (auto forward = decode_forward(message)) return take(Event::What::forward, out.forward, std::move(forward));
      return take(Event::What::neighbour, out.neighbour, decode_neighbour(message));
    default: return std::nullopt;
  }
}

Answer decode_answer(const nlmsghdr* message) {
  Answer out;
  const int size = nlmsg_datalen(message);
  int result = 0;
  if (size < static_cast<int>(sizeof result)) return Answer{EPROTO, "the kernel's answer is cut short"};
  const auto* data = static_cast<const uint8_t*>(nlmsg_data(message));
  std::copy_n(data, sizeof result, reinterpret_cast<uint8_t*>(&result));
  out.err = result < 0 ? -result : 0;
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return out;
  size_t header = sizeof result;
  if (message->nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error{};
    if (size < static_cast<int>(sizeof error)) return out;
    std::copy_n(data, sizeof error, reinterpret_cast<uint8_t*>(&error));
    header = sizeof error;
    // Without NETLINK_CAP_ACK the whole request stands between the error and the attributes.
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) header += NLMSG_ALIGN(error.msg.nlmsg_len) - sizeof(nlmsghdr);
  }
  if (header > static_cast<size_t>(size)) return out;
  out.reason = Attributes<NLMSGERR_ATTR_MAX>(message, header).text(NLMSGERR_ATTR_MSG);
  return out;
}

}  // namespace firn::netlink
