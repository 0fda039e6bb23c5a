// STATUS: would an ADD succeed now? Kubelets ask every few seconds, so this does no more than look.
#include <chrono>

#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/delegate.hpp"
#include "cni-plugin/commands/lease.hpp"
#include "lib/control/control.hpp"

namespace firn::cni {

namespace {

constexpr std::chrono::milliseconds daemon_deadline{500};

Fault not_available(Fault why) {
  why.code = FaultCode::not_available;
  return why;
}

// The pools of the need when all of them want to be told of their end, and have come to it on this host; "" otherwise.
Result<std::string> low_pools(State& state, const Need& need, model::Use use) {
  std::string names;
  for (const Source& source : need.sources) {
    if (!source.pool.status_when_low) return std::string();
    auto low = state.is_low(source.pool, use);
    if (!low) return std::move(low).error();
    if (!*low) return std::string();
    names.append(names.empty() ? "pool " : ", ").append(source.pool.name);
  }
  return names;
}

Reply lease_status(const Call& call, model::Use use) {
  auto state = State::open(call);
  if (!state) return not_available(std::move(state).fault());
  auto needs = needs_of(call, **state);
  if (!needs) return not_available(std::move(needs).fault());
  if (auto possible = can_lease(**state, use, *needs); !possible) return not_available(lease_fault(possible.error()));
  for (const Need& need : *needs) {
    auto low = low_pools(**state, need, use);
    if (!low) return not_available(state_fault(low.error()));
    if (low->empty()) continue;
    return fault(
        FaultCode::limited_connectivity, *low + ": this host has no spare block, and there is none to claim",
        "extend it ('firnctl pool resize') or name another pool too; 'firnctl pool set --no-status-when-low' ends this answer");
  }
  return std::string();
}

}  // namespace

Reply status(const Call& call) {
  if (call.config.require_daemon) {
    auto reply = control::call(call.config.daemon_socket, R"({"op":"status"})", daemon_deadline);
    if (!reply) {
      return fault(FaultCode::limited_connectivity, "firn-routed: " + reply.error().message,
                   "containers that run may lose routes; start firn-routed, or leave \"requireDaemon\" out");
    }
  }
  if (call.config.ipam.type == own_ipam) return lease_status(call, model::Use::routed);
  // Its own state must be writable all the same: the endpoint is recorded there.
  if (auto state = State::open(call); !state) return not_available(std::move(state).fault());
  auto answered = run_delegate(call, Verb::status);
  if (answered) return std::string();
  Fault why = std::move(answered).fault();
  if (why.code != FaultCode::limited_connectivity) why.code = FaultCode::not_available;
  return why;
}

Reply ipam_status(const Call& call) { return lease_status(call, model::Use::bridged); }

}  // namespace firn::cni
