// Pools and blocks on a host of many: firn-routed copies the one and claims the other, and the plugin asks it and waits for a
// bounded time. What it waits for is in the node store, whoever put it there. Owns nothing. Thread safety: one thread.
#pragma once

#include <chrono>
#include <string>

#include "ipam/allocator.hpp"
#include "lib/kv/store.hpp"

namespace firn::cni {

// The stores must outlive it. Errors of a call: exhausted (nothing more to be had, the daemon says why, or it does not answer).
ipam::BlockSource daemon_blocks(kv::Store& node, std::string socket,
                                std::chrono::milliseconds patience = std::chrono::milliseconds(4000));

// For a pool that the node store does not have: returns well once the pools there are those of the cluster, so that looking again
// tells. Code::unavailable: that is not so, and why.
Status await_pools(const std::string& socket, std::chrono::milliseconds patience = std::chrono::milliseconds(4000));

}  // namespace firn::cni
