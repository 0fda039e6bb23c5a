#include "routed/routes.hpp"

#include <cerrno>

namespace firn::routed {
namespace {

constexpr uint32_t main_table = 254;

}  // namespace

Result<Routes> RouteKind::list(netlink::Kernel& kernel) {
  netlink::RouteFilter ours;
  ours.protocol = netlink::route_protocol;
  ours.table = main_table;
  auto listed = kernel.routes(ours);
  if (!listed) return std::move(listed).error();
  Routes out;
  for (netlink::Route& route : *listed) {
    if (route.protocol == netlink::route_protocol && route.table == main_table)
      out.insert_or_assign(key_of(route), comparable(std::move(route)));
  }
  return out;
}

void RouteKind::upsert(std::vector<netlink::Request>& out, const Key&, const Spec& spec, const Spec*, bool was_ours) {
  if (was_ours) out.emplace_back(netlink::ReplaceRoute{spec});
  else out.emplace_back(netlink::AddRoute{spec});
}
bool RouteKind::conflict(int sys) { return sys == EEXIST; }
Error RouteKind::explain(Error error) {
  error.code = Code::conflict;
  error.message +=
      ": a route of another program with this destination and metric is in the way, and is left alone; remove it, or give "
      "it another metric ('ip route show DESTINATION')";
  return error;
}
netlink::Request RouteKind::remove(const Key&, const Spec& spec) { return netlink::RemoveRoute{spec}; }
bool RouteKind::gone(int sys) { return sys == ESRCH || sys == ENOENT || sys == ENODEV; }

void observe(RouteDriver& driver, const netlink::Route& route, bool removed) {
  if (route.table != main_table) return;
  const RouteKey key = key_of(route);
  const bool ours = route.protocol == netlink::route_protocol;
  if (removed) {
    if (ours) driver.observe_removed(key);
    else driver.cleared(key);
  } else if (ours) {
    driver.observe(key, comparable(route));
  } else if (driver.desired(key) != nullptr && driver.has_actual(key)) {
    // Somebody else's route at our destination and metric: a replacement, of which the kernel tells only the new one. Or it was put
    // before ours; the kernel then refuses ours as one that is there already, and that ends as a conflict.
    driver.observe_removed(key);
  }
}

}  // namespace firn::routed
