// The arithmetic of one block: a queue of runs of free ordinals. Pure; thread safety: plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

model::Block fresh_block(const Prefix& prefix, std::string pool, model::Use use);
uint64_t free_count(const model::Block& block);
bool is_free(const model::Block& block, uint32_t ordinal);

// Which ordinals may be given out (reservations, range bounds, gateway of a bridged network). Empty: all of them.
using Allowed = std::function<bool(const Address&)>;

// Takes the first allowed free address whose release lies at or before `released_before`; nothing when there is none.
std::optional<Address> take_first(model::Block& block, int64_t released_before, const Allowed& allowed);
// Release time of the oldest allowed free address: what "shorter when nothing else is free" compares between blocks.
std::optional<int64_t> oldest_release(const model::Block& block, const Allowed& allowed);
bool take(model::Block& block, const Address& address);  // false: it is not free, or not of this block
// Pushes it to the back of the queue. False: it was free already, or is not of this block (nothing changes).
bool give_back(model::Block& block, const Address& address, int64_t now);

// What a record from a store must satisfy before it is used: at most 2^16 addresses, runs inside the block, no ordinal twice.
Status check_queue(const model::Block& block);
// Makes the queue agree with what is held (one flag an ordinal): held ordinals leave it, missing ones join its back as
// released `now`, the rest keeps its order. Ordinals that a damaged queue holds twice, or outside the block, are dropped.
void rebuild_queue(model::Block& block, const std::vector<bool>& held, int64_t now);

}  // namespace firn::ipam
