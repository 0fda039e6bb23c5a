// firnctl policy: the policies in the order in which they decide.
#include "cli/policy.hpp"

#include "cli/kind.hpp"
#include "cli/nouns.hpp"
#include "cli/policy_text.hpp"
#include "cli/policy_world.hpp"
#include "lib/policy/check.hpp"

namespace firn::cli {

namespace {

using policy::Direction;

std::string full_name(const model::Policy& policy) { return policy.global() ? policy.name : policy.scope + "/" + policy.name; }

Kind kind_of(const model::Policy& policy) { return policy.global() ? global_network_policy_kind() : network_policy_kind(); }

Exit print_documents(const Context& context, const std::vector<model::Policy>& policies) {
  std::vector<std::string> documents;
  for (const model::Policy& policy : policies) {
    const Kind kind = kind_of(policy);
    if (auto read = kind.read(encode(policy))) documents.push_back(document_of(kind, *read, true));
  }
  return print_yaml(context, documents);
}

// Those that select the party in a direction; every one without a party.
Result<std::vector<model::Policy>> policies_of(const World& world, const std::string& what, const std::string& interface) {
  const auto& all = world.evaluator.policies();
  if (what.empty()) return all;
  auto party = find_party(world, what);
  if (!party) return std::move(party).error();
  auto end = end_of(world, *party, Family::v4, interface);
  if (!end) return std::move(end).error();
  std::vector<bool> selects(all.size());
  for (const Direction direction : {Direction::ingress, Direction::egress}) {
    for (const size_t index : world.evaluator.selecting(direction, *end)) selects[index] = true;
  }
  std::vector<model::Policy> out;
  for (size_t i = 0; i < all.size(); ++i) {
    if (selects[i]) out.push_back(all[i]);
  }
  return out;
}

Result<Exit> list(const Context& context, const std::string& what, const std::string& interface) {
  auto world = read_world(context);
  if (!world) return std::move(world).error();
  auto policies = policies_of(*world, what, interface);
  if (!policies) return std::move(policies).error();
  if (context.output == Output::yaml) return print_documents(context, *policies);
  Table table({"NAME", "KIND", "ORDER", "SELECTS", "TYPES", "IN", "OUT"});
  for (const model::Policy& policy : *policies) {
    table.add({full_name(policy), kind_of(policy).name, std::to_string(policy.order), selects_text(policy), types_text(policy),
               std::to_string(policy.ingress.size()), std::to_string(policy.egress.size())});
  }
  return context.print(encode_all(*policies), table,
                       what.empty() ? "no policies; make one with: firnctl apply -f FILE" : "no policy selects " + what);
}

// "NAMESPACE/NAME", or the name of a global one or of one in the namespace "default".
Result<model::Policy> find(kv::Store& cluster, const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos) {
    auto global = get_record(cluster, model::keys::policy({}, name), model::decode_policy);
    if (!global) return std::move(global).error();
    if (*global) return std::move(**global);
  }
  const std::string scope = slash == std::string::npos ? std::string(model::default_namespace) : name.substr(0, slash);
  auto policy = get_record(cluster, model::keys::policy(scope, slash == std::string::npos ? name : name.substr(slash + 1)),
                           model::decode_policy);
  if (!policy) return std::move(policy).error();
  if (!*policy) return make_error(Code::not_found, "there is no policy " + name + "; 'firnctl policy list' shows them");
  return std::move(**policy);
}

Result<Exit> show(const Context& context, const std::string& name) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto policy = find(**cluster, name);
  if (!policy) return std::move(policy).error();
  if (context.output == Output::yaml) return print_documents(context, {*policy});
  Sheet sheet;
  sheet.line("Kind", kind_of(*policy).name).line("Name", full_name(*policy)).line("Order", std::to_string(policy->order));
  sheet.line("Selects", selects_text(*policy)).line("Types", types_text(*policy)).line("Note", policy->note);
  for (const auto& [direction, rules] : {std::pair("Ingress ", &policy->ingress), {"Egress ", &policy->egress}}) {
    for (size_t i = 0; i < rules->size(); ++i) sheet.line(direction + std::to_string(i + 1), rule_text((*rules)[i]));
  }
  return context.print(encode(*policy), sheet.text());
}

}  // namespace

void add_policy(Command& root, Context& context) {
  Command group = root.group("policy", "Who may talk to whom");
  struct List {
    std::string endpoint, interface;
  };
  auto listed = std::make_shared<List>();
  group
      .verb("list", "List the policies in the order in which they decide",
            "firnctl policy list\nfirnctl policy list --endpoint shop/web-1",
            [listed, &context] { return list(context, listed->endpoint, listed->interface); })
      .option("--endpoint", "END", "Only those that select it: NAMESPACE/NAME of a pod, container id, handle or address",
              Command::text(listed->endpoint))
      .option("--interface", "IF", "Of a host with several host endpoints: which one", Command::text(listed->interface));
  auto shown = std::make_shared<std::string>();
  group
      .verb("show", "Show a policy with its rules, numbered", "firnctl policy show shop/web\nfirnctl policy show baseline -o yaml",
            [shown, &context] { return show(context, *shown); })
      .positional("POLICY", "NAMESPACE/NAME, or the name of a global one", Command::text(*shown));
  add_policy_explain(group, context);
  add_policy_counters(group, context);
  add_policy_log(group, context);
}

}  // namespace firn::cli
