// The text of bird.conf for this host. Pure: the same input gives the same bytes, in the order of peer names.
// Everything a person could have typed (names, passwords, interfaces, ranges) is checked before it reaches the text, so that
// no record can smuggle a statement into BIRD's configuration; the error names the peer and the field.
//
// What the configuration says, whoever the peers are:
//  - blocks come from the kernel (blackhole routes of protocol 241), so a new block never changes this text;
//  - a peer is told of these blocks only, never of a route learned from another peer: a host is an edge, not a transit;
//  - the kernel is given BGP routes only, and none inside a pool whose blocks firn-routed leads to, so BIRD never writes what firn
//    writes.
// One session carries the family of its own addresses (docs/bgp.md says why). Grammar: BIRD 2.0.12 and later 2.x.
// Thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/bgp.hpp"

namespace firn::routed::bird {

// The route protocol number of everything firn writes into the kernel.
inline constexpr int firn_route_protocol = 241;

struct ResolvedPeer {
  model::BgpPeer peer;
  std::string password;  // the content of peer.password_file; empty only when there is no such file
  bool operator==(const ResolvedPeer&) const = default;
};

struct Config {
  uint32_t local_as = 0;
  Address router_id;  // IPv4 form
  std::vector<ResolvedPeer> peers;
  std::vector<Prefix> routed_by_firn;  // pools of mode direct and vxlan: other hosts' blocks in them are not BIRD's to write
  std::vector<Prefix> unannounced;     // pools whose blocks no peer is told of
  // Where BIRD logs when we own its whole configuration. Empty: the text is a part that an administrator's bird.conf includes;
  // log, router id and the device protocol are then theirs.
  std::string log_file;
  bool operator==(const Config&) const = default;
};

struct Rendered {
  std::string text;
  std::vector<std::string> protocols;  // names of every protocol in the text: what must run once it is loaded
  bool operator==(const Rendered&) const = default;
};

// What of the cluster's BGP records concerns `node`: its AS, its router id, its peers (passwords still to be read).
// Code::invalid when there is no router id to be had.
Result<Config> select(const model::BgpSettings& settings, const model::Node& node, const std::vector<model::BgpPeer>& peers);

// Code::invalid naming the peer and the field. One bad peer refuses the whole text: the running configuration stays.
Status check(const Config& config);
Status check_password(std::string_view password);
Result<Rendered> render(const Config& config);

// What BIRD is given in addition when it is started, and no longer once it has read the kernel: the blocks as static routes.
// BIRD 2.0 first reads the kernel a second after its start. A session that is up sooner would otherwise tell the peer "end of
// routes" before the first route, and a peer that kept our routes over a restart of BIRD would drop them.
std::string render_start(const std::vector<Prefix>& blocks);

// "tor-a" <-> "firn_peer_tor_a". A peer's name has no underscore, so this goes both ways; the name depends on nothing else,
// so a session whose peer did not change keeps its protocol and does not flap.
std::string protocol_of(std::string_view peer_name);
std::optional<std::string> peer_of(std::string_view protocol);

}  // namespace firn::routed::bird
