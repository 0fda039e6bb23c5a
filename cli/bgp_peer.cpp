// firnctl bgp peer: the routers that firn-routed speaks with.
#include <sys/stat.h>

#include <algorithm>
#include <ostream>

#include "cli/bgp.hpp"
#include "cli/filter_text.hpp"
#include "cli/kind.hpp"
#include "cli/parse.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

// What was given on the command line; the rest keeps its default or its old value. An empty text takes a value away.
struct Change {
  std::string name;
  std::optional<Address> address;
  std::optional<uint32_t> as_number;
  std::optional<Labels> node_selector;
  std::optional<Prefix> range;
  std::optional<std::string> node, interface, source, password_file, local_as, med, max_prefixes_action;
  std::optional<int> port, multihop, hold_time, keepalive_time, connect_retry, graceful_restart_time, long_lived_stale_time;
  std::optional<int> allow_own_as, prepend, max_prefixes;
  std::optional<bool> ttl_security, passive, graceful_restart, bfd, long_lived_graceful_restart, both_families, extended_next_hop;
  std::optional<bool> reflect, keep_next_hop;
  std::optional<std::vector<std::string>> communities, import_filters, export_filters;
  std::optional<std::vector<model::PrefixRule>> import_rules, export_rules;
};

template <class To, class From>
void give(To& to, const std::optional<From>& from) {
  if (from) to = static_cast<To>(*from);
}

// '' takes the value away.
template <class T, class Parse>
Status give_or_take(std::optional<T>& to, const std::optional<std::string>& text, Parse parse, std::string_view option) {
  if (!text) return {};
  to.reset();
  if (text->empty()) return {};
  auto value = parse(*text);
  if (!value) return std::move(value).error().context(option);
  to = *value;
  return {};
}

Status apply(const Change& change, model::BgpPeer& peer) {
  give(peer.address, change.address);
  give(peer.as_number, change.as_number);
  give(peer.node, change.node);
  give(peer.interface, change.interface);
  give(peer.password_file, change.password_file);
  give(peer.port, change.port);
  give(peer.multihop, change.multihop);
  give(peer.hold_time, change.hold_time);
  if (change.keepalive_time) {
    peer.keepalive_time = *change.keepalive_time;
  } else if (change.hold_time) {
    peer.keepalive_time = 0;  // a third of the new hold time
  }
  give(peer.connect_retry, change.connect_retry);
  give(peer.graceful_restart_time, change.graceful_restart_time);
  give(peer.ttl_security, change.ttl_security);
  give(peer.passive, change.passive);
  give(peer.graceful_restart, change.graceful_restart);
  give(peer.bfd, change.bfd);
  give(peer.import_rules, change.import_rules);
  give(peer.export_rules, change.export_rules);
  give(peer.node_selector, change.node_selector);
  give(peer.range, change.range);
  give(peer.long_lived_graceful_restart, change.long_lived_graceful_restart);
  give(peer.long_lived_stale_time, change.long_lived_stale_time);
  give(peer.both_families, change.both_families);
  give(peer.extended_next_hop, change.extended_next_hop);
  give(peer.reflect, change.reflect);
  give(peer.keep_next_hop, change.keep_next_hop);
  give(peer.allow_own_as, change.allow_own_as);
  give(peer.prepend, change.prepend);
  give(peer.max_prefixes, change.max_prefixes);
  give(peer.communities, change.communities);
  give(peer.import_filters, change.import_filters);
  give(peer.export_filters, change.export_filters);
  if (change.max_prefixes_action) {
    auto action = model::parse_limit_action(*change.max_prefixes_action);
    if (!action) return std::move(action).error().context("--max-prefixes-action");
    peer.max_prefixes_action = *action;
  }
  if (auto given = give_or_take(peer.source, change.source, Address::parse, "--source"); !given) return given;
  if (auto given = give_or_take(peer.local_as, change.local_as, parse_as_number, "--local-as"); !given) return given;
  return give_or_take(peer.med, change.med, parse_uint32, "--med");
}

Error wrong(std::string text) { return make_error(Code::invalid, std::move(text)); }

Status check_policy(const model::BgpPeer& peer) {
  if (peer.long_lived_graceful_restart && !peer.graceful_restart)
    return wrong("/long_lived_graceful_restart: needs graceful_restart");
  if (peer.extended_next_hop && !(peer.family() == Family::v6 && peer.both_families))
    return wrong("/extended_next_hop: is for IPv4 routes over an IPv6 session, with both_families");
  if (peer.keep_next_hop && !peer.reflect)
    return wrong("/keep_next_hop: is of routes of other hosts, which only --reflect passes on");
  if (peer.prepend > 0 && peer.local_as == peer.as_number)
    return wrong("/prepend: a router of the same AS would take our AS in the path for a loop");
  return {};
}

// What the record's codec does not know: combinations that no router accepts.
Status validate(const model::BgpPeer& peer) {
  if (auto good = model::decode_bgp_peer(model::encode(peer)); !good) return std::move(good).error();
  if (auto good = check_as_number(peer.as_number); !good) return wrong("/as_number: " + good.error().message);
  if (peer.local_as) {
    if (auto good = check_as_number(*peer.local_as); !good) return wrong("/local_as: " + good.error().message);
  }
  if (!peer.node.empty() && !peer.node_selector.empty()) return wrong("/node_selector: stands instead of a node, not beside it");
  if (auto good = check_policy(peer); !good) return good;
  if (peer.range) {
    const Address& first = peer.range->address();
    if (peer.range->length() == 0 || first.is_multicast() || first.is_loopback() || first.is_link_local())
      return wrong("/range: " + peer.range->to_string() + " cannot be that of routers");
    if (peer.port != 179) return wrong("/port: does not go with a range, whose routers connect to us");
    if (!peer.interface.empty()) return wrong("/interface: does not go with a range");
  }
  const Address& a = peer.range ? peer.range->address() : peer.address;
  if (a.is_multicast() || a.is_unspecified() || a.is_loopback()) return wrong("/address: " + a.to_string() + " cannot be a router");
  if (a.is_link_local() && peer.interface.empty())
    return wrong("/interface: is needed, because " + a.to_string() + " is link-local");
  if (peer.multihop > 0 && a.is_link_local()) return wrong("/multihop: a link-local address is one hop away");
  if (peer.multihop > 0 && !peer.interface.empty()) return wrong("/multihop: a session over several hops is bound to no interface");
  if (peer.interface.find_first_of("\"*?[]\\") != std::string::npos)
    return wrong("/interface: '" + peer.interface + "' is no interface name");
  if (peer.source) {
    const Address& own = *peer.source;
    if (own.family() != a.family()) return wrong("/source: must be of the same family as the peer's address");
    if (own == a || own.is_unspecified() || own.is_multicast())
      return wrong("/source: " + own.to_string() + " cannot be this host's end");
  }
  if (peer.bfd && peer.multihop > 0 && !peer.source) return wrong("/source: is needed for BFD over several hops");
  if (!peer.password_file.empty() &&
      (peer.password_file.front() != '/' || peer.password_file.find_first_of("\n\r\"") != std::string::npos)) {
    return wrong("/password_file: must be an absolute path");
  }
  for (const auto& [field, rules] : {std::pair("/import_rules", &peer.import_rules), {"/export_rules", &peer.export_rules}}) {
    for (size_t i = 0; i < rules->size(); ++i) {
      const model::PrefixRule& rule = (*rules)[i];
      if (!peer.carries(rule.within.family())) {
        return wrong(field + ("/" + std::to_string(i)) + ": rule '" + rule_text(rule) +
                     "': one session carries the family of its own address, " + a.to_string());
      }
    }
  }
  return {};
}

std::string where_text(const model::BgpPeer& peer) { return peer.range ? peer.range->to_string() : peer.address.to_string(); }

std::string nodes_text(const model::BgpPeer& peer) {
  if (!peer.node.empty()) return peer.node;
  return peer.node_selector.empty() ? "every" : labels_text(peer.node_selector);
}

// The node must exist, and no other peer may have this address on the same host.
Status check_against(kv::Transaction& tx, const model::BgpPeer& peer) {
  if (!peer.node.empty()) {
    auto node = tx.get(model::keys::node(peer.node));
    if (!node) return std::move(node).error();
    if (!*node) return make_error(Code::not_found, "/node: there is no node " + peer.node + "; 'firnctl node list' shows them");
  }
  if (auto good = check_communities_exist(tx, "/communities", peer.communities); !good) return good;
  if (auto good = check_filters_exist(tx, "/import_filters", peer.import_filters); !good) return good;
  if (auto good = check_filters_exist(tx, "/export_filters", peer.export_filters); !good) return good;
  auto peers = list_records(tx, model::keys::bgp_peers, model::decode_bgp_peer);
  if (!peers) return std::move(peers).error();
  for (const model::BgpPeer& other : *peers) {
    // By labels they may be on the same host or not; BIRD's configuration is checked once more on each.
    const bool labelled = !other.node_selector.empty() || !peer.node_selector.empty();
    const bool together = !labelled && (other.node.empty() || peer.node.empty() || other.node == peer.node);
    if (other.name == peer.name || !together || other.address != peer.address || other.range != peer.range ||
        other.port != peer.port || other.interface != peer.interface)
      continue;
    return make_error(Code::conflict, "peer " + other.name + " has the address " + where_text(other) +
                                          " already; change it with 'firnctl bgp peer set " + other.name + "'");
  }
  return {};
}

Status store(kv::Store& cluster, const model::BgpPeer& peer) {
  auto committed = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto good = check_against(tx, peer); !good) return good;
    tx.put(model::keys::bgp_peer(peer.name), model::encode(peer));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return {};
}

void warn(const Context& context, const model::BgpPeer& peer) {
  struct stat info {};
  if (!peer.password_file.empty() && ::stat(peer.password_file.c_str(), &info) != 0) {
    context.err << "note: " << peer.password_file
                << " is not there yet; BIRD gets no new configuration until firn-routed can read it\n";
  }
}

Result<model::BgpPeer> find(kv::Store& cluster, const std::string& name) {
  if (auto good = model::check_peer_name(name); !good) return std::move(good).error();
  auto peer = get_record(cluster, model::keys::bgp_peer(name), model::decode_bgp_peer);
  if (!peer) return std::move(peer).error();
  if (!*peer) return make_error(Code::not_found, "there is no peer " + name + "; 'firnctl bgp peer list' shows them");
  return std::move(**peer);
}

Result<Exit> add(const Context& context, const Change& change) {
  model::BgpPeer peer;
  peer.name = change.name;
  if (auto good = model::check_peer_name(peer.name); !good) return std::move(good).error();
  if (change.address && change.range) return wrong("--range: stands instead of --address, not beside it");
  if ((!change.address && !change.range) || !change.as_number)
    return wrong(change.as_number ? "--address: is required, or --range" : "--as: is required");
  if (auto applied = apply(change, peer); !applied) return std::move(applied).error();
  if (auto good = validate(peer); !good) return as_option(std::move(good).error());
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto before = get_record(**cluster, model::keys::bgp_peer(peer.name), model::decode_bgp_peer);
  if (!before) return std::move(before).error();
  if (*before && **before == peer) return context.done("peer " + peer.name + " is there already", model::encode(peer));
  if (*before)
    return make_error(Code::exists, "peer " + peer.name + " exists with other values; change it with 'firnctl bgp peer set'");
  if (auto stored = store(**cluster, peer); !stored) return as_option(std::move(stored).error());
  warn(context, peer);
  return context.done("peer " + peer.name + " added (" + where_text(peer) + " AS " + std::to_string(peer.as_number) + ")",
                      model::encode(peer));
}

Result<Exit> set(const Context& context, const Change& change, bool any) {
  if (!any) return wrong("nothing to set; 'firnctl bgp peer set --help' shows what can be");
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto peer = find(**cluster, change.name);
  if (!peer) return std::move(peer).error();
  const model::BgpPeer before = *peer;
  if (auto applied = apply(change, *peer); !applied) return std::move(applied).error();
  if (auto good = validate(*peer); !good) return as_option(std::move(good).error());
  if (*peer == before) return context.done("peer " + peer->name + " is so already", model::encode(*peer));
  if (auto stored = store(**cluster, *peer); !stored) return as_option(std::move(stored).error());
  warn(context, *peer);
  return context.done("peer " + peer->name + " changed", model::encode(*peer));
}

Result<Exit> remove(const Context& context, const std::string& name) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto peer = find(**cluster, name);
  if (!peer) return std::move(peer).error();
  auto committed = (*cluster)->transact([&](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::bgp_peer(name));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return context.done("peer " + name + " removed", model::encode(*peer));
}

std::string flags_text(const model::BgpPeer& peer) {
  std::vector<std::string> out;
  if (!peer.password_file.empty()) out.emplace_back("password");
  if (peer.multihop > 0) out.push_back("multihop " + std::to_string(peer.multihop));
  if (peer.ttl_security) out.emplace_back("ttl-security");
  if (peer.passive) out.emplace_back("passive");
  if (peer.bfd) out.emplace_back("bfd");
  if (!peer.graceful_restart) out.emplace_back("no-graceful-restart");
  if (peer.long_lived_graceful_restart) out.emplace_back("long-lived");
  if (peer.both_families) out.emplace_back("both-families");
  if (peer.reflect) out.emplace_back("reflect");
  if (peer.max_prefixes > 0) out.push_back("max " + std::to_string(peer.max_prefixes));
  return join(out, ",");
}

std::vector<std::string> row(const model::BgpPeer& peer) {
  return {where_text(peer), std::to_string(peer.as_number), nodes_text(peer), flags_text(peer)};
}

Result<Exit> list(const Context& context) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto peers = list_records(**cluster, model::keys::bgp_peers, model::decode_bgp_peer);
  if (!peers) return std::move(peers).error();
  const Kind kind = bgp_peer_kind();
  if (context.output == Output::yaml) return print_yaml(context, kind, *peers);
  Table table(kind.table_heads());
  for (const model::BgpPeer& peer : *peers) table.add(peer.name, row(peer));
  return context.print(encode_all(*peers), table, "no peers; make one with: firnctl bgp peer add NAME --address A --as N");
}

Result<Exit> show(const Context& context, const std::string& name) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto peer = find(**cluster, name);
  if (!peer) return std::move(peer).error();
  if (context.output == Output::yaml) return print_yaml(context, bgp_peer_kind(), std::vector{*peer});
  const auto yes_no = [](bool flag) { return flag ? "yes" : "no"; };
  const auto seconds = [](int value) { return std::to_string(value) + " s"; };
  Sheet sheet;
  sheet.line("Name", peer->name)
      .line(peer->range ? "Range" : "Address", where_text(*peer))
      .line("Port", std::to_string(peer->port));
  sheet.line("AS", std::to_string(peer->as_number)).line("Nodes", nodes_text(*peer));
  sheet.line("Local AS", peer->local_as ? std::to_string(*peer->local_as) : "the node's");
  if (peer->allow_own_as > 0) sheet.line("Own AS in paths", "accepted " + std::to_string(peer->allow_own_as) + " times");
  sheet.line("Interface", peer->interface).line("Source", peer->source ? peer->source->to_string() : "");
  sheet.line("Password file", peer->password_file);
  sheet.line("Multihop", peer->multihop == 0 ? "no" : std::to_string(peer->multihop) + " hops");
  sheet.line("TTL security", yes_no(peer->ttl_security)).line("Passive", yes_no(peer->passive)).line("BFD", yes_no(peer->bfd));
  sheet.line("Hold time", seconds(peer->hold_time));
  sheet.line("Keepalive time", peer->keepalive_time == 0 ? "a third of the hold time" : seconds(peer->keepalive_time));
  sheet.line("Connect retry", seconds(peer->connect_retry));
  sheet.line("Graceful restart", peer->graceful_restart ? "yes, " + seconds(peer->graceful_restart_time) : "no");
  if (peer->long_lived_graceful_restart) sheet.line("Long-lived", "yes, " + seconds(peer->long_lived_stale_time));
  sheet.line("Families", peer->both_families ? "both in one session" : "that of the address");
  if (peer->extended_next_hop) sheet.line("Extended next hop", "yes");
  sheet.line("Reflect", peer->reflect ? (peer->keep_next_hop ? "yes, next hop kept" : "yes, next hop self") : "no");
  sheet.line("Max prefixes", peer->max_prefixes == 0 ? "no limit"
                                                     : std::to_string(peer->max_prefixes) + ", then " +
                                                           std::string(to_string(peer->max_prefixes_action)));
  sheet.line("Communities", join(peer->communities, ", "));
  if (peer->prepend > 0) sheet.line("Prepend", std::to_string(peer->prepend) + " times");
  if (peer->med) sheet.line("MED", std::to_string(*peer->med));
  sheet.line("Import filters", join(peer->import_filters, ", ")).line("Export filters", join(peer->export_filters, ", "));
  // With a filter no match rejects, with rules or without.
  const auto own = [](const std::vector<model::PrefixRule>& rules, bool filters) {
    return rules.empty() && filters ? std::string("reject the rest") : rules_text(rules);
  };
  sheet.line("Import", own(peer->import_rules, !peer->import_filters.empty()));
  sheet.line("Export", own(peer->export_rules, !peer->export_filters.empty()));
  return context.print(model::encode(*peer), sheet.text());
}

bool changes_something(const Change& c) {
  const auto any = [](const auto&... member) { return (member.has_value() || ...); };
  return any(c.address, c.as_number, c.node_selector, c.range, c.node, c.interface, c.source, c.password_file, c.local_as, c.med) ||
         any(c.max_prefixes_action, c.port, c.multihop, c.hold_time, c.keepalive_time, c.connect_retry, c.graceful_restart_time) ||
         any(c.long_lived_stale_time, c.allow_own_as, c.prepend, c.max_prefixes, c.ttl_security, c.passive, c.graceful_restart,
             c.bfd) ||
         any(c.long_lived_graceful_restart, c.both_families, c.extended_next_hop, c.reflect, c.keep_next_hop, c.communities) ||
         any(c.import_filters, c.export_filters, c.import_rules, c.export_rules);
}

// '' stands for no rules: everything is accepted.
Take take_rules(std::optional<std::vector<model::PrefixRule>>& target) {
  return [&target](const std::string& text) -> Status {
    if (!target) target.emplace();
    return text.empty() ? Status{} : take_rule(*target)(text);
  };
}

void add_options(Command command, Change& c) {
  command.option("--address", "A", "Address of the router", take_address(c.address))
      .option("--as", "N", "Its AS number", take_as_number(c.as_number))
      .option("--range", "CIDR", "Instead of an address: whoever connects from there (dynamic neighbours)",
              [&c](const std::string& text) -> Status {
                auto range = Prefix::parse(text);
                if (!range) return std::move(range).error();
                c.range = *range;
                return {};
              })
      .option("--node", "NODE", "Only on this node (default: on every node)", take_text(c.node))
      .option("--selector", "KEY=VALUE,...", "Only on nodes with these labels", take_selector(c.node_selector))
      .option("--local-as", "N", "Our AS towards it (default: the node's)", take_text(c.local_as))
      .option("--allow-own-as", "N", "Accept paths with our AS up to N times in them (default: 0)",
              Command::number(c.allow_own_as, 0, 10))
      .option("--port", "N", "TCP port (default: 179)", Command::number(c.port, 1, 65535))
      .option("--interface", "IF", "Interface towards it; needed for a link-local address", take_text(c.interface))
      .option("--source", "A", "Own address of the session", take_text(c.source))
      .option("--password-file", "FILE", "File with the TCP MD5 password (RFC 2385), read by firn-routed",
              take_text(c.password_file))
      .option("--multihop", "N", "Up to N hops away (default: 0, directly connected)", Command::number(c.multihop, 0, 255))
      .toggle("ttl-security", "Accept packets only from within that many hops (RFC 5082); the router must do the same",
              c.ttl_security)
      .toggle("passive", "Wait for the router to connect", c.passive)
      .option("--hold-time", "S", "Seconds without a message until the session is down (default: 240)",
              Command::number(c.hold_time, 0, 65535))
      .option("--keepalive-time", "S", "Seconds between keepalives (default: a third of the hold time)",
              Command::number(c.keepalive_time, 0, 65535))
      .option("--connect-retry", "S", "Seconds between attempts (default: 5)", Command::number(c.connect_retry, 1, 65535))
      .toggle("graceful-restart", "The router keeps our routes while BIRD restarts (RFC 4724; default: yes)", c.graceful_restart)
      .option("--graceful-restart-time", "S", "For so many seconds (default: 120)",
              Command::number(c.graceful_restart_time, 1, 4095))
      .toggle("long-lived-graceful-restart", "Keep its routes as a last resort when it stays away (RFC 9494)",
              c.long_lived_graceful_restart)
      .option("--long-lived-stale-time", "S", "For so many seconds (default: 3600)",
              Command::number(c.long_lived_stale_time, 1, 16'777'215))
      .toggle("bfd", "Detect a dead path with BFD (RFC 5880)", c.bfd)
      .toggle("both-families", "IPv4 and IPv6 over this one session", c.both_families)
      .toggle("extended-next-hop", "IPv4 routes with IPv6 next hops (RFC 8950)", c.extended_next_hop)
      .toggle("reflect", "Tell it other hosts' routes too, on hosts that are reflectors", c.reflect)
      .toggle("keep-next-hop", "Those keep the owner as next hop (default: this host)", c.keep_next_hop)
      .option("--max-prefixes", "N", "Most prefixes it may send (default: 0, no limit)",
              Command::number(c.max_prefixes, 0, 10'000'000))
      .option("--max-prefixes-action", "ACTION", "When it sends more: warn, block, restart (default) or disable",
              take_text(c.max_prefixes_action))
      .list("--community", "C", "Put on what it is told: a value, or a name of 'firnctl bgp community'",
            take_communities(c.communities))
      .option("--prepend", "N", "Our AS N times more in the path (default: 0)", Command::number(c.prepend, 0, 16))
      .option("--med", "N", "MED of what it is told", take_text(c.med))
      .list("--import-filter", "FILTER", "Of 'firnctl bgp filter', before the rules; may be repeated", take_names(c.import_filters))
      .list("--export-filter", "FILTER", "The same for what it is told", take_names(c.export_filters))
      .list("--import", "RULE",
            "'accept|reject PREFIX [ge N] [le N]' for routes from the router; the first match decides, no match rejects",
            take_rules(c.import_rules))
      .list("--export", "RULE", "The same for the blocks this host announces", take_rules(c.export_rules));
}

}  // namespace

Kind bgp_peer_kind() {
  Description<model::BgpPeer> d;
  d.kind.name = "BgpPeer";
  d.kind.name_field = "name";
  d.kind.keys = model::keys::bgp_peers;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    if (auto good = model::check_peer_name(name); !good) return std::move(good).error();
    return model::keys::bgp_peer(name);
  };
  d.kind.heads = {"ADDRESS", "AS", "NODE", "OPTIONS"};
  d.name = [](const model::BgpPeer& peer) { return peer.name; };
  d.decode = model::decode_bgp_peer;
  d.row = row;
  d.validate = validate;
  d.fits = [](kv::Transaction& tx, kv::Store&, const model::BgpPeer& peer) { return check_against(tx, peer); };
  d.note = [](const Context& context, Stores&, const model::BgpPeer& peer) -> Status {
    warn(context, peer);
    return {};
  };
  return erased(std::move(d));
}

void add_bgp_peer(Command& bgp, Context& context) {
  Command group = bgp.group("peer", "Routers to speak with");

  auto added = std::make_shared<Change>();
  Command add_verb = group.verb(
      "add", "Add a router",
      "firnctl bgp peer add tor-a --address 192.0.2.1 --as 65000\n"
      "firnctl bgp peer add tor-a --address 192.0.2.1 --as 65000 --node node-a --password-file /etc/firn/tor-a.password --bfd\n"
      "firnctl bgp peer add rack --range 192.0.2.0/24 --as 65000 --selector rack=r1 --max-prefixes 1000\n"
      "firnctl bgp peer add spine --address 198.51.100.1 --as 65100 --multihop 3 \\\n"
      "    --export 'accept 10.44.0.0/16 le 26' --import 'accept 10.0.0.0/8 ge 16 le 28'",
      [added, &context] { return add(context, *added); });
  add_verb.positional("NAME", "Name of the peer", Command::text(added->name));
  add_options(add_verb, *added);

  group.verb("list", "List the routers", "firnctl bgp peer list", [&context] { return list(context); });

  auto shown = std::make_shared<std::string>();
  group.verb("show", "Show one router", "firnctl bgp peer show tor-a", [shown, &context] { return show(context, *shown); })
      .positional("PEER", "Name of the peer", Command::text(*shown));

  auto changed = std::make_shared<Change>();
  Command set_verb = group.verb("set", "Change a router; the session restarts only if it must",
                                "firnctl bgp peer set tor-a --hold-time 30\nfirnctl bgp peer set tor-a --no-passive --bfd\n"
                                "firnctl bgp peer set tor-a --password-file '' --export 'accept 10.44.0.0/16 le 26'",
                                [changed, &context] { return set(context, *changed, changes_something(*changed)); });
  set_verb.positional("PEER", "Name of the peer", Command::text(changed->name));
  add_options(set_verb, *changed);

  auto removed = std::make_shared<std::string>();
  group
      .verb("remove", "Remove a router; its session ends", "firnctl bgp peer remove tor-a",
            [removed, &context] { return remove(context, *removed); })
      .positional("PEER", "Name of the peer", Command::text(*removed));
}

}  // namespace firn::cli
