// Routes of the main table with firn's protocol number, 241: /32 and /128 of endpoints, blackholes of routed blocks, and the ways
// to blocks of other hosts in direct and vxlan pools.
// After a restart they are recognised by that number. Routes of other protocols are never removed; one that took the place of
// ours (same destination and metric) is replaced again, one that was there before ours stays and is reported.
#pragma once

#include "routed/compute.hpp"
#include "routed/driver.hpp"

namespace firn::routed {

struct RouteKind {
  using Key = RouteKey;
  using Spec = netlink::Route;
  static Result<Routes> list(netlink::Kernel& kernel);
  static constexpr std::chrono::milliseconds linger = removal_grace;
  static void upsert(std::vector<netlink::Request>& out, const Key& key, const Spec& spec, const Spec* actual, bool was_ours);
  static bool conflict(int sys);
  static Error explain(Error error);
  static netlink::Request remove(const Key& key, const Spec& spec);
  static bool gone(int sys);
};
using RouteDriver = Driver<RouteKind>;

// Takes in what the kernel says happened to a route.
void observe(RouteDriver& driver, const netlink::Route& route, bool removed);

}  // namespace firn::routed
