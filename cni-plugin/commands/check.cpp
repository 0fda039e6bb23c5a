// CHECK of firn: lease, kernel and prevResult say the same. Later plugins of the list may have changed MAC and MTU: prevResult,
// which is theirs, tells what to expect.
#include <algorithm>

#include "cni-plugin/commands/attachment.hpp"
#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/delegate.hpp"
#include "cni-plugin/commands/state.hpp"

namespace firn::cni {

namespace {

Fault differs(std::string text) { return fault(FaultCode::differs, std::move(text), "DEL and ADD make it anew"); }

Answer check_leases(ipam::Allocator& allocator, const model::Endpoint& record) {
  if (!record.leased) return Done{};
  const std::string handle = model::handle_of(record);
  for (const Address& address : record.addresses) {
    auto holder = allocator.holder(address);
    if (!holder) return state_fault(holder.error());
    if (!*holder) return differs("address " + address.to_string() + " of " + handle + " has no lease");
    if ((*holder)->handle != handle)
      return differs("address " + address.to_string() + " of " + handle + " is leased to " + (*holder)->handle);
  }
  return Done{};
}

Answer check_ports(ipam::Allocator& allocator, const model::Endpoint& record, const Wishes& wishes) {
  const std::string handle = model::handle_of(record);
  for (const model::PortPlace& place : model::places_of(record)) {
    auto holder = allocator.holder(place);
    if (!holder) return state_fault(holder.error());
    if (!*holder) return differs("port " + to_string(place) + " of " + handle + " is not held for it");
    if (**holder != handle) return differs("port " + to_string(place) + " of " + handle + " is held for " + **holder);
  }
  // Not every runtime says on CHECK what it said on ADD.
  if (!wishes.ports.empty() && wishes.ports != record.ports) {
    return differs("/runtimeConfig/portMappings: not what " + handle + " was added with");
  }
  if (wishes.bandwidth != model::Bandwidth{} && wishes.bandwidth != record.bandwidth) {
    return differs("/runtimeConfig/bandwidth: not what " + handle + " was added with");
  }
  return Done{};
}

// The container's interface in prevResult; nullptr when it is not there.
const Interface* our_interface(const CniResult& previous, const std::string& ifname) {
  for (const Interface& interface : previous.interfaces) {
    if (interface.name == ifname && !interface.sandbox.empty()) return &interface;
  }
  return nullptr;
}

Answer check_addresses(const CniResult& previous, const Interface& ours, const model::Endpoint& record) {
  const int index = static_cast<int>(&ours - previous.interfaces.data());
  std::vector<Address> stated;
  for (const IpConfig& ip : previous.ips) {
    if (ip.interface == index || ip.interface < 0) stated.push_back(ip.address.address);
  }
  for (const Address& address : record.addresses) {
    if (std::ranges::find(stated, address) == stated.end())
      return differs("address " + address.to_string() + " is not in /prevResult/ips");
  }
  for (const Address& address : stated) {
    if (std::ranges::find(record.addresses, address) == record.addresses.end()) {
      return differs("/prevResult/ips: " + address.to_string() + " is not an address of this attachment");
    }
  }
  return Done{};
}

std::vector<Prefix> expected_routes(const CniResult& previous, const Call& call, const model::Endpoint& record) {
  std::vector<Prefix> out;
  bool seen[2] = {};
  for (const ResultRoute& route : previous.routes) {
    if (route.gateway != endpoint::gateway(route.destination.family())) continue;
    out.push_back(route.destination);
    seen[route.destination.family() == Family::v4 ? 0 : 1] = true;
  }
  // A default route in a table of its own is not in results before 1.1.0.
  if (!call.config.ipam.routes.empty() || call.config.ipam.type != own_ipam) return out;
  for (const Address& address : record.addresses) {
    bool& known = seen[address.is_v4() ? 0 : 1];
    if (!known) out.push_back(Prefix::any(address.family()));
    known = true;
  }
  return out;
}

}  // namespace

Reply check(const Call& call) {
  auto netns = container_netns(call.environment.netns);
  if (!netns) return std::move(netns).fault();
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  const std::string handle = handle_of(call);
  auto found = (*state)->allocator().find(handle);
  if (!found) return state_fault(found.error());
  if (!*found) return differs("attachment " + handle + " has no record: it was never added, or was released");
  const model::Endpoint& record = **found;
  if (record.kind != model::EndpointKind::interface)
    return differs("attachment " + handle + " was made by firn-ipam for another plugin");
  if (auto leased = check_leases((*state)->allocator(), record); !leased) return std::move(leased).fault();

  if (auto held = check_ports((*state)->allocator(), record, call.config.wishes); !held) return std::move(held).fault();

  const CniResult& previous = *call.config.prev_result;
  const Interface* ours = our_interface(previous, record.ifname);
  if (ours == nullptr) return differs("/prevResult/interfaces: has no interface " + record.ifname + " of a container");
  if (auto same = check_addresses(previous, *ours, record); !same) return std::move(same).fault();
  endpoint::Spec spec = spec_of(record, call.config, expected_routes(previous, call, record));
  spec.mtu = ours->mtu;
  if (!ours->mac.empty()) {
    auto mac = Mac::parse(ours->mac);
    if (!mac) return fault(FaultCode::invalid_config, "/prevResult/interfaces: " + mac.error().message);
    spec.mac = *mac;
  }
  auto kernel = netlink::open_kernel();
  if (!kernel) return kernel_fault(kernel.error());
  auto same = endpoint::check(**kernel, *netns, spec);
  if (!same) {
    const Error& error = same.error();
    if (error.is(Code::conflict) || error.is(Code::not_found)) return differs(error.message);
    return kernel_fault(error);
  }
  if (call.config.ipam.type != own_ipam) {
    if (auto checked = run_delegate(call, Verb::check); !checked) return std::move(checked).fault();
  }
  return std::string();
}

}  // namespace firn::cni
