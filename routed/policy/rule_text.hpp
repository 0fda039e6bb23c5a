// One rule of a policy as rules of nft(8): an IPv4 and an IPv6 one where addresses are looked at, more where ports have names.
// Pure; thread safety: no state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lib/model/policy.hpp"

namespace firn::routed::policy {

// The names of a set for IPv4 and of one for IPv6 addresses.
struct SetPair {
  std::string v4, v6;
  const std::string& of(Family family) const { return family == Family::v4 ? v4 : v6; }
};

struct RuleContext {
  // Who the peer's selectors mean; asked only for a peer that has one.
  std::function<SetPair(const model::PolicyPeer& peer)> members;
  // { address . protocol . port } of everybody who calls a port so.
  std::function<SetPair(const std::string& name, uint8_t protocol)> named_port;
  std::string pass;     // what a pass does: "return", "accept" or "drop"
  std::string comment;  // names the rule: "NetworkPolicy default/web in 1"
  int log_group = 0, log_rate = 0;
};

// Empty: the rule matches no packet at all (nets of the other family alone).
std::vector<std::string> rule_text(const model::PolicyRule& rule, const RuleContext& context);

// "{ 22, 8000-8080 }" of numbers: sorted, overlaps joined. REQUIRES: not empty.
std::string port_list(std::vector<model::PortMatch> ports);

}  // namespace firn::routed::policy
