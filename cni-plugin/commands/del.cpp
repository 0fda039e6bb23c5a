// DEL of firn: the interface first, the address last, so that nobody gets the address while packets still go to the old holder.
// Everything is found by the handle alone; what is gone already is no error.
#include "cni-plugin/commands/attachment.hpp"
#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/delegate.hpp"
#include "cni-plugin/commands/state.hpp"

namespace firn::cni {

namespace {

// Without a record there may still be a link: ours of a state directory that was lost.
model::Endpoint endpoint_by_name(const Call& call) {
  model::Endpoint out;
  out.network = call.config.name;
  out.container_id = call.environment.container_id;
  out.ifname = call.environment.ifname;
  out.host_ifname = endpoint::host_name(call.config.host_prefix, handle_of(call));
  return out;
}

}  // namespace

Reply del(const Call& call) {
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  const std::string handle = handle_of(call);
  auto found = (*state)->allocator().find(handle);
  if (!found) return state_fault(found.error());
  const bool recorded = found->has_value();
  const model::Endpoint record = recorded ? **std::move(found) : endpoint_by_name(call);
  if (record.kind != model::EndpointKind::interface) return std::string();  // firn-ipam's, of another network of this name

  auto kernel = netlink::open_kernel();
  if (!kernel) return kernel_fault(kernel.error());
  const auto netns = netns_if_alive(call.environment.netns);
  if (auto removed = remove_interface(**kernel, netns ? &*netns : nullptr, record); !removed) return kernel_fault(removed.error());
  if (call.config.ipam.type != own_ipam) {
    if (auto released = run_delegate(call, Verb::del); !released) return std::move(released).fault();
  }
  if (recorded) {
    if (auto released = (*state)->allocator().release(handle); !released) return state_fault(released.error());
  }
  return std::string();
}

}  // namespace firn::cni
