// Which block of a pool is claimed next. The lowest, as long as one of the pool's first blocks is free; in a pool of many hosts
// these are taken, and all hosts that want a block would read the same long listing and then fight over the same gap. So from there
// on each looks at a few places of its own, which follow from its name, before it reads every claim of the pool. Pure but for what
// it reads through the transaction. Thread safety: as the transaction.
#pragma once

#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// A block without a claim that no reservation covers whole. `attempt`: how often the transaction was tried before, 0 at first;
// others wanted the same block then, so another one is looked for. Code::exhausted: there is none.
Result<Prefix> unclaimed_block(kv::Transaction& tx, const model::Pool& pool, const std::vector<Prefix>& reserved,
                               std::string_view node, int attempt);

}  // namespace firn::ipam
