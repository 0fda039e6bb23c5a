// Overlay: how this host reaches the blocks of other hosts, for pools of mode direct and vxlan. Pure and incremental: inputs are
// pools, nodes and claims of the cluster, and the links and addresses of this host; the result is what should be in the kernel.
// The wish never depends on the order in which inputs came. Blocks of bgp pools are BIRD's, and are not seen here at all.
//
// Everything about another host's vxlan link follows from its node record: the MAC from its name, the next hop from its address
// or that MAC. So hosts tell each other nothing, and every entry is there before the first packet: nothing is learned or flooded.
// Recognised after a restart: the links by name and kind; forwarding entries and neighbours because they are on such a link;
// routes by protocol 241. Thread safety: plain value.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/model/records.hpp"
#include "lib/netlink/types.hpp"

namespace firn::routed {

// What firn's vxlan links are on every host; a link of this name that is otherwise is made anew.
inline constexpr uint32_t vxlan_vni = 0x6669;  // "fi"
inline constexpr uint16_t vxlan_port = 4789;   // RFC 7348
std::string_view vxlan_name(Family underlay);  // one link for each family that carries packets between hosts
bool is_vxlan_name(std::string_view name);
Mac vxlan_mac(std::string_view node);

// A link that firn-routed makes. `index` is the kernel's choice and no part of the wish.
struct OverlayLink {
  Mac mac;
  int mtu = 0;
  bool up = true;
  netlink::Vxlan vxlan;
  int index = 0;
  bool operator==(const OverlayLink& other) const {
    return mac == other.mac && mtu == other.mtu && up == other.up && vxlan == other.vxlan;
  }
};
struct NeighbourKey {
  int index = 0;
  Address address;
  auto operator<=>(const NeighbourKey&) const = default;
};
struct ForwardKey {
  int index = 0;
  Mac mac;
  auto operator<=>(const ForwardKey&) const = default;
};

// The cluster, as much as routes to other hosts need. Whoever reads the cluster store fills it.
struct ClusterView {
  std::string self;  // this node's name
  std::vector<model::Pool> pools;
  std::vector<model::Node> nodes;
  std::vector<model::Claim> claims;
  std::set<std::string> unreadable = {};  // keys of records that are there and say nothing: what was known of them stays in force
};

class Overlay {
 public:
  using Route = std::optional<netlink::Route>;
  struct Wish {  // all of it but routes, which are many and therefore told one by one
    std::map<std::string, OverlayLink> links;
    std::map<ForwardKey, netlink::Forward> forwards;
    std::map<NeighbourKey, netlink::Neighbour> neighbours;
    bool operator==(const Wish&) const = default;
  };

  // The cluster as a whole, or one record after the other; nullptr removes. Claims are known by the name they are under and their prefix.
  void set_cluster(const ClusterView& view);
  void set_self(const std::string& node);
  void set_pool(const std::string& name, const model::Pool* pool);
  void set_node(const std::string& name, const model::Node* node);
  void set_claim(const std::string& pool, const Prefix& prefix, const model::Claim* claim);

  void set_link(const netlink::Link& link);
  void remove_link(int index);
  // True when it matters here: the kernel drops IPv4 routes with a removed address without telling.
  bool set_address(const netlink::LinkAddress& address, bool present);
  void set_addresses(const std::vector<netlink::LinkAddress>& all);

  // Works out what the changes since the last call mean. Prefixes whose route may be another now; ask route_to() for it.
  std::set<Prefix> settle();
  const Wish& wish() const { return wish_; }
  Route route_to(const Prefix& prefix) const;
  bool is_device(int index) const;  // one of firn's vxlan links
  bool is_up(int index) const;      // a link that routes to other hosts may lead through
  std::vector<std::string> owners(const std::string& pool) const;  // other nodes that have blocks of it, in order
  size_t claims(const std::string& pool, int length) const;  // blocks of that length for routed use, of all nodes
  size_t unreachable() const { return unreachable_.size(); }
  // The first block that no route leads to, and why; "" when there is none.
  std::string trouble() const;

 private:
  struct Hop {
    int oif = 0;
    Address gateway;
    bool operator==(const Hop&) const = default;
  };
  struct Way {                                // to another node
    std::optional<Hop> direct_v4, direct_v6;  // for IPv4 blocks, for IPv6 blocks: a neighbour on a shared layer 2
    std::optional<Address> tunnel;            // where encapsulated packets go
    bool operator==(const Way&) const = default;
  };
  struct Node {
    std::vector<Address> addresses;
    Mac mac;
    Way way;
    bool known = false;
  };
  struct Pool {
    std::optional<model::Pool> record;
    std::map<Prefix, const Node*> claims;
  };
  struct LinkState {
    std::string name;
    bool up = false;
    bool device = false;
    int mtu = 0;
    bool operator==(const LinkState&) const = default;
  };

  Node& node(const std::string& name);
  struct Remote {  // another host's block: both are null when it is none, or its pool is not of these modes
    const model::Pool* pool = nullptr;
    const Node* owner = nullptr;
  };
  Route route(const model::Pool& pool, const Prefix& prefix, const Node& to) const;
  Remote remote(const Prefix& prefix) const;
  std::optional<Hop> direct(const Node& to, Family block) const;
  std::optional<netlink::LinkAddress> own(Family family) const;  // the node's address that is on one of its links
  int device(Family underlay) const;                             // index, 0: not there or down
  Way way_to(const Node& to) const;
  Wish work_out() const;

  std::string self_;
  std::map<std::string, Node> nodes_;
  std::map<std::string, Pool> pools_;
  std::map<int, LinkState> links_;
  std::set<netlink::LinkAddress> addresses_;

  std::set<Prefix> touched_;           // prefixes to look at again
  bool moved_ = false;                 // a node, a link or an address is another
  int device_v4_ = 0, device_v6_ = 0;  // as they were at the last settle()
  std::set<Prefix> unreachable_;
  Wish wish_;
};

}  // namespace firn::routed
