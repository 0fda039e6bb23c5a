// firn-ipam's ADD, DEL and CHECK: leases for another plugin's interface, of Use::bridged blocks, which are never announced.
#include <algorithm>

#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/lease.hpp"
#include "cni-plugin/proto/result.hpp"

namespace firn::cni {

namespace {

std::string handle_of(const Call& call) {
  return model::handle_of(call.config.name, call.environment.container_id, call.environment.ifname);
}

// Addresses with the length of their subnet and its gateway, as plugins with a bridge need them. No interfaces: the other
// plugin's.
Outcome<Added> result_of(const Call& call, const model::Endpoint& record, const std::vector<Need>& needs, bool made) {
  CniResult out;
  for (const Address& address : record.addresses) {
    const Source* source = source_of(needs, address);
    if (source == nullptr) {
      return fault(
          FaultCode::exists,
          "attachment " + model::handle_of(record) + " exists already, with address " + address.to_string() + " of another subnet",
          "DEL it first");
    }
    out.ips.push_back({.address = {address, source->range.subnet.length()}, .gateway = bridged_gateway(source->range)});
  }
  out.routes = call.config.ipam.routes;
  out.dns = call.config.wishes.dns.empty() ? call.config.ipam.dns : call.config.wishes.dns;
  return Added{.text = write_result(out, call.config.version), .made = made};
}

}  // namespace

Outcome<Added> ipam_add(const Call& call) {
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  auto needs = needs_of(call, **state);
  if (!needs) return std::move(needs).fault();
  model::Endpoint wanted = endpoint_of(call, **state);
  wanted.kind = model::EndpointKind::address;
  auto leased = lease(**state, wanted, model::Use::bridged, *needs);
  if (!leased && leased.error().is(Code::exists)) {
    auto found = (*state)->allocator().find(handle_of(call));
    if (!found) return state_fault(found.error());
    if (!*found || (*found)->kind != model::EndpointKind::address) return lease_fault(leased.error());
    // A call that was killed after its lease, or whose answer was lost: the same addresses again.
    for (const Need& need : *needs) {
      if (need.address && std::ranges::find((*found)->addresses, *need.address) == (*found)->addresses.end()) {
        return lease_fault(leased.error());
      }
    }
    return result_of(call, **found, *needs, false);
  }
  if (!leased) return lease_fault(leased.error());
  return result_of(call, *leased, *needs, true);
}

Reply ipam_del(const Call& call) {
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  const std::string handle = handle_of(call);
  auto found = (*state)->allocator().find(handle);
  if (!found) return state_fault(found.error());
  if (!*found || (*found)->kind != model::EndpointKind::address) return std::string();
  if (auto released = (*state)->allocator().release(handle); !released) return state_fault(released.error());
  return std::string();
}

Reply ipam_check(const Call& call) {
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  const std::string handle = handle_of(call);
  auto found = (*state)->allocator().find(handle);
  if (!found) return state_fault(found.error());
  if (!*found || (*found)->kind != model::EndpointKind::address) {
    return fault(FaultCode::differs, "attachment " + handle + " has no lease", "DEL and ADD make it anew");
  }
  for (const Address& address : (*found)->addresses) {
    auto holder = (*state)->allocator().holder(address);
    if (!holder) return state_fault(holder.error());
    if (!*holder || (*holder)->handle != handle) {
      return fault(FaultCode::differs, "address " + address.to_string() + " is not leased to " + handle,
                   "DEL and ADD make it anew");
    }
  }
  return std::string();
}

}  // namespace firn::cni
