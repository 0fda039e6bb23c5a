// The spelling rules of names that people and runtimes give to objects; they end in keys, paths and configurations.
#pragma once

#include <string_view>

#include "lib/base/result.hpp"

namespace firn::model {

// Pools, nodes, namespaces: [a-z0-9]([a-z0-9.-]*[a-z0-9])?, up to 63 bytes. `what` opens the message ("pool name").
Status check_object_name(std::string_view what, std::string_view name);
// Policies, as Kubernetes names them: the same, up to 253 bytes.
Status check_long_name(std::string_view what, std::string_view name);
// BGP peers: [a-z][a-z0-9-]*, up to 48 bytes: it becomes part of a protocol name in BIRD.
Status check_peer_name(std::string_view name);
// CNI network names and container ids: [a-zA-Z0-9][a-zA-Z0-9_.-]*, up to 200 bytes (CNI spec, section 2).
Status check_cni_name(std::string_view what, std::string_view name);

}  // namespace firn::model
