// Keys of the two stores, in one place. PREFIXKEY and ADDRESSKEY sort as the addresses do:
// "4-" or "6-", then the address in hex, then for prefixes "-" and the length in two hex digits ("4-0a000000-1a").
#pragma once

#include <string>
#include <string_view>

#include "lib/addr/addr.hpp"
#include "lib/model/records.hpp"

namespace firn::model::keys {

std::string address_key(const Address& address);
std::string prefix_key(const Prefix& prefix);

// Cluster store.
inline constexpr std::string_view pools = "pool/";
inline constexpr std::string_view reservations = "reservation/";
inline constexpr std::string_view claims = "claim/";
inline constexpr std::string_view nodes = "node/";
inline constexpr std::string_view published = "published/";  // copies of the endpoints of every host
inline constexpr std::string_view bgp = "bgp/";
inline constexpr std::string_view bgp_peers = "bgp/peer/";
inline constexpr std::string_view bgp_filters = "bgp/filter/";
inline constexpr std::string_view bgp_communities = "bgp/community/";
inline constexpr std::string_view bgp_prefixes = "bgp/prefix/";
inline constexpr std::string_view bgp_readies = "bgp/ready/";
inline constexpr std::string_view bgp_settings = "bgp/settings";
inline constexpr std::string_view bgp_topology = "bgp/topology";
inline constexpr std::string_view bgp_statuses = "status/bgp/";
inline constexpr std::string_view drain_reports = "status/drain/";
std::string pool(std::string_view name);
std::string reservation(const Prefix& cidr);
std::string claim(std::string_view pool, const Prefix& prefix);
std::string claims_of(std::string_view pool);
std::string node(std::string_view name);
inline constexpr std::string_view beats = "beat/";
inline constexpr std::string_view losses = "lost/";
inline constexpr std::string_view generations = "generation";  // the last that was given, in decimal
std::string beat(std::string_view node);
std::string loss(std::string_view node);
std::string published_by(std::string_view node);
std::string published_endpoint(std::string_view node, std::string_view handle);
std::string bgp_peer(std::string_view name);
std::string bgp_filter(std::string_view name);
std::string bgp_community(std::string_view name);
std::string bgp_prefix(const Prefix& cidr);
std::string bgp_ready(std::string_view node);
std::string bgp_status(std::string_view node);
std::string drain_report(std::string_view node);

// Node store. pool/ and reservation/ are copies of the cluster's, plus node-only pools.
inline constexpr std::string_view node_identity = "self";         // value: the node's name; absent before `firnctl init`
inline constexpr std::string_view own_generation = "generation";  // of this host as a node, in decimal; absent: 0
inline constexpr std::string_view fence = "fence";
inline constexpr std::string_view boot = "boot";  // value: boot id at the last use
inline constexpr std::string_view blocks = "block/";
inline constexpr std::string_view leases = "lease/";
inline constexpr std::string_view endpoints = "endpoint/";
// The revision of the cluster store at which a block, or its name, was last taken away from this host: an older view of the
// cluster says nothing about blocks here.
inline constexpr std::string_view ownership = "ownership";
inline constexpr std::string_view returned = "returned/";  // blocks on their way back to the cluster
std::string returned_block(const Prefix& prefix);
inline constexpr std::string_view lows = "low/";  // pools of which no further block is to be had
std::string low(Use use, std::string_view pool);
// Present while firn-routed keeps policy in this host's kernel: without it a new container has no verdict and is shut.
inline constexpr std::string_view policy_active = "policy/active";
std::string block(Use use, std::string_view pool, const Prefix& prefix);
std::string blocks_of(Use use, std::string_view pool);
// Present while the block has at least one free address: the allocator looks at these alone. The value is a hint (docs/ipam.md).
std::string available(Use use, std::string_view pool, const Prefix& prefix);
std::string available_of(Use use, std::string_view pool);
std::string lease(const Address& address);
std::string endpoint(std::string_view handle);

}  // namespace firn::model::keys
