#include "routed/compute.hpp"

#include <algorithm>
#include <utility>

namespace firn::routed {
namespace {

constexpr std::string_view alias_mark = "firn:";
constexpr uint8_t scope_link = 253;

RouteKey block_key(const Prefix& prefix) { return {prefix, prefix.is_host() ? host_block_metric : 0}; }

}  // namespace

RouteKey key_of(const netlink::Route& route) { return {route.destination, route.metric}; }
NeighbourKey key_of(const netlink::Neighbour& neighbour) { return {neighbour.index, neighbour.address}; }

netlink::Route comparable(netlink::Route route) {
  route = netlink::normalise(std::move(route));
  const bool unicast = route.type == netlink::RouteType::unicast;
  if (!unicast) route.oif = 0;
  route.scope = unicast && route.destination.family() == Family::v4 && !route.gateway ? scope_link : 0;
  return route;
}

void Compute::set_endpoint(const std::string& handle, const model::Endpoint* endpoint) {
  std::set<Address> touched;
  if (const auto known = endpoints_.find(handle); known != endpoints_.end()) {
    for (const Address& address : known->second.addresses) {
      touched.insert(address);
      const auto holders = holders_.find(address);
      holders->second.erase(handle);
      if (holders->second.empty()) holders_.erase(holders);
    }
    const auto handles = handles_of_link_.find(known->second.host_ifname);
    handles->second.erase(handle);
    if (handles->second.empty()) handles_of_link_.erase(handles);
    endpoints_.erase(known);
  }
  if (endpoint != nullptr && endpoint->kind == model::EndpointKind::interface && !endpoint->host_ifname.empty()) {
    for (const Address& address : endpoint->addresses) {
      touched.insert(address);
      holders_[address].insert(handle);
    }
    handles_of_link_[endpoint->host_ifname].insert(handle);
    endpoints_.emplace(handle, Side{endpoint->host_ifname, endpoint->mac, endpoint->addresses});
  }
  for (const Address& address : touched) refresh(address);
}

std::vector<Prefix> Compute::blocks() const {
  std::vector<Prefix> out;
  for (const auto& [key, names] : block_keys_) out.push_back(key.destination);
  return out;
}

void Compute::set_block(const std::string& key, const model::Block* block) {
  std::optional<RouteKey> before, now;
  if (const auto known = blocks_.find(key); known != blocks_.end()) before = known->second;
  if (block != nullptr && block->use == model::Use::routed) now = block_key(block->prefix);
  if (before == now) return;
  if (before) {
    blocks_.erase(key);
    auto& names = block_keys_[*before];
    names.erase(key);
    if (names.empty()) {
      block_keys_.erase(*before);
      place(*before, std::nullopt);
      place_remote(before->destination);
    }
  }
  if (now) {
    blocks_[key] = *now;
    block_keys_[*now].insert(key);
    netlink::Route route;
    route.destination = now->destination;
    route.metric = now->metric;
    route.type = netlink::RouteType::blackhole;
    place(*now, comparable(route));
  }
}

void Compute::set_link(const netlink::Link& link) {
  if (const auto known = links_.find(link.index); known != links_.end() && known->second.name != link.name) remove_link(link.index);
  overlay_.set_link(link);
  const bool dead = link.group == netlink::dead_group;
  if (dead) dead_.insert(link.index);
  else dead_.erase(link.index);
  const bool veth = link.kind == "veth";
  const LinkState state{link.name, veth && link.up && !dead, veth && link.alias.starts_with(alias_mark),
                        link.alias.starts_with(alias_mark) ? link.alias.substr(alias_mark.size()) : std::string()};
  links_[link.index] = state;
  index_of_[link.name] = link.index;
  refresh_link(link.name);
}

void Compute::remove_link(int index) {
  overlay_.remove_link(index);
  dead_.erase(index);
  const auto known = links_.find(index);
  if (known == links_.end()) return;
  const std::string name = known->second.name;
  links_.erase(known);
  // A rename may have given the name to another link meanwhile.
  if (const auto named = index_of_.find(name); named != index_of_.end() && named->second == index) index_of_.erase(named);
  refresh_link(name);
}

void Compute::set_links(const std::vector<netlink::Link>& all) {
  links_listed_ = true;
  std::set<int> gone;
  for (const auto& [index, state] : links_) gone.insert(index);
  for (const netlink::Link& link : all) gone.erase(link.index);
  for (const int index : gone) remove_link(index);
  for (const netlink::Link& link : all) set_link(link);
}

Changes Compute::take_changes() {
  merge_overlay();
  return std::exchange(changes_, {});
}

void Compute::place_remote(const Prefix& block) {
  const RouteKey key = block_key(block);
  if (block_keys_.contains(key)) return;  // this host's own, or on its way to another one
  auto route = overlay_.route_to(block);
  if (route) {
    route->metric = key.metric;
    route = comparable(std::move(*route));
  }
  changes_.routes.insert_or_assign(key, std::move(route));
}

void Compute::merge_overlay() {
  for (const Prefix& block : overlay_.settle()) place_remote(block);
  const auto tell = [](const auto& before, const auto& now, auto& changes) {
    for (const auto& [key, spec] : before) {
      if (!now.contains(key)) changes[key] = std::nullopt;
    }
    for (const auto& [key, spec] : now) {
      const auto same = before.find(key);
      if (same == before.end() || !(same->second == spec)) changes[key] = spec;
    }
  };
  const Overlay::Wish& now = overlay_.wish();
  if (merged_ == now) return;
  tell(merged_.links, now.links, changes_.links);
  tell(merged_.forwards, now.forwards, changes_.forwards);
  tell(merged_.neighbours, now.neighbours, changes_.neighbours);
  merged_ = now;
}

std::string Compute::link_name(int index) const {
  const auto link = links_.find(index);
  return link == links_.end() ? std::string() : link->second.name;
}

bool Compute::is_ours(int index) const {
  if (overlay_.is_device(index)) return true;
  const auto link = links_.find(index);
  return link != links_.end() && (link->second.ours || handles_of_link_.contains(link->second.name));
}

bool Compute::is_unknown_attachment(int index) const {
  const auto link = links_.find(index);
  return link != links_.end() && link->second.ours && link->second.usable && !endpoints_.contains(link->second.handle) &&
         !handles_of_link_.contains(link->second.name);
}

bool Compute::has_containers() const {
  return !links_listed_ || std::any_of(links_.begin(), links_.end(), [&](const auto& link) { return link.second.ours && !dead_.contains(link.first); });
}

bool Compute::is_usable(int index) const {
  if (overlay_.is_up(index)) return true;
  const auto link = links_.find(index);
  return link != links_.end() && link->second.usable;
}

int Compute::usable_index(const std::string& name) const {
  const auto index = index_of_.find(name);
  return index != index_of_.end() && links_.at(index->second).usable ? index->second : 0;
}

void Compute::refresh_link(const std::string& name) {
  const auto handles = handles_of_link_.find(name);
  if (handles == handles_of_link_.end()) return;
  for (const std::string& handle : handles->second) {
    for (const Address& address : endpoints_.at(handle).addresses) refresh(address);
  }
}

void Compute::refresh(const Address& address) {
  const Side* side = nullptr;
  int index = 0;
  if (const auto holders = holders_.find(address); holders != holders_.end()) {
    for (const std::string& handle : holders->second) {
      side = &endpoints_.at(handle);
      index = usable_index(side->host_ifname);
      if (index != 0) break;
    }
  }
  if (const auto before = neighbour_link_.find(address); before != neighbour_link_.end() && before->second != index) {
    place(NeighbourKey{before->second, address}, std::nullopt);
    neighbour_link_.erase(before);
  }
  const RouteKey key{Prefix::host(address), 0};
  if (index == 0) return place(key, std::nullopt);
  netlink::Route route;
  route.destination = key.destination;
  route.oif = index;
  place(key, comparable(route));
  place(NeighbourKey{index, address}, netlink::Neighbour{index, address, side->mac, true});
  neighbour_link_[address] = index;
}

void Compute::place(const RouteKey& key, std::optional<netlink::Route> route) {
  const auto known = routes_.find(key);
  const bool same = route ? known != routes_.end() && known->second == *route : known == routes_.end();
  if (same) return;
  if (route) routes_.insert_or_assign(key, *route);
  else routes_.erase(known);
  changes_.routes.insert_or_assign(key, std::move(route));
}

void Compute::place(const NeighbourKey& key, std::optional<netlink::Neighbour> neighbour) {
  const auto known = neighbours_.find(key);
  const bool same = neighbour ? known != neighbours_.end() && known->second == *neighbour : known == neighbours_.end();
  if (same) return;
  if (neighbour) neighbours_.insert_or_assign(key, *neighbour);
  else neighbours_.erase(known);
  changes_.neighbours.insert_or_assign(key, std::move(neighbour));
}

}  // namespace firn::routed
