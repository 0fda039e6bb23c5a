// Nat: from endpoints with published ports, pools and nodes to what firn's nftables table should hold for them.
//
//   nat_prerouting, nat_output --to an address of this host--> published: a map element a port, no rule a port
//   nat_postrouting: out of a pool with NAT, to what is neither of a pool nor of a node: the chain of that pool
//
// A port is never published for packets that only pass through this host, nor on its loopback (docs/policy.md says why). Policy
// sees the real ends: destination NAT comes before the sender's verdict, source NAT behind the receiver's.
// Pure; thread safety: plain value.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/model/records.hpp"
#include "routed/nft/wish.hpp"

namespace firn::routed::policy {

class Nat {
 public:
  Nat();

  // nullptr removes, here and below. An endpoint of this host, by whatever id.
  void set_endpoint(const std::string& id, const model::Endpoint* endpoint);
  void set_pool(const std::string& name, const model::Pool* pool);
  void set_node(const std::string& name, const model::Node* node);

  // Moves what changed since the last call into `out`.
  void take_changes(nft::Changes& out);
  // The elements that publish the ports of an endpoint: with all of them in the kernel they lead to it.
  std::vector<nft::ElementKey> elements_of(const std::string& id) const;

 private:
  using Elements = std::map<nft::ElementKey, std::string>;
  // What pools and nodes lead to, as a whole: both are few and seldom change.
  struct Outgoing {
    std::map<std::string, nft::Set> sets;
    std::map<std::string, nft::Chain> chains;
    Elements elements;
  };
  Outgoing outgoing() const;

  std::map<std::string, Elements> endpoints_;
  // Ports that two endpoints name, while one of them goes: the element is the later one's. The kernel has it once.
  std::map<nft::ElementKey, std::vector<std::string>> holders_;
  std::map<std::string, model::Pool> pools_;
  std::map<std::string, std::vector<Address>> nodes_;
  bool stale_ = true;  // pools or nodes changed
  Outgoing outgoing_;
  nft::Changes changes_;
};

}  // namespace firn::routed::policy
