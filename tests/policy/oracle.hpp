// The oracle: what policies mean, worked out a second time and as plainly as can be, from the sentences of docs/policy.md and of
// Kubernetes' API, with nothing of the code that it judges but the records' structs. Selectors are trees here, which are printed
// for firn and evaluated for the oracle.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "lib/model/policy.hpp"

namespace firn::test {

using Labels = std::map<std::string, std::string>;

struct Tree {
  enum class Kind { all, equal, unequal, has, in, not_in, starts, ends, contains, both, either, no } kind = Kind::all;
  std::string key;
  std::vector<std::string> values;
  std::vector<Tree> parts;
  bool eval(const Labels& labels) const;
  std::string print() const;
};

struct OraclePeer {
  std::optional<Tree> selector, spaces;
  std::vector<Prefix> nets, not_nets;
  std::vector<model::PortMatch> ports;
};
struct OracleRule {
  model::PolicyAction action = model::PolicyAction::allow;
  std::optional<Family> family;
  std::optional<uint8_t> protocol, icmp_type, icmp_code;
  OraclePeer source, destination;
};
struct OraclePolicy {
  std::string scope, name;
  int order = 1000;
  Tree selector;
  std::optional<Tree> spaces;
  bool ingress = false, egress = false;
  std::vector<OracleRule> in, out;
  model::Policy record() const;
};
struct OracleEndpoint {
  std::string space;
  Labels labels;
  std::vector<Address> addresses;  // one IPv4, one IPv6
  std::vector<model::NamedPort> ports;
  bool here = false;
  int slot = -1;  // which of the test's interfaces
};
struct World {
  std::map<std::string, Labels> spaces;
  std::map<std::string, OraclePolicy> policies;  // by key
  std::map<std::string, OracleEndpoint> endpoints;
  bool default_deny = false;

  Labels space_labels(const std::string& name) const;
  const OracleEndpoint* holder(const Address& address) const;
};
struct Packet {
  Address source, destination;
  uint8_t protocol = 6;
  uint16_t source_port = 0, destination_port = 0;  // tcp, udp, sctp
  uint8_t icmp_type = 0, icmp_code = 0;
};

// Whether a new flow passes: policy of the sender if it is here, policy of the receiver if it is here.
bool passes(const World& world, const Packet& packet);

// Random worlds and packets. Small alphabets, so that rules meet packets.
class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}
  int number(int least, int most) { return std::uniform_int_distribution<int>(least, most)(random_); }
  bool chance(int percent) { return number(1, 100) <= percent; }
  Tree tree(int depth);
  Labels labels();
  OraclePolicy policy(int serial);
  OracleEndpoint endpoint(const Address& v4, const Address& v6);
  Packet packet(const World& world, uint16_t unique);

 private:
  OraclePeer peer(bool ports, bool in_policy_scope);
  OracleRule rule(bool scoped);
  std::string pick(const std::vector<std::string>& from) {
    return from[static_cast<size_t>(number(0, static_cast<int>(from.size()) - 1))];
  }
  std::mt19937_64 random_;
};

}  // namespace firn::test
