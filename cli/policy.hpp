// The parts of `firnctl policy` with sources of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_policy_explain(Command& policy, Context& context);
void add_policy_counters(Command& policy, Context& context);
void add_policy_log(Command& policy, Context& context);

}  // namespace firn::cli
