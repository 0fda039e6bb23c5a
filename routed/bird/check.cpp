// What must be right before it reaches the text of bird.conf.
#include <algorithm>
#include <map>
#include <tuple>

#include "lib/model/names.hpp"
#include "routed/bird/config.hpp"

namespace firn::routed::bird {

namespace {

constexpr size_t max_password = 80;  // TCP_MD5SIG_MAXKEYLEN
constexpr uint32_t max_as = 4294967294U;

std::string number(int64_t value) { return std::to_string(value); }

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

Status check_chain(const model::BgpPeer& peer, std::string_view field, const std::vector<Rule>& chain, bool internal) {
  for (const Rule& rule : chain) {
    if (rule.prepend < 0 || rule.prepend > 16)
      return wrong(peer, field, "a rule prepends " + number(rule.prepend) + " times, more than 16");
    if (rule.prepend > 0 && internal)
      return wrong(peer, field, "a rule prepends our AS, which a router of the same AS would take for a loop");
    for (const model::PrefixMatch& match : rule.prefixes) {
      const int bits = match.within.address().bits();
      if (match.least < match.within.length() || match.least > match.most || match.most > bits)
        return wrong(peer, field,
                     "lengths " + number(match.least) + " to " + number(match.most) + " do not fit in " + match.within.to_string());
    }
  }
  return {};
}

// What goes with what.
Status check_options(const Config& config, const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  const bool internal = peer.as_number == peer.local_as.value_or(config.local_as);
  if (auto status = check_range(peer, "prepend", peer.prepend, 0, 16); !status) return status;
  if (peer.prepend > 0 && internal)
    return wrong(peer, "prepend", "a router of the same AS would take our AS in the path for a loop");
  if (auto status = check_range(peer, "allow_own_as", peer.allow_own_as, 0, 10); !status) return status;
  if (peer.local_as) {
    if (auto status = check_range(peer, "local_as", *peer.local_as, 1, max_as); !status) return status;
  }
  if (auto status = check_range(peer, "max_prefixes", peer.max_prefixes, 0, 10'000'000); !status) return status;
  if (auto status = check_range(peer, "long_lived_stale_time", peer.long_lived_stale_time, 1, 16'777'215); !status) return status;
  if (peer.long_lived_graceful_restart && !peer.graceful_restart)
    return wrong(peer, "long_lived_graceful_restart", "needs graceful_restart");
  if (peer.extended_next_hop && !(peer.family() == Family::v6 && peer.both_families))
    return wrong(peer, "extended_next_hop", "is for IPv4 routes over an IPv6 session, with both_families");
  if (peer.both_families && peer.multihop != 0) {
    const Family other = peer.family() == Family::v4 ? Family::v6 : Family::v4;
    const auto& own = config.own_addresses;
    const bool known =
        peer.extended_next_hop || std::any_of(own.begin(), own.end(), [&](const Address& a) { return a.family() == other; });
    if (!known) return wrong(peer, "both_families", "over several hops this node needs an address of the other family as next hop");
  }
  if (auto status = check_chain(peer, "import_filters", resolved.import_chain, internal); !status) return status;
  return check_chain(peer, "export_filters", resolved.export_chain, internal);
}

Status check_range_of_neighbours(const model::BgpPeer& peer) {
  const Prefix& range = *peer.range;
  if (range.length() == 0 || range.address().is_multicast() || range.address().is_loopback() || range.address().is_link_local())
    return wrong(peer, "range", range.to_string() + " cannot be that of routers");
  if (peer.port != 179) return wrong(peer, "port", "does not go with a range: routers in it connect to us");
  if (!peer.interface.empty()) return wrong(peer, "interface", "does not go with a range");
  return {};
}

Status check_addresses(const model::BgpPeer& peer) {
  if (peer.range) return check_range_of_neighbours(peer);
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

Status check_peer(const Config& config, const ResolvedPeer& resolved) {
  const auto& peer = resolved.peer;
  if (auto status = resolved.host ? model::check_object_name("node name", peer.name) : model::check_peer_name(peer.name); !status)
    return status;
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
  if (auto status = check_options(config, resolved); !status) return status;
  if (peer.password_file.empty() && resolved.password.empty()) return {};
  // A session that should be authenticated must not come up without its password.
  if (auto status = check_password(resolved.password); !status) return wrong(peer, "password_file", status.error().message);
  return {};
}

}  // namespace

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
  if (config.ecmp < 1 || config.ecmp > 64)
    return make_error(Code::invalid, "BGP settings: ecmp: " + number(config.ecmp) + " is outside 1 to 64");
  std::map<std::string, const model::BgpPeer*> names;
  std::map<std::tuple<Prefix, uint16_t, std::string>, const model::BgpPeer*> addresses;
  for (const ResolvedPeer& resolved : config.peers) {
    if (auto status = check_peer(config, resolved); !status) return status;
    const auto& peer = resolved.peer;
    if (!names.emplace(protocol_of(resolved), &peer).second) return wrong(peer, "name", "is used twice");
    const Prefix where = peer.range.value_or(Prefix::host(peer.address));
    const auto [other, is_new] = addresses.emplace(std::tuple(where, peer.port, peer.interface), &peer);
    if (!is_new)
      return wrong(peer, peer.range ? "range" : "address",
                   (peer.range ? where.to_string() : peer.address.to_string()) + " is also that of peer " + other->second->name);
  }
  return {};
}

}  // namespace firn::routed::bird
