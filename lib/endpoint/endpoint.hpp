// Attach, detach and check one container interface: the veth, its addresses, routes, neighbours and sysctls on both sides.
// Owns: the host-side link (named PREFIX + hash of the handle, alias "firn:HANDLE"), its peer in the container, and the host
// routes and neighbours through it (route protocol 241). After a restart they are recognised by that name and alias.
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
Address gateway_v4();             // 169.254.1.1
Mac host_mac();                   // ee:ee:ee:ee:ee:ee, the host side of every veth
Address gateway_v6();             // its EUI-64 link-local address

// PREFIX + hex digits of a 64-bit FNV-1a of the handle, 15 bytes in all. REQUIRES: prefix of 1 to 5 bytes.
std::string host_name(std::string_view prefix, std::string_view handle);
// Locally administered, from the first address: the same address has the same MAC, so neighbours' caches stay right.
Mac mac_for(const Address& address);

struct Spec {
  std::string handle;
  std::string ifname;
  std::string host_ifname;
  Mac mac;
  int mtu = 1500;
  std::vector<Address> addresses;   // at least one
  bool forwarding = false;          // net.ipv{4,6} forwarding inside the container
  std::vector<Prefix> routes;       // via the gateway; empty: default routes of the families of `addresses`
};

// Everything, or nothing: on failure what was made is removed again. Code::exists when ifname is taken in the container.
Status attach(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);

// Makes the link dead (down, without routes, in the dead group) and frees the name inside the container. Nothing to do is success.
// `container` may be null (namespace gone or unknown). Deleting costs 20 ms of grace periods: reap() does it for many at once.
Status detach(netlink::Kernel& host, const netlink::Netns* container, const model::Endpoint& endpoint);
Status reap(netlink::Kernel& host);

// Compares the kernel with what attach() made; Code::conflict or not_found naming the first thing that differs.
Status check(netlink::Kernel& host, const netlink::Netns& container, const Spec& spec);

}  // namespace firn::endpoint
