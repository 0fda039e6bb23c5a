// {"op":"policy"}: a plugin has attached a container and waits until its policy is in the kernel. {"op":"counters"}: what the rules
// of the table have counted. Both are answered when firn-nft has done its part; the loop does not wait.
#include "lib/json/json.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr int64_t longest_wait = 60'000;  // ms
constexpr milliseconds counters_age{10'000};

std::string reply_of(const Status& outcome, bool on) {
  json::Writer w;
  w.begin_object().field("ok", outcome.ok());
  if (outcome) w.field("policy", on);
  else w.field("error", outcome.error().message).field("code", to_string(outcome.error().code));
  return std::move(w.end_object()).take();
}

void write_counter(json::Writer& w, const Counter& counter) { w.field("packets", counter.packets).field("bytes", counter.bytes); }

std::string text_of(const Counters& counters, const std::map<std::string, std::string>& handles) {
  json::Writer w;
  w.begin_object().field("ok", true).key("rules").begin_array();
  for (const auto& [rule, counter] : counters.rules) {
    w.begin_object().field("rule", rule);
    write_counter(w, counter);
    w.end_object();
  }
  w.end_array().key("endpoints").begin_array();
  for (const auto& [interface, counted] : counters.interfaces) {
    const auto handle = handles.find(interface);
    w.begin_object().field("interface", interface);
    if (handle != handles.end()) w.field("handle", handle->second);
    for (const auto& [name, counter] : {std::pair("egress", counted.egress), std::pair("ingress", counted.ingress)}) {
      w.key(name).begin_object();
      write_counter(w, counter);
      w.end_object();
    }
    w.end_object();
  }
  return std::move(w.end_array().end_object()).take();
}

}  // namespace

// The record is in the node store before the plugin asks: a look there first, for what is known may be an older attachment's.
std::optional<std::string> Daemon::await_policy(uint64_t client, json::Value root) {
  auto handle = root["handle"].string();
  if (!handle) return reply_of(std::move(handle).error(), true);
  if (!firewall_.is_on()) return reply_of({}, false);
  const auto patience = root["wait"].integer_or(longest_wait, 0, longest_wait);
  if (!patience) return reply_of(patience.error(), true);
  intake_.poll();
  hand_over_changes();
  firewall_.flush(intake_.complete() && !intake_.lost());
  if (firewall_.is_open_for(*handle)) return reply_of({}, true);
  if (intake_.complete() && !intake_.lost() && !firewall_.knows(*handle))
    return reply_of(make_error(Code::not_found, config_.state_dir + " has no attachment " + *handle), true);
  firewall_.wait(*handle, milliseconds(*patience),
                 [this, client](const Status& outcome) { control_->reply(client, reply_of(outcome, true)); });
  return std::nullopt;
}

std::optional<std::string> Daemon::counters(uint64_t client) {
  if (!firewall_.is_on()) return reply_of(make_error(Code::unavailable, "policy is switched off (\"policy\": false)"), true);
  // Later, even where the answer is there: a reply is given once.
  firewall_.counters().read([this, client](const Result<Counters>& counted) {
    loop_.post([this, client, reply = counted ? text_of(*counted, firewall_.handles()) : reply_of(counted.error(), true)] {
      control_->reply(client, reply);
    });
  });
  return std::nullopt;
}

// A scrape waits for nothing: it gets the counters that were read last, and has newer ones read for the next.
Gauges::Nft Daemon::firewall_gauges() {
  const Firewall::State state = firewall_.state();
  Gauges::Nft out;
  for (const auto& [name, counts] :
       {std::pair("set", state.table.sets), std::pair("chain", state.table.chains), std::pair("element", state.table.elements)})
    out.kinds.push_back({name, counts.desired, counts.actual, counts.pending});
  out.in_place = firewall_.trouble().empty();
  out.held = state.held;
  out.transactions = state.table.transactions;
  out.repairs = state.table.repairs;
  out.refusals = state.table.refusals;
  out.child_starts = state.child_starts;
  out.policies = state.policies.policies;
  const Counters& counters = firewall_.counters().last(counters_age);
  for (const auto& [rule, counter] : counters.rules) {
    if (out.rules.size() < most_rule_series) out.rules.push_back({rule, counter.packets, counter.bytes});
  }
  const auto handles = firewall_.handles();
  for (const auto& [interface, counted] : counters.interfaces) {
    const auto handle = handles.find(interface);
    if (handle != handles.end() && out.endpoints.size() < most_rule_series)
      out.endpoints.push_back({handle->second, counted.egress.packets, counted.ingress.packets});
  }
  return out;
}

}  // namespace firn::routed
