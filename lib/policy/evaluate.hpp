// Evaluator: what a set of policies says about one packet, and why: the meaning that stands at the head of lib/model/policy.hpp,
// as a function. `firnctl policy explain` shows it, and connections that it forbids are ended. What the kernel is told is
// computed elsewhere (routed/policy); the tests hold both against each other.
// About the first packet of a flow: replies of what was allowed pass. Pure; thread safety: read-only once made.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/policy.hpp"
#include "lib/policy/selector.hpp"

namespace firn::policy {

enum class Direction : uint8_t { ingress, egress };
std::string_view to_string(Direction direction);

// One end of a packet. What it points at must outlive it.
struct End {
  Address address;
  const model::Endpoint* endpoint = nullptr;           // the container that has the address
  const model::HostEndpoint* host_endpoint = nullptr;  // of a host's address: the interface that the packet passes, if it has one
  std::string node;                                    // whose address or container it is; "": nobody's of the cluster
  bool is_host() const { return endpoint == nullptr && !node.empty(); }
};

struct Packet {
  uint8_t protocol = 6;
  uint16_t source_port = 0, destination_port = 0;  // of tcp, udp, sctp
  uint8_t icmp_type = 0, icmp_code = 0;            // of icmp, icmpv6
};

enum class Ground : uint8_t {
  rule,        // of the last step
  no_rule,     // policies select the end, and no rule decided: denied
  by_default,  // no policy selects it, or the last one passed: PolicySettings::default_deny says
  nobody,      // neither a container nor an interface that policies can select: allowed
  itself,      // both ends are the same container: nothing of firn's is in between
  same_host,   // between a host and its own container: only the container's egress is asked
  failsafe,    // a port of PolicySettings that no policy shuts
  link,        // neighbour discovery, and of hosts DHCP: allowed
};

// One policy that was looked at.
struct Step {
  size_t policy = 0;           // of Evaluator::policies()
  std::vector<size_t> logged;  // its rules with the action log that matched, before:
  std::optional<size_t> rule;  // the one that ended it: allow, deny or pass
};

struct Decision {
  bool allowed = true;
  Ground ground = Ground::nobody;
  std::vector<Step> path;
};

// Both must allow it.
struct Verdict {
  Decision egress;   // of the source
  Decision ingress;  // of the destination
  bool allowed() const { return egress.allowed && ingress.allowed; }
};

class Evaluator {
 public:
  // Code::invalid: a selector of a policy cannot be read; the message names the policy.
  static Result<Evaluator> make(std::vector<model::Policy> policies, const std::vector<model::Namespace>& namespaces,
                                const model::PolicySettings& settings);

  // In the order in which they decide.
  const std::vector<model::Policy>& policies() const { return policies_; }
  // Those that select the end in the direction, in their order: an end's list serves for all of its packets.
  std::vector<size_t> selecting(Direction direction, const End& end) const;

  // Of the source for egress, of the destination for ingress. `selecting`: the list of that end.
  Decision decide(Direction direction, const std::vector<size_t>& selecting, const End& source, const End& destination,
                  const Packet& packet) const;
  Verdict judge(const End& source, const End& destination, const Packet& packet) const;

 private:
  // Which endpoints are meant.
  struct Selection {
    Selector selector;
    std::optional<Selector> namespaces;
    std::string scope;  // without `namespaces`: this namespace alone; "": every one
  };
  struct Rule {
    std::optional<Selection> source, destination;
  };
  struct Compiled {
    Selection subject;
    std::vector<Rule> ingress, egress;
  };
  static Result<std::vector<Rule>> compile(const model::Policy& policy, const std::vector<model::PolicyRule>& rules);
  Labels labels_of(const std::string& name) const;
  bool selects(const Selection& selection, const model::Endpoint& endpoint) const;
  bool peer_matches(const model::PolicyPeer& peer, const std::optional<Selection>& selection, const End& end) const;
  bool rule_matches(const model::PolicyRule& rule, const Rule& compiled, const End& source, const End& destination,
                    const Packet& packet) const;
  std::optional<Ground> exempt(Direction direction, const End& source, const End& destination, const Packet& packet) const;

  std::vector<model::Policy> policies_;
  std::vector<Compiled> compiled_;  // beside it
  std::map<std::string, Labels> namespaces_;
  model::PolicySettings settings_;
  std::vector<model::FailsafePorts> failsafe_in_, failsafe_out_;
};

}  // namespace firn::policy
