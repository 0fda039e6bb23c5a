// The commands of firnctl, one source a noun. Each adds its part to the tree.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_init(Command& root, Context& context);
void add_join(Command& root, Context& context);
void add_cluster(Command& root, Context& context);
void add_node(Command& root, Context& context);
void add_node_drain(Command& node, Context& context);
void add_pool(Command& root, Context& context);
void add_reservation(Command& root, Context& context);
void add_ipam(Command& root, Context& context);
void add_endpoint(Command& root, Context& context);
void add_policy(Command& root, Context& context);
void add_bgp(Command& root, Context& context);
void add_route(Command& root, Context& context);
void add_trace(Command& root, Context& context);
void add_get(Command& root, Context& context);
void add_apply(Command& root, Context& context);
void add_diff(Command& root, Context& context);
void add_delete(Command& root, Context& context);
void add_status(Command& root, Context& context);
void add_version(Command& root, Context& context);

// The whole tree with the options that every command takes.
void add_everything(Program& program, Context& context);

}  // namespace firn::cli
