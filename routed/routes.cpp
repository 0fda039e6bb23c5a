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
    if (route.protocol == netlink::route_protocol && route.table == main_table) out.insert_or_assign(key_of(route), comparable(std::move(route)));
  }
  return out;
}

netlink::Request RouteKind::upsert(const Key&, const Spec& spec) { return netlink::ReplaceRoute{spec}; }
netlink::Request RouteKind::remove(const Key&, const Spec& spec) { return netlink::RemoveRoute{spec}; }
bool RouteKind::gone(int sys) { return sys == ESRCH || sys == ENOENT || sys == ENODEV; }

void observe(RouteDriver& driver, const netlink::Route& route, bool removed) {
  if (route.table != main_table) return;
  const RouteKey key = key_of(route);
  const bool ours = route.protocol == netlink::route_protocol;
  if (removed) {
    if (ours) driver.observe_removed(key);
  } else if (ours) {
    driver.observe(key, comparable(route));
  } else if (driver.desires(key) && driver.has_actual(key)) {
    // Somebody else's route at our destination and metric: a replacement, of which the kernel tells only the new one.
    driver.observe_removed(key);
  }
}

}  // namespace firn::routed
