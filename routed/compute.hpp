// Compute: from endpoints, blocks, links and the cluster to what this host should have in its kernel. Pure, incremental: each change
// of an input names the keys whose wish has changed. The wish never depends on the order in which inputs came. Blocks of other
// hosts are worked out by Overlay, which this one feeds and whose wishes it merges: a block of this host comes first.
// Thread safety: plain value.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/model/records.hpp"
#include "lib/netlink/types.hpp"
#include "routed/overlay.hpp"

namespace firn::routed {

// What the kernel indexes a route of the main table by.
struct RouteKey {
  Prefix destination;
  uint32_t metric = 0;
  auto operator<=>(const RouteKey&) const = default;
};
using Routes = std::map<RouteKey, netlink::Route>;
using Neighbours = std::map<NeighbourKey, netlink::Neighbour>;

// A block that is one address cannot share its key with the route of its endpoint: its blackhole lies behind that, at this metric.
inline constexpr uint32_t host_block_metric = 0x10000;

RouteKey key_of(const netlink::Route& route);
NeighbourKey key_of(const netlink::Neighbour& neighbour);
// The members that do not tell two routes of firn apart are set alike (scope, blackhole's device), so that == means "in place".
netlink::Route comparable(netlink::Route route);

// Wishes that changed since the last take_changes(); nullopt: no longer wanted.
struct Changes {
  std::map<std::string, std::optional<OverlayLink>> links;
  std::map<ForwardKey, std::optional<netlink::Forward>> forwards;
  std::map<NeighbourKey, std::optional<netlink::Neighbour>> neighbours;
  std::map<RouteKey, std::optional<netlink::Route>> routes;
};

class Compute {
 public:
  // nullptr removes.
  void set_endpoint(const std::string& handle, const model::Endpoint* endpoint);
  void set_block(const std::string& key, const model::Block* block);
  void set_link(const netlink::Link& link);
  void remove_link(int index);
  void set_links(const std::vector<netlink::Link>& all);  // and forgets the others
  Overlay& overlay() { return overlay_; }                 // cluster and addresses of links: its other inputs
  const Overlay& overlay() const { return overlay_; }

  Changes take_changes();
  const Routes& routes() const { return routes_; }        // those of this host's own addresses and blocks
  const Neighbours& neighbours() const { return neighbours_; }
  std::vector<Prefix> blocks() const;  // of the block routes among them

  // A veth that carries firn's alias, the host side of an endpoint, or a vxlan link of firn's: its permanent neighbours are ours.
  bool is_ours(int index) const;
  bool is_usable(int index) const;  // routes may lead through it: when it goes down, the kernel drops them
  std::string link_name(int index) const;
  // A live veth with firn's alias, of an attachment this store does not know: another stateDir's. Its objects are not ours to remove.
  bool is_unknown_attachment(int index) const;
  bool has_containers() const;  // a link with firn's alias that is not dead, or none has been looked for yet
  size_t dead_links() const { return dead_.size(); }  // members of the dead group
  size_t endpoints() const { return endpoints_.size(); }

 private:
  struct Side {  // of an endpoint, as much as routes need
    std::string host_ifname;
    Mac mac;
    std::vector<Address> addresses;
  };
  struct LinkState {
    std::string name;
    bool usable = false;
    bool ours = false;
    std::string handle = {};  // by the alias
  };
  void refresh(const Address& address);
  void merge_overlay();
  void place_remote(const Prefix& block);
  void refresh_link(const std::string& name);
  void place(const RouteKey& key, std::optional<netlink::Route> route);
  void place(const NeighbourKey& key, std::optional<netlink::Neighbour> neighbour);
  int usable_index(const std::string& name) const;  // 0: none

  std::map<std::string, Side> endpoints_;
  std::map<std::string, std::set<std::string>> handles_of_link_;
  // More than one handle only when another IPAM plugin gave an address twice; the lowest handle with a usable link has it.
  std::map<Address, std::set<std::string>> holders_;
  std::map<Address, int> neighbour_link_;
  std::map<std::string, RouteKey> blocks_;
  std::map<RouteKey, std::set<std::string>> block_keys_;
  std::map<int, LinkState> links_;
  std::map<std::string, int> index_of_;
  std::set<int> dead_;
  bool links_listed_ = false;
  Overlay overlay_;
  Overlay::Wish merged_;  // of the overlay, as the changes have told it

  Routes routes_;
  Neighbours neighbours_;
  Changes changes_;
};

}  // namespace firn::routed
