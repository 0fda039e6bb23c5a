// The part of `firnctl bgp` that has a source of its own.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_bgp_peer(Command& bgp, Context& context);

}  // namespace firn::cli
