#include "routed/policy/rule_text.hpp"

#include <algorithm>
#include <optional>

#include "routed/nft/wish.hpp"

namespace firn::routed::policy {

namespace {

constexpr uint8_t icmp = 1, icmpv6 = 58;

// Those of the family that are inside of no other one of them.
std::vector<Prefix> outermost(const std::vector<Prefix>& nets, Family family) {
  std::vector<Prefix> out;
  for (const Prefix& net : nets) {
    if (net.family() != family) continue;
    const auto around = [&](const Prefix& other) {
      return other.family() == family && !(other == net) && other.length() < net.length() && other.contains(net.address());
    };
    if (std::ranges::any_of(nets, around) || std::ranges::find(out, net) != out.end()) continue;
    out.push_back(net);
  }
  return out;
}

size_t at(Family family) { return family == Family::v4 ? 0 : 1; }

// A constant as the first part of what is looked for. nft's language has no other expression for one there: a counter that counts
// to one, from the number on.
std::string under(Number number) { return "numgen inc mod 1 offset " + std::to_string(number) + " . "; }

std::string net_list(const std::vector<Prefix>& nets) {
  std::string out = "{ ";
  for (const Prefix& net : nets) out.append(out.size() > 2 ? ", " : "").append(net.to_string());
  return out + " }";
}

bool is_everything(const std::vector<Prefix>& nets) { return nets.size() == 1 && nets.front().length() == 0; }

// The addresses of one end: "ip saddr @m4.1 ip saddr != { … } "; nothing when no packet of the family can match.
std::optional<std::string> addresses_of(const model::PolicyPeer& peer, Family family, const char* field,
                                        const RuleContext& context) {
  const std::string what = std::string(family == Family::v4 ? "ip " : "ip6 ") + field;
  std::string out;
  if (peer.selector || peer.namespace_selector) out += under(context.members(peer)) + what + " @" + members_set[at(family)] + " ";
  if (!peer.nets.empty()) {
    const auto nets = outermost(peer.nets, family);
    if (nets.empty()) return std::nullopt;
    // nft takes no set of a single 0/0; all of the family is in it.
    if (!is_everything(nets)) out += what + " " + (nets.size() == 1 ? nets.front().to_string() : net_list(nets)) + " ";
  }
  const auto not_nets = outermost(peer.not_nets, family);
  if (is_everything(not_nets)) return std::nullopt;
  for (const Prefix& net : not_nets) out += what + " != " + net.to_string() + " ";
  return out;
}

// The alternatives of one end's ports, one of which must match: single ports together, each range, each name. One empty text: any.
std::vector<std::string> ports_of(const model::PolicyPeer& peer, Family family, bool source, uint8_t protocol,
                                  const RuleContext& context) {
  if (peer.ports.empty()) return {""};
  std::vector<model::PortMatch> numbers;
  std::vector<uint16_t> single;
  std::vector<std::string> out;
  const std::string field = source ? "th sport" : "th dport";
  for (const model::PortMatch& port : peer.ports) {
    if (port.name.empty()) {
      numbers.push_back(port);
      continue;
    }
    const std::string address = std::string(family == Family::v4 ? "ip " : "ip6 ") + (source ? "saddr" : "daddr");
    out.push_back(under(context.named_port(port.name, protocol)) + address + " . meta l4proto . " + field + " @" +
                  named_set[at(family)] + " ");
  }
  for (const model::PortMatch& port : joined(std::move(numbers))) {
    if (port.first == port.last) single.push_back(port.first);
    else out.push_back(field + " " + std::to_string(port.first) + "-" + std::to_string(port.last) + " ");
  }
  if (single.size() == 1) out.push_back(field + " " + std::to_string(single.front()) + " ");
  if (single.size() > 1) out.push_back(under(context.port_list(single)) + field + " @" + ports_set + " ");
  return out;
}

bool has_names(const model::PolicyPeer& peer) {
  return std::ranges::any_of(peer.ports, [](const model::PortMatch& port) { return !port.name.empty(); });
}

bool looks_at_addresses(const model::PolicyPeer& peer) {
  return peer.selector || peer.namespace_selector || !peer.nets.empty() || !peer.not_nets.empty() || has_names(peer);
}

std::string icmp_text(const model::PolicyRule& rule, Family family) {
  if (!rule.icmp_type) return {};
  const std::string word = family == Family::v4 ? "icmp" : "icmpv6";
  std::string out = word + " type " + std::to_string(*rule.icmp_type) + " ";
  if (rule.icmp_code) out += word + " code " + std::to_string(*rule.icmp_code) + " ";
  return out;
}

std::string verdict_text(model::PolicyAction action, const RuleContext& context) {
  switch (action) {
    case model::PolicyAction::allow: return "counter accept";
    case model::PolicyAction::deny: return "counter drop";
    case model::PolicyAction::pass: return "counter " + context.pass;
    case model::PolicyAction::log: break;
  }
  const std::string rate = std::to_string(context.log_rate);
  return "counter limit rate " + rate + "/second burst " + rate + " packets log prefix " + nft::quoted(context.comment + " ") +
         " group " + std::to_string(context.log_group);
}

}  // namespace

std::vector<model::PortMatch> joined(std::vector<model::PortMatch> ports) {
  std::ranges::sort(ports, {}, &model::PortMatch::first);
  std::vector<model::PortMatch> out;
  for (const model::PortMatch& port : ports) {
    if (!out.empty() && port.first <= out.back().last + 1) out.back().last = std::max(out.back().last, port.last);
    else out.push_back(port);
  }
  return out;
}

std::string port_list(std::vector<model::PortMatch> ports) {
  std::string out = "{ ";
  for (const model::PortMatch& port : joined(std::move(ports))) {
    out += (out.size() > 2 ? ", " : "") + std::to_string(port.first);
    if (port.last != port.first) out += "-" + std::to_string(port.last);
  }
  return out + " }";
}

std::vector<std::string> rule_text(const model::PolicyRule& rule, const RuleContext& context) {
  const std::string end = verdict_text(rule.action, context) + " comment " + nft::quoted(context.comment);
  const std::string protocol = rule.protocol ? "meta l4proto " + std::to_string(*rule.protocol) + " " : std::string();
  const uint8_t number = rule.protocol.value_or(0);
  const bool one_for_both = !looks_at_addresses(rule.source) && !looks_at_addresses(rule.destination) && !rule.icmp_type;

  std::vector<std::string> out;
  for (const Family family : {Family::v4, Family::v6}) {
    if (rule.family && *rule.family != family) continue;
    if (rule.icmp_type && number != (family == Family::v4 ? icmp : icmpv6)) continue;
    const auto source = addresses_of(rule.source, family, "saddr", context);
    const auto destination = addresses_of(rule.destination, family, "daddr", context);
    if (!source || !destination) continue;
    std::string head = *source + *destination;
    if (head.empty() && !(one_for_both && !rule.family)) {
      head = family == Family::v4 ? "meta nfproto ipv4 " : "meta nfproto ipv6 ";
    }
    for (const std::string& sports : ports_of(rule.source, family, true, number, context)) {
      for (const std::string& dports : ports_of(rule.destination, family, false, number, context)) {
        out.push_back(head + protocol + icmp_text(rule, family) + sports + dports + end);
      }
    }
    if (one_for_both && !rule.family) break;
  }
  return out;
}

}  // namespace firn::routed::policy
