// What ADD, DEL, CHECK and GC share: the namespace of the call, the endpoint's spec, its result.
// Owns nothing. Thread safety: as lib/endpoint.
#pragma once

#include <memory>
#include <optional>

#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/proto/result.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/model/records.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cni {

// Dead links that DEL leaves to be deleted together when nobody else deletes them.
inline constexpr unsigned reap_every = 256;

// CNI_NETNS, opened once. A fault when it is no network namespace, or the one this process is in.
Outcome<netlink::Netns> container_netns(const std::string& path);
// For DEL and GC: nothing when the path is empty, gone, or no longer a container's namespace. `inode`: the only one that counts,
// 0 for any.
std::optional<netlink::Netns> netns_if_alive(const std::string& path, uint64_t inode = 0);

std::string handle_of(const Call& call);
endpoint::Spec spec_of(const model::Endpoint& record, const Config& config, std::vector<Prefix> routes);
// Host side first, container side second; addresses belong to the second.
CniResult result_of(const model::Endpoint& record, const Config& config, const endpoint::Spec& spec,
                    const endpoint::Attached& attached);
// Removes the interface of a record, or, without a record, what would bear its name.
Status remove_interface(netlink::Kernel& kernel, const netlink::Netns* container, const model::Endpoint& record);

}  // namespace firn::cni
