#include "routed/bird/filters.hpp"

#include <algorithm>

namespace firn::routed::bird {

namespace {

std::string number(int64_t value) { return std::to_string(value); }

std::string symbol(std::string_view peer_name) {
  std::string out(peer_name);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::string filter_name(std::string_view what, std::string_view peer, Family family) {
  return "firn_" + std::string(what) + std::string(words(family).digit) + "_" + symbol(peer);
}

std::string host_filter(std::string_view what, Family family) {
  return "firn_hosts_" + std::string(what) + std::string(words(family).digit);
}

std::string literal(const model::Community& c) {
  return "(" + number(c.a) + "," + number(c.b) + (c.large ? "," + number(c.c) : std::string()) + ")";
}

std::string_view list_of(const model::Community& c) { return c.large ? "bgp_large_community" : "bgp_community"; }

// The blocks come from the kernel, or, just after the start, from render_start().
std::string own_routes(const Config& config, Family family, bool reflect) {
  const auto [channel, kernel, digit] = words(family);
  const std::string blocks =
      "proto ~ " + quoted(std::string(kernel) + "*") + " && dest = RTD_BLACKHOLE" + outside(config.unannounced, family);
  const bool extra =
      std::any_of(config.extra.begin(), config.extra.end(), [&](const Extra& e) { return e.prefix.family() == family; });
  if (!extra && !reflect) return blocks;
  std::string out = "(" + blocks + ")";
  if (extra) out += " || proto = " + quoted(std::string(extra_protocol) + std::string(digit));
  if (reflect) out += " || (source = RTS_BGP && proto ~ \"firn_node*\")";
  return out;
}

bool is_reflected_to(const Config& config, const ResolvedPeer& peer) {
  return config.reflector && (peer.host || peer.peer.reflect);
}

Rule rule_of(const model::PrefixRule& rule) {
  Rule out;
  out.action = rule.accept ? model::FilterAction::accept : model::FilterAction::reject;
  out.prefixes = {{rule.within, rule.least, rule.most}};
  return out;
}

std::vector<Rule> whole_chain(const std::vector<Rule>& chain, const std::vector<model::PrefixRule>& own) {
  std::vector<Rule> out = chain;
  for (const model::PrefixRule& rule : own) out.push_back(rule_of(rule));
  return out;
}

// "" when the rule matches every route of the family; nothing when it can match none.
std::optional<std::string> condition_of(const Rule& rule, Family family) {
  std::string prefixes, communities;
  for (const model::PrefixMatch& match : rule.prefixes) {
    if (match.within.family() != family) continue;
    prefixes +=
        (prefixes.empty() ? "" : ", ") + match.within.to_string() + "{" + number(match.least) + "," + number(match.most) + "}";
  }
  if (prefixes.empty() && !rule.prefixes.empty()) return std::nullopt;
  for (const model::Community& c : rule.communities) communities += (communities.empty() ? "" : " || ") + has(c);
  if (!prefixes.empty()) prefixes = "net ~ [ " + prefixes + " ]";
  if (prefixes.empty() || communities.empty()) return prefixes + communities;
  return prefixes + " && (" + communities + ")";
}

bool changes_nothing(const Rule& rule) {
  return rule.add.empty() && rule.remove.empty() && rule.prepend == 0 && !rule.med && !rule.local_pref;
}

void write_changes(Text& text, const std::string& indent, const Rule& rule, uint32_t local_as) {
  for (const model::Community& c : rule.remove) text.line(indent + change_of(c, "delete"));
  for (const model::Community& c : rule.add) text.line(indent + change_of(c, "add"));
  for (int i = 0; i < rule.prepend; ++i) text.line(indent + "bgp_path.prepend(" + number(local_as) + ");");
  if (rule.med) text.line(indent + "bgp_med = " + number(*rule.med) + ";");
  if (rule.local_pref) text.line(indent + "bgp_local_pref = " + number(*rule.local_pref) + ";");
}

// First match decides, no match rejects. A rule that can match nothing of the family is left out.
void write_rules(Text& text, Family family, const std::vector<Rule>& rules, uint32_t local_as) {
  for (const Rule& rule : rules) {
    const auto condition = condition_of(rule, family);
    if (!condition) continue;
    const std::string verdict = rule.action == model::FilterAction::next ? "" : std::string(to_string(rule.action)) + ";";
    const std::string head = condition->empty() ? "  " : "  if " + *condition + " then ";
    if (changes_nothing(rule)) {
      text.line(head + verdict);
      continue;
    }
    text.line(head + "{");
    write_changes(text, "    ", rule, local_as);
    if (!verdict.empty()) text.line("    " + verdict);
    text.line("  }");
  }
  text.line("  reject;");
}

// The others prefer any other way: by the community those that follow RFC 8326, by the preference those of our AS.
void write_farewell(Text& text, Drain drain) {
  if (drain != Drain::announce) return;
  text.line("  " + change_of(model::graceful_shutdown, "add")).line("  bgp_local_pref = 0;");
}

bool exports_plainly(const Config& config, const ResolvedPeer& p) {
  return config.drain == Drain::none && p.export_chain.empty() && p.peer.export_rules.empty() && p.communities.empty() &&
         p.peer.prepend == 0 && !p.peer.med;
}

bool imports_everything(const ResolvedPeer& p) { return p.import_chain.empty() && p.peer.import_rules.empty(); }

}  // namespace

std::string outside(const std::vector<Prefix>& prefixes, Family family) {
  std::string set;
  for (const Prefix& prefix : prefixes) {
    if (prefix.family() == family) set += (set.empty() ? "" : ", ") + prefix.to_string() + "+";
  }
  return set.empty() ? set : " && ! (net ~ [ " + set + " ])";
}

std::string has(const model::Community& c) { return literal(c) + " ~ " + std::string(list_of(c)); }

std::string change_of(const model::Community& community, std::string_view method) {
  return std::string(list_of(community)) + "." + std::string(method) + "(" + literal(community) + ");";
}

// Hosts believe each other what lies in the pools and in the extra prefixes, and nothing else: no default route, no foreign
// network.
void write_host_filters(Text& text, const Config& config, Family family) {
  text.line("\nfilter " + host_filter("import", family) + " {");
  std::string set;
  for (const Prefix& prefix : config.of_hosts) {
    if (prefix.family() == family) set += (set.empty() ? "" : ", ") + prefix.to_string() + "+";
  }
  if (set.empty()) {
    text.line("  reject;");
  } else {
    text.line("  if ! (net ~ [ " + set + " ]) then reject;");
    text.line("  if " + has(model::graceful_shutdown) + " then bgp_local_pref = 0;").line("  accept;");
  }
  text.line("}").line("\nfilter " + host_filter("export", family) + " {");
  if (config.drain == Drain::withdraw) {
    text.line("  reject;").line("}");
    return;
  }
  text.line("  if ! (" + own_routes(config, family, config.reflector) + ") then reject;");
  write_farewell(text, config.drain);
  text.line("  accept;").line("}");
}

void write_peer_filters(Text& text, const Config& config, const ResolvedPeer& p, Family family) {
  const uint32_t local_as = p.peer.local_as.value_or(config.local_as);
  if (!imports_everything(p)) {
    text.line("\nfilter " + filter_name("import", p.peer.name, family) + " {");
    write_rules(text, family, whole_chain(p.import_chain, p.peer.import_rules), local_as);
    text.line("}");
  }
  if (config.drain == Drain::withdraw || exports_plainly(config, p)) return;
  text.line("\nfilter " + filter_name("export", p.peer.name, family) + " {");
  text.line("  if ! (" + own_routes(config, family, is_reflected_to(config, p)) + ") then reject;");
  write_farewell(text, config.drain);
  Rule always;
  always.add = p.communities;
  always.prepend = p.peer.prepend;
  always.med = p.peer.med;
  write_changes(text, "  ", always, local_as);
  if (p.export_chain.empty() && p.peer.export_rules.empty()) text.line("  accept;");
  else write_rules(text, family, whole_chain(p.export_chain, p.peer.export_rules), local_as);
  text.line("}");
}

std::string import_of(const ResolvedPeer& p, Family family) {
  if (p.host) return "filter " + host_filter("import", family);
  return imports_everything(p) ? "all" : "filter " + filter_name("import", p.peer.name, family);
}

std::string export_of(const Config& config, const ResolvedPeer& p, Family family) {
  if (p.host) return "filter " + host_filter("export", family);
  if (config.drain == Drain::withdraw) return "none";
  if (exports_plainly(config, p)) return "where " + own_routes(config, family, is_reflected_to(config, p));
  return "filter " + filter_name("export", p.peer.name, family);
}

}  // namespace firn::routed::bird
