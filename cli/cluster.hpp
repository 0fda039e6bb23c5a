// The parts of `firnctl cluster` that have sources of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_cluster_migrate(Command& cluster, Context& context);

}  // namespace firn::cli
