// firnctl policy counters: what the rules in this host's kernel matched, by the word of firn-routed.
#include "cli/policy.hpp"
#include "cli/table.hpp"
#include "lib/json/json.hpp"

namespace firn::cli {

namespace {

constexpr int64_t most = INT64_MAX;

Result<std::string> number(const json::Value& counter, const char* name) {
  const auto value = counter[name].integer_or(0, 0, most);
  if (!value) return value.error();
  return std::to_string(*value);
}

// "shop/web", a global policy's name, or what the rule is called: "NetworkPolicy shop/web in 1".
bool is_of(const std::string& rule, const std::string& policy) {
  for (const char* kind : {"NetworkPolicy ", "GlobalNetworkPolicy "}) {
    if (rule.starts_with(kind + policy + " ")) return true;
  }
  return rule == policy;
}

Result<Exit> show(const Context& context, const std::string& policy) {
  auto reply = context.ask("counters");
  if (!reply)
    return reply.error().is(Code::unavailable) ? Result<Exit>(context.no_daemon(reply.error())) : std::move(reply).error();
  const json::Value root = reply->root();
  if (context.output != Output::table && policy.empty()) return context.print(root.dump(), "");
  const auto rules = root["rules"].array();
  const auto endpoints = root["endpoints"].array();
  if (!rules) return rules.error();
  if (!endpoints) return endpoints.error();
  Table table({"RULE", "PACKETS", "BYTES"});
  json::Writer w;
  w.begin_object().key("rules").begin_array();
  for (const json::Value& rule : *rules) {
    const auto name = rule["rule"].string();
    if (!name) return name.error();
    if (!policy.empty() && !is_of(*name, policy)) continue;
    const auto packets = number(rule, "packets"), bytes = number(rule, "bytes");
    if (!packets) return packets.error();
    if (!bytes) return bytes.error();
    table.add({*name, *packets, *bytes});
    w.raw(rule.dump());
  }
  w.end_array().end_object();
  if (!policy.empty() && table.empty()) {
    return make_error(Code::not_found, "this host's kernel has no rule of policy " + policy +
                                           ": it selects nobody here, or has no rules; 'firnctl policy list' shows them all");
  }
  std::string text = table.text();
  if (policy.empty()) {
    Table asked({"ENDPOINT", "INTERFACE", "EGRESS", "INGRESS"});
    for (const json::Value& endpoint : *endpoints) {
      const auto handle = endpoint["handle"].string_or(""), interface = endpoint["interface"].string_or("");
      const auto egress = number(endpoint["egress"], "packets"), ingress = number(endpoint["ingress"], "packets");
      if (!handle || !interface || !egress || !ingress) return make_error(Code::io, "the daemon's answer has no counters");
      asked.add({*handle, *interface, *egress, *ingress});
    }
    text += "\n" + asked.text();
  }
  return context.print(w.text(), text);
}

}  // namespace

void add_policy_counters(Command& policy, Context& context) {
  auto name = std::make_shared<std::string>();
  policy
      .verb("counters", "Show what rules in this host's kernel matched, and how many connections endpoints began",
            "firnctl policy counters\nfirnctl policy counters shop/web", [name, &context] { return show(context, *name); })
      .positional("POLICY", "NAMESPACE/NAME, or the name of a global one (default: all)", Command::text(*name), Need::optional);
}

}  // namespace firn::cli
