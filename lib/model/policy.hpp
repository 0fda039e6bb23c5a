// The records of policy: who may talk to whom. Fields, defaults and what they mean: docs/policy.md. Pure; thread safety: plain
// values. decode_* treats its input as hostile, as those of records.hpp.
//
// How policies decide, everywhere in this house (compiled rules, `firnctl policy explain`, the ending of connections): the policies
// that select an endpoint in a direction are taken by (order, global before namespaced, namespace, name), their rules in order. The
// first rule that matches decides: allow, deny; log is noted and goes on; pass leaves this policy for the next one. Whatever no
// rule decided is denied if a policy selected the endpoint in that direction, and has the default otherwise. A pass in the last
// policy has the default, too.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

enum class PolicyAction : uint8_t { allow, deny, log, pass };
std::string_view to_string(PolicyAction action);
Result<PolicyAction> parse_policy_action(std::string_view text);

// "443", "8000-8080" or a name, which stands for what each endpoint of the destination calls so (Endpoint: named ports).
struct PortMatch {
  uint16_t first = 0, last = 0;  // 1..65535
  std::string name;              // [a-z0-9-], up to 15 bytes (RFC 6335) and a letter among them; then the numbers are 0
  bool operator==(const PortMatch&) const = default;
};
std::string to_string(const PortMatch& port);
Result<PortMatch> parse_port_match(std::string_view text);

// One end of a packet. What is absent or empty matches everything. Selectors match endpoints of the cluster: a policy in a
// namespace means those of its own namespace unless namespace_selector says otherwise.
struct PolicyPeer {
  std::optional<std::string> selector;
  std::optional<std::string> namespace_selector;
  std::vector<Prefix> nets, not_nets;  // in one of them; in none of them
  std::vector<PortMatch> ports;        // one of them; needs protocol tcp, udp or sctp
  bool operator==(const PolicyPeer&) const = default;
  bool any() const { return !selector && !namespace_selector && nets.empty() && not_nets.empty() && ports.empty(); }
};

struct PolicyRule {
  PolicyAction action = PolicyAction::allow;
  std::optional<Family> family;
  std::optional<uint8_t> protocol;              // IP protocol number: tcp 6, udp 17, sctp 132, icmp 1, icmpv6 58
  std::optional<uint8_t> icmp_type, icmp_code;  // of protocol icmp or icmpv6; a code needs a type
  PolicyPeer source, destination;
  bool operator==(const PolicyRule&) const = default;
};
// "tcp", "udp", "sctp", "icmp", "icmpv6" or "0".."255".
Result<uint8_t> parse_protocol(std::string_view text);
std::string protocol_name(uint8_t protocol);
bool has_ports(uint8_t protocol);  // tcp, udp, sctp

// Key: policy/namespaced/NAMESPACE/NAME (kind NetworkPolicy) or policy/global/NAME (kind GlobalNetworkPolicy).
struct Policy {
  std::string scope;                                     // the namespace; "": global
  std::string name;                                      // as Kubernetes names them: up to 253 of a-z 0-9 - .
  int order = 1000;                                      // 0..1'000'000, lowest first
  std::string selector;                                  // "": every endpoint
  std::optional<std::string> namespace_selector;         // of a global policy: endpoints in these namespaces
  bool applies_ingress = false, applies_egress = false;  // the directions in which it selects
  std::vector<PolicyRule> ingress, egress;
  std::string note;
  bool operator==(const Policy&) const = default;
  bool global() const { return scope.empty(); }
};

// Key: namespace/NAME. One that has no record has the one label below and no other.
struct Namespace {
  std::string name;
  std::map<std::string, std::string> labels;  // always with kubernetes.io/metadata.name = name, whether stored or not
  bool operator==(const Namespace&) const = default;
};
inline constexpr std::string_view namespace_name_label = "kubernetes.io/metadata.name";
inline constexpr std::string_view default_namespace = "default";
// Of an endpoint that no runtime gave one: "default".
std::string namespace_of(const Endpoint& endpoint);
// Of the annotation below: "http=8080/tcp,dns=53/udp". What is wrong in it is left out.
struct NamedPort {
  std::string name;
  uint8_t protocol = 6;
  uint16_t port = 0;
  bool operator==(const NamedPort&) const = default;
};
std::vector<NamedPort> named_ports_of(const Endpoint& endpoint);
inline constexpr std::string_view named_ports_annotation = "firn.io/ports";
std::string to_string(const std::vector<NamedPort>& ports);  // as the annotation has it
Status check_named_ports(std::string_view text);             // of an annotation that a person writes

// Key: hostendpoint/NODE/NAME. An interface of the host itself; only global policies select it. Without one the host's own traffic
// is none of firn's business.
struct HostEndpoint {
  std::string name, node, interface;  // interface: its name, or "*": every one that is not a container's, and lo
  std::map<std::string, std::string> labels;
  bool operator==(const HostEndpoint&) const = default;
};

// Key: policy/settings.
struct PolicySettings {
  bool default_deny = false;    // of containers that no policy selects, in both directions
  bool end_connections = true;  // a flow that a changed policy forbids is ended, not only refused anew
  // Never shut by policy of host endpoints: what comes in and what goes out. Ports of tcp unless "udp:53".
  std::vector<std::string> failsafe_in = {"22", "179", "2379", "2380", "udp:3784", "udp:4789"};
  std::vector<std::string> failsafe_out = {"179", "2379", "2380", "udp:53", "53", "udp:3784", "udp:4789"};
  int log_group = 64;  // nflog group of log rules, 0..65535
  int log_rate = 10;   // packets a second and rule, 1..10000
  bool operator==(const PolicySettings&) const = default;
};

struct FailsafePorts {
  uint8_t protocol = 6;  // tcp or udp
  uint16_t first = 0, last = 0;
  bool operator==(const FailsafePorts&) const = default;
};
std::string to_string(const FailsafePorts& ports);
Result<FailsafePorts> parse_failsafe(std::string_view text);  // "22", "udp:53", "8000-8080"

std::string encode(const Policy&);
std::string encode(const Namespace&);
std::string encode(const HostEndpoint&);
std::string encode(const PolicySettings&);
Result<Policy> decode_policy(Source);
Result<Namespace> decode_namespace(Source);
Result<HostEndpoint> decode_host_endpoint(Source);
Result<PolicySettings> decode_policy_settings(Source);

namespace keys {
inline constexpr std::string_view policies = "policy/";
inline constexpr std::string_view namespaced_policies = "policy/namespaced/";
inline constexpr std::string_view global_policies = "policy/global/";
inline constexpr std::string_view policy_settings = "policy/settings";
inline constexpr std::string_view namespaces = "namespace/";
inline constexpr std::string_view host_endpoints = "hostendpoint/";
std::string policy(std::string_view scope, std::string_view name);
std::string namespace_record(std::string_view name);
std::string host_endpoint(std::string_view node, std::string_view name);
}  // namespace keys

}  // namespace firn::model
