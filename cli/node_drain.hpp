// How far the drain of a node is, as its neighbours told it (status/drain/NODE). Owns nothing.
#pragma once

#include <optional>
#include <string>

#include "lib/kv/store.hpp"
#include "lib/model/bgp_status.hpp"

namespace firn::cli {

// Nothing: the node is not drained, or has told nothing of this drain yet.
Result<std::optional<model::DrainReport::Own>> drain_report(kv::Store& cluster, const model::Node& node);
// "moved: a, b; have not moved yet: c; could not be asked, for they are no hosts: tor-a"; "" when there are none.
std::string drain_text(const model::DrainReport::Own& report);

}  // namespace firn::cli
