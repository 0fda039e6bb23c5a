#include "routed/bird/config.hpp"

#include <algorithm>
#include <utility>

#include "lib/model/names.hpp"

namespace firn::routed::bird {

namespace {

constexpr std::string_view peer_prefix = "firn_peer_";
constexpr size_t max_password = 80;  // TCP_MD5SIG_MAXKEYLEN
constexpr uint32_t max_as = 4294967294U;

std::string number(int64_t value) { return std::to_string(value); }

std::string symbol(std::string_view peer_name) {
  std::string out(peer_name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

// Checks -----------------------------------------------------------------------------------------------------------------

Error wrong(const model::BgpPeer& peer, std::string_view field, std::string_view rule) {
  std::string text = "BGP peer " + peer.name + ": ";
  text.append(field).append(": ").append(rule);
  return make_error(Code::invalid, std::move(text));
}

Status check_range(const model::BgpPeer& peer, std::string_view field, int64_t value, int64_t least, int64_t most,
                   bool zero = false) {
  if ((zero && value == 0) || (value >= least && value <= most)) return {};
  return wrong(peer, field, number(value) + " is outside " + (zero ? "0 or " : "") + number(least) + " to " + number(most));
}

Status check_rules(const model::BgpPeer& peer, std::string_view field, const std::vector<model::PrefixRule>& rules) {
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto& rule = rules[i];
    const int bits = rule.within.address().bits();
    if (rule.least >= rule.within.length() && rule.least <= rule.most && rule.most <= bits) continue;
    return wrong(peer, std::string(field) + "[" + std::to_string(i) + "]",
                 "lengths " + number(rule.least) + " to " + number(rule.most) + " do not fit in " + rule.within.to_string());
  }
  return {};
}

Status check_addresses(const model::BgpPeer& peer) {
  const Address& a = peer.address;
  if (a.is_unspecified() || a.is_multicast() || a.is_loopback())
    return wrong(peer, "address", a.to_string() + " cannot be a router");
  if (a.is_link_local() && peer.interface.empty()) {
    return wrong(peer, "interface", "is needed because the address " + a.to_string() + " is link-local");
  }
  if (a.is_link_local() && peer.multihop != 0) return wrong(peer, "multihop", "must be 0 for a link-local address");
  if (!peer.interface.empty()) {
    if (peer.multihop != 0) return wrong(peer, "multihop", "must be 0 when an interface is named");
    const auto name = IfName::parse(peer.interface);
    const bool quotes = peer.interface.find_first_of("\"*?[]\\") != std::string::npos;
    if (!name || quotes) return wrong(peer, "interface", "is not an interface name");
  }
  if (peer.source) {
    const Address& s = *peer.source;
    if (s.family() != a.family()) return wrong(peer, "source", s.to_string() + " is not of the family of " + a.to_string());
    if (s == a || s.is_unspecified() || s.is_multicast())
      return wrong(peer, "source", s.to_string() + " cannot be this host's end");
  }
  if (peer.bfd && peer.multihop != 0 && !peer.source) {
    return wrong(peer, "source", "is needed for BFD over several hops: name the address of this host that the router knows");
  }
  return {};
}

Status check_peer(const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  if (auto status = model::check_peer_name(peer.name); !status) return status;
  if (auto status = check_addresses(peer); !status) return status;
  if (auto status = check_range(peer, "as_number", peer.as_number, 1, max_as); !status) return status;
  if (auto status = check_range(peer, "port", peer.port, 1, 65535); !status) return status;
  if (auto status = check_range(peer, "multihop", peer.multihop, 0, 255); !status) return status;
  if (auto status = check_range(peer, "hold_time", peer.hold_time, 3, 65535, true); !status) return status;
  if (auto status = check_range(peer, "keepalive_time", peer.keepalive_time, 0, 65535); !status) return status;
  if (peer.hold_time != 0 && peer.keepalive_time > peer.hold_time) {
    return wrong(peer, "keepalive_time", "must not be longer than hold_time");
  }
  if (auto status = check_range(peer, "connect_retry", peer.connect_retry, 1, 65535); !status) return status;
  if (auto status = check_range(peer, "graceful_restart_time", peer.graceful_restart_time, 1, 4095); !status) return status;
  if (auto status = check_rules(peer, "import_rules", peer.import_rules); !status) return status;
  if (auto status = check_rules(peer, "export_rules", peer.export_rules); !status) return status;
  if (peer.password_file.empty() && resolved.password.empty()) return {};
  // A session that should be authenticated must not come up without its password.
  if (auto status = check_password(resolved.password); !status) return wrong(peer, "password_file", status.error().message);
  return {};
}

// Text -------------------------------------------------------------------------------------------------------------------

struct FamilyWords {
  std::string_view channel, kernel;
};

FamilyWords words(Family family) {
  return family == Family::v4 ? FamilyWords{"ipv4", "firn_kernel4"} : FamilyWords{"ipv6", "firn_kernel6"};
}

class Text {
 public:
  Text& line(std::string_view text) {
    out_.append(text).append("\n");
    return *this;
  }
  Text& option(std::string_view name, std::string_view value) {
    out_.append("  ").append(name).append(" ").append(value).append(";\n");
    return *this;
  }
  Text& open_protocol(std::string_view kind, std::string name) {
    out_.append("\nprotocol ").append(kind).append(" ").append(name).append(" {\n");
    protocols_.push_back(std::move(name));
    return *this;
  }
  Rendered take() && { return Rendered{std::move(out_), std::move(protocols_)}; }

 private:
  std::string out_;
  std::vector<std::string> protocols_;
};

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

// First match decides, no match rejects. A rule of the other family cannot match in this session and is left out.
void write_rules(Text& text, Family family, const std::vector<model::PrefixRule>& rules) {
  for (const auto& rule : rules) {
    if (rule.within.family() != family) continue;
    text.line("  if net ~ [ " + rule.within.to_string() + "{" + number(rule.least) + "," + number(rule.most) + "} ] then " +
              (rule.accept ? "accept;" : "reject;"));
  }
  text.line("  reject;").line("}");
}

// " && ! (net ~ [ 10.1.0.0/16+, ... ])" for those of the family; "" when there are none.
std::string outside(const std::vector<Prefix>& prefixes, Family family) {
  std::string set;
  for (const Prefix& prefix : prefixes) {
    if (prefix.family() == family) set += (set.empty() ? "" : ", ") + prefix.to_string() + "+";
  }
  return set.empty() ? set : " && ! (net ~ [ " + set + " ])";
}

// A BGP route to a multihop session's next hop is only usable when BIRD knows the way there: then the host's own routes are
// learned as well, at a preference below BGP's (100), and go nowhere. Our blocks stand above everything (200), so that a peer
// which announces our own block cannot displace it and stop its announcement.
void write_kernel(Text& text, Family family, bool multihop, const std::vector<Prefix>& routed_by_firn) {
  const auto [channel, kernel] = words(family);
  const std::string ours = "krt_source = " + number(firn_route_protocol);
  if (multihop) {
    text.line("\nfilter firn_learn_" + std::string(channel) + " {")
        .line("  if " + ours + " && dest = RTD_BLACKHOLE then accept;")
        .line("  if " + ours + " || dest != RTD_UNICAST then reject;")
        .line("  preference = 10;")
        .line("  accept;")
        .line("}");
  }
  text.open_protocol("kernel", std::string(kernel))
      .line("  learn;")
      .line("  persist;")
      .line("  graceful restart;")
      .line("  merge paths on;")
      .line("  " + std::string(channel) + " {")
      .line("    preference 200;");
  if (multihop) text.line("    import filter firn_learn_" + std::string(channel) + ";");
  else text.line("    import where " + ours + " && dest = RTD_BLACKHOLE;");
  text.line("    export where source = RTS_BGP" + outside(routed_by_firn, family) + ";").line("  };").line("}");
}

void write_session(Text& text, const Config& config, const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  std::string neighbor = peer.address.to_string();
  if (peer.port != 179) neighbor += " port " + number(peer.port);
  neighbor += " as " + number(peer.as_number);

  text.open_protocol("bgp", protocol_of(peer.name));
  text.option("router id", config.router_id.to_string());
  text.option("local as", number(config.local_as)).option("neighbor", neighbor);
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
  if (peer.bfd) text.option("bfd", "on");
}

void write_peer(Text& text, const Config& config, const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  const auto [channel, kernel] = words(peer.address.family());
  // Of the kernel, or of render_start().
  const std::string block =
      "proto ~ " + quoted(std::string(kernel) + "*") + " && dest = RTD_BLACKHOLE" + outside(config.unannounced, peer.address.family());
  const std::string import_filter = "firn_import_" + symbol(peer.name), export_filter = "firn_export_" + symbol(peer.name);
  if (!peer.import_rules.empty()) {
    text.line("\nfilter " + import_filter + " {");
    write_rules(text, peer.address.family(), peer.import_rules);
  }
  if (!peer.export_rules.empty()) {
    text.line("\nfilter " + export_filter + " {").line("  if ! (" + block + ") then reject;");
    write_rules(text, peer.address.family(), peer.export_rules);
  }
  write_session(text, config, resolved);
  text.line("  " + std::string(channel) + " {").line("    next hop self;");
  text.line(peer.import_rules.empty() ? "    import all;" : "    import filter " + import_filter + ";");
  text.line(peer.export_rules.empty() ? "    export where " + block + ";" : "    export filter " + export_filter + ";");
  text.line("  };").line("}");
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

std::string protocol_of(std::string_view peer_name) { return std::string(peer_prefix) + symbol(peer_name); }

std::optional<std::string> peer_of(std::string_view protocol) {
  if (!protocol.starts_with(peer_prefix) || protocol.size() == peer_prefix.size()) return std::nullopt;
  std::string out(protocol.substr(peer_prefix.size()));
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

Status check_password(std::string_view password) {
  if (password.empty()) return make_error(Code::invalid, "the password is empty");
  if (password.size() > max_password) {
    return make_error(Code::invalid, "the password is longer than the " + std::to_string(max_password) + " bytes TCP MD5 allows");
  }
  // BIRD's strings end at a quote and know no escapes.
  const bool plain = std::all_of(password.begin(), password.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"'; });
  if (!plain)
    return make_error(Code::invalid,
                      "the password has a quote, a control character or a character outside ASCII, which BIRD cannot take");
  return {};
}

Result<Config> select(const model::BgpSettings& settings, const model::Node& node, const std::vector<model::BgpPeer>& peers) {
  Config out;
  out.local_as = node.as_number.value_or(settings.as_number);
  std::optional<Address> id = settings.router_id;
  for (const Address& address : node.addresses) {
    if (!id && address.is_v4()) id = address;
  }
  if (!id) {
    return make_error(Code::invalid, "BGP needs a router id: node " + node.name +
                                         " has no IPv4 address; set one: firnctl bgp settings --router-id A.B.C.D");
  }
  out.router_id = *id;
  for (const auto& peer : peers) {
    if (peer.node.empty() || peer.node == node.name) out.peers.push_back(ResolvedPeer{peer, {}});
  }
  return out;
}

Status check(const Config& config) {
  if (config.local_as < 1 || config.local_as > max_as) {
    return make_error(Code::invalid, "BGP settings: as_number: " + number(config.local_as) + " is outside 1 to " + number(max_as));
  }
  if (!config.router_id.is_v4() || config.router_id.is_unspecified()) {
    return make_error(Code::invalid,
                      "BGP settings: router_id: " + config.router_id.to_string() + " has not the form of an IPv4 address");
  }
  if (config.log_file.find_first_of("\"\n") != std::string::npos) {
    return make_error(Code::invalid, "bird: run directory: a quote or a line end in its path cannot be written into bird.conf");
  }
  for (size_t i = 0; i < config.peers.size(); ++i) {
    if (auto status = check_peer(config.peers[i]); !status) return status;
    const auto& a = config.peers[i].peer;
    for (size_t j = 0; j < i; ++j) {
      const auto& b = config.peers[j].peer;
      if (a.name == b.name) return wrong(a, "name", "is used twice");
      if (a.address == b.address && a.port == b.port && a.interface == b.interface) {
        return wrong(a, "address", a.address.to_string() + " is also that of peer " + b.name);
      }
    }
  }
  return {};
}

Result<Rendered> render(const Config& config) {
  if (auto status = check(config); !status) return std::move(status).error();
  std::vector<const ResolvedPeer*> peers;
  for (const auto& peer : config.peers) peers.push_back(&peer);
  std::sort(peers.begin(), peers.end(), [](const auto* a, const auto* b) { return a->peer.name < b->peer.name; });
  const auto any = [&](auto test) { return std::any_of(peers.begin(), peers.end(), [&](const auto* p) { return test(p->peer); }); };
  const bool multihop = any([](const auto& p) { return p.multihop != 0; });
  const bool bfd = any([](const auto& p) { return p.bfd; });

  Text text;
  write_head(text, config);
  if (multihop) text.open_protocol("direct", "firn_direct").line("  ipv4;").line("  ipv6;").line("}");
  write_kernel(text, Family::v4, multihop, config.routed_by_firn);
  write_kernel(text, Family::v6, multihop, config.routed_by_firn);
  if (bfd) {
    text.open_protocol("bfd", "firn_bfd")
        .line("  interface \"*\" { interval 300 ms; multiplier 3; };")
        .line("  multihop { interval 300 ms; multiplier 3; };")
        .line("}");
  }
  for (const auto* peer : peers) write_peer(text, config, *peer);
  return std::move(text).take();
}

std::string render_start(const std::vector<Prefix>& blocks) {
  Text text;
  for (const Family family : {Family::v4, Family::v6}) {
    const auto [channel, kernel] = words(family);
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
