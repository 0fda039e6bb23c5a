// The BGP records of the cluster store and their codecs; fields and defaults are specified in docs/bgp.md.
// decode_* treats its input as hostile, as those of records.hpp. Pure; thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

// Key: bgp/settings.
struct BgpSettings {
  uint32_t as_number = 64512;
  std::optional<Address> router_id;  // IPv4 form; default: the node's first IPv4 address
  bool operator==(const BgpSettings&) const = default;
};

// A prefix rule of a peer's import or export filter: prefixes inside `within` whose length is least..most.
struct PrefixRule {
  bool accept = true;
  Prefix within;
  int least = 0;
  int most = 0;
  bool operator==(const PrefixRule&) const = default;
};

// Key: bgp/peer/NAME.
struct BgpPeer {
  std::string name;  // [a-z][a-z0-9-]*, up to 48 bytes
  std::string node;  // only on this node; "": on every node
  Address address;
  uint32_t as_number = 0;
  uint16_t port = 179;
  std::string interface;       // needed for a link-local address
  std::optional<Address> source;
  std::string password_file;   // read by firn-routed, 0600, never stored here
  int multihop = 0;            // 0: directly connected; 1..255 hops
  bool ttl_security = false;   // RFC 5082
  bool passive = false;
  int hold_time = 240;         // seconds, 0 or 3..65535
  int keepalive_time = 80;     // seconds, 0 (a third of hold_time) or 1..65535
  int connect_retry = 5;       // seconds, 1..65535
  bool graceful_restart = true;
  int graceful_restart_time = 120;  // seconds, 1..4095
  bool bfd = false;
  std::vector<PrefixRule> import_rules;  // empty: accept everything; otherwise first match decides, no match rejects
  std::vector<PrefixRule> export_rules;  // the same, over the blocks this host announces
  bool operator==(const BgpPeer&) const = default;
};

std::string encode(const BgpSettings&);
std::string encode(const BgpPeer&);
Result<BgpSettings> decode_bgp_settings(Source);
Result<BgpPeer> decode_bgp_peer(Source);

}  // namespace firn::model
