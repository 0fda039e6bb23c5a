// Ownership of blocks as the node store sees it: blocks come to be leased from here when they are claimed.
// Owns nothing of its own. Thread safety: as the Store.
#pragma once

#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Puts the blocks of claims of this node into the node store, where they are leased from. A pool that is not there yet is left to
// mirror(). Idempotent.
Status adopt_blocks(kv::Store& node, const std::vector<model::Claim>& claims);

}  // namespace firn::ipam
