#include "cli/policy_text.hpp"

#include "cli/parse.hpp"

namespace firn::cli {

namespace {

std::string nets_text(const std::vector<Prefix>& nets) {
  std::vector<std::string> parts;
  for (const Prefix& net : nets) parts.push_back(net.to_string());
  return join(parts, ", ");
}

// "app == 'web' in namespaces all() with 10.0.0.0/8 but not 10.1.0.0/16, ports 443"; "" for everything.
std::string peer_text(const model::PolicyPeer& peer) {
  std::string out;
  const auto add = [&out](const std::string& separator, const std::string& text) {
    out.append(out.empty() ? "" : separator).append(text);
  };
  if (peer.selector) add("", peer.selector->empty() ? "all()" : *peer.selector);
  if (peer.namespace_selector) {
    if (!peer.selector) add("", "all()");
    add(" ", "in namespaces " + (peer.namespace_selector->empty() ? "all()" : *peer.namespace_selector));
  }
  if (!peer.nets.empty()) add(" with ", nets_text(peer.nets));
  if (!peer.not_nets.empty()) add(" ", "but not " + nets_text(peer.not_nets));
  if (!peer.ports.empty()) {
    std::vector<std::string> ports;
    for (const model::PortMatch& port : peer.ports) ports.push_back(to_string(port));
    add(", ", (ports.size() == 1 ? "port " : "ports ") + join(ports, ", "));
  }
  return out;
}

}  // namespace

std::string rule_text(const model::PolicyRule& rule) {
  std::string out(to_string(rule.action));
  if (rule.family) out += *rule.family == Family::v4 ? " ipv4" : " ipv6";
  if (rule.protocol) {
    const std::string name = model::protocol_name(*rule.protocol);
    out += name.find_first_not_of("0123456789") == std::string::npos ? " protocol " + name : " " + name;
  }
  if (rule.icmp_type) out += " type " + std::to_string(*rule.icmp_type);
  if (rule.icmp_code) out += " code " + std::to_string(*rule.icmp_code);
  if (const std::string from = peer_text(rule.source); !from.empty()) out += " from " + from;
  if (const std::string to = peer_text(rule.destination); !to.empty()) out += " to " + to;
  return out;
}

std::string types_text(const model::Policy& policy) {
  if (policy.applies_ingress && policy.applies_egress) return "ingress, egress";
  return policy.applies_ingress ? "ingress" : "egress";
}

std::string selects_text(const model::Policy& policy) {
  std::string out = policy.selector.empty() ? "all()" : policy.selector;
  if (policy.namespace_selector)
    out += " in namespaces " + (policy.namespace_selector->empty() ? "all()" : *policy.namespace_selector);
  return out;
}

}  // namespace firn::cli
