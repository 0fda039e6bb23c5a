// Members: which addresses the selectors of the rules in force mean, as elements of a few sets (rule_text.hpp). Endpoints with the
// same namespace and labels are one identity: selectors are matched against identities, which are few, and not against endpoints.
// An address that two records hold (one of them about to go) stays until both have gone.
// Pure; thread safety: plain value.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/model/policy.hpp"
#include "lib/policy/selector.hpp"
#include "routed/nft/wish.hpp"
#include "routed/policy/rule_text.hpp"

namespace firn::routed::policy {

// Whom a selector is matched against.
struct IdentityKey {
  std::string space;  // the namespace
  firn::policy::Labels labels;
  auto operator<=>(const IdentityKey&) const = default;
};

// Selectors of a peer or of a policy, with what namespaces they may look into.
struct Selection {
  std::optional<std::string> space;                      // exactly this namespace
  std::optional<firn::policy::Selector> space_selector;  // or those with such labels; neither: all
  firn::policy::Selector selector;
  bool matches(const IdentityKey& identity, const firn::policy::Labels& space_labels) const;
  std::string text() const;  // equal texts select the same
};
// `scope` is that of the policy ("": global). Code::invalid as Selector::parse.
Result<Selection> selection_of(const std::string& scope, const std::optional<std::string>& selector,
                               const std::optional<std::string>& namespace_selector);

class Members {
 public:
  struct Endpoint {
    IdentityKey identity;
    std::vector<Address> addresses;
    std::vector<model::NamedPort> ports;
    bool operator==(const Endpoint&) const = default;
  };
  void set_endpoint(const std::string& id, std::optional<Endpoint> endpoint);
  // nullptr: the namespace has no record.
  void set_namespace(const std::string& name, const model::Namespace* record);
  firn::policy::Labels labels_of_namespace(const std::string& name) const;
  std::vector<model::Namespace> namespaces() const;
  // As records that say what policies ask for: namespace, labels, named ports. Of two holders of an address, the first id's.
  std::map<Address, model::Endpoint> holders(const std::set<Address>& addresses) const;

  // The numbers that a rule needs. Each acquire needs its release; the last one takes the elements away.
  Number acquire(const Selection& selection);
  void release(const Selection& selection);
  Number acquire_port(const std::string& name, uint8_t protocol);
  void release_port(const std::string& name, uint8_t protocol);
  Number acquire_list(const std::vector<uint16_t>& ports);
  void release_list(const std::vector<uint16_t>& ports);

  size_t identities() const { return identities_.size(); }
  // Moves what changed since the last call into `out`.
  void take_changes(nft::Changes& out);

 private:
  struct Group {
    Number number = 0;
    Selection selection;
    size_t users = 0;
    std::map<Address, size_t> holders;
    std::set<const IdentityKey*> identities;  // that it matches
  };
  struct Identity {
    std::set<std::string> endpoints;
    std::set<Group*> groups;
  };
  struct PortGroup {
    Number number = 0;
    size_t users = 0;
    std::map<std::pair<Address, uint16_t>, size_t> holders;
  };
  using PortKey = std::pair<std::string, uint8_t>;

  void join(const std::string& id, const Endpoint& endpoint);
  void leave(const std::string& id, const Endpoint& endpoint, bool keeps_identity);
  void match(Group& group, const IdentityKey& key, Identity& identity);
  void hold(Group& group, const Address& address, bool holds);
  void hold_port(const PortKey& key, PortGroup& group, const Address& address, uint16_t port, bool holds);
  void put(const nft::ElementKey& key, bool present);

  std::map<std::string, Endpoint> endpoints_;
  std::map<IdentityKey, Identity> identities_;
  std::map<std::string, firn::policy::Labels> namespaces_;
  std::map<std::string, std::unique_ptr<Group>> groups_;  // by Selection::text()
  std::map<PortKey, PortGroup> ports_;
  struct List {
    Number number = 0;
    size_t users = 0;
  };
  std::map<std::vector<uint16_t>, List> lists_;
  Number next_ = 1;  // none is used twice, so an element of an old selector never counts for a new one
  nft::Changes changes_;
};

}  // namespace firn::routed::policy
