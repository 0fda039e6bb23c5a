#include "routed/bird/config.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "lib/base/hash.hpp"
#include "routed/bird/filters.hpp"
#include "routed/bird/text.hpp"

namespace firn::routed::bird {

namespace {

constexpr std::string_view peer_prefix = "firn_peer_", dynamic_prefix = "firn_dynamic_";
constexpr std::string_view host_prefix4 = "firn_node4_", host_prefix6 = "firn_node6_";
// BIRD's symbols have at most 64 bytes.
constexpr size_t longest_host_name = 52;

constexpr int bird_ecmp = 16;  // when nobody says

std::string number(int64_t value) { return std::to_string(value); }

std::string symbol(std::string_view peer_name) {
  std::string out(peer_name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::string name_of_symbol(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

// A BGP route to a multihop session's next hop is only usable when BIRD knows the way there: then the host's own routes are
// learned as well, at a preference below BGP's (100), and go nowhere. Our blocks stand above everything (200), so that a peer
// which announces our own block cannot displace it and stop its announcement.
void write_kernel(Text& text, const Config& config, Family family, bool multihop) {
  const auto [channel, kernel, digit] = words(family);
  const std::string ours = "krt_source = " + number(firn_route_protocol);
  if (multihop) {
    text.line("\nfilter firn_learn_" + std::string(channel) + " {")
        .line("  if " + ours + " && dest = RTD_BLACKHOLE then accept;")
        .line("  if " + ours + " || dest != RTD_UNICAST then reject;")
        .line("  preference = 10;")
        .line("  accept;")
        .line("}");
  }
  std::string merge = config.ecmp == 1 ? "  merge paths off;" : "  merge paths on;";
  if (config.ecmp > 1 && config.ecmp != bird_ecmp) merge = "  merge paths on limit " + number(config.ecmp) + ";";
  text.open_protocol("kernel", std::string(kernel))
      .line("  learn;")
      .line("  persist;")
      .line("  graceful restart;")
      .line(merge)
      .line("  " + std::string(channel) + " {")
      .line("    preference 200;");
  if (multihop) text.line("    import filter firn_learn_" + std::string(channel) + ";");
  else text.line("    import where " + ours + " && dest = RTD_BLACKHOLE;");
  text.line("    export where source = RTS_BGP" + outside(config.routed_by_firn, family) + ";").line("  };").line("}");
}

void write_session(Text& text, const Config& config, const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  const uint32_t local_as = peer.local_as.value_or(config.local_as);
  const bool internal = local_as == peer.as_number;
  std::string neighbor = peer.range ? "range " + peer.range->to_string() : peer.address.to_string();
  if (peer.port != 179) neighbor += " port " + number(peer.port);
  neighbor += " as " + number(peer.as_number);

  text.open_protocol("bgp", protocol_of(resolved));
  text.option("router id", config.router_id.to_string());
  text.option("local as", number(local_as)).option("neighbor", neighbor);
  if (peer.range) text.option("dynamic name", quoted(std::string(dynamic_prefix) + symbol(peer.name) + "_"));
  if (internal && (resolved.host || peer.reflect)) {
    text.line("  rr client;");
    if (config.reflector && config.cluster_id) text.option("rr cluster id", config.cluster_id->to_string());
  }
  // Between hosts of several AS a reflector is a router on the way, and two hosts of one AS hear of each other through it.
  const int own_as = resolved.host && !internal ? 1 : peer.allow_own_as;
  if (own_as > 0) text.option("allow local as", number(own_as));
  if (!peer.interface.empty()) text.option("interface", quoted(peer.interface));
  if (peer.multihop == 0) text.line("  direct;");
  else text.option("multihop", number(peer.multihop));
  if (peer.source) text.option("source address", peer.source->to_string());
  if (peer.ttl_security) text.option("ttl security", "on");
  if (peer.passive) text.option("passive", "on");
  if (!resolved.password.empty()) text.option("password", quoted(resolved.password));
  text.option("hold time", number(peer.hold_time));
  if (peer.hold_time != 0 && peer.keepalive_time != 0) text.option("keepalive time", number(peer.keepalive_time));
  // Longer than the second after which many routers call again: both calling at once can cost the session that has just come up, and
  // after a restart of BIRD with it the routes that the router kept.
  text.option("connect retry time", number(peer.connect_retry)).option("connect delay time", "2");
  // BIRD waits 60 to 300 s after a protocol error; a host without routes that long is worse than a few more attempts.
  text.option("error wait time", "5, 60");
  text.option("graceful restart", peer.graceful_restart ? "on" : "off");
  if (peer.graceful_restart) text.option("graceful restart time", number(peer.graceful_restart_time));
  if (peer.long_lived_graceful_restart) {
    text.option("long lived graceful restart", "on").option("long lived stale time", number(peer.long_lived_stale_time));
  }
  if (peer.bfd) text.option("bfd", "on");
}

// Rejected routes are kept, so that the status can count them.
void write_channel(Text& text, const Config& config, const ResolvedPeer& resolved, Family family) {
  const auto& peer = resolved.peer;
  text.line("  " + std::string(words(family).channel) + " {");
  if (!resolved.host) text.line(peer.keep_next_hop ? "    next hop keep;" : "    next hop self;");
  else if (config.local_as != peer.as_number) text.line("    next hop keep;");
  // Over several hops BIRD does not know which of our addresses of the other family to name.
  const bool foreign = family != peer.family();
  if (foreign && family == Family::v4 && peer.extended_next_hop) {
    text.line("    extended next hop on;");
  } else if (foreign && peer.multihop != 0) {
    const auto& own = config.own_addresses;
    const auto it = std::find_if(own.begin(), own.end(), [&](const Address& a) { return a.family() == family; });
    if (it != own.end()) text.line("    next hop address " + it->to_string() + ";");
  }
  text.line("    import keep filtered on;");
  text.line("    import " + import_of(resolved, family) + ";");
  if (peer.max_prefixes > 0)
    text.line("    import limit " + number(peer.max_prefixes) + " action " + std::string(to_string(peer.max_prefixes_action)) +
              ";");
  text.line("    export " + export_of(config, resolved, family) + ";").line("  };");
}

void write_peer(Text& text, const Config& config, const ResolvedPeer& resolved) {
  for (const Family family : {Family::v4, Family::v6}) {
    if (resolved.peer.carries(family) && !resolved.host) write_peer_filters(text, config, resolved, family);
  }
  write_session(text, config, resolved);
  for (const Family family : {Family::v4, Family::v6}) {
    if (resolved.peer.carries(family)) write_channel(text, config, resolved, family);
  }
  text.line("}");
}

void write_extra(Text& text, const Config& config, Family family) {
  const auto [channel, kernel, digit] = words(family);
  std::vector<const Extra*> extra;
  for (const Extra& e : config.extra) {
    if (e.prefix.family() == family) extra.push_back(&e);
  }
  if (extra.empty()) return;
  std::sort(extra.begin(), extra.end(), [](const auto* a, const auto* b) { return a->prefix < b->prefix; });
  text.open_protocol("static", std::string(extra_protocol) + std::string(digit)).line("  " + std::string(channel) + ";");
  for (const Extra* e : extra) {
    std::string communities;
    for (const model::Community& c : e->communities) communities += " " + change_of(c, "add");
    text.line("  route " + e->prefix.to_string() + " blackhole" + (communities.empty() ? "" : " {" + communities + " }") + ";");
  }
  text.line("}");
}

void write_head(Text& text, const Config& config) {
  text.line("# Written by firn-routed, which overwrites changes. Peers and filters come from `firnctl bgp`; docs/bgp.md explains.");
  if (config.log_file.empty()) return;
  text.line("log " + quoted(config.log_file) + " 1048576 " + quoted(config.log_file + ".1") + " all;")
      .line("router id " + config.router_id.to_string() + ";")
      .line("timeformat protocol iso long;")
      .line("timeformat route iso long;")
      .line("graceful restart wait 60;");
  text.open_protocol("device", "firn_device").option("scan time", "10").line("}");
}

}  // namespace

std::string_view to_string(Drain drain) {
  switch (drain) {
    case Drain::none: return "none";
    case Drain::announce: return "announce";
    case Drain::withdraw: return "withdraw";
  }
  return "";
}

std::string_view to_string(SessionKind kind) {
  switch (kind) {
    case SessionKind::peer: return "peer";
    case SessionKind::dynamic: return "dynamic";
    case SessionKind::node: return "node";
  }
  return "";
}

std::string protocol_of(std::string_view peer_name) { return std::string(peer_prefix) + symbol(peer_name); }

std::string host_protocol_of(std::string_view node_name, Family family) {
  std::string out(family == Family::v4 ? host_prefix4 : host_prefix6);
  if (node_name.size() <= longest_host_name) return out.append(node_name);
  std::string hash;
  for (int shift = 28; shift >= 0; shift -= 4) hash += "0123456789abcdef"[fnv1a(node_name) >> shift & 15];
  return out.append(node_name.substr(0, longest_host_name - hash.size() - 1)).append(".").append(hash);
}

std::optional<SessionName> session_of(std::string_view protocol) {
  const auto behind = [&](std::string_view prefix) -> std::optional<std::string_view> {
    if (!protocol.starts_with(prefix) || protocol.size() == prefix.size()) return std::nullopt;
    return protocol.substr(prefix.size());
  };
  if (const auto peer = behind(peer_prefix)) return SessionName{SessionKind::peer, name_of_symbol(*peer)};
  if (const auto child = behind(dynamic_prefix))
    return SessionName{SessionKind::dynamic, name_of_symbol(child->substr(0, child->rfind('_')))};
  for (const std::string_view prefix : {host_prefix4, host_prefix6}) {
    if (const auto node = behind(prefix)) return SessionName{SessionKind::node, std::string(*node)};
  }
  return std::nullopt;
}

Result<Rendered> render(const Config& config) {
  if (auto status = check(config); !status) return std::move(status).error();
  std::vector<const ResolvedPeer*> peers;
  for (const auto& peer : config.peers) peers.push_back(&peer);
  // Routers before hosts, by name; a host's IPv4 session before its IPv6 one.
  std::sort(peers.begin(), peers.end(), [](const auto* a, const auto* b) {
    return std::tuple(a->host, std::string_view(a->peer.name), a->peer.family()) <
           std::tuple(b->host, std::string_view(b->peer.name), b->peer.family());
  });
  const auto any = [&](auto test) { return std::any_of(peers.begin(), peers.end(), [&](const auto* p) { return test(p->peer); }); };
  const bool multihop = any([](const auto& p) { return p.multihop != 0; });
  const bool bfd = any([](const auto& p) { return p.bfd; });

  Text text;
  write_head(text, config);
  if (multihop) text.open_protocol("direct", "firn_direct").line("  ipv4;").line("  ipv6;").line("}");
  for (const Family family : {Family::v4, Family::v6}) write_kernel(text, config, family, multihop);
  for (const Family family : {Family::v4, Family::v6}) write_extra(text, config, family);
  if (bfd) {
    text.open_protocol("bfd", "firn_bfd")
        .line("  interface \"*\" { interval 300 ms; multiplier 3; };")
        .line("  multihop { interval 300 ms; multiplier 3; };")
        .line("}");
  }
  for (const Family family : {Family::v4, Family::v6}) {
    const bool hosts = std::any_of(peers.begin(), peers.end(), [&](const auto* p) { return p->host && p->peer.carries(family); });
    if (hosts) write_host_filters(text, config, family);
  }
  for (const auto* peer : peers) write_peer(text, config, *peer);
  return std::move(text).take();
}

std::string render_start(const std::vector<Prefix>& blocks) {
  Text text;
  for (const Family family : {Family::v4, Family::v6}) {
    const auto [channel, kernel, digit] = words(family);
    if (std::none_of(blocks.begin(), blocks.end(), [&](const Prefix& b) { return b.family() == family; })) continue;
    // Below the kernel's 200, so that the learned route takes its place at once; above BGP's 100.
    text.open_protocol("static", std::string(kernel) + "_start").line("  " + std::string(channel) + " { preference 150; };");
    for (const Prefix& block : blocks) {
      if (block.family() == family) text.line("  route " + block.to_string() + " blackhole;");
    }
    text.line("}");
  }
  return std::move(text).take().text;
}

}  // namespace firn::routed::bird
