// The codec of policies. A rule that lacks what narrows it matches more, so nothing of the wrong kind and no empty list is taken
// for something that was left out.
#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"
#include "lib/model/policy.hpp"

namespace firn::model {

namespace {

constexpr size_t max_rules = 5000, max_entries = 5000, max_selector = 4096, max_note = 1024;
constexpr int max_order = 1'000'000;
constexpr uint8_t icmp = 1, icmpv6 = 58;

std::string_view family_name(Family family) { return family == Family::v4 ? "ipv4" : "ipv6"; }

Result<std::vector<json::Value>> items_of(const json::Value& list) {
  auto items = list.array();
  if (!items) return items;
  if (items->empty()) return list.error("is empty; leave it out if everything is meant");
  if (items->size() > max_entries) return list.error("has more than " + std::to_string(max_entries) + " entries");
  return items;
}

Status read_nets(const json::Value& list, std::vector<Prefix>& out) {
  if (!list.present()) return {};
  auto items = items_of(list);
  if (!items) return std::move(items).error();
  for (const json::Value& item : *items) {
    auto text = item.string();
    if (!text) return std::move(text).error();
    auto prefix = Prefix::parse(*text);
    if (!prefix) return item.error(prefix.error().message);
    out.push_back(*prefix);
  }
  return {};
}

// A single port may be a number, which is what it looks like in YAML.
Result<std::string> text_or_number(const json::Value& item) {
  if (item.present() && item.kind() == json::Kind::integer) return item.dump();
  return item.string();
}

Status read_ports(const json::Value& list, bool may_be_names, std::vector<PortMatch>& out) {
  if (!list.present()) return {};
  auto items = items_of(list);
  if (!items) return std::move(items).error();
  for (const json::Value& item : *items) {
    auto text = text_or_number(item);
    if (!text) return std::move(text).error();
    auto port = parse_port_match(*text);
    if (!port) return item.error(port.error().message);
    if (!port->name.empty() && !may_be_names) return item.error("only ports of the destination have names");
    out.push_back(*std::move(port));
  }
  return {};
}

Status read_selector(const json::Value& value, std::optional<std::string>& out) {
  if (!value.present()) return {};
  auto text = value.string();
  if (!text) return std::move(text).error();
  if (text->size() > max_selector) return value.error("has more than " + std::to_string(max_selector) + " bytes");
  out = *std::move(text);
  return {};
}

Status read_peer(const json::Value& item, bool destination, PolicyPeer& out) {
  if (!item.present()) return {};
  if (item.kind() != json::Kind::object) return item.error("must be an object; leave it out if everything is meant");
  if (auto good = read_selector(item["selector"], out.selector); !good) return good;
  if (auto good = read_selector(item["namespace_selector"], out.namespace_selector); !good) return good;
  if (auto good = read_nets(item["nets"], out.nets); !good) return good;
  if (auto good = read_nets(item["not_nets"], out.not_nets); !good) return good;
  return read_ports(item["ports"], destination, out.ports);
}

Status read_icmp(const json::Value& value, const PolicyRule& rule, std::optional<uint8_t>& out) {
  if (!value.present()) return {};
  auto number = value.integer(0, 255);
  if (!number) return std::move(number).error();
  if (rule.protocol != icmp && rule.protocol != icmpv6) return value.error("needs the protocol icmp or icmpv6");
  out = static_cast<uint8_t>(*number);
  return {};
}

// What can never match is a mistake of whoever wrote it.
Status check_families(const json::Value& item, const PolicyRule& rule) {
  if (!rule.family) return {};
  const Family other = *rule.family == Family::v4 ? Family::v6 : Family::v4;
  if (rule.protocol == (other == Family::v4 ? icmp : icmpv6))
    return item["protocol"].error("is none of " + std::string(family_name(*rule.family)));
  for (const auto& [name, peer] : {std::pair("source", &rule.source), {"destination", &rule.destination}}) {
    for (const Prefix& net : peer->nets) {
      if (net.family() == other)
        return item[name]["nets"].error(net.to_string() + " is none of " + std::string(family_name(*rule.family)));
    }
  }
  return {};
}

Result<PolicyRule> read_rule(const json::Value& item) {
  PolicyRule out;
  if (item.kind() != json::Kind::object) return item.error("must be an object");
  auto action = item["action"].string();
  if (!action) return std::move(action).error();
  auto parsed = parse_policy_action(*action);
  if (!parsed) return item["action"].error(parsed.error().message);
  out.action = *parsed;
  if (const json::Value family = item["family"]; family.present()) {
    auto text = family.string();
    if (!text) return std::move(text).error();
    if (*text != "ipv4" && *text != "ipv6") return family.error("must be ipv4 or ipv6");
    out.family = *text == "ipv4" ? Family::v4 : Family::v6;
  }
  if (const json::Value protocol = item["protocol"]; protocol.present()) {
    auto text = text_or_number(protocol);
    if (!text) return std::move(text).error();
    auto number = parse_protocol(*text);
    if (!number) return protocol.error(number.error().message);
    out.protocol = *number;
  }
  if (auto good = read_icmp(item["icmp_type"], out, out.icmp_type); !good) return std::move(good).error();
  if (auto good = read_icmp(item["icmp_code"], out, out.icmp_code); !good) return std::move(good).error();
  if (out.icmp_code && !out.icmp_type) return item["icmp_code"].error("needs an icmp_type");
  if (auto good = read_peer(item["source"], false, out.source); !good) return std::move(good).error();
  if (auto good = read_peer(item["destination"], true, out.destination); !good) return std::move(good).error();
  for (const auto& [name, peer] : {std::pair("source", &out.source), {"destination", &out.destination}}) {
    if (!peer->ports.empty() && !(out.protocol && has_ports(*out.protocol)))
      return item[name]["ports"].error("needs the protocol tcp, udp or sctp");
  }
  if (auto good = check_families(item, out); !good) return std::move(good).error();
  return out;
}

std::vector<PolicyRule> read_rules(Fields& f, const json::Value& root, std::string_view name) {
  std::vector<PolicyRule> out;
  const auto items = f.list(name);
  if (items.size() > max_rules) {
    f.fail(root[name].error("has more than " + std::to_string(max_rules) + " rules"));
    return out;
  }
  for (const json::Value& item : items) {
    auto rule = read_rule(item);
    if (!rule) {
      f.fail(std::move(rule).error());
      return out;
    }
    out.push_back(*std::move(rule));
  }
  return out;
}

// Left out, they are what Kubernetes says: ingress always, egress when there are rules for it.
void read_types(Fields& f, const json::Value& root, Policy& policy) {
  const json::Value types = root["types"];
  if (!types.present()) {
    policy.applies_ingress = true;
    policy.applies_egress = !policy.egress.empty();
    return;
  }
  const auto texts = f.strings("types");
  if (texts.empty()) f.fail(types.error("must name ingress, egress or both"));
  for (const std::string& text : texts) {
    if (text == "ingress") policy.applies_ingress = true;
    else if (text == "egress") policy.applies_egress = true;
    else f.fail(types.error("must be ingress or egress, not '" + text.substr(0, 64) + "'"));
  }
  if (!policy.applies_ingress && !policy.ingress.empty())
    f.fail(root["ingress"].error("has rules, but types does not name ingress"));
  if (!policy.applies_egress && !policy.egress.empty()) f.fail(root["egress"].error("has rules, but types does not name egress"));
}

void write_peer(json::Writer& w, std::string_view name, const PolicyPeer& peer) {
  if (peer.any()) return;
  w.key(name).begin_object();
  if (peer.selector) w.field("selector", *peer.selector);
  if (peer.namespace_selector) w.field("namespace_selector", *peer.namespace_selector);
  for (const auto& [list, nets] : {std::pair("nets", &peer.nets), {"not_nets", &peer.not_nets}}) {
    if (nets->empty()) continue;
    w.key(list).begin_array();
    for (const Prefix& net : *nets) w.value(net.to_string());
    w.end_array();
  }
  if (!peer.ports.empty()) {
    w.key("ports").begin_array();
    for (const PortMatch& port : peer.ports) {
      if (port.name.empty() && port.first == port.last) w.value(static_cast<unsigned>(port.first));
      else w.value(to_string(port));
    }
    w.end_array();
  }
  w.end_object();
}

void write_rules(json::Writer& w, std::string_view name, const std::vector<PolicyRule>& rules) {
  if (rules.empty()) return;
  w.key(name).begin_array();
  for (const PolicyRule& rule : rules) {
    w.begin_object().field("action", to_string(rule.action));
    if (rule.family) w.field("family", family_name(*rule.family));
    if (rule.protocol) w.field("protocol", protocol_name(*rule.protocol));
    if (rule.icmp_type) w.field("icmp_type", unsigned{*rule.icmp_type});
    if (rule.icmp_code) w.field("icmp_code", unsigned{*rule.icmp_code});
    write_peer(w, "source", rule.source);
    write_peer(w, "destination", rule.destination);
    w.end_object();
  }
  w.end_array();
}

}  // namespace

std::string encode(const Policy& policy) {
  json::Writer w = begin_record();
  w.field_if("namespace", policy.scope).field("name", policy.name).field("order", policy.order);
  w.field_if("selector", policy.selector);
  if (policy.namespace_selector) w.field("namespace_selector", *policy.namespace_selector);
  w.key("types").begin_array();
  if (policy.applies_ingress) w.value("ingress");
  if (policy.applies_egress) w.value("egress");
  w.end_array();
  write_rules(w, "ingress", policy.ingress);
  write_rules(w, "egress", policy.egress);
  w.field_if("note", policy.note);
  return std::move(w.end_object()).take();
}

Result<Policy> decode_policy(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Policy out;
    out.scope = f.text_or_empty("namespace");
    out.name = f.text("name");
    out.order = static_cast<int>(f.number_or("order", out.order, 0, max_order));
    std::optional<std::string> selector;
    if (auto good = read_selector(root["selector"], selector); !good) f.fail(std::move(good).error());
    out.selector = selector.value_or("");
    if (auto good = read_selector(root["namespace_selector"], out.namespace_selector); !good) f.fail(std::move(good).error());
    if (out.namespace_selector && !out.global())
      f.fail(root["namespace_selector"].error("a policy in a namespace selects in that one alone"));
    out.ingress = read_rules(f, root, "ingress");
    out.egress = read_rules(f, root, "egress");
    read_types(f, root, out);
    out.note = f.text_or_empty("note");
    if (out.note.size() > max_note) f.fail(root["note"].error("has more than " + std::to_string(max_note) + " bytes"));
    if (!out.global()) require_name(f, check_object_name("/namespace: namespace", out.scope));
    require_name(f, check_long_name("/name: policy", out.name));
    return f.finish(std::move(out));
  });
}

}  // namespace firn::model
