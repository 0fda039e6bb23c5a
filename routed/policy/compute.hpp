// Compute: from policies, namespaces and endpoints to what firn's nftables table should hold for them: who may talk to whom
// (docs/policy.md) and who may send as whom (the source guard). Pure and incremental: each change of an input names what has
// changed of the wish, which never depends on the order in which inputs came.
//
//   interface --map egress/ingress--> profile chain (the policies that select an endpoint) --jump--> chain of a policy
//
// Endpoints that the same policies select share a profile; only policies that select somebody here have a chain, and only the
// selectors of their rules have sets. An endpoint that comes or goes is a few elements, a policy that changes is its own chain.
// Never fails open: a policy that cannot be understood selects whom it may have selected and allows nothing.
// Thread safety: plain value.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/model/policy.hpp"
#include "lib/policy/evaluate.hpp"
#include "routed/nft/wish.hpp"
#include "routed/policy/members.hpp"

namespace firn::routed::policy {

enum class Direction : uint8_t { ingress, egress };
inline constexpr Direction directions[] = {Direction::ingress, Direction::egress};

class Compute {
 public:
  Compute();

  void set_settings(const model::PolicySettings& settings);
  // nullptr removes, here and below.
  void set_namespace(const std::string& name, const model::Namespace* record);
  // Code::invalid: a selector cannot be read. Then the policy that was there stays; a new one denies.
  Status set_policy(const std::string& key, const model::Policy* policy);
  // A record that is there and says nothing: what was known of it stays; one never known denies everything in its namespace.
  void set_unreadable_policy(const std::string& key);
  // An endpoint of this host, or one of another host, by whatever id. `extra`: further sources it may send from.
  void set_endpoint(const std::string& id, const model::Endpoint* endpoint, bool here, const std::vector<Prefix>& extra = {});
  // Of this node.
  void set_host_endpoint(const std::string& key, const model::HostEndpoint* endpoint);

  // Moves what changed since the last call into `out`.
  void take_changes(nft::Changes& out);
  // The elements by which an endpoint of this host is open: when all of them are in the kernel, it may talk. Empty: not of this
  // host.
  std::vector<nft::ElementKey> elements_of(const std::string& id) const;

  // What policies are asked by for flows that are there already (forbidden.hpp). Code::invalid: never, set_policy() has refused it.
  Result<firn::policy::Evaluator> evaluator() const;
  // Which of the addresses are containers of the cluster, and who they are to policies.
  std::map<Address, model::Endpoint> holders(const std::set<Address>& addresses) const { return members_.holders(addresses); }
  std::set<Address> addresses_here() const;
  // A policy selects somebody here, or the default is to deny: there is something that a flow may be forbidden by.
  bool may_forbid() const { return settings_.end_connections && (settings_.default_deny || !chains_.empty()); }

  struct Counts {
    size_t policies = 0, chains = 0, profiles = 0, identities = 0;
  };
  Counts counts() const { return {policies_.size(), chains_.size(), profiles_.size(), members_.identities()}; }

 private:
  // The order in which policies decide (lib/model/policy.hpp).
  struct Rank {
    int order = 0;
    bool namespaced = false;
    std::string scope, name, key;
    auto operator<=>(const Rank&) const = default;
  };
  struct Policy {
    model::Policy record;
    Rank rank;
    Selection selection;
    bool passes[2] = {false, false};  // has a rule with pass, by direction
  };
  enum class Pass : uint8_t { on, accept, drop };  // what a pass does: the next policy, or the default behind the last one
  struct ChainId {
    std::string policy;  // its key
    Pass pass = Pass::on;
    auto operator<=>(const ChainId&) const = default;
  };
  // Whom policies select here: containers of one identity, or interfaces of the host with the same labels (in no namespace).
  struct Subject {
    std::map<std::string, size_t> interfaces;  // how many endpoints name it
    std::set<Rank> selected[2];
    std::vector<ChainId> chains[2];
    std::string verdict[2];
  };
  struct Here {  // an endpoint of this host
    IdentityKey identity;
    std::string interface;
    Mac mac;
    std::vector<Address> addresses;
    std::vector<Prefix> extra;
    bool operator==(const Here&) const = default;
  };
  struct Profile {
    std::string chain;
    size_t users = 0;
  };
  struct PolicyChain {
    uint64_t number = 0;                // makes a name that had to be cut another than all others
    size_t users = 0;                   // profiles
    std::vector<Selection> selections;  // acquired by its rules
    std::vector<std::pair<std::string, uint8_t>> ports;
    std::vector<std::vector<uint16_t>> lists;
  };
  using Place = std::pair<Direction, ChainId>;
  static bool is_host(const IdentityKey& key) { return key.space.empty(); }

  void put_policy(Policy policy);
  void drop_policy(const std::string& key);
  bool selects(const Policy& policy, const IdentityKey& key) const;
  void select_anew(const IdentityKey& key, Subject& subject);
  void place(const IdentityKey& key, Subject& subject);
  void join(const IdentityKey& key, const std::string& interface);
  void leave(const IdentityKey& key, const std::string& interface, bool replaced);
  void put_verdict(const IdentityKey& key, const std::string& interface, Direction direction, const std::string& verdict);
  void put_host_chains();
  void put_guard(const Here& here, bool present);
  std::string default_verdict(const IdentityKey& key) const;
  std::vector<ChainId> chains_of(const IdentityKey& key, const Subject& subject, Direction direction) const;
  std::string enter_profile(const std::vector<ChainId>& chains, Direction direction);
  void leave_profile(const std::vector<ChainId>& chains, Direction direction);
  std::string name_of(const Place& place) const;
  void compile(const Place& place, PolicyChain& chain);
  void release(const PolicyChain& chain);

  model::PolicySettings settings_;
  Members members_;
  std::map<std::string, Policy> policies_;
  std::map<std::string, Here> here_;
  std::map<std::string, std::pair<IdentityKey, std::string>> host_endpoints_;  // and the interface
  std::map<IdentityKey, Subject> subjects_;
  std::map<std::pair<Direction, std::vector<ChainId>>, Profile> profiles_;
  std::map<Place, PolicyChain> chains_;
  std::map<Direction, std::string> host_default_;  // the verdict of interface "*"
  uint64_t next_ = 1;                              // of profiles
  nft::Changes changes_;
};

}  // namespace firn::routed::policy
