#include "lib/policy/evaluate.hpp"

#include <algorithm>
#include <tuple>

#include "lib/policy/check.hpp"

namespace firn::policy {

namespace {

constexpr uint8_t icmp = 1, udp = 17, icmpv6 = 58;

bool in_one_of(const std::vector<Prefix>& nets, const Address& address) {
  return std::any_of(nets.begin(), nets.end(), [&](const Prefix& net) { return net.contains(address); });
}

bool port_matches(const std::vector<model::PortMatch>& ports, uint16_t number, uint8_t protocol, const End& end) {
  if (ports.empty()) return true;
  return std::any_of(ports.begin(), ports.end(), [&](const model::PortMatch& port) {
    if (port.name.empty()) return port.first <= number && number <= port.last;
    if (end.endpoint == nullptr) return false;
    const auto named = model::named_ports_of(*end.endpoint);
    return std::any_of(named.begin(), named.end(), [&](const model::NamedPort& known) {
      return known.name == port.name && known.protocol == protocol && known.port == number;
    });
  });
}

bool is_failsafe(const std::vector<model::FailsafePorts>& ports, const Packet& packet) {
  return std::any_of(ports.begin(), ports.end(), [&](const model::FailsafePorts& open) {
    return open.protocol == packet.protocol && open.first <= packet.destination_port && packet.destination_port <= open.last;
  });
}

std::vector<model::FailsafePorts> failsafe_of(const std::vector<std::string>& texts) {
  std::vector<model::FailsafePorts> out;
  for (const std::string& text : texts) {
    if (auto ports = model::parse_failsafe(text)) out.push_back(*ports);
  }
  return out;
}

// What the hooks let pass before any policy is asked, so that a link stays a link.
bool keeps_the_link(const Packet& packet, Direction direction, bool host) {
  if (packet.protocol == icmpv6) {
    const uint8_t type = packet.icmp_type;
    if (type == 135 || type == 136) return true;  // neighbours, RFC 4861
    return host &&
           (type == 133 || type == 134 || type == 130 || type == 131 || type == 143);  // routers, and listeners: RFC 2710, 3810
  }
  if (!host || packet.protocol != udp) return false;
  const bool to_client = packet.destination_port == 68 || packet.destination_port == 546;
  const bool to_server = packet.destination_port == 67 || packet.destination_port == 547;
  const bool from_client = packet.source_port == 68 || packet.source_port == 546;
  const bool from_server = packet.source_port == 67 || packet.source_port == 547;
  return direction == Direction::ingress ? from_server && to_client : from_client && to_server;
}

// Of containers, those that firn made an interface for.
bool is_subject(const End& end) {
  if (end.endpoint != nullptr) return end.endpoint->kind == model::EndpointKind::interface;
  return end.host_endpoint != nullptr;
}

bool same_container(const End& a, const End& b) {
  return a.endpoint != nullptr && b.endpoint != nullptr && a.node == b.node &&
         model::handle_of(*a.endpoint) == model::handle_of(*b.endpoint);
}

bool allows(Ground ground, model::PolicyAction action, bool default_deny) {
  if (ground == Ground::rule) return action == model::PolicyAction::allow;
  if (ground == Ground::by_default) return !default_deny;
  return ground != Ground::no_rule;
}

}  // namespace

std::string_view to_string(Direction direction) { return direction == Direction::ingress ? "ingress" : "egress"; }

Result<std::vector<Evaluator::Rule>> Evaluator::compile(const model::Policy& policy, const std::vector<model::PolicyRule>& rules) {
  const auto peer = [&](const model::PolicyPeer& from, std::optional<Selection>& to) -> Status {
    if (!from.selector && !from.namespace_selector) return {};
    Selection out{.selector = {}, .namespaces = {}, .scope = policy.scope};
    auto selector = Selector::parse(from.selector.value_or(""));
    if (!selector) return std::move(selector).error();
    out.selector = *std::move(selector);
    if (from.namespace_selector) {
      auto namespaces = Selector::parse(*from.namespace_selector);
      if (!namespaces) return std::move(namespaces).error();
      out.namespaces = *std::move(namespaces);
    }
    to = std::move(out);
    return {};
  };
  std::vector<Rule> out(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    if (auto good = peer(rules[i].source, out[i].source); !good) return std::move(good).error();
    if (auto good = peer(rules[i].destination, out[i].destination); !good) return std::move(good).error();
  }
  return out;
}

Result<Evaluator> Evaluator::make(std::vector<model::Policy> policies, const std::vector<model::Namespace>& namespaces,
                                  const model::PolicySettings& settings) {
  Evaluator out;
  out.settings_ = settings;
  out.failsafe_in_ = failsafe_of(settings.failsafe_in);
  out.failsafe_out_ = failsafe_of(settings.failsafe_out);
  for (const model::Namespace& space : namespaces) out.namespaces_[space.name] = space.labels;
  std::sort(policies.begin(), policies.end(), &decides_before);
  out.policies_ = std::move(policies);
  for (const model::Policy& policy : out.policies_) {
    if (auto good = check_selectors(policy); !good) return std::move(good).error().context(title_of(policy));
    Compiled compiled;
    compiled.subject = {.selector = *Selector::parse(policy.selector), .namespaces = {}, .scope = policy.scope};
    if (policy.namespace_selector) compiled.subject.namespaces = *Selector::parse(*policy.namespace_selector);
    auto ingress = compile(policy, policy.ingress);
    auto egress = compile(policy, policy.egress);
    if (!ingress) return std::move(ingress).error();
    if (!egress) return std::move(egress).error();
    compiled.ingress = *std::move(ingress);
    compiled.egress = *std::move(egress);
    out.compiled_.push_back(std::move(compiled));
  }
  return out;
}

Labels Evaluator::labels_of(const std::string& name) const {
  const auto known = namespaces_.find(name);
  Labels out = known == namespaces_.end() ? Labels() : known->second;
  out[std::string(model::namespace_name_label)] = name;
  return out;
}

bool Evaluator::selects(const Selection& selection, const model::Endpoint& endpoint) const {
  const std::string name = model::namespace_of(endpoint);
  if (selection.namespaces) {
    if (!selection.namespaces->matches(labels_of(name))) return false;
  } else if (!selection.scope.empty() && selection.scope != name) {
    return false;
  }
  return selection.selector.matches(endpoint.labels);
}

bool Evaluator::peer_matches(const model::PolicyPeer& peer, const std::optional<Selection>& selection, const End& end) const {
  if (!peer.nets.empty() && !in_one_of(peer.nets, end.address)) return false;
  if (in_one_of(peer.not_nets, end.address)) return false;
  return !selection || (end.endpoint != nullptr && selects(*selection, *end.endpoint));
}

bool Evaluator::rule_matches(const model::PolicyRule& rule, const Rule& compiled, const End& source, const End& destination,
                             const Packet& packet) const {
  const Family family = destination.address.family();
  if (rule.family && *rule.family != family) return false;
  if (rule.protocol && *rule.protocol != packet.protocol) return false;
  if (rule.icmp_type) {
    if (packet.protocol != (family == Family::v4 ? icmp : icmpv6) || *rule.icmp_type != packet.icmp_type) return false;
    if (rule.icmp_code && *rule.icmp_code != packet.icmp_code) return false;
  }
  if (!port_matches(rule.source.ports, packet.source_port, packet.protocol, source)) return false;
  if (!port_matches(rule.destination.ports, packet.destination_port, packet.protocol, destination)) return false;
  return peer_matches(rule.source, compiled.source, source) && peer_matches(rule.destination, compiled.destination, destination);
}

std::vector<size_t> Evaluator::selecting(Direction direction, const End& end) const {
  std::vector<size_t> out;
  if (!is_subject(end)) return out;
  for (size_t i = 0; i < policies_.size(); ++i) {
    const model::Policy& policy = policies_[i];
    if (!(direction == Direction::ingress ? policy.applies_ingress : policy.applies_egress)) continue;
    // An interface of a host is in no namespace.
    const Selection& subject = compiled_[i].subject;
    const bool selected = end.endpoint != nullptr
                              ? selects(subject, *end.endpoint)
                              : policy.global() && !subject.namespaces && subject.selector.matches(end.host_endpoint->labels);
    if (selected) out.push_back(i);
  }
  return out;
}

std::optional<Ground> Evaluator::exempt(Direction direction, const End& source, const End& destination,
                                        const Packet& packet) const {
  const End& subject = direction == Direction::ingress ? destination : source;
  const End& other = direction == Direction::ingress ? source : destination;
  if (!is_subject(subject)) return Ground::nobody;
  if (same_container(source, destination)) return Ground::itself;
  const bool host = subject.endpoint == nullptr;
  const bool one_host = subject.node == other.node;
  // A host may always speak with its own containers; what they send to it is for their egress to decide.
  if (host && one_host) return Ground::same_host;
  if (!host && one_host && other.is_host() && direction == Direction::ingress) return Ground::same_host;
  if (keeps_the_link(packet, direction, host)) return Ground::link;
  if (host && is_failsafe(direction == Direction::ingress ? failsafe_in_ : failsafe_out_, packet)) return Ground::failsafe;
  return std::nullopt;
}

Decision Evaluator::decide(Direction direction, const std::vector<size_t>& selecting, const End& source, const End& destination,
                           const Packet& packet) const {
  Decision out;
  // Of a host no packet is refused that no policy speaks of.
  const bool default_deny = settings_.default_deny && (direction == Direction::ingress ? destination : source).endpoint != nullptr;
  const auto decided = [&](Ground ground, model::PolicyAction action) {
    out.ground = ground;
    out.allowed = allows(ground, action, default_deny);
    return out;
  };
  if (const auto ground = exempt(direction, source, destination, packet)) return decided(*ground, {});
  bool passed = selecting.empty();
  for (const size_t index : selecting) {
    const model::Policy& policy = policies_[index];
    const auto& rules = direction == Direction::ingress ? policy.ingress : policy.egress;
    const auto& compiled = direction == Direction::ingress ? compiled_[index].ingress : compiled_[index].egress;
    Step step{.policy = index, .logged = {}, .rule = {}};
    for (size_t i = 0; i < rules.size() && !step.rule; ++i) {
      if (!rule_matches(rules[i], compiled[i], source, destination, packet)) continue;
      if (rules[i].action == model::PolicyAction::log) step.logged.push_back(i);
      else step.rule = i;
    }
    out.path.push_back(step);
    passed = step.rule && rules[*step.rule].action == model::PolicyAction::pass;
    if (step.rule && !passed) return decided(Ground::rule, rules[*step.rule].action);
  }
  return decided(passed ? Ground::by_default : Ground::no_rule, {});
}

Verdict Evaluator::judge(const End& source, const End& destination, const Packet& packet) const {
  return {.egress = decide(Direction::egress, selecting(Direction::egress, source), source, destination, packet),
          .ingress = decide(Direction::ingress, selecting(Direction::ingress, destination), source, destination, packet)};
}

}  // namespace firn::policy
