// One rule of a policy as rules of nft(8): an IPv4 and an IPv6 one where addresses are looked at, more where ports have names.
// Pure; thread safety: no state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "lib/model/policy.hpp"

namespace firn::routed::policy {

// A number in a set of firn's table: under it stand the addresses that one selector means (members4, members6), the ports of one
// list (ports), or who calls a port by one name (named4, named6). So there are a few sets however many policies there are: the
// kernel looks for sets by walking a list of them all.
using Number = uint32_t;
inline constexpr const char* members_set[] = {"members4", "members6"};
inline constexpr const char* named_set[] = {"named4", "named6"};
inline constexpr const char* ports_set = "ports";

struct RuleContext {
  // Who the peer's selectors mean; asked only for a peer that has one.
  std::function<Number(const model::PolicyPeer& peer)> members;
  // Everybody who calls a port so.
  std::function<Number(const std::string& name, uint8_t protocol)> named_port;
  // Two or more ports that are no ranges, in order.
  std::function<Number(const std::vector<uint16_t>& ports)> port_list;
  std::string pass;     // what a pass does: "return", "accept" or "drop"
  std::string comment;  // names the rule: "NetworkPolicy default/web in 1"
  int log_group = 0, log_rate = 0;
};

// Empty: the rule matches no packet at all (nets of the other family alone).
std::vector<std::string> rule_text(const model::PolicyRule& rule, const RuleContext& context);

// Sorted, with what overlaps or follows one another joined.
std::vector<model::PortMatch> joined(std::vector<model::PortMatch> ports);
// "{ 22, 8000-8080 }". REQUIRES: not empty.
std::string port_list(std::vector<model::PortMatch> ports);

}  // namespace firn::routed::policy
