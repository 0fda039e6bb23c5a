#include "lib/endpoint/ready.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace firn::endpoint {

namespace {

constexpr std::chrono::seconds patience(2);

// `done`: whether it is, or the failure of asking.
template <class Done>
Status await(const std::string& what, const Done& done) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (auto pause = std::chrono::microseconds(50);; pause = std::min(pause * 2, std::chrono::microseconds(5000))) {
    Result<bool> state = done();
    if (!state) return std::move(state).error();
    if (*state) return {};
    if (std::chrono::steady_clock::now() >= end) {
      return make_error(Code::unavailable, what + " " + std::to_string(patience.count()) +
                                               " s after it was set up; is somebody taking it down, or the host overloaded?");
    }
    // Sleeps because it is there within microseconds, and an event would have to be subscribed to beforehand.
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

Status await_ready(netlink::Kernel& kernel, const std::string& ifname, int index, const std::vector<Address>& ipv6) {
  // A carrier counts once the kernel has seen to it (net/core/link_watch.c): the side that came up first drops what it should send
  // until then. Since Linux 6.8 asking for the link makes the kernel do so at once.
  auto carrier = await("link " + ifname + " has no carrier", [&]() -> Result<bool> {
    auto link = kernel.link(index);
    if (!link) return std::move(link).error();
    return link->running;
  });
  if (!carrier) return carrier;
  // An IPv6 address gets its local route in a work item even when nothing is to be detected (net/ipv6/addrconf.c).
  for (const Address& address : ipv6) {
    auto local = await("address " + address.to_string() + " of link " + ifname + " is not in use", [&]() -> Result<bool> {
      auto route = kernel.lookup(address, index);
      if (!route && !route.error().is(Code::not_found)) return std::move(route).error();
      return route && route->type == netlink::RouteType::local;
    });
    if (!local) return local;
  }
  return {};
}

}  // namespace firn::endpoint
