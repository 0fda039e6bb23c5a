#include "cni-plugin/commands/daemon_policy.hpp"

#include "lib/control/control.hpp"
#include "lib/json/json.hpp"

namespace firn::cni {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds slack{500};  // the daemon's own word, why it took too long, is better than none

// Why there is no yes. `absent`: no daemon keeps policy for this attachment.
struct No {
  std::string why;
  bool absent = false;
};
No read_no(const Result<std::string>& reply) {
  if (!reply) return {reply.error().message, true};
  const auto document = json::Document::parse(*reply);
  if (!document) return {document.error().message, true};
  const auto why = document->root()["error"].string_or("");
  const auto code = document->root()["code"].string_or("");
  // not found: it serves another state directory. invalid: an older one, which knows nothing of policy.
  const bool absent = code && (*code == to_string(Code::not_found) || *code == to_string(Code::invalid));
  return {why ? *why : why.error().message, absent};
}

Fault nobody_does(const std::string& what, const std::string& why) {
  return fault(FaultCode::invalid_config, what + " by firn-routed alone; " + why, "start firn-routed, with policy on");
}

}  // namespace

Answer await_policy(State& state, const Config& config, const std::string& handle, const std::string& rests_on_it) {
  json::Writer w;
  w.begin_object().field("op", "policy").field("handle", handle).field("wait", config.policy_timeout).end_object();
  const auto reply = control::call(config.daemon_socket, w.text(), milliseconds(config.policy_timeout) + slack);
  if (reply && reply->starts_with(R"({"ok":true)")) {
    if (rests_on_it.empty() || *reply == R"({"ok":true,"policy":true})") return Done{};
    return nobody_does(rests_on_it, "there \"policy\" is off");
  }
  No no = read_no(reply);
  if (no.absent) {
    const auto active = state.has_policy();
    if (!active) return state_fault(active.error());
    if (!*active) return rests_on_it.empty() ? Answer(Done{}) : nobody_does(rests_on_it, no.why);
  }
  return fault(
      FaultCode::try_again, "policy of this container is not in the kernel yet: " + no.why,
      "until it is, its packets are dropped; see that firn-routed runs ('firnctl status'), or set \"policy\": false there");
}

}  // namespace firn::cni
