// Permanent neighbours on the host side of firn's veths: the container's MAC, so that nobody has to ask for it.
// After a restart they are recognised by their link (alias "firn:...", or the host side of an endpoint); neighbours on other
// links are never touched, nor are entries that the kernel learned by itself.
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
  static netlink::Request upsert(const Key& key, const Spec& spec, bool was_ours);
  static bool conflict(int) { return false; }  // on a link of firn's every permanent neighbour is firn's
  static Error explain(Error error) { return error; }
  static netlink::Request remove(const Key& key, const Spec& spec);
  static bool gone(int sys);
};
using NeighbourDriver = Driver<NeighbourKind>;

// Takes in what the kernel says happened to a neighbour of one of firn's links.
void observe(NeighbourDriver& driver, const netlink::Neighbour& neighbour, bool removed);

}  // namespace firn::routed
