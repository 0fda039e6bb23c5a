// Published ports as the host sees them: no program of its own may listen there. Owns nothing; the sockets that ask are closed
// before the answer.
#pragma once

#include <vector>

#include "cni-plugin/proto/fault.hpp"
#include "lib/model/ports.hpp"

namespace firn::cni {

// For a container with these addresses. Fault 101: something of the host listens on a port; 7: the host does not have the address,
// or the container has none of its family to which the port could lead.
Answer ports_are_free(const std::vector<model::PublishedPort>& ports, const std::vector<Address>& addresses);

}  // namespace firn::cni
