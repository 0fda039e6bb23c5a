// Waits for what the kernel does about a new link in work items of its own, after it has answered. Owns nothing.
// Thread safety: as the Kernel's.
#pragma once

#include <string>
#include <vector>

#include "lib/netlink/kernel.hpp"

namespace firn::endpoint {

// Returns once the link sends what it is given and each of `ipv6` is an address of it that packets are taken for. Without this the
// first packets to a container are lost on a busy host. Code::unavailable when it takes longer than two seconds.
Status await_ready(netlink::Kernel& kernel, const std::string& ifname, int index, const std::vector<Address>& ipv6);

}  // namespace firn::endpoint
