// The parts of `firnctl pool` that have sources of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_pool_reshape(Command& pool, Context& context);  // resize, split, merge, resume

}  // namespace firn::cli
