// The text of bird.conf for this host. Pure: the same input gives the same bytes, in the order of peer names.
// Everything a person could have typed (names, passwords, interfaces, ranges) is checked before it reaches the text, so that
// no record can smuggle a statement into BIRD's configuration; the error names the peer and the field.
//
// What the configuration says, whoever the peers are:
//  - blocks come from the kernel (blackhole routes of protocol 241), so a new block never changes this text;
//  - a peer is told of these blocks and the extra prefixes only, never of a route learned from another peer: a host is an edge, not
//  a
//    transit. Reflectors alone pass on what other hosts of the cluster announce, with the next hop as it is;
//  - every session between hosts could reflect (`rr client`), and the export filter alone says whether it does: a host becomes a
//    reflector or ceases to be one without a restart of any session;
//  - the kernel is given BGP routes only, and none inside a pool whose blocks firn-routed leads to, so BIRD never writes what firn
//    writes.
// Grammar: BIRD 2.0.12 and later 2.x. Checks: check.cpp; filters: filters.hpp; what goes in here: select.hpp.
// Thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/bgp_policy.hpp"

namespace firn::routed::bird {

// The route protocol number of everything firn writes into the kernel.
inline constexpr int firn_route_protocol = 241;

// A rule of a named filter, the names of communities resolved.
struct Rule {
  model::FilterAction action = model::FilterAction::accept;
  std::vector<model::PrefixMatch> prefixes;   // one of them; empty: any prefix
  std::vector<model::Community> communities;  // one of them; empty: whatever there is
  std::vector<model::Community> add, remove;
  int prepend = 0;
  std::optional<uint32_t> med, local_pref;
  bool operator==(const Rule&) const = default;
};

struct ResolvedPeer {
  model::BgpPeer peer;
  std::string password;                          // the content of peer.password_file; empty only when there is no such file
  bool host = false;                             // another host of the cluster, peer.name is that of its node (topology.hpp)
  std::vector<Rule> import_chain, export_chain;  // of the named filters, before the peer's own rules
  std::vector<model::Community> communities;     // put on what is announced
  bool operator==(const ResolvedPeer&) const = default;
};

// A prefix that is announced besides the blocks.
struct Extra {
  Prefix prefix;
  std::vector<model::Community> communities;
  bool operator==(const Extra&) const = default;
};

enum class Drain {
  none,
  announce,  // everything with the graceful-shutdown community and the lowest local preference
  withdraw,  // nothing
};
std::string_view to_string(Drain drain);

struct Config {
  uint32_t local_as = 0;
  Address router_id;       // IPv4 form
  int ecmp = 16;           // paths of one route
  bool reflector = false;  // other hosts' routes are passed on to hosts, and to the peers that are to have them
  std::optional<Address> cluster_id;
  Drain drain = Drain::none;
  std::vector<ResolvedPeer> peers;
  std::vector<Extra> extra;
  std::vector<Prefix> of_hosts;        // other hosts may announce what is in these
  std::vector<Address> own_addresses;  // of the node
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

// Code::invalid naming the peer and the field. One bad peer refuses the whole text: the running configuration stays.
Status check(const Config& config);
Status check_password(std::string_view password);
Result<Rendered> render(const Config& config);

// What BIRD is given in addition when it is started, and no longer once it has read the kernel: the blocks as static routes.
// BIRD 2.0 first reads the kernel a second after its start. A session that is up sooner would otherwise tell the peer "end of
// routes" before the first route, and a peer that kept our routes over a restart of BIRD would drop them.
std::string render_start(const std::vector<Prefix>& blocks);

// Names of protocols depend on nothing but the name of the peer or node and the family, so a session that did not change keeps its
// protocol and does not flap: peer "tor-a" is firn_peer_tor_a, node "b.rack-1" is firn_node4_b.rack-1 (quoted in the text) and
// whoever came from the range of peer "rack" is firn_dynamic_rack_1.
std::string protocol_of(std::string_view peer_name);
std::string host_protocol_of(std::string_view node_name, Family family);
inline std::string protocol_of(const ResolvedPeer& p) {
  return p.host ? host_protocol_of(p.peer.name, p.peer.family()) : protocol_of(p.peer.name);
}

enum class SessionKind { peer, dynamic, node };
std::string_view to_string(SessionKind kind);
struct SessionName {
  SessionKind kind = SessionKind::peer;
  std::string name;  // of the peer or the node; a node's of more than 52 bytes is shortened
  bool operator==(const SessionName&) const = default;
};
std::optional<SessionName> session_of(std::string_view protocol);

}  // namespace firn::routed::bird
