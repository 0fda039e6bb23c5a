// Attach, detach and check one container interface: the veth, its addresses, routes, neighbours and sysctls on both sides.
// Owns: the host-side link (named PREFIX + hash of the handle, alias "firn:HANDLE"), its peer in the container, the host
// routes and neighbours through it, and the container's routes and rules (all of route protocol 241). After a restart the link
// is recognised by that name and alias; one without alias but with our name and MAC is a creation that was killed half-way.
// A kill -9 inside attach() leaves at most a link pair without record or a record without link: DEL, GC and the next ADD of
// the same attachment clear either. Thread safety: these calls enter the container's namespace with the calling thread and
// leave it again; one thread of a process at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/model/records.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::endpoint {

// The gateway of every container: exists on no link; a permanent neighbour entry answers for it.
Address gateway(Family family);  // 169.254.1.1, or the EUI-64 link-local address of host_mac()
Mac host_mac();                  // ee:ee:ee:ee:ee:ee, the host side of every veth

// PREFIX + hex digits of a 64-bit FNV-1a of the handle, 15 bytes in all. REQUIRES: prefix of 1 to 5 bytes.
std::string host_name(std::string_view prefix, std::string_view handle);
// Locally administered, from the handle: known before an address is, and the same when an attachment is made again.
Mac mac_for(std::string_view handle);
std::string alias_for(std::string_view handle);  // "firn:HANDLE", cut at the kernel's 255 bytes

struct Spec {
  std::string handle;
  std::string ifname;
  std::string host_ifname;
  Mac mac;
  int mtu = 1500;
  std::vector<Address> addresses;  // at least one
  bool forwarding = false;         // net.ipv{4,6} forwarding inside the container
  std::vector<Prefix> routes;      // via the gateway; empty: default routes of the families of `addresses`
  model::Bandwidth bandwidth;      // kept on the host side, where the container cannot reach it
};

struct Attached {
  // Families whose default route another interface of the container holds: ours is in policy_table() then, reached by a rule
  // for each of our addresses, so that answers leave by the interface that was asked.
  std::vector<Family> by_rule;
  uint32_t table = 0;  // the table of those, 0 when there are none
  bool in_table(Family family) const;
};
uint32_t policy_table(int container_index);

// Everything, or nothing: on failure what was made is removed again. Code::exists when ifname is taken in the container.
// Leftovers of ours under the names to be used (a killed attach, a detach that could not enter the namespace) are removed.
Result<Attached> attach(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);
// attach() in two steps, for an IPAM plugin that asks through the interface (DHCP). prepare(): the pair, both sides up, no IPv6
// yet; the addresses and routes of `spec` do not matter. complete(): the rest of attach(). When complete(), or what is done before
// it, fails: discard(), best effort, which leaves nothing of the interface.
Status prepare(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);
Result<Attached> complete(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);
void discard(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);

// Makes the link dead (down, without routes, in the dead group) and frees the name inside the container. Nothing to do is success.
// `container` may be null (namespace gone or unknown). Deleting costs 20 ms of grace periods: reap() does it for many at once.
// `reap_every`: when that many dead links are there this call reaps them itself, for hosts on which nobody else does; they are
// counted once in `reap_every` calls. 0: never.
Status detach(netlink::Kernel& host, const netlink::Netns* container, const model::Endpoint& endpoint, unsigned reap_every = 0);
// Deletes all dead links in one call; returns how many there were.
Result<size_t> reap(netlink::Kernel& host);
// Handle of a host-side link of ours, by its alias; nothing for a foreign or a dead one.
std::optional<std::string> handle_of_link(const netlink::Link& link);

// Compares the kernel with what attach() made and names the first thing that differs. Code::not_found: a part of it is missing
// (link, address, route, neighbour); Code::conflict: all is there, and something was changed.
// spec.mtu == 0: the MTU is not compared.
Result<Attached> check(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);

// Forwarding between the host's interfaces, without which no packet reaches a container. Reads first, writes only what is off.
// For IPv6 the links that learn their routes from router advertisements are told to go on doing so (accept_ra = 2), which
// forwarding would otherwise end.
Status enable_forwarding(netlink::Kernel& host, Family family);

}  // namespace firn::endpoint
