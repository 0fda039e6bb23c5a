#include "tests/support/fake_kernel.hpp"

#include <algorithm>
#include <cerrno>

namespace firn::test {

using namespace netlink;  // NOLINT(google-build-using-namespace): this file is about nothing else

namespace {

constexpr int loopback = 1;

bool discards(const Route& r) { return r.type != RouteType::unicast && r.type != RouteType::local; }

bool same_place(const Route& a, const Route& b) {
  return a.destination == b.destination && a.table == b.table && a.metric == b.metric;
}

template <class T>
Event told(Event::What what, T Event::*member, const T& value, bool removed) {
  Event out;
  out.what = what;
  out.removed = removed;
  out.*member = value;
  return out;
}

Error failed(const std::string& what, int err) {
  Error error = errno_error(what, err);
  if (err == EADDRNOTAVAIL) error.code = Code::not_found;
  if (err == ENETDOWN) error.code = Code::unavailable;
  return error;
}

}  // namespace

FakeKernel::FakeKernel() {
  add_link("lo", true, "");
  events_.clear();
}

// The world ------------------------------------------------------------------------------------------------------------

int FakeKernel::add_link(const std::string& name, bool up, const std::string& kind) {
  Link link;
  link.index = next_index_++;
  link.name = name;
  link.kind = kind;
  link.mtu = 1500;
  link.up = link.running = up;
  links_[link.index] = link;
  tell(link, false);
  return link.index;
}

void FakeKernel::set_up(int index, bool up) {
  SetLink set;
  set.index = index;
  set.up = up;
  (void)run(set);
}

void FakeKernel::remove_link(int index) { (void)run(DeleteLink{index}); }

int FakeKernel::run(const Request& request) {
  return std::visit([&](const auto& r) { return execute(r); }, request);
}

Link* FakeKernel::find(const std::string& name) {
  for (auto& [index, link] : links_) {
    if (link.name == name) return &link;
  }
  return nullptr;
}

void FakeKernel::tell(const Link& link, bool removed) { events_.push_back(told(Event::What::link, &Event::link, link, removed)); }
void FakeKernel::tell(const Route& route, bool removed) {
  events_.push_back(told(Event::What::route, &Event::route, route, removed));
}
void FakeKernel::tell(const Neighbour& neighbour, bool removed) {
  events_.push_back(told(Event::What::neighbour, &Event::neighbour, neighbour, removed));
}
void FakeKernel::tell(const Forward& forward, bool removed) {
  events_.push_back(told(Event::What::forward, &Event::forward, forward, removed));
}

// Down takes routes and neighbours, and IPv6 addresses; IPv4 addresses stay.
void FakeKernel::went_down(int index) {
  std::erase_if(routes_, [&](const Route& r) {
    if (r.oif != index) return false;
    if (r.destination.family() == Family::v6) tell(r, true);
    return true;
  });
  std::erase_if(neighbours_, [&](const Neighbour& n) { return n.index == index; });
  std::erase_if(addresses_, [&](const LinkAddress& a) { return a.index == index && !a.address.address.is_v4(); });
}

void FakeKernel::forget_link(int index) {
  went_down(index);
  std::erase_if(addresses_, [&](const LinkAddress& a) { return a.index == index; });
  std::erase_if(forwards_, [&](const Forward& f) { return f.index == index; });
  const auto it = links_.find(index);
  if (it == links_.end()) return;
  tell(it->second, true);
  links_.erase(it);
  peers_.erase(index);
  bounds_.erase(index);
  std::erase(classifiers_, index);
}

// Faults ---------------------------------------------------------------------------------------------------------------

void FakeKernel::fail_once(int err, std::function<bool(const Request&)> when) { faults_.push_back({err, std::move(when)}); }

void FakeKernel::fail_every(size_t n, int err) {
  every_ = n;
  every_error_ = err;
}

void FakeKernel::break_next_batch(Error error) { broken_.push_back(std::move(error)); }

int FakeKernel::planted_fault(const Request& request) {
  for (auto it = faults_.begin(); it != faults_.end(); ++it) {
    if (it->when && !it->when(request)) continue;
    const int err = it->err;
    faults_.erase(it);
    return err;
  }
  return every_ != 0 && requests_ % every_ == 0 ? every_error_ : 0;
}

// Requests -------------------------------------------------------------------------------------------------------------

Result<std::vector<Failure>> FakeKernel::apply(std::span<const Request> requests) {
  ++batches_;
  if (!broken_.empty()) {
    Error error = std::move(broken_.front());
    broken_.pop_front();
    return error;
  }
  std::vector<Failure> failures;
  for (size_t i = 0; i < requests.size(); ++i) {
    ++requests_;
    int err = planted_fault(requests[i]);
    if (err == 0) err = run(requests[i]);
    if (err != 0) failures.push_back({i, failed(describe(requests[i]), err)});
  }
  return failures;
}

int FakeKernel::execute(const CreateVeth& r) {
  FakeKernel* other = this;
  if (r.peer_netns_fd >= 0) {
    const auto it = namespaces_.find(r.peer_netns_fd);
    if (it == namespaces_.end()) return EINVAL;
    other = it->second;
  }
  if (find(r.name) != nullptr || other->find(r.peer_name) != nullptr) return EEXIST;
  const int peer = other->add_link(r.peer_name, false);
  const int mine = add_link(r.name, false);
  Link& host_side = links_[mine];
  Link& peer_side = other->links_[peer];
  host_side.mac = r.mac;
  peer_side.mac = r.peer_mac;
  host_side.mtu = peer_side.mtu = r.mtu;
  host_side.group = r.group;
  host_side.peer_index = peer;
  peer_side.peer_index = mine;
  peers_[mine] = {other, peer};
  other->peers_[peer] = {this, mine};
  return 0;
}

int FakeKernel::execute(const CreateVxlan& r) {
  if (find(r.name) != nullptr) return EEXIST;
  // Two links cannot take the same packets in.
  for (const auto& [index, link] : links_) {
    if (link.vxlan && link.vxlan->vni == r.vxlan.vni && link.vxlan->port == r.vxlan.port &&
        link.vxlan->local.family() == r.vxlan.local.family()) {
      return EEXIST;
    }
  }
  const int index = add_link(r.name, true, "vxlan");
  Link& link = links_[index];
  link.mac = r.mac;
  link.mtu = r.mtu;
  link.vxlan = r.vxlan;
  tell(link, false);
  return 0;
}

int FakeKernel::execute(const SetLink& r) {
  const auto it = links_.find(r.index);
  if (it == links_.end()) return ENODEV;
  Link& link = it->second;
  if (r.name && *r.name != link.name && find(*r.name) != nullptr) return EEXIST;
  if (r.name) link.name = *r.name;
  if (r.group) link.group = *r.group;
  if (r.mtu) link.mtu = *r.mtu;
  if (r.alias) link.alias = *r.alias;
  if (r.up && *r.up != link.up) {
    link.up = link.running = *r.up;
    if (!link.up) went_down(r.index);
  }
  tell(link, false);
  return 0;
}

int FakeKernel::execute(const DeleteLink& r) {
  if (!r.name.empty()) {
    const Link* named = find(r.name);
    return named == nullptr ? ENODEV : execute(DeleteLink{named->index});
  }
  if (!links_.contains(r.index)) return ENODEV;
  if (r.index == loopback) return EOPNOTSUPP;
  const auto it = peers_.find(r.index);
  const auto peer = it == peers_.end() ? std::pair<FakeKernel*, int>{nullptr, 0} : it->second;
  forget_link(r.index);
  if (peer.first != nullptr) peer.first->forget_link(peer.second);
  return 0;
}

int FakeKernel::execute(const DeleteGroup& r) {
  std::vector<int> members;
  for (const auto& [index, link] : links_) {
    if (link.group == r.group) members.push_back(index);
  }
  if (members.empty()) return ENODEV;
  for (const int index : members) (void)execute(DeleteLink{index});
  return 0;
}

int FakeKernel::execute(const AddAddress& r) {
  if (!links_.contains(r.address.index)) return ENODEV;
  if (std::ranges::find(addresses_, r.address) != addresses_.end()) return EEXIST;
  addresses_.push_back(r.address);
  return 0;
}

int FakeKernel::execute(const RemoveAddress& r) {
  if (!links_.contains(r.address.index)) return ENODEV;
  if (std::erase(addresses_, r.address) == 0) return EADDRNOTAVAIL;
  const bool v4 = r.address.address.address.is_v4();
  if (!v4 || std::ranges::any_of(addresses_,
                                 [&](const LinkAddress& a) { return a.index == r.address.index && a.address.address.is_v4(); })) {
    return 0;
  }
  // With its last IPv4 address a link loses all of IPv4: its routes, silently, and its neighbours.
  std::erase_if(routes_,
                [&](const Route& route) { return route.oif == r.address.index && route.destination.family() == Family::v4; });
  std::erase_if(neighbours_, [&](const Neighbour& n) { return n.index == r.address.index && n.address.is_v4(); });
  return 0;
}

// By a route to the gateway on the same link; IPv6 link-local gateways are always on their link.
bool FakeKernel::gateway_reachable(const Route& route) const {
  const Address& gateway = *route.gateway;
  if (route.onlink || (!gateway.is_v4() && gateway.is_link_local() && route.oif != 0)) return true;
  return std::ranges::any_of(routes_, [&](const Route& r) {
    return r.type == RouteType::unicast && !r.gateway && r.table == 254 && r.destination.contains(gateway) &&
           (r.destination.family() == Family::v6 || r.scope == 253) && (route.oif == 0 || route.oif == r.oif);
  });
}

int FakeKernel::route_error(const Route& route) const {
  const bool v4 = route.destination.family() == Family::v4;
  if (discards(route)) return 0;
  if (route.oif == 0 && !route.gateway) return v4 ? ENODEV : EINVAL;
  // IPv4 looks for the gateway before it looks at the link at all, IPv6 before it looks whether the link is up.
  if (!v4 && route.oif != 0 && !links_.contains(route.oif)) return ENODEV;
  if (route.gateway && !gateway_reachable(route)) return v4 ? ENETUNREACH : EHOSTUNREACH;
  if (route.oif != 0) {
    const auto it = links_.find(route.oif);
    if (it == links_.end()) return ENODEV;
    if (!it->second.up) return ENETDOWN;
  }
  if (route.source && std::ranges::none_of(addresses_, [&](const LinkAddress& a) { return a.address.address == *route.source; })) {
    return EINVAL;
  }
  return 0;
}

int FakeKernel::put_route(const Route& given, bool replace) {
  if (given.multipath || (discards(given) && given.oif != 0 && given.destination.family() == Family::v4)) return EINVAL;
  Route route = normalise(given);
  if (const int err = route_error(route); err != 0) return err;
  const auto it = std::ranges::find_if(routes_, [&](const Route& r) { return same_place(r, route); });
  if (it != routes_.end()) {
    if (!replace) return EEXIST;
    *it = route;
  } else {
    routes_.push_back(route);
  }
  tell(route, false);
  return 0;
}

int FakeKernel::execute(const AddRoute& r) { return put_route(r.route, false); }
int FakeKernel::execute(const ReplaceRoute& r) { return put_route(r.route, true); }

int FakeKernel::execute(const RemoveRoute& r) {
  const Route wanted = normalise(r.route);
  const bool v4 = wanted.destination.family() == Family::v4;
  const auto matches = [&](const Route& route) {
    // IPv4 takes metric 0 as "any", the lowest first; IPv6 compares the link instead of the type.
    const bool metric = route.metric == wanted.metric || (v4 && wanted.metric == 0);
    const bool kind = v4 ? route.type == wanted.type : discards(route) == discards(wanted);
    return route.destination == wanted.destination && route.table == wanted.table && metric && kind &&
           (wanted.protocol == 0 || route.protocol == wanted.protocol) && (wanted.oif == 0 || route.oif == wanted.oif) &&
           (!wanted.gateway || route.gateway == wanted.gateway);
  };
  auto best = routes_.end();
  for (auto it = routes_.begin(); it != routes_.end(); ++it) {
    if (matches(*it) && (best == routes_.end() || it->metric < best->metric)) best = it;
  }
  if (best == routes_.end()) return ESRCH;
  tell(*best, true);
  routes_.erase(best);
  return 0;
}

int FakeKernel::execute(const ReplaceNeighbour& r) {
  if (!links_.contains(r.neighbour.index)) return ENODEV;
  std::erase_if(neighbours_, [&](const Neighbour& n) { return n.index == r.neighbour.index && n.address == r.neighbour.address; });
  neighbours_.push_back(r.neighbour);
  tell(r.neighbour, false);
  return 0;
}

int FakeKernel::execute(const RemoveNeighbour& r) {
  if (!links_.contains(r.neighbour.index)) return ENODEV;
  const auto same = [&](const Neighbour& n) { return n.index == r.neighbour.index && n.address == r.neighbour.address; };
  if (std::erase_if(neighbours_, same) == 0) return ENOENT;
  tell(r.neighbour, true);
  return 0;
}

int FakeKernel::forward_error(const Forward& f) const {
  const auto it = links_.find(f.index);
  if (it == links_.end()) return ENODEV;
  return it->second.vxlan ? 0 : EOPNOTSUPP;
}

int FakeKernel::execute(const ReplaceForward& r) {
  const Forward& f = r.forward;
  if (const int err = forward_error(f); err != 0) return err;
  if (f.destination.family() != links_.at(f.index).vxlan->local.family()) return EAFNOSUPPORT;
  std::erase_if(forwards_, [&](const Forward& old) { return old.index == f.index && old.mac == f.mac; });
  forwards_.push_back(f);
  tell(f, false);
  return 0;
}

int FakeKernel::execute(const RemoveForward& r) {
  if (const int err = forward_error(r.forward); err != 0) return err;
  const auto same = [&](const Forward& f) { return f.index == r.forward.index && f.mac == r.forward.mac; };
  if (std::erase_if(forwards_, same) == 0) return ENOENT;
  tell(r.forward, true);
  return 0;
}

int FakeKernel::execute(const AddRule& r) {
  if (std::ranges::find(rules_, r.rule) != rules_.end()) return EEXIST;
  rules_.push_back(r.rule);
  return 0;
}

int FakeKernel::execute(const RemoveRule& r) { return std::erase(rules_, r.rule) == 0 ? ENOENT : 0; }

// Lists ----------------------------------------------------------------------------------------------------------------

Result<Link> FakeKernel::link(const std::string& name) {
  if (const Link* found = find(name)) return *found;
  return failed("link " + name, ENODEV);
}

Result<Link> FakeKernel::link(int index) {
  const auto it = links_.find(index);
  if (it == links_.end()) return failed("link " + std::to_string(index), ENODEV);
  return it->second;
}

Result<int> FakeKernel::index_of(const std::string& name) {
  auto found = link(name);
  if (!found) return std::move(found).error();
  return found->index;
}

Result<std::vector<Link>> FakeKernel::links() {
  ++dumps_;
  std::vector<Link> out;
  for (const auto& [index, link] : links_) out.push_back(link);
  return out;
}

Result<std::vector<LinkAddress>> FakeKernel::addresses(int index) {
  ++dumps_;
  std::vector<LinkAddress> out;
  std::ranges::copy_if(addresses_, std::back_inserter(out), [&](const LinkAddress& a) { return index == 0 || a.index == index; });
  return out;
}

Result<std::vector<Route>> FakeKernel::routes(const RouteFilter& filter) {
  ++dumps_;
  std::vector<Route> out;
  std::ranges::copy_if(routes_, std::back_inserter(out), [&](const Route& r) {
    return (!filter.family || r.destination.family() == *filter.family) && (!filter.protocol || r.protocol == *filter.protocol) &&
           (!filter.table || r.table == *filter.table) && (!filter.oif || r.oif == *filter.oif);
  });
  return out;
}

Result<std::vector<Neighbour>> FakeKernel::neighbours(int index) {
  ++dumps_;
  std::vector<Neighbour> out;
  std::ranges::copy_if(neighbours_, std::back_inserter(out),
                       [&](const Neighbour& n) { return n.permanent && (index == 0 || n.index == index); });
  return out;
}

Result<std::vector<Forward>> FakeKernel::forwards(int index) {
  ++dumps_;
  std::vector<Forward> out;
  std::ranges::copy_if(forwards_, std::back_inserter(out), [&](const Forward& f) { return f.index == index; });
  return out;
}

Result<std::vector<Rule>> FakeKernel::rules(Family family) {
  ++dumps_;
  std::vector<Rule> out;
  std::ranges::copy_if(rules_, std::back_inserter(out), [&](const Rule& r) { return r.from.family() == family; });
  return out;
}

Result<Route> FakeKernel::lookup(const Address& destination, int through) {
  const Route* best = nullptr;
  for (const Route& r : routes_) {
    if (r.table != 254 || !r.destination.contains(destination) || (through != 0 && r.oif != through)) continue;
    const bool longer = best == nullptr || r.destination.length() > best->destination.length();
    const bool cheaper = best != nullptr && r.destination.length() == best->destination.length() && r.metric < best->metric;
    if (longer || cheaper) best = &r;
  }
  if (best == nullptr || discards(*best))
    return make_error(Code::not_found, "route to " + destination.to_string() + ": unreachable");
  return *best;
}

int FakeKernel::execute(const ShapeOutgoing& r) {
  if (links_.count(r.index) == 0) return ENODEV;
  bounds_[r.index].outgoing_rate = r.bucket.rate;
  return 0;
}

int FakeKernel::execute(const AddClassifier& r) {
  if (links_.count(r.index) == 0) return ENODEV;
  if (std::ranges::find(classifiers_, r.index) != classifiers_.end()) return EEXIST;
  classifiers_.push_back(r.index);
  return 0;
}

int FakeKernel::execute(const PoliceIncoming& r) {
  if (links_.count(r.index) == 0) return ENODEV;
  if (std::ranges::find(classifiers_, r.index) == classifiers_.end()) return EINVAL;
  bounds_[r.index].incoming = r.bucket;
  return 0;
}

Result<TrafficBounds> FakeKernel::traffic_bounds(int index) {
  const auto found = bounds_.find(index);
  return found == bounds_.end() ? TrafficBounds() : found->second;
}

}  // namespace firn::test
