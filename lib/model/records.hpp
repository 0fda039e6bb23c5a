// The records that programs share through the stores: plain structs, their JSON codec, their keys. Those of BGP: bgp.hpp.
// The formats are specified in docs/ipam.md; every record carries "v":1.
// decode_* treats its input as hostile: a wrong field is Code::invalid with a JSON pointer. Pure; thread safety: plain values.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/ports.hpp"

namespace firn::model {

// How the addresses of a block are used. A routed block is a blackhole route and is announced;
// a bridged one serves another CNI plugin's layer-2 network and must never appear as a route.
enum class Use : uint8_t { routed, bridged };
std::string_view to_string(Use use);

// How blocks of a pool are reached on other hosts. Who writes which route: docs/routing.md.
enum class RoutingMode : uint8_t {
  bgp,     // BIRD, with what peers announce
  direct,  // firn-routed, by way of the owner's address on a shared layer 2
  vxlan,   // firn-routed, encapsulated between hosts
};
std::string_view to_string(RoutingMode mode);
// What vxlan adds to a packet between hosts: the IP header of that family, UDP, VXLAN and the inner Ethernet header.
constexpr int vxlan_overhead(Family underlay) { return underlay == Family::v4 ? 50 : 70; }
Result<RoutingMode> parse_routing_mode(std::string_view text);

// Key: pool/NAME in the cluster store; copied to node/pool/NAME. Pools named by a CNI `ipam.subnet` exist on the node only.
struct Pool {
  std::string name;  // [a-z0-9]([a-z0-9.-]*[a-z0-9])?, up to 63 bytes; node-only pools are named "net-ADDRESS-LENGTH"
  Prefix cidr;
  int block_size = 0;                                // prefix length of a block: IPv4 default 26, IPv6 122; at most 2^16 addresses
  std::map<std::string, std::string> node_selector;  // labels a node must carry; empty: every node
  bool disabled = false;                             // no new leases; live ones stay
  bool node_only = false;
  RoutingMode mode = RoutingMode::bgp;
  bool cross_subnet = false;     // vxlan: encapsulate only where there is no shared layer 2
  bool advertise = true;         // blocks are announced over BGP
  bool strict = false;           // a host never borrows an address of another host's block
  bool status_when_low = false;  // CNI STATUS fails on a host that has no spare block of it and can claim none
  // Its containers leave the cluster as their host: what goes to addresses that are neither of a pool nor of a node.
  bool nat = false;
  std::vector<Prefix> nat_exclude = {};                   // outside as well, but reached by the container's own address
  std::optional<AddressRange> nat_source = std::nullopt;  // addresses of the host to leave by; absent: that of the way out
  std::vector<Prefix> extra_sources = {};                 // which further addresses its containers may ask to send from
  std::optional<Prefix> shrinking_to = {};    // the part that stays: outside of it nothing is leased or claimed any more
  std::vector<std::string> moving_from = {};  // claims inside `cidr` are still under these pools' names: no new ones meanwhile
  int overhead = 0;                           // in the node store's copy alone: bytes that a packet may grow by between hosts
  Prefix leasable() const { return shrinking_to.value_or(cidr); }
  bool operator==(const Pool&) const = default;
};

// Key: reservation/CIDR. Addresses inside are never leased.
struct Reservation {
  Prefix cidr;
  std::string note;
  bool operator==(const Reservation&) const = default;
};

// A run of free ordinals, first..last, released at that time (0: never used).
struct FreeRun {
  uint32_t first = 0;
  uint32_t last = 0;
  int64_t released_at = 0;
  bool operator==(const FreeRun&) const = default;
};

// Node store, key: block/USE/POOL/PREFIXKEY. What this host may lease from. `free` is a queue: leases pop its front,
// releases push its back, so reuse is first-in-first-out.
struct Block {
  Prefix prefix;
  std::string pool;
  Use use = Use::routed;
  std::vector<FreeRun> free;
  bool operator==(const Block&) const = default;
};

// Cluster store, key: claim/POOL/PREFIXKEY. Which node owns the block.
struct Claim {
  Prefix prefix;
  std::string pool;
  std::string node;
  Use use = Use::routed;
  int64_t claimed_at = 0;
  bool operator==(const Claim&) const = default;
};

// Node store, key: lease/ADDRESSKEY. Who holds the address.
struct Lease {
  Address address;
  std::string handle;
  std::string pool;
  Prefix block;
  bool operator==(const Lease&) const = default;
};

enum class EndpointKind : uint8_t {
  interface,  // firn made a veth for it
  address,    // firn-ipam leased addresses for another plugin's interface
};

// Node store, key: endpoint/HANDLE. One attachment (network, container, interface): the handle of its leases.
struct Endpoint {
  EndpointKind kind = EndpointKind::interface;
  std::string network;
  std::string container_id;
  std::string ifname;
  std::string netns;         // path given by the runtime; "" when none
  uint64_t netns_inode = 0;  // identity of the namespace behind it; 0 when not opened
  std::string boot_id;       // of the boot in which it was attached
  std::string host_ifname;   // "" for kind address
  Mac mac;                   // container side
  int mtu = 0;
  std::vector<Address> addresses;
  bool leased = true;  // false: another IPAM plugin owns the addresses
  int64_t created_at = 0;
  std::string pod_namespace, pod_name, pod_uid;
  std::map<std::string, std::string> labels, annotations;
  std::vector<PublishedPort> ports;
  Bandwidth bandwidth;
  bool operator==(const Endpoint&) const = default;
};
std::string handle_of(std::string_view network, std::string_view container_id, std::string_view ifname);
inline std::string handle_of(const Endpoint& e) { return handle_of(e.network, e.container_id, e.ifname); }

// A host that leaves BGP for maintenance: first it asks the others to prefer another way, after `grace` it announces nothing.
struct Drain {
  int64_t since = 0;  // Unix time
  int grace = 30;     // seconds, 0..3600
  bool operator==(const Drain&) const = default;
};

// Key: node/NAME in the cluster store.
struct Node {
  std::string name;
  std::string machine_id;          // of /etc/machine-id, or a random one kept in the state directory
  std::vector<Address> addresses;  // how peers reach this host; the first IPv4 one is the default router id
  std::map<std::string, std::string> labels;
  std::optional<uint32_t> as_number;  // overrides BgpSettings::as_number
  int64_t joined_at = 0;
  uint64_t generation = 0;  // which of the hosts that have had this name; given by the cluster, never twice
  std::optional<Drain> drain = {};
  bool operator==(const Node&) const = default;
};

// Who a host is to the cluster: what its claims are fenced by. A host whose identity is not the one of the node's record (removed
// meanwhile, a clone, a name taken twice) claims nothing. Without a machine id it is not compared: in a store of this host alone.
struct Identity {
  std::string name;
  std::string machine_id = {};
  uint64_t generation = 0;
  std::string instance = {};  // of this state directory in this boot: a clone of everything else has another one
  bool operator==(const Identity&) const = default;
};

// Cluster store, key: beat/NAME, under a lease: it is there while the node's firn-routed is alive and reaches the cluster.
struct Beat {
  std::string node;
  std::string machine_id;
  uint64_t generation = 0;
  std::string instance;
  int64_t since = 0;
  bool operator==(const Beat&) const = default;
};

// Cluster store, key: lost/NAME. When others noticed that the node's beat had gone; it goes with the next beat.
struct Lost {
  std::string node;
  int64_t at = 0;
  bool operator==(const Lost&) const = default;
};

// Node store, key: fence. From that time on (0: now) nothing is leased from the cluster's pools on this host. One that a beat set
// has the time of that beat and what the other clock (Clock::boot_seconds, in that boot) says when it comes.
struct Fence {
  int64_t from = 0;
  std::string why;
  int64_t beat = 0;
  std::string boot_id = {};
  int64_t boot_from = 0;
  bool operator==(const Fence&) const = default;
};

// The text of a record. Stored ones are read leniently: an older program leaves out what a newer one added. In one that a person
// wrote (strict), a field that the record does not have is an error that names the field it may have been.
struct Source {
  template <class Text>
  requires std::convertible_to<const Text&, std::string_view> Source(const Text& t, bool is_strict = false)
      : text(t), strict(is_strict) {}  // NOLINT(google-explicit-constructor)
  std::string_view text;
  bool strict = false;
};

// The prefix length of a pool's blocks when nobody says: 26, IPv6 122, never larger than the pool.
int default_block_size(const Prefix& cidr);

// Codecs: JSON text <-> struct. decode(encode(x)) == x.
std::string encode(const Pool&);
std::string encode(const Reservation&);
std::string encode(const Block&);
std::string encode(const Claim&);
std::string encode(const Lease&);
std::string encode(const Endpoint&);
std::string encode(const Node&);
std::string encode(const Beat&);
std::string encode(const Lost&);
std::string encode(const Fence&);
Result<Pool> decode_pool(Source);
Result<Reservation> decode_reservation(Source);
Result<Block> decode_block(Source);
Result<Claim> decode_claim(Source);
Result<Lease> decode_lease(Source);
Result<Endpoint> decode_endpoint(Source);
Result<Node> decode_node(Source);
Result<Beat> decode_beat(Source);
Result<Lost> decode_lost(Source);
Result<Fence> decode_fence(Source);

}  // namespace firn::model
