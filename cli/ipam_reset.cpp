// firnctl ipam reset: a new node store in the place of a damaged one, filled from what is still to be seen on the host.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "cli/ipam.hpp"
#include "ipam/check.hpp"
#include "ipam/identity.hpp"
#include "lib/base/file.hpp"
#include "lib/model/keys.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

namespace {

// NETWORK/CONTAINER/INTERFACE; none of the three has a slash.
std::optional<model::Endpoint> endpoint_of(const std::string& handle) {
  const auto first = handle.find('/');
  const auto last = handle.rfind('/');
  if (first == std::string::npos || first == last) return std::nullopt;
  model::Endpoint out;
  out.network = handle.substr(0, first);
  out.container_id = handle.substr(first + 1, last - first - 1);
  out.ifname = handle.substr(last + 1);
  return out;
}

// Interfaces by their alias, their addresses by firn's host routes, their MACs by firn's permanent neighbours.
Result<std::vector<model::Endpoint>> live_endpoints(const std::string& boot_id, int64_t now) {
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  auto interfaces = live_interfaces(**kernel);
  if (!interfaces) return std::move(interfaces).error();
  netlink::RouteFilter filter;
  filter.protocol = netlink::route_protocol;
  auto routes = (*kernel)->routes(filter);
  if (!routes) return std::move(routes).error();
  auto neighbours = (*kernel)->neighbours(0);
  if (!neighbours) return std::move(neighbours).error();
  std::vector<model::Endpoint> out;
  for (const LiveInterface& interface : *interfaces) {
    auto endpoint = endpoint_of(interface.handle);
    if (!endpoint) continue;
    for (const netlink::Route& route : *routes) {
      if (route.oif == interface.link.index && route.destination.is_host())
        endpoint->addresses.push_back(route.destination.address());
    }
    for (const netlink::Neighbour& neighbour : *neighbours) {
      if (neighbour.index == interface.link.index) endpoint->mac = neighbour.mac;
    }
    if (endpoint->addresses.empty()) continue;
    endpoint->host_ifname = interface.link.name;
    endpoint->mtu = interface.link.mtu;
    endpoint->boot_id = boot_id;
    endpoint->created_at = now;
    out.push_back(std::move(*endpoint));
  }
  return out;
}

// False: it cannot be read, or it is a new one in the place of one that was lost (a host of a cluster has its name in it).
Result<bool> is_usable(const Context& context, bool has_cluster) {
  auto store = context.node_store();
  if (!store || !(*store)->range("")) return false;
  if (!has_cluster) return true;
  auto name = context.node_name(**store);
  if (!name) return std::move(name).error();
  return !name->empty();
}

Result<Exit> reset(const Context& context, bool force) {
  struct stat info {};
  const bool there = ::stat(context.node_path().c_str(), &info) == 0;
  if (!there && errno != ENOENT) return errno_error("look at " + context.node_path());
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  if (there && !force) {
    auto usable = is_usable(context, *cluster != nullptr);
    if (!usable) return std::move(usable).error();
    if (*usable) {
      return make_error(Code::conflict,
                        context.node_path() +
                            " can be read; 'firnctl ipam check --fix' repairs records. Only a store that cannot be read "
                            "is worth this (--force does it all the same)");
    }
  }
  if (context.ask("status")) {
    return make_error(Code::conflict,
                      "firn-routed is running and uses the store; stop it first ('systemctl stop firn-routed'), and no container "
                      "may start meanwhile");
  }
  std::string name;
  if (*cluster) {
    auto own = own_name(context, **cluster);
    if (!own) return std::move(own).error();
    if (own->empty())
      return make_error(Code::conflict,
                        context.cluster_place() + " has no node with the id of this machine; put back the right one");
    name = std::move(*own);
  }
  auto boot = ipam::current_boot_id();
  if (!boot) return std::move(boot).error();
  auto live = live_endpoints(*boot, context.clock.unix_seconds());
  if (!live) return std::move(live).error();
  // Neither a store, nor a cluster's, nor a container: more likely the wrong directory than a lost store.
  if (!there && *cluster == nullptr && live->empty()) {
    auto store = context.node_store();
    if (!store) return std::move(store).error();
  }
  if (auto made = make_directories(context.state_dir, 0700); !made) return std::move(made).error();
  auto moved = ipam::reset_node_store(context.node_path(), cluster->get(), name, *boot, *live, context.clock);
  if (!moved) return std::move(moved).error();
  json::Writer w;
  w.begin_object().field("moved_to", there ? *moved : std::string()).field("endpoints", static_cast<uint64_t>(live->size())).end_object();
  return context.done(
      (there ? "the old store is " + *moved : "there was no store") + "; the new one holds " + std::to_string(live->size()) + " endpoints that are alive here",
      w.text());
}

}  // namespace

Result<std::string> own_name(const Context& context, kv::Store& cluster) {
  auto nodes = list_records(cluster, model::keys::nodes, model::decode_node);
  if (!nodes) return std::move(nodes).error();
  const std::string id = ipam::known_machine_id(context.state_dir);
  const auto found = std::find_if(nodes->begin(), nodes->end(), [&](const model::Node& n) { return !id.empty() && n.machine_id == id; });
  if (found != nodes->end()) return found->name;
  // The only node of a file of this host's own is this host, whatever its id says.
  struct stat info {};
  const bool alone = nodes->size() == 1 && ::stat(context.cluster_path().c_str(), &info) == 0;
  return alone ? nodes->front().name : std::string();
}

void add_ipam_reset(Command& ipam, Context& context) {
  auto force = std::make_shared<bool>(false);
  ipam.verb("reset", "Replace a damaged node store by a new one, filled from the interfaces and routes that are there",
            "systemctl stop firn-routed\nfirnctl ipam reset\nsystemctl start firn-routed",
            [force, &context] { return reset(context, *force); })
      .flag("--force", "Also when the store can be read", *force);
}

}  // namespace firn::cli
