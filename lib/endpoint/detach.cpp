// Taking an endpoint away: dead at once, deleted later and many together.
#include "lib/endpoint/endpoint.hpp"
#include "lib/endpoint/inside.hpp"
#include "lib/endpoint/parts.hpp"

namespace firn::endpoint {

namespace {

using netlink::Kernel;

// The peer loses its name, so that the name is free for the next interface and the container no longer has it.
Status bury_peer(const netlink::Netns& container, const model::Endpoint& endpoint, int host_index, uint64_t home_inode) {
  if (container.inode == home_inode) return {};
  auto inside = Inside::enter(container);
  if (!inside) return std::move(inside).error();
  Kernel& kernel = inside->kernel();
  auto peer = kernel.link(endpoint.ifname);
  if (!peer) {
    if (peer.error().is(Code::not_found)) return {};
    return std::move(peer).error();
  }
  // Somebody else's interface of this name: ours is gone already.
  if (peer->kind != "veth" || peer->peer_index != host_index) return {};
  std::vector<netlink::Request> requests;
  // Two messages: older kernels refuse to rename a link that is up, and the kernel renames before it brings down.
  requests.emplace_back(netlink::SetLink{.index = peer->index, .up = false});
  requests.emplace_back(netlink::SetLink{.index = peer->index, .name = "firnx" + std::to_string(peer->index)});
  const size_t vital = requests.size();
  // IPv6 addresses go with the link's going down, IPv4 ones stay. What is not there is not missed.
  for (const Address& address : endpoint.addresses) {
    if (address.is_v4()) requests.emplace_back(netlink::RemoveAddress{{peer->index, {address, address.bits()}}});
  }
  for (const Address& address : endpoint.addresses) requests.emplace_back(netlink::RemoveRule{rule_for(address, peer->index)});
  auto failures = kernel.apply(requests);
  if (!failures) return std::move(failures).error();
  for (netlink::Failure& failure : *failures) {
    // Most interfaces have no rule to remove. ENODEV: somebody has reaped the dead link meanwhile.
    if (failure.index < vital && failure.error.sys != ENODEV) return std::move(failure.error);
  }
  return {};
}

Result<size_t> count_dead(Kernel& host) {
  auto links = host.links();
  if (!links) return std::move(links).error();
  size_t dead = 0;
  for (const netlink::Link& link : *links) dead += link.group == netlink::dead_group ? 1 : 0;
  return dead;
}

}  // namespace

Status detach(Kernel& host, const netlink::Netns* container, const model::Endpoint& endpoint, unsigned reap_every) {
  if (endpoint.host_ifname.empty()) return {};
  auto link = host.link(endpoint.host_ifname);
  if (!link) {
    if (link.error().is(Code::not_found)) return {};
    return std::move(link).error();
  }
  if (!is_our_link(*link, model::handle_of(endpoint))) return {};
  if (link->group != netlink::dead_group || link->up) {
    // Down takes the host's routes and neighbours through it away.
    netlink::SetLink dead{.index = link->index};
    dead.up = false;
    dead.group = netlink::dead_group;
    const netlink::Request request = std::move(dead);
    auto done = netlink::all_done(host.apply({&request, 1}));
    if (!done && done.error().sys == ENODEV) return {};  // gone with its namespace this very moment
    if (!done) return done;
  }
  if (container != nullptr) {
    auto home = netlink::current_netns_inode();
    if (!home) return std::move(home).error();
    if (auto done = bury_peer(*container, endpoint, link->index, *home); !done) return done;
  }
  // Indexes are handed out one by one, so this is every reap_every-th link, without a counter to keep anywhere.
  if (reap_every != 0 && static_cast<unsigned>(link->index) % reap_every == 0) {
    auto dead = count_dead(host);
    if (dead && *dead >= reap_every) (void)reap(host);
  }
  return {};
}

Result<size_t> reap(Kernel& host) {
  auto dead = count_dead(host);
  if (!dead || *dead == 0) return dead;
  const netlink::Request request = netlink::DeleteGroup{};
  auto failures = host.apply({&request, 1});
  if (!failures) return std::move(failures).error();
  // ENODEV: the last of them went with its namespace meanwhile.
  if (!failures->empty() && failures->front().error.sys != ENODEV) return std::move(failures->front().error);
  return dead;
}

}  // namespace firn::endpoint
