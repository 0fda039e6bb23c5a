// Another IPAM plugin, run as the CNI spec says: found in CNI_PATH, same stdin, same environment but for CNI_COMMAND.
// Owns the child process, which never outlives the call (deadline 60 s, then it is killed). No shell.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/proto/result.hpp"
#include "lib/model/records.hpp"

namespace firn::cni {

// What the plugin printed. Its own error is handed on with its code; FaultCode::delegate when it could not be run.
Outcome<std::string> run_delegate(const Call& call, Verb verb);
// DEL of another attachment than the call's: GC's way of giving an address back.
Outcome<std::string> release_by_delegate(const Call& call, const model::Endpoint& record);
// ADD, with its result read. Without addresses it is a fault. After any fault the plugin's DEL is due, as the spec says.
Outcome<CniResult> delegate_add(const Call& call);

}  // namespace firn::cni
