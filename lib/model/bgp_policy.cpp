// Codecs of filters and communities, and the spelling of communities.
#include "lib/model/bgp_policy.hpp"

#include <algorithm>
#include <charconv>

#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

namespace {

constexpr size_t max_rules = 1000, max_entries = 1000;

struct WellKnown {
  std::string_view name;
  Community value;
};
// IANA: BGP Well-known Communities.
constexpr WellKnown well_known[] = {{"graceful-shutdown", graceful_shutdown},   {"accept-own", {false, 65535, 1, 0}},
                                    {"llgr-stale", {false, 65535, 6, 0}},       {"no-llgr", {false, 65535, 7, 0}},
                                    {"blackhole", {false, 65535, 666, 0}},      {"no-export", {false, 65535, 65281, 0}},
                                    {"no-advertise", {false, 65535, 65282, 0}}, {"no-export-subconfed", {false, 65535, 65283, 0}},
                                    {"no-peer", {false, 65535, 65284, 0}}};

const WellKnown* find_well_known(std::string_view name) {
  for (const WellKnown& known : well_known) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

Result<FilterAction> parse_action(std::string_view text) {
  for (const FilterAction action : {FilterAction::accept, FilterAction::reject, FilterAction::next}) {
    if (text == to_string(action)) return action;
  }
  return make_error(Code::invalid, "must be accept, reject or next, not '" + std::string(text.substr(0, 64)) + "'");
}

Result<PrefixMatch> read_match(const json::Value& item) {
  auto text = item["within"].string();
  if (!text) return std::move(text).error();
  auto within = Prefix::parse(*text);
  if (!within) return item["within"].error(within.error().message);
  const int bits = within->address().bits();
  auto least = item["least"].integer_or(within->length(), within->length(), bits);
  auto most = item["most"].integer_or(item["least"].present() ? bits : within->length(), within->length(), bits);
  if (!least || !most || *least > *most)
    return item.error("least and most must be lengths from that of /within to " + std::to_string(bits) + ", least first");
  return PrefixMatch{*within, static_cast<int>(*least), static_cast<int>(*most)};
}

Result<std::vector<std::string>> read_communities(const json::Value& list) {
  auto texts = list.strings_or_empty();
  if (!texts) return std::move(texts).error();
  for (const std::string& text : *texts) {
    if (auto good = check_community_text(text); !good) return list.error(good.error().message);
  }
  return texts;
}

Result<FilterRule> read_rule(const json::Value& item) {
  FilterRule out;
  auto action = item["action"].string();
  if (!action) return std::move(action).error();
  auto parsed = parse_action(*action);
  if (!parsed) return item["action"].error(parsed.error().message);
  out.action = *parsed;
  if (item["prefixes"].present()) {
    auto prefixes = item["prefixes"].array();
    if (!prefixes) return std::move(prefixes).error();
    if (prefixes->size() > max_entries) return item["prefixes"].error("has more than " + std::to_string(max_entries) + " entries");
    for (const json::Value& entry : *prefixes) {
      auto match = read_match(entry);
      if (!match) return std::move(match).error();
      out.prefixes.push_back(*match);
    }
  }
  for (const auto& [name, target] : {std::pair("communities", &out.communities),
                                     {"add_communities", &out.add_communities},
                                     {"remove_communities", &out.remove_communities}}) {
    auto texts = read_communities(item[name]);
    if (!texts) return std::move(texts).error();
    *target = *std::move(texts);
  }
  auto prepend = item["prepend"].integer_or(0, 0, 16);
  if (!prepend) return std::move(prepend).error();
  out.prepend = static_cast<int>(*prepend);
  for (const auto& [name, target] : {std::pair("med", &out.med), {"local_pref", &out.local_pref}}) {
    if (!item[name].present()) continue;
    auto number = item[name].integer(0, UINT32_MAX);
    if (!number) return std::move(number).error();
    *target = static_cast<uint32_t>(*number);
  }
  const bool changes =
      out.prepend != 0 || out.med || out.local_pref || !out.add_communities.empty() || !out.remove_communities.empty();
  if (out.action == FilterAction::reject && changes) return item.error("a rule that rejects changes nothing");
  if (out.action == FilterAction::next && !changes) return item.error("a rule with the action next must change something");
  return out;
}

void write_rule(json::Writer& w, const FilterRule& rule) {
  w.begin_object().field("action", to_string(rule.action));
  if (!rule.prefixes.empty()) {
    w.key("prefixes").begin_array();
    for (const PrefixMatch& match : rule.prefixes) {
      w.begin_object().field("within", match.within.to_string()).field("least", match.least).field("most", match.most).end_object();
    }
    w.end_array();
  }
  write_strings(w, "communities", rule.communities);
  write_strings(w, "add_communities", rule.add_communities);
  write_strings(w, "remove_communities", rule.remove_communities);
  if (rule.prepend != 0) w.field("prepend", rule.prepend);
  if (rule.med) w.field("med", *rule.med);
  if (rule.local_pref) w.field("local_pref", *rule.local_pref);
  w.end_object();
}

}  // namespace

std::string_view to_string(FilterAction action) {
  switch (action) {
    case FilterAction::accept: return "accept";
    case FilterAction::reject: return "reject";
    case FilterAction::next: return "next";
  }
  return "";
}

std::string to_string(const Community& c) {
  std::string out = std::to_string(c.a) + ":" + std::to_string(c.b);
  return c.large ? out + ":" + std::to_string(c.c) : out;
}

Result<Community> parse_community(std::string_view text) {
  const Error bad = make_error(Code::invalid, "'" + std::string(text.substr(0, 64)) +
                                                  "' is no community: A:B with numbers up to 65535, A:B:C up to 4294967295, or a "
                                                  "well-known name such as no-export");
  if (const WellKnown* known = find_well_known(text)) return known->value;
  uint32_t parts[3] = {};
  size_t count = 0;
  for (std::string_view rest = text;; ++count) {
    if (count == 3) return bad;
    const auto colon = std::min(rest.find(':'), rest.size());
    const auto [end, failed] = std::from_chars(rest.data(), rest.data() + colon, parts[count]);
    if (failed != std::errc() || end != rest.data() + colon || (colon > 1 && rest[0] == '0')) return bad;
    if (colon == rest.size()) break;
    rest.remove_prefix(colon + 1);
  }
  const bool large = count == 2;
  if (count == 0 || (!large && (parts[0] > 65535 || parts[1] > 65535))) return bad;
  return Community{large, parts[0], parts[1], parts[2]};
}

Status check_community_text(std::string_view text) {
  const bool name = !text.empty() && text.front() >= 'a' && text.front() <= 'z';
  if (name && check_peer_name(text).ok()) return {};
  auto value = parse_community(text);
  if (!value) return std::move(value).error();
  return {};
}

std::string encode(const BgpFilter& filter) {
  json::Writer w = begin_record();
  w.field("name", filter.name).key("rules").begin_array();
  for (const FilterRule& rule : filter.rules) write_rule(w, rule);
  w.end_array().field_if("note", filter.note);
  return std::move(w.end_object()).take();
}

Result<BgpFilter> decode_bgp_filter(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpFilter out;
    out.name = f.text("name");
    out.note = f.text_or_empty("note");
    const auto items = f.list("rules");
    if (items.empty() || items.size() > max_rules)
      f.fail(root["rules"].error("must have 1 to " + std::to_string(max_rules) + " rules"));
    else {
      for (const json::Value& item : items) {
        auto rule = read_rule(item);
        if (!rule) {
          f.fail(std::move(rule).error());
          break;
        }
        out.rules.push_back(*std::move(rule));
      }
    }
    if (auto good = check_peer_name(out.name); !good) f.fail(make_error(Code::invalid, "/name: filter: " + good.error().message));
    return f.finish(std::move(out));
  });
}

std::string encode(const BgpCommunity& community) {
  json::Writer w = begin_record();
  w.field("name", community.name);
  write_strings(w, "values", community.values);
  w.field_if("note", community.note);
  return std::move(w.end_object()).take();
}

Result<BgpCommunity> decode_bgp_community(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpCommunity out;
    out.name = f.text("name");
    out.values = f.strings("values");
    out.note = f.text_or_empty("note");
    if (out.values.empty() || out.values.size() > max_entries)
      f.fail(root["values"].error("must have 1 to " + std::to_string(max_entries) + " communities"));
    for (const std::string& value : out.values) {
      if (auto good = parse_community(value); !good) f.fail(root["values"].error(good.error().message));
    }
    if (auto good = check_peer_name(out.name); !good)
      f.fail(make_error(Code::invalid, "/name: community: " + good.error().message));
    else if (find_well_known(out.name) != nullptr) f.fail(root["name"].error("is the name of a well-known community"));
    return f.finish(std::move(out));
  });
}

}  // namespace firn::model
