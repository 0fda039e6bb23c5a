// What an ADD waits for at its end: that firn-routed has put the policy of the new container in the kernel. Until then its packets
// are dropped, so an interface that was handed over too early would be one that does not work. Thread safety: as State.
#pragma once

#include <string>

#include "cni-plugin/commands/state.hpp"

namespace firn::cni {

// One request, one answer. With no daemon, or one that does not keep policy, there is nothing to wait for, unless policy is in this
// host's kernel all the same: then the container cannot be opened now, and the fault is code 11. `rests_on_it`: what
// of this container nobody but that daemon does, or ""; without it the fault is code 7.
Answer await_policy(State& state, const Config& config, const std::string& handle, const std::string& rests_on_it);

}  // namespace firn::cni
