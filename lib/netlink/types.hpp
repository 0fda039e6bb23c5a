// Links, addresses, routes, neighbours as plain values, and the requests that change them. Pure.
// Vocabulary and defaults are iproute2's; each request names the `ip` command it equals.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lib/addr/addr.hpp"

namespace firn::netlink {

// rtm_protocol of every route that firn writes: how a restarted daemon knows them. docs/routing.md.
inline constexpr uint8_t route_protocol = 241;
// Devices waiting for their deletion (IFLA_GROUP). "firn" in ASCII, so that nobody else's number is hit by accident.
inline constexpr uint32_t dead_group = 0x6669726e;
// Host sides of containers, from the message that makes them: how the rules of firn's table know them, whatever their names ("firl").
inline constexpr uint32_t live_group = 0x6669726c;

// What a vxlan link is made of (RFC 7348). The kernel changes none of these on a link that lives: delete it and make another.
struct Vxlan {
  uint32_t vni = 0;
  uint16_t port = 4789;  // of UDP, host byte order
  Address local;         // its family is that of the packets between hosts
  bool learning = false;
  std::optional<Address> remote = std::nullopt;  // where frames to unknown MACs are flooded; never in a link of firn's
  bool operator==(const Vxlan&) const = default;
};

struct Link {
  int index = 0;
  std::string name;
  std::string kind;  // "veth", "bridge" ...; "" for a physical device
  Mac mac;
  int mtu = 0;
  bool up = false;       // IFF_UP
  bool running = false;  // carrier, and the kernel acts on it: IFF_LOWER_UP and IF_OPER_UP (never so for kinds without a carrier)
  uint32_t group = 0;
  int peer_index = 0;  // IFLA_LINK: the other end of a veth, in its own namespace
  std::string alias;
  std::optional<Vxlan> vxlan = std::nullopt;  // of kind "vxlan"
  bool operator==(const Link&) const = default;
};

struct LinkAddress {
  int index = 0;
  InterfaceAddress address;
  auto operator<=>(const LinkAddress&) const = default;
};

enum class RouteType : uint8_t { unicast = 1, local = 2, blackhole = 6, unreachable = 7, prohibit = 8 };

struct Route {
  Prefix destination;
  RouteType type = RouteType::unicast;
  int oif = 0;  // 0 for blackhole
  std::optional<Address> gateway = std::nullopt;
  bool onlink = false;
  uint8_t protocol = route_protocol;
  uint8_t scope = 0;                             // RT_SCOPE_*: 0 global, 253 link; IPv6 ignores it
  uint32_t table = 254;                          // main
  uint32_t metric = 0;                           // 0: kernel's default (IPv6 shows 1024, which list normalises to 0)
  std::optional<Address> source = std::nullopt;  // RTA_PREFSRC
  int mtu = 0;
  bool multipath = false;  // only in lists: several next hops, of which the first is shown; apply() refuses it
  bool operator==(const Route&) const = default;
};
// The form in which routes() and events show a route that was written like this; compare normalised values only.
Route normalise(Route route);

// ip rule add from FROM lookup TABLE priority PRIORITY. Ours by FRA_PROTOCOL 241.
struct Rule {
  Prefix from;
  uint32_t table = 254;
  uint32_t priority = 0;
  bool operator==(const Rule&) const = default;
};

struct Neighbour {
  int index = 0;
  Address address;
  Mac mac;
  bool permanent = true;
  bool operator==(const Neighbour&) const = default;
};

// An entry of a vxlan link's forwarding table: frames to this MAC go to that host.
struct Forward {
  int index = 0;
  Mac mac;
  Address destination;
  bool permanent = true;
  bool operator==(const Forward&) const = default;
};

// ip link add NAME address MAC mtu MTU group GROUP type veth peer name PEER address MAC netns FD. Both sides down.
// The kernel takes no alias at creation: give it to the SetLink that follows (one batch, once index_of() has told the index).
struct CreateVeth {
  std::string name;
  Mac mac;
  std::string peer_name;
  Mac peer_mac;
  int peer_netns_fd = -1;  // -1: the same namespace
  int mtu = 1500;
  uint32_t group = 0;      // of NAME alone
};
// ip link add NAME address MAC mtu MTU type vxlan id VNI dstport PORT local ADDRESS nolearning; ip link set NAME up
struct CreateVxlan {
  std::string name;
  Mac mac;
  int mtu = 1450;
  Vxlan vxlan;
};
// ip link set dev IFINDEX ...; only the members that are set change. In this order inside the kernel: name, then flags.
struct SetLink {
  int index = 0;
  std::optional<std::string> name = std::nullopt;
  std::optional<bool> up = std::nullopt;
  std::optional<uint32_t> group = std::nullopt;
  std::optional<int> mtu = std::nullopt;
  std::optional<bool> ipv4_strict_source = std::nullopt;  // net.ipv4.conf.IF.rp_filter = 1, by IFLA_AF_SPEC
  std::optional<bool> ipv4_forwarding = std::nullopt;     // net.ipv4.conf.IF.forwarding, by IFLA_AF_SPEC
  std::optional<std::string> alias = std::nullopt;        // at most 255 bytes; the kernel ignores an alias given at creation
};
struct DeleteLink {
  int index = 0;
  std::string name = {};
};  // ip link del; by name where there is no index
struct DeleteGroup {
  uint32_t group = dead_group;
};  // ip link del group N: all in one grace period; ENODEV when it is empty
struct AddAddress {
  LinkAddress address;
  bool no_dad = true;
};  // ip addr add ... nodad
struct RemoveAddress {
  LinkAddress address;
};
struct AddRoute {
  Route route;
};  // ip route add: EEXIST when the destination has a route
// ip route replace. Takes the place of whatever has this destination, table and metric, also of somebody else's route.
struct ReplaceRoute {
  Route route;
};
// ip route del; matches destination, table, metric, type, protocol (0: any), and oif and gateway when set.
struct RemoveRoute {
  Route route;
};
struct ReplaceNeighbour {
  Neighbour neighbour;
};  // ip neigh replace ... nud permanent
struct RemoveNeighbour {
  Neighbour neighbour;
};  // ip neigh del
struct ReplaceForward {
  Forward forward;
};  // bridge fdb replace MAC dev IFINDEX dst ADDRESS self permanent
struct RemoveForward {
  Forward forward;
};  // bridge fdb del; all destinations of the MAC
struct AddRule {
  Rule rule;
};  // EEXIST when it is there
struct RemoveRule {
  Rule rule;
};  // only a rule with our protocol number

// A bound of a link's traffic: bytes a second, and how many may pass at once.
struct TokenBucket {
  uint64_t rate = 0, burst = 0;
  bool operator==(const TokenBucket&) const = default;
};
// tc qdisc replace dev IFINDEX root tbf rate R burst B limit L: what leaves by the link waits for its turn, up to 50 ms.
struct ShapeOutgoing {
  int index = 0;
  TokenBucket bucket;
};
// tc qdisc add dev IFINDEX clsact: the place of filters for what comes in. EEXIST when it is there.
struct AddClassifier {
  int index = 0;
};
// tc filter replace dev IFINDEX ingress protocol all pref 1 handle 1 bpf direct-action: what comes in too fast is dropped.
// `program`: of load_policer(); the kernel keeps it as long as the filter.
struct PoliceIncoming {
  int index = 0;
  TokenBucket bucket;
  int program = -1;
};
// What the two have made. Of the outgoing bucket the kernel tells the rate alone.
struct TrafficBounds {
  std::optional<uint64_t> outgoing_rate = std::nullopt;
  std::optional<TokenBucket> incoming = std::nullopt;
  bool operator==(const TrafficBounds&) const = default;
};

using Request = std::variant<CreateVeth, CreateVxlan, SetLink, DeleteLink, DeleteGroup, AddAddress, RemoveAddress, AddRoute,
                             ReplaceRoute, RemoveRoute, ReplaceNeighbour, RemoveNeighbour, ReplaceForward, RemoveForward, AddRule,
                             RemoveRule, ShapeOutgoing, AddClassifier, PoliceIncoming>;

// "add route 10.0.0.1/32 dev 7": for error messages and debug logs.
std::string describe(const Request& request);

struct RouteFilter {
  std::optional<Family> family = std::nullopt;
  std::optional<uint8_t> protocol = std::nullopt;
  std::optional<uint32_t> table = 254;
  std::optional<int> oif = std::nullopt;
};

}  // namespace firn::netlink
