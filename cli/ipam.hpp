// The parts of `firnctl ipam` that have sources of their own.
#pragma once

#include "cli/command.hpp"
#include "cli/context.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

void add_ipam_check(Command& ipam, Context& context);
void add_ipam_reset(Command& ipam, Context& context);
void add_ipam_dump(Command& ipam, Context& context);
// `ipam show --all`: pools and their use on every host.
Result<Exit> show_across(const Context& context);

// The interfaces that firn made in the current network namespace and that are not waiting for their deletion; by their alias.
struct LiveInterface {
  std::string handle;
  netlink::Link link;
};
Result<std::vector<LiveInterface>> live_interfaces(netlink::Kernel& kernel);

// This node's name by the cluster's record with this machine's id, for when the node store cannot say it; "" when there is none.
Result<std::string> own_name(const Context& context, kv::Store& cluster);

}  // namespace firn::cli
