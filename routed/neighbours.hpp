// Permanent neighbours on the host side of firn's veths (the container's MAC) and on firn's vxlan links (the other host's), so that
// nobody has to ask for them.
// After a restart they are recognised by their link (alias "firn:...", the host side of an endpoint, a vxlan link of firn's);
// neighbours on other links are never touched, nor are entries that the kernel learned by itself.
#pragma once

#include <functional>

#include "routed/compute.hpp"
#include "routed/driver.hpp"

namespace firn::routed {

struct NeighbourKind {
  using Key = NeighbourKey;
  using Spec = netlink::Neighbour;
  // All permanent ones; who calls drops those on links that are not firn's (the links are listed after this).
  static Result<Neighbours> list(netlink::Kernel& kernel);
  static constexpr std::chrono::milliseconds linger = removal_grace;
  static void upsert(std::vector<netlink::Request>& out, const Key& key, const Spec& spec, const Spec* actual, bool was_ours);
  static bool conflict(int) { return false; }  // on a link of firn's every permanent neighbour is firn's
  static Error explain(Error error) { return error; }
  static netlink::Request remove(const Key& key, const Spec& spec);
  static bool gone(int sys);
};
using NeighbourDriver = Driver<NeighbourKind>;

// Takes in what the kernel says happened to a neighbour of one of firn's links.
void observe(NeighbourDriver& driver, const netlink::Neighbour& neighbour, bool removed);

}  // namespace firn::routed
