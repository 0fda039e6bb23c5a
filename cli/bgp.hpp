// The parts of `firnctl bgp` that have a source of their own, and what they share.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"

namespace firn::cli {

void add_bgp_peer(Command& bgp, Context& context);
void add_bgp_filter(Command& bgp, Context& context);
void add_bgp_community(Command& bgp, Context& context);
void add_bgp_prefix(Command& bgp, Context& context);
void add_bgp_status(Command& bgp, Context& context);
void add_bgp_routes(Command& bgp, Context& context);

// Whether every community of the list is a value or the name of one that there is; `field` is its JSON pointer.
Status check_communities_exist(kv::Transaction& tx, std::string_view field, const std::vector<std::string>& communities);
Status check_filters_exist(kv::Transaction& tx, std::string_view field, const std::vector<std::string>& filters);

}  // namespace firn::cli
