// From the configuration and the runtime's wishes to requests to the allocator, and to a lease. Thread safety: as State.
#pragma once

#include <vector>

#include "cni-plugin/commands/state.hpp"

namespace firn::cni {

// Where an address may come from: a pool, with the bounds and gateway that the configuration gives within it.
struct Source {
  model::Pool pool;
  Range range;
};
// One address that the attachment needs, from the first source that has one.
struct Need {
  Family family = Family::v4;
  std::vector<Source> sources;
  std::optional<Address> address;  // this one
};

// What the configuration and the runtime ask for. Makes the node-only pools of subnets that are used for the first time.
Outcome<std::vector<Need>> needs_of(const Call& call, State& state);
// Leases an address for every need, or none. Code exists: the handle has an endpoint.
Result<model::Endpoint> lease(State& state, const model::Endpoint& endpoint, model::Use use, const std::vector<Need>& needs);
// Fault when lease() would find no address now.
Status can_lease(State& state, model::Use use, const std::vector<Need>& needs);

// The gateway of a bridged network: as configured, else the first address of the subnet. A subnet of one address has none.
std::optional<Address> bridged_gateway(const Range& range);
// The source from which the address came.
const Source* source_of(const std::vector<Need>& needs, const Address& address);

// The part of a record that does not depend on what is attached.
model::Endpoint endpoint_of(const Call& call, const State& state);

}  // namespace firn::cni
