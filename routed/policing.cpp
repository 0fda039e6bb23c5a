// {"op":"policy"}: a plugin has attached a container and waits until its policy is in the kernel. {"op":"counters"}: what the rules of
// the table have counted. Both are answered when firn-nft has done its part; the loop does not wait.
#include "lib/json/json.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr int64_t longest_wait = 60'000;  // ms

std::string reply_of(const Status& outcome, bool on) {
  json::Writer w;
  w.begin_object().field("ok", outcome.ok());
  if (outcome) w.field("policy", on);
  else w.field("error", outcome.error().message).field("code", to_string(outcome.error().code));
  return std::move(w.end_object()).take();
}

}  // namespace

// The record is in the node store before the plugin asks: a look there, and the transaction for it is on its way.
std::optional<std::string> Daemon::await_policy(uint64_t client, json::Value root) {
  auto handle = root["handle"].string();
  if (!handle) return reply_of(std::move(handle).error(), true);
  if (!firewall_.is_on()) return reply_of({}, false);
  const auto patience = root["wait"].integer_or(longest_wait, 0, longest_wait);
  if (!patience) return reply_of(patience.error(), true);
  if (firewall_.is_open_for(*handle)) return reply_of({}, true);
  intake_.poll();
  hand_over_changes();
  firewall_.flush(intake_.complete() && !intake_.lost());
  if (firewall_.is_open_for(*handle)) return reply_of({}, true);
  firewall_.wait(*handle, milliseconds(*patience),
                 [this, client](const Status& outcome) { control_->reply(client, reply_of(outcome, true)); });
  return std::nullopt;
}

std::optional<std::string> Daemon::counters(uint64_t client) {
  if (!firewall_.is_on()) return reply_of(make_error(Code::unavailable, "policy is switched off (\"policy\": false)"), true);
  firewall_.list([this, client](Result<std::string> listing) {
    if (!listing) return control_->reply(client, reply_of(std::move(listing).error(), true));
    control_->reply(client, "{\"ok\":true,\"table\":" + *listing + "}");
  });
  return std::nullopt;
}

}  // namespace firn::routed
