#include "routed/overlay.hpp"

#include <algorithm>
#include <utility>

#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

constexpr int least_mtu = 68;  // RFC 791

bool is_routing_mode_ours(const model::Pool& pool) { return pool.mode != model::RoutingMode::bgp; }

std::optional<Address> first_of(const std::vector<Address>& addresses, Family family) {
  const auto found = std::find_if(addresses.begin(), addresses.end(), [&](const Address& a) { return a.family() == family; });
  return found == addresses.end() ? std::nullopt : std::optional(*found);
}

bool matters(const netlink::LinkAddress& address) {
  const Address& a = address.address.address;
  return !a.is_link_local() && !a.is_loopback();
}

}  // namespace

std::string_view vxlan_name(Family underlay) { return underlay == Family::v4 ? "firn-vxlan" : "firn-vxlan6"; }
bool is_vxlan_name(std::string_view name) { return name == vxlan_name(Family::v4) || name == vxlan_name(Family::v6); }
Mac vxlan_mac(std::string_view node) { return Mac::derived("vxlan/" + std::string(node)); }

// Inputs ----------------------------------------------------------------------------------------------------------------

Overlay::Node& Overlay::node(const std::string& name) {
  const auto [it, added] = nodes_.try_emplace(name);
  if (added) it->second.mac = vxlan_mac(name);
  return it->second;
}

void Overlay::set_cluster(const ClusterView& view) {
  set_self(view.self);
  std::set<std::string_view> pools, nodes;
  for (const model::Pool& pool : view.pools) {
    pools.insert(pool.name);
    set_pool(pool.name, &pool);
  }
  for (const model::Node& one : view.nodes) {
    nodes.insert(one.name);
    set_node(one.name, &one);
  }
  std::set<std::pair<std::string_view, Prefix>> claimed;
  for (const model::Claim& claim : view.claims) {
    claimed.emplace(claim.pool, claim.prefix);
    set_claim(claim.pool, claim.prefix, &claim);
  }
  std::vector<std::pair<std::string, Prefix>> given_up;
  std::vector<std::string> gone;
  for (const auto& [name, pool] : pools_) {
    if (!pools.contains(name) && !view.unreadable.contains(model::keys::pool(name))) gone.push_back(name);
    for (const auto& [prefix, owner] : pool.claims) {
      if (!claimed.contains({name, prefix}) && !view.unreadable.contains(model::keys::claim(name, prefix)))
        given_up.emplace_back(name, prefix);
    }
  }
  for (const auto& [name, prefix] : given_up) set_claim(name, prefix, nullptr);
  for (const std::string& name : gone) set_pool(name, nullptr);
  for (const auto& [name, state] : nodes_) {
    if (!nodes.contains(name) && !view.unreadable.contains(model::keys::node(name))) set_node(name, nullptr);
  }
}

void Overlay::set_self(const std::string& name) {
  if (self_ == name) return;
  self_ = name;
  moved_ = true;
  for (const auto& [pool_name, pool] : pools_) {
    for (const auto& [prefix, owner] : pool.claims) touched_.insert(prefix);
  }
}

void Overlay::set_pool(const std::string& name, const model::Pool* pool) {
  const auto known = pools_.find(name);
  if (pool == nullptr && known == pools_.end()) return;
  Pool& state = pools_[name];
  const bool same = pool != nullptr && state.record && state.record->mode == pool->mode &&
                    state.record->cross_subnet == pool->cross_subnet && state.record->cidr == pool->cidr;
  const std::optional<Prefix> before = state.record ? std::optional(state.record->cidr) : std::nullopt;
  if (pool != nullptr) state.record = *pool;
  else state.record.reset();
  if (same) return;
  moved_ = true;  // the vxlan links may be wanted now, or no longer
  for (const auto& [other, claimed] : pools_) {
    for (const auto& [prefix, owner] : claimed.claims) {
      if ((before && before->contains(prefix)) || (pool != nullptr && pool->cidr.contains(prefix))) touched_.insert(prefix);
    }
  }
  if (pool == nullptr && state.claims.empty()) pools_.erase(name);
}

void Overlay::set_node(const std::string& name, const model::Node* record) {
  if (record == nullptr && !nodes_.contains(name)) return;
  Node& state = node(name);
  const bool known = record != nullptr;
  std::vector<Address> addresses;
  for (const Address& address : known ? record->addresses : std::vector<Address>()) {
    if (!address.is_link_local() && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast())
      addresses.push_back(address);
  }
  if (state.known == known && state.addresses == addresses) return;
  state.known = known;
  state.addresses = std::move(addresses);
  moved_ = true;
}

void Overlay::set_claim(const std::string& pool, const Prefix& prefix, const model::Claim* claim) {
  const auto known = pools_.find(pool);
  const bool wanted = claim != nullptr && claim->use == model::Use::routed;
  if (!wanted && known == pools_.end()) return;
  Pool& state = pools_[pool];
  if (!wanted) {
    if (state.claims.erase(prefix) > 0) touched_.insert(prefix);
    if (!state.record && state.claims.empty()) pools_.erase(pool);
    return;
  }
  const Node* owner = &node(claim->node);
  const auto [it, added] = state.claims.try_emplace(prefix, owner);
  if (!added && std::exchange(it->second, owner) == owner) return;
  touched_.insert(prefix);
}

void Overlay::set_link(const netlink::Link& link) {
  // Host sides of containers come and go by the hundred, and lead to no other host.
  if (link.alias.starts_with("firn:")) return remove_link(link.index);
  const LinkState state{link.name, link.up && link.group != netlink::dead_group, link.kind == "vxlan" && is_vxlan_name(link.name),
                        link.mtu};
  const auto [it, added] = links_.try_emplace(link.index, state);
  if (!added && std::exchange(it->second, state) == state) return;
  moved_ = true;
}

void Overlay::remove_link(int index) {
  if (links_.erase(index) > 0) moved_ = true;
}

bool Overlay::set_address(const netlink::LinkAddress& address, bool present) {
  if (!matters(address)) return false;
  const bool changed = present ? addresses_.insert(address).second : addresses_.erase(address) > 0;
  if (changed) moved_ = true;
  return changed;
}

void Overlay::set_addresses(const std::vector<netlink::LinkAddress>& all) {
  auto gone = addresses_;
  for (const netlink::LinkAddress& address : all) {
    gone.erase(address);
    set_address(address, true);
  }
  for (const netlink::LinkAddress& address : gone) set_address(address, false);
}

// Ways ------------------------------------------------------------------------------------------------------------------

bool Overlay::is_device(int index) const {
  const auto link = links_.find(index);
  return link != links_.end() && link->second.device;
}

bool Overlay::is_up(int index) const {
  const auto link = links_.find(index);
  return link != links_.end() && link->second.up;
}

int Overlay::device(Family underlay) const {
  for (const auto& [index, link] : links_) {
    if (link.device && link.up && link.name == vxlan_name(underlay)) return index;
  }
  return 0;
}

std::optional<netlink::LinkAddress> Overlay::own(Family family) const {
  const auto self = nodes_.find(self_);
  const auto address = self == nodes_.end() ? std::nullopt : first_of(self->second.addresses, family);
  if (!address) return std::nullopt;
  const auto found = std::find_if(addresses_.begin(), addresses_.end(), [&](const netlink::LinkAddress& a) {
    return a.address.address == *address && links_.contains(a.index) && !is_device(a.index);
  });
  return found == addresses_.end() ? std::nullopt : std::optional(*found);
}

// The owner's address that lies in a network of one of our links: of the block's own family, or for an IPv4 block an IPv6 one
// (RFC 8950 has the same next hop). An IPv6 block has no IPv4 next hop.
std::optional<Overlay::Hop> Overlay::direct(const Node& to, Family block) const {
  std::optional<Hop> best;
  int longest = -1;
  for (const Address& address : to.addresses) {
    if (block == Family::v6 && address.is_v4()) continue;
    const int preference = address.family() == block ? 1000 : 0;
    for (const netlink::LinkAddress& mine : addresses_) {
      const bool shared = mine.address.address.family() == address.family() && mine.address.length < address.bits() &&
                          mine.address.network().contains(address) && mine.address.address != address;
      if (!shared || !is_up(mine.index) || is_device(mine.index) || preference + mine.address.length <= longest) continue;
      longest = preference + mine.address.length;
      best = Hop{mine.index, address};
    }
  }
  return best;
}

Overlay::Way Overlay::way_to(const Node& to) const {
  Way out{direct(to, Family::v4), direct(to, Family::v6), std::nullopt};
  for (const Family family : {Family::v4, Family::v6}) {
    if (!out.tunnel && own(family)) out.tunnel = first_of(to.addresses, family);
  }
  return out;
}

Overlay::Route Overlay::route(const model::Pool& pool, const Prefix& prefix, const Node& to) const {
  const bool encapsulates = pool.mode == model::RoutingMode::vxlan;
  netlink::Route out;
  out.destination = prefix;
  const auto& neighbour = prefix.family() == Family::v4 ? to.way.direct_v4 : to.way.direct_v6;
  if (neighbour && (!encapsulates || pool.cross_subnet)) {
    out.oif = neighbour->oif;
    out.gateway = neighbour->gateway;
    return out;
  }
  if (!encapsulates || !to.way.tunnel) return std::nullopt;
  out.oif = device(to.way.tunnel->family());
  if (out.oif == 0) return std::nullopt;
  const bool by_address = prefix.family() == Family::v4 && to.way.tunnel->is_v4();
  out.gateway = by_address ? *to.way.tunnel : to.mac.link_local();
  out.onlink = by_address;
  return out;
}

// The block as this room routes it. Its pool is the one that has its addresses, whatever name it was claimed under: while pools are
// split and merged claims follow later. One that no pool has is no route.
Overlay::Remote Overlay::remote(const Prefix& prefix) const {
  Remote out;
  if (self_.empty()) return out;
  for (const auto& [name, pool] : pools_) {
    if (pool.record && is_routing_mode_ours(*pool.record) && pool.record->cidr.contains(prefix)) out.pool = &*pool.record;
    if (const auto claim = pool.claims.find(prefix); claim != pool.claims.end()) out.owner = claim->second;
  }
  const auto self = nodes_.find(self_);
  if (out.pool == nullptr || (self != nodes_.end() && out.owner == &self->second)) out.owner = nullptr;
  return out;
}

Overlay::Route Overlay::route_to(const Prefix& prefix) const {
  const Remote found = remote(prefix);
  return found.owner == nullptr ? std::nullopt : route(*found.pool, prefix, *found.owner);
}

// Results ---------------------------------------------------------------------------------------------------------------

Overlay::Wish Overlay::work_out() const {
  Wish out;
  const bool encapsulates = std::any_of(pools_.begin(), pools_.end(), [](const auto& entry) {
    return entry.second.record && entry.second.record->mode == model::RoutingMode::vxlan;
  });
  if (!encapsulates || self_.empty()) return out;
  const Mac mac = vxlan_mac(self_);
  for (const auto& [name, to] : nodes_) {
    if (name == self_ || !to.way.tunnel) continue;
    const Family underlay = to.way.tunnel->family();
    if (const std::string link(vxlan_name(underlay)); !out.links.contains(link)) {
      const auto mine = own(underlay);
      const int mtu = links_.at(mine->index).mtu - model::vxlan_overhead(underlay);
      out.links[link] = OverlayLink{mac, std::max(mtu, least_mtu), true, {vxlan_vni, vxlan_port, mine->address.address}, 0};
    }
    const int index = device(underlay);
    if (index == 0) continue;
    out.forwards[{index, to.mac}] = netlink::Forward{index, to.mac, *to.way.tunnel, true};
    const auto neighbour = [&, mac_of_node = to.mac](const Address& next_hop) {
      out.neighbours[{index, next_hop}] = netlink::Neighbour{index, next_hop, mac_of_node, true};
    };
    neighbour(to.mac.link_local());
    if (underlay == Family::v4) neighbour(*to.way.tunnel);
  }
  return out;
}

std::set<Prefix> Overlay::settle() {
  if (std::exchange(moved_, false)) {
    std::set<const Node*> changed;
    const int v4 = device(Family::v4), v6 = device(Family::v6);
    const bool other_links = std::exchange(device_v4_, v4) != v4 || std::exchange(device_v6_, v6) != v6;
    for (auto& [name, to] : nodes_) {
      const Way way = way_to(to);
      if (std::exchange(to.way, way) != way || (other_links && way.tunnel)) changed.insert(&to);
    }
    if (!changed.empty()) {
      for (const auto& [name, pool] : pools_) {
        for (const auto& [prefix, to] : pool.claims) {
          if (changed.contains(to)) touched_.insert(prefix);
        }
      }
    }
    wish_ = work_out();
  }
  for (const Prefix& prefix : touched_) {
    if (remote(prefix).owner != nullptr && !route_to(prefix)) unreachable_.insert(prefix);
    else unreachable_.erase(prefix);
  }
  return std::exchange(touched_, {});
}

std::vector<std::string> Overlay::owners(const std::string& pool) const {
  const auto found = pools_.find(pool);
  std::vector<std::string> out;
  if (found == pools_.end()) return out;
  std::set<const Node*> owning;
  for (const auto& [prefix, owner] : found->second.claims) {
    if (!prefix.is_host()) owning.insert(owner);
  }
  for (const auto& [name, node] : nodes_) {
    if (name != self_ && owning.contains(&node)) out.push_back(name);
  }
  return out;
}

size_t Overlay::claims(const std::string& pool, int length) const {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return 0;
  const auto& claims = found->second.claims;
  return static_cast<size_t>(
      std::count_if(claims.begin(), claims.end(), [&](const auto& claim) { return claim.first.length() == length; }));
}

std::string Overlay::trouble() const {
  if (unreachable_.empty()) return {};
  const Prefix& prefix = *unreachable_.begin();
  const auto [pool, to] = remote(prefix);
  if (to == nullptr) return {};
  const auto named = std::find_if(nodes_.begin(), nodes_.end(), [&, at = to](const auto& entry) { return &entry.second == at; });
  std::string out = "block " + prefix.to_string() + " of pool " + pool->name + " has no route: node " + named->first;
  if (!to->known || to->addresses.empty())
    return out + " has no address in the cluster ('firnctl node set " + named->first + " --address A')";
  if (pool->mode == model::RoutingMode::direct) {
    return out + " (" + to->addresses.front().to_string() +
           ") is on no layer 2 of this host, which mode direct needs; use mode vxlan";
  }
  if (!to->way.tunnel) {
    return out + " (" + to->addresses.front().to_string() +
           ") and this host have no address family in common, or this node's address is on none of its links";
  }
  return out + " waits for the link " + std::string(vxlan_name(to->way.tunnel->family()));
}

}  // namespace firn::routed
