// Blocks on a host of many: firn-routed claims them, and the plugin asks it to and waits for a bounded time. What it waits for is
// the block in the node store, whoever put it there. Owns nothing. Thread safety: one thread.
#pragma once

#include <chrono>
#include <string>

#include "ipam/allocator.hpp"
#include "lib/kv/store.hpp"

namespace firn::cni {

// The stores must outlive it. Errors of a call: exhausted (nothing more to be had, the daemon says why, or it does not answer).
ipam::BlockSource daemon_blocks(kv::Store& node, std::string socket,
                                std::chrono::milliseconds patience = std::chrono::milliseconds(4000));

}  // namespace firn::cni
