#include "cni-plugin/commands/attachment.hpp"

#include <algorithm>

namespace firn::cni {

Outcome<netlink::Netns> container_netns(const std::string& path) {
  auto netns = netlink::open_netns(path);
  if (!netns) {
    const Error& error = netns.error();
    if (error.is(Code::not_found)) return fault(FaultCode::unknown_container, "CNI_NETNS: " + error.message);
    if (error.is(Code::denied)) return fault(FaultCode::denied, "CNI_NETNS: " + error.message);
    return environment_fault("CNI_NETNS", error);
  }
  auto own = netlink::current_netns_inode();
  if (!own) return kernel_fault(own.error());
  if (*own == netns->inode) {
    return fault(FaultCode::invalid_environment, "CNI_NETNS: " + path + " is the host's own network namespace",
                 "a container on the host's network needs no CNI plugin");
  }
  return *std::move(netns);
}

std::optional<netlink::Netns> netns_if_alive(const std::string& path, uint64_t inode) {
  if (path.empty()) return std::nullopt;
  auto netns = netlink::open_netns(path);
  if (!netns || (inode != 0 && netns->inode != inode)) return std::nullopt;
  auto own = netlink::current_netns_inode();
  if (!own || *own == netns->inode) return std::nullopt;
  return *std::move(netns);
}

std::string handle_of(const Call& call) {
  return model::handle_of(call.config.name, call.environment.container_id, call.environment.ifname);
}

endpoint::Spec spec_of(const model::Endpoint& record, const Config& config, std::vector<Prefix> routes) {
  endpoint::Spec spec;
  spec.handle = model::handle_of(record);
  spec.ifname = record.ifname;
  spec.host_ifname = record.host_ifname;
  spec.mac = record.mac;
  spec.mtu = record.mtu;
  spec.addresses = record.addresses;
  spec.forwarding = config.forwarding;
  spec.routes = std::move(routes);
  spec.bandwidth = record.bandwidth;
  return spec;
}

CniResult result_of(const model::Endpoint& record, const Config& config, const endpoint::Spec& spec,
                    const endpoint::Attached& attached) {
  CniResult out;
  out.interfaces.push_back({record.host_ifname, endpoint::host_mac().to_string(), "", record.mtu});
  out.interfaces.push_back({record.ifname, record.mac.to_string(), record.netns, record.mtu});
  for (const Address& address : record.addresses) {
    out.ips.push_back({.address = {address, address.bits()}, .gateway = endpoint::gateway(address.family()), .interface = 1});
  }
  std::vector<Prefix> destinations = spec.routes;
  for (const Family family : {Family::v4, Family::v6}) {
    const bool has = std::ranges::any_of(record.addresses, [&](const Address& a) { return a.family() == family; });
    if (spec.routes.empty() && has) destinations.push_back(Prefix::any(family));
  }
  for (const Prefix& to : destinations) {
    ResultRoute route{.destination = to, .gateway = endpoint::gateway(to.family())};
    if (to.length() == 0 && attached.in_table(to.family())) {
      // In the main table that route is another interface's. Versions without tables cannot say so.
      if (config.version < Version::v1_1_0) continue;
      route.table = attached.table;
    }
    out.routes.push_back(std::move(route));
  }
  out.dns = config.wishes.dns.empty() ? config.dns.empty() ? config.ipam.dns : config.dns : config.wishes.dns;
  return out;
}

Status remove_interface(netlink::Kernel& kernel, const netlink::Netns* container, const model::Endpoint& record) {
  return endpoint::detach(kernel, container, record, reap_every);
}

}  // namespace firn::cni
