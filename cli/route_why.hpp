// The way of one address, step by step, up to the first one that does not hold: pool, block, endpoint, kernel, bgp.
// Reads the stores, the kernel's routes in the current network namespace, and the daemon. Changes nothing.
// Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "cli/context.hpp"
#include "lib/addr/addr.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

struct Step {
  // none: there is nothing to hold (no peers), which is no fault.
  enum class State { ok, none, unknown, broken } state = State::ok;
  std::string what;    // "pool"
  std::string detail;  // why the state is so
  std::string advice;  // what to do about a broken one
};

struct Chain {
  std::vector<Step> steps;
  bool whole() const { return steps.empty() || steps.back().state != Step::State::broken; }
};

Result<Chain> follow(const Context& context, const Address& address);
// Steps and verdict, "WHAT: the chain is whole" or where it breaks; the exit code that says so. KIND names WHAT in JSON.
Exit print_chain(const Context& context, std::string_view kind, const std::string& what, const Chain& chain);
// "10.44.0.0/26 via 192.0.2.12 dev eth0 proto bird"
std::string route_text(netlink::Kernel& kernel, const netlink::Route& route);
// "bird", "firn", "kernel" ...: rtm_protocol in iproute2's words.
std::string protocol_text(uint8_t protocol);

}  // namespace firn::cli
