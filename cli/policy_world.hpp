// What a decision about a packet needs to know, read from the stores at once: policies, namespaces, settings, host endpoints,
// hosts, and every container, those of this host from its own store. Changes nothing. Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "cli/context.hpp"
#include "lib/policy/evaluate.hpp"

namespace firn::cli {

struct Container {
  std::string node;
  model::Endpoint endpoint;
  std::string name() const;  // "shop/web" of a pod, otherwise the handle
};

struct World {
  policy::Evaluator evaluator;
  std::vector<model::HostEndpoint> host_endpoints;
  std::vector<model::Node> nodes;
  std::vector<Container> containers;
};
Result<World> read_world(const Context& context);

// Whom a person means: a container by NAMESPACE/NAME of its pod, its handle, its id or the beginning of that; or an address, which
// may be a container's, a host's or anybody's.
struct Party {
  std::string name;
  const Container* container = nullptr;
  std::string node;                // of a host
  std::vector<Address> addresses;  // at most one a family
};
Result<Party> find_party(const World& world, const std::string& what);

// As an end of packets. `interface`: of a host with several host endpoints, the one that the packets pass; "": the only one.
// Code::invalid: that cannot be told.
Result<policy::End> end_of(const World& world, const Party& party, Family family, const std::string& interface);

}  // namespace firn::cli
