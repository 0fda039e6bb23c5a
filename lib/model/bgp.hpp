// The BGP records of the cluster store and their codecs; fields and defaults are specified in docs/bgp.md.
// decode_* treats its input as hostile, as those of records.hpp. Pure; thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

// Which hosts of the cluster speak with each other. Peers are spoken with in any case.
enum class Topology : uint8_t {
  peers,       // none: what routers pass on is all there is
  mesh,        // every host with every other
  reflectors,  // every host with the reflectors
  automatic,   // mesh up to mesh_limit hosts, reflectors above
};
std::string_view to_string(Topology topology);
Result<Topology> parse_topology(std::string_view text);

// Nodes with all these labels are in this AS.
struct LabelledAs {
  std::map<std::string, std::string> node_selector;
  uint32_t as_number = 0;
  bool operator==(const LabelledAs&) const = default;
};

// Key: bgp/settings.
struct BgpSettings {
  uint32_t as_number = 64512;
  std::vector<LabelledAs> labelled_as;  // the first that selects the node; before as_number, behind the node's own
  std::optional<Address> router_id;     // IPv4 form; default: the node's first IPv4 address
  int ecmp = 16;                        // paths of one route, 1..64
  Topology topology = Topology::peers;
  std::map<std::string, std::string> reflectors;  // labels of the nodes that reflect; empty: none do
  std::optional<Address> cluster_id;              // of the reflectors, IPv4 form; default: each its router id
  int mesh_limit = 100;                           // hosts, 2..10000
  std::string node_password_file;                 // of the sessions between hosts; read by firn-routed, 0600
  bool node_bfd = false;
  int node_hold_time = 90;  // seconds, 0 or 3..65535
  bool operator==(const BgpSettings&) const = default;
};

bool selects(const std::map<std::string, std::string>& selector, const Node& node);
uint32_t as_number_of(const BgpSettings& settings, const Node& node);

// A prefix rule of a peer's import or export filter: prefixes inside `within` whose length is least..most.
struct PrefixRule {
  bool accept = true;
  Prefix within;
  int least = 0;
  int most = 0;
  bool operator==(const PrefixRule&) const = default;
};

// What happens when a peer sends more prefixes than it may.
enum class LimitAction : uint8_t { warn, block, restart, disable };
std::string_view to_string(LimitAction action);
Result<LimitAction> parse_limit_action(std::string_view text);

// Key: bgp/peer/NAME.
struct BgpPeer {
  std::string name;  // [a-z][a-z0-9-]*, up to 48 bytes
  std::string node;  // only on this node; "": on every node that node_selector selects
  std::map<std::string, std::string> node_selector;
  Address address;              // unspecified when `range` is there
  std::optional<Prefix> range;  // dynamic neighbours: whoever connects from there
  uint32_t as_number = 0;
  uint16_t port = 179;
  std::string interface;             // needed for a link-local address
  std::optional<uint32_t> local_as;  // instead of the node's own
  int allow_own_as = 0;              // how often our AS may be in a path that is accepted, 0..10
  std::optional<Address> source;
  std::string password_file;  // read by firn-routed, 0600, never stored here
  int multihop = 0;           // 0: directly connected; 1..255 hops
  bool ttl_security = false;  // RFC 5082
  bool passive = false;
  int hold_time = 240;      // seconds, 0 or 3..65535
  int keepalive_time = 80;  // seconds, 0 (a third of hold_time) or 1..65535
  int connect_retry = 5;    // seconds, 1..65535
  bool graceful_restart = true;
  int graceful_restart_time = 120;           // seconds, 1..4095
  bool long_lived_graceful_restart = false;  // RFC 9494
  int long_lived_stale_time = 3600;          // seconds, 1..16777215
  bool bfd = false;
  bool both_families = false;      // one session for IPv4 and IPv6
  bool extended_next_hop = false;  // RFC 8950: IPv4 routes with IPv6 next hops
  bool reflect = false;            // told of other hosts' routes too, by hosts that are reflectors
  bool keep_next_hop = false;      // of those
  int max_prefixes = 0;            // 0: no limit
  LimitAction max_prefixes_action = LimitAction::restart;
  std::vector<std::string> communities;  // put on what is announced; values or names of BgpCommunity
  int prepend = 0;                       // our AS once more in the path, 0..16 times
  std::optional<uint32_t> med;
  std::vector<std::string> import_filters, export_filters;  // names of BgpFilter, before the peer's own rules
  std::vector<PrefixRule> import_rules;  // empty: accept everything; otherwise first match decides, no match rejects
  std::vector<PrefixRule> export_rules;  // the same, over the blocks this host announces
  Family family() const { return range ? range->family() : address.family(); }  // of the session
  bool carries(Family f) const { return both_families || f == family(); }
  bool operator==(const BgpPeer&) const = default;
};

// Key: bgp/prefix/PREFIXKEY. Announced by the selected nodes besides their blocks: service ranges, anycast.
struct BgpPrefix {
  Prefix cidr;
  std::map<std::string, std::string> node_selector;  // empty: every node
  std::vector<std::string> communities;
  std::string note;
  bool operator==(const BgpPrefix&) const = default;
};

// Key: bgp/topology. Written by whichever firn-routed sees first that the number of hosts asks for another one: all of them go by
// it, so that near the limit they do not go back and forth.
struct BgpTopology {
  Topology in_force = Topology::mesh;  // mesh or reflectors
  bool operator==(const BgpTopology&) const = default;
};

// Key: bgp/ready/NODE, written by that node: the last plan of sessions between hosts (routed/bird/topology.hpp) it had in place.
struct BgpReady {
  std::string node;
  std::string plan;
  bool operator==(const BgpReady&) const = default;
};

std::string encode(const BgpSettings&);
std::string encode(const BgpPeer&);
Result<BgpSettings> decode_bgp_settings(Source);
std::string encode(const BgpPrefix&);
std::string encode(const BgpTopology&);
std::string encode(const BgpReady&);
Result<BgpPeer> decode_bgp_peer(Source);
Result<BgpPrefix> decode_bgp_prefix(Source);
Result<BgpTopology> decode_bgp_topology(Source);
Result<BgpReady> decode_bgp_ready(Source);

}  // namespace firn::model
