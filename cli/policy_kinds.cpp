// The documents of policy: NetworkPolicy, GlobalNetworkPolicy, Namespace, HostEndpoint, PolicySettings; and Kubernetes' own.
#include "cli/kind.hpp"
#include "cli/parse.hpp"
#include "cli/policy_text.hpp"
#include "lib/model/names.hpp"
#include "lib/model/policy.hpp"
#include "lib/policy/check.hpp"
#include "lib/policy/kubernetes.hpp"

namespace firn::cli {

namespace {

// "SCOPE/NAME" in its parts.
std::pair<std::string, std::string> parts_of(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos) return {"", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

Status check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (auto good = check_label(key, value); !good) return make_error(Code::invalid, "/labels: " + good.error().message);
  }
  return {};
}

std::string rules_count(const model::Policy& policy) {
  std::vector<std::string> out;
  if (policy.applies_ingress) out.push_back(std::to_string(policy.ingress.size()) + " in");
  if (policy.applies_egress) out.push_back(std::to_string(policy.egress.size()) + " out");
  return join(out, ", ");
}

Description<model::Policy> policy_description() {
  Description<model::Policy> d;
  d.kind.name_field = "name";
  d.kind.heads = {"ORDER", "SELECTS", "RULES"};
  d.decode = model::decode_policy;
  d.row = [](const model::Policy& policy) {
    return std::vector<std::string>{std::to_string(policy.order), selects_text(policy), rules_count(policy)};
  };
  return d;
}

}  // namespace

Kind network_policy_kind() {
  Description<model::Policy> d = policy_description();
  d.kind.name = "NetworkPolicy";
  d.kind.scope_field = "namespace";
  d.kind.default_scope = model::default_namespace;
  d.kind.metadata = {"namespace"};
  d.kind.keys = model::keys::namespaced_policies;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    const auto parts = parts_of(name);
    if (auto good = model::check_object_name("/namespace: namespace", parts.first); !good) return std::move(good).error();
    if (auto good = model::check_long_name("policy", parts.second); !good) return std::move(good).error();
    return model::keys::policy(parts.first, parts.second);
  };
  d.kind.foreign = {{std::string(policy::kubernetes_policies), [](const json::Value& document) -> Result<std::string> {
                       auto record = policy::read_network_policy(document);
                       if (!record) return std::move(record).error();
                       return encode(*record);
                     }}};
  d.name = [](const model::Policy& policy) { return policy.scope + "/" + policy.name; };
  d.validate = policy::check_selectors;
  return erased(std::move(d));
}

Kind global_network_policy_kind() {
  Description<model::Policy> d = policy_description();
  d.kind.name = "GlobalNetworkPolicy";
  d.kind.keys = model::keys::global_policies;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    if (auto good = model::check_long_name("policy", name); !good) return std::move(good).error();
    return model::keys::policy({}, name);
  };
  d.name = [](const model::Policy& policy) { return policy.name; };
  d.validate = [](const model::Policy& policy) -> Status {
    if (!policy.global()) return make_error(Code::invalid, "/namespace: a GlobalNetworkPolicy is in none; write a NetworkPolicy");
    return policy::check_selectors(policy);
  };
  return erased(std::move(d));
}

Kind namespace_kind() {
  Description<model::Namespace> d;
  d.kind.name = "Namespace";
  d.kind.name_field = "name";
  d.kind.metadata = {"labels"};
  d.kind.keys = model::keys::namespaces;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    if (auto good = model::check_object_name("namespace", name); !good) return std::move(good).error();
    return model::keys::namespace_record(name);
  };
  d.kind.foreign = {{std::string(policy::kubernetes_core), [](const json::Value& document) -> Result<std::string> {
                       auto record = policy::read_namespace(document);
                       if (!record) return std::move(record).error();
                       return encode(*record);
                     }}};
  d.kind.heads = {"LABELS"};
  d.name = [](const model::Namespace& space) { return space.name; };
  d.decode = model::decode_namespace;
  d.row = [](const model::Namespace& space) { return std::vector<std::string>{labels_text(space.labels)}; };
  d.validate = [](const model::Namespace& space) { return check_labels(space.labels); };
  return erased(std::move(d));
}

Kind host_endpoint_kind() {
  Description<model::HostEndpoint> d;
  d.kind.name = "HostEndpoint";
  d.kind.name_field = "name";
  d.kind.scope_field = "node";
  d.kind.metadata = {"node", "labels"};
  d.kind.keys = model::keys::host_endpoints;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    const auto parts = parts_of(name);
    if (auto good = model::check_object_name("/node: node", parts.first); !good) return std::move(good).error();
    if (auto good = model::check_object_name("host endpoint", parts.second); !good) return std::move(good).error();
    return model::keys::host_endpoint(parts.first, parts.second);
  };
  d.kind.heads = {"INTERFACE", "LABELS"};
  d.name = [](const model::HostEndpoint& endpoint) { return endpoint.node + "/" + endpoint.name; };
  d.decode = model::decode_host_endpoint;
  d.row = [](const model::HostEndpoint& endpoint) {
    return std::vector<std::string>{endpoint.interface, labels_text(endpoint.labels)};
  };
  d.validate = [](const model::HostEndpoint& endpoint) { return check_labels(endpoint.labels); };
  // Two about one interface would leave open whose labels are meant.
  d.fits = [](kv::Transaction& tx, kv::Store&, const model::HostEndpoint& endpoint) -> Status {
    auto others = list_records(tx, model::keys::host_endpoint(endpoint.node, ""), model::decode_host_endpoint);
    if (!others) return std::move(others).error();
    for (const model::HostEndpoint& other : *others) {
      if (other.name != endpoint.name && other.interface == endpoint.interface)
        return make_error(Code::conflict, "/interface: " + endpoint.interface + " of " + endpoint.node + " is host endpoint " +
                                              other.name + " already");
    }
    return {};
  };
  return erased(std::move(d));
}

Kind policy_settings_kind() {
  Description<model::PolicySettings> d;
  d.kind.name = "PolicySettings";
  d.kind.keys = model::keys::policy_settings;
  d.kind.heads = {"DEFAULT", "FAILSAFE-IN", "FAILSAFE-OUT"};
  d.name = [](const model::PolicySettings&) { return std::string("default"); };
  d.decode = model::decode_policy_settings;
  d.row = [](const model::PolicySettings& settings) {
    return std::vector<std::string>{settings.default_deny ? "deny" : "allow", join(settings.failsafe_in, ","),
                                    join(settings.failsafe_out, ",")};
  };
  return erased(std::move(d));
}

}  // namespace firn::cli
