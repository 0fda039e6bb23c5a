#include "lib/policy/kubernetes.hpp"

#include <algorithm>
#include <map>

#include "lib/base/nearest.hpp"
#include "lib/model/names.hpp"
#include "lib/policy/selector.hpp"

namespace firn::policy {

namespace {

constexpr size_t max_items = 5000;
constexpr uint8_t tcp = 6, udp = 17, sctp = 132;

// In the API a null is a field that was left out.
bool given(const json::Value& value) { return value.present() && !value.is_null(); }

// Whether it is an object of these fields alone.
Status only(const json::Value& value, const std::vector<std::string>& names) {
  if (!value.present() || value.kind() != json::Kind::object) return value.error("must be an object");
  auto members = value.object();
  if (!members) return std::move(members).error();
  for (const auto& [name, member] : *members) {
    if (std::find(names.begin(), names.end(), name) == names.end())
      return member.error("there is no field '" + name.substr(0, 64) + "'" + suggestion(name, names));
  }
  return {};
}

Result<std::vector<json::Value>> items_of(const json::Value& list) {
  if (!given(list)) return std::vector<json::Value>();
  auto items = list.array();
  if (items && items->size() > max_items) return list.error("has more than " + std::to_string(max_items) + " entries");
  return items;
}

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// [A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?, up to 63 bytes.
bool is_label_part(std::string_view text) {
  if (text.empty() || text.size() > 63 || !is_alphanumeric(text.front()) || !is_alphanumeric(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

// They become text of a selector, so nothing else than these may be in them.
Status check_key(const json::Value& place, const std::string& key) {
  const size_t slash = key.find('/');
  const bool prefix_good = slash == std::string::npos || model::check_long_name("prefix", key.substr(0, slash)).ok();
  if (prefix_good && is_label_part(std::string_view(key).substr(slash == std::string::npos ? 0 : slash + 1))) return {};
  return place.error("'" + key.substr(0, 64) + "' is no label key of Kubernetes");
}

Status check_value(const json::Value& place, const std::string& value) {
  if (value.empty() || is_label_part(value)) return {};
  return place.error("'" + value.substr(0, 64) + "' is no label value of Kubernetes");
}

Result<Labels> read_labels(const json::Value& value) {
  Labels out;
  if (!given(value)) return out;
  auto members = value.object();
  if (!members) return std::move(members).error();
  for (const auto& [key, member] : *members) {
    auto text = member.string();
    if (!text) return std::move(text).error();
    if (auto good = check_key(member, key); !good) return std::move(good).error();
    if (auto good = check_value(member, *text); !good) return std::move(good).error();
    out.emplace(key, *std::move(text));
  }
  return out;
}

Result<std::string> read_expression(const json::Value& item) {
  if (auto good = only(item, {"key", "operator", "values"}); !good) return std::move(good).error();
  auto key = item["key"].string();
  if (!key) return std::move(key).error();
  if (auto good = check_key(item["key"], *key); !good) return std::move(good).error();
  auto name = item["operator"].string();
  if (!name) return std::move(name).error();
  auto items = items_of(item["values"]);
  if (!items) return std::move(items).error();
  std::string values;
  for (const json::Value& entry : *items) {
    auto text = entry.string();
    if (!text) return std::move(text).error();
    if (auto good = check_value(entry, *text); !good) return std::move(good).error();
    values.append(values.empty() ? "'" : ", '").append(*text).append("'");
  }
  const bool one_of = *name == "In" || *name == "NotIn";
  if (!one_of && *name != "Exists" && *name != "DoesNotExist")
    return item["operator"].error("must be In, NotIn, Exists or DoesNotExist, not '" + name->substr(0, 64) + "'");
  if (one_of == items->empty()) return item.error(*name + (one_of ? " needs values" : " takes no values"));
  if (one_of) return *key + (*name == "In" ? " in {" : " not in {") + values + "}";
  return (*name == "Exists" ? "has(" : "!has(") + *key + ")";
}

// A LabelSelector; an empty one selects everything.
Result<std::string> read_selector(const json::Value& value) {
  if (auto good = only(value, {"matchLabels", "matchExpressions"}); !good) return std::move(good).error();
  auto labels = read_labels(value["matchLabels"]);
  if (!labels) return std::move(labels).error();
  auto expressions = items_of(value["matchExpressions"]);
  if (!expressions) return std::move(expressions).error();
  std::string text;
  const auto add = [&text](const std::string& term) { text.append(text.empty() ? "" : " && ").append(term); };
  for (const auto& [key, wanted] : *labels) add(key + " == '" + wanted + "'");
  for (const json::Value& item : *expressions) {
    auto term = read_expression(item);
    if (!term) return term;
    add(*term);
  }
  auto selector = Selector::parse(text);
  if (!selector) return value.error("is too large for a selector: " + selector.error().message);
  return selector->text();
}

// The API takes host bits and means the network.
Result<Prefix> read_cidr(const json::Value& value) {
  auto text = value.string();
  if (!text) return std::move(text).error();
  auto cidr = InterfaceAddress::parse(*text);
  if (!cidr || text->find('/') == std::string::npos)
    return value.error("'" + text->substr(0, 64) + "' is no network as 10.0.0.0/8 or fd00::/8");
  return cidr->network();
}

Result<model::PolicyPeer> read_block(const json::Value& value) {
  if (auto good = only(value, {"cidr", "except"}); !good) return std::move(good).error();
  auto cidr = read_cidr(value["cidr"]);
  if (!cidr) return std::move(cidr).error();
  auto items = items_of(value["except"]);
  if (!items) return std::move(items).error();
  model::PolicyPeer out;
  out.nets = {*cidr};
  for (const json::Value& item : *items) {
    auto except = read_cidr(item);
    if (!except) return std::move(except).error();
    if (!cidr->contains(*except) || *except == *cidr) return item.error("must lie inside of cidr and be smaller");
    out.not_nets.push_back(*except);
  }
  return out;
}

Result<model::PolicyPeer> read_peer(const json::Value& item) {
  if (auto good = only(item, {"podSelector", "namespaceSelector", "ipBlock"}); !good) return std::move(good).error();
  const json::Value pods = item["podSelector"], namespaces = item["namespaceSelector"], block = item["ipBlock"];
  if (given(block)) {
    if (given(pods) || given(namespaces)) return item.error("ipBlock goes with no selector");
    return read_block(block);
  }
  if (!given(pods) && !given(namespaces)) return item.error("must have a podSelector, a namespaceSelector or an ipBlock");
  model::PolicyPeer out;
  if (given(pods)) {
    auto selector = read_selector(pods);
    if (!selector) return std::move(selector).error();
    out.selector = *std::move(selector);
  }
  if (given(namespaces)) {
    auto selector = read_selector(namespaces);
    if (!selector) return std::move(selector).error();
    out.namespace_selector = *std::move(selector);
  }
  return out;
}

// The alternatives of `from` or `to`; none: everybody. Plain blocks are one alternative together.
Result<std::vector<model::PolicyPeer>> read_peers(const json::Value& list) {
  auto items = items_of(list);
  if (!items) return std::move(items).error();
  std::vector<model::PolicyPeer> out;
  model::PolicyPeer blocks;
  for (const json::Value& item : *items) {
    auto peer = read_peer(item);
    if (!peer) return std::move(peer).error();
    if (!peer->nets.empty() && peer->not_nets.empty()) blocks.nets.push_back(peer->nets.front());
    else out.push_back(*std::move(peer));
  }
  if (!blocks.nets.empty()) out.push_back(std::move(blocks));
  return out;
}

// The ports of one protocol; none: all of them.
using Ports = std::map<uint8_t, std::vector<model::PortMatch>>;

Result<uint8_t> read_protocol(const json::Value& value) {
  if (!given(value)) return tcp;
  auto text = value.string();
  if (!text) return std::move(text).error();
  if (*text == "TCP") return tcp;
  if (*text == "UDP") return udp;
  if (*text == "SCTP") return sctp;
  return value.error("must be TCP, UDP or SCTP, not '" + text->substr(0, 64) + "'");
}

// Nothing: every port of the protocol.
Result<std::optional<model::PortMatch>> read_port(const json::Value& item) {
  const json::Value port = item["port"], end = item["endPort"];
  if (!given(port)) {
    if (given(end)) return end.error("needs a port");
    return std::optional<model::PortMatch>();
  }
  if (port.kind() == json::Kind::string) {
    const std::string name = *port.string();
    auto match = model::parse_port_match(name);
    if (!match || match->name.empty())
      return port.error("'" + name.substr(0, 64) + "' is no name of a port; a number stands without quotes");
    if (given(end)) return end.error("needs a port that is a number");
    return std::optional(*std::move(match));
  }
  auto first = port.integer(1, 65535);
  if (!first) return std::move(first).error();
  auto last = given(end) ? end.integer(1, 65535) : first;
  if (!last) return std::move(last).error();
  if (*last < *first) return end.error("must not be less than port");
  return std::optional(model::PortMatch{.first = static_cast<uint16_t>(*first), .last = static_cast<uint16_t>(*last), .name = {}});
}

Result<Ports> read_ports(const json::Value& list) {
  auto items = items_of(list);
  if (!items) return std::move(items).error();
  Ports out;
  std::vector<uint8_t> whole;
  for (const json::Value& item : *items) {
    if (auto good = only(item, {"protocol", "port", "endPort"}); !good) return std::move(good).error();
    auto protocol = read_protocol(item["protocol"]);
    if (!protocol) return std::move(protocol).error();
    auto port = read_port(item);
    if (!port) return std::move(port).error();
    if (*port) out[*protocol].push_back(**port);
    else whole.push_back(*protocol);
  }
  for (const uint8_t protocol : whole) out[protocol].clear();
  return out;
}

// `ends`: "from" or "to". Every peer with every protocol is a rule.
Status read_rule(const json::Value& item, const std::string& ends, std::vector<model::PolicyRule>& out) {
  if (auto good = only(item, {ends, "ports"}); !good) return good;
  auto peers = read_peers(item[ends]);
  if (!peers) return std::move(peers).error();
  auto ports = read_ports(item["ports"]);
  if (!ports) return std::move(ports).error();
  if (peers->empty()) peers->emplace_back();
  for (const model::PolicyPeer& peer : *peers) {
    model::PolicyRule rule;
    (ends == "from" ? rule.source : rule.destination) = peer;
    if (ports->empty()) out.push_back(rule);
    for (const auto& [protocol, matches] : *ports) {
      rule.protocol = protocol;
      rule.destination.ports = matches;
      out.push_back(rule);
    }
    if (out.size() > max_items) return item.error("makes more than " + std::to_string(max_items) + " rules");
  }
  return {};
}

// Without policyTypes: ingress, and egress when there are rules for it.
Status read_types(const json::Value& spec, bool has_egress, model::Policy& policy) {
  auto types = items_of(spec["policyTypes"]);
  if (!types) return std::move(types).error();
  for (const json::Value& item : *types) {
    auto text = item.string();
    if (!text) return std::move(text).error();
    if (*text == "Ingress") policy.applies_ingress = true;
    else if (*text == "Egress") policy.applies_egress = true;
    else return item.error("must be Ingress or Egress, not '" + text->substr(0, 64) + "'");
  }
  if (types->empty()) {
    policy.applies_ingress = true;
    policy.applies_egress = has_egress;
  }
  return {};
}

Status read_spec(const json::Value& spec, model::Policy& policy) {
  if (!given(spec)) {
    policy.applies_ingress = true;
    return {};
  }
  if (auto good = only(spec, {"podSelector", "policyTypes", "ingress", "egress"}); !good) return good;
  if (const json::Value pods = spec["podSelector"]; given(pods)) {
    auto selector = read_selector(pods);
    if (!selector) return std::move(selector).error();
    if (*selector != Selector().text()) policy.selector = *std::move(selector);
  }
  for (const auto& [name, ends, rules] : {std::tuple("ingress", "from", &policy.ingress), {"egress", "to", &policy.egress}}) {
    auto items = items_of(spec[name]);
    if (!items) return std::move(items).error();
    for (const json::Value& item : *items) {
      if (auto good = read_rule(item, ends, *rules); !good) return good;
    }
  }
  if (auto good = read_types(spec, !policy.egress.empty(), policy); !good) return good;
  // Rules of a direction that the policy does not speak of mean nothing.
  if (!policy.applies_ingress) policy.ingress.clear();
  if (!policy.applies_egress) policy.egress.clear();
  return {};
}

// The name; what else the API server or its tools write there is checked for slips alone.
Result<std::string> read_head(const json::Value& document, std::string_view version, std::string_view kind) {
  if (auto good = only(document, {"apiVersion", "kind", "metadata", "spec", "status"}); !good) return std::move(good).error();
  for (const auto& [field, wanted] : {std::pair("apiVersion", version), {"kind", kind}}) {
    auto text = document[field].string();
    if (!text) return std::move(text).error();
    if (*text != wanted) return document[field].error("must be " + std::string(wanted));
  }
  const json::Value metadata = document["metadata"];
  if (auto good = only(metadata, {"name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation",
                                  "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName",
                                  "managedFields", "ownerReferences", "finalizers", "selfLink"});
      !good)
    return std::move(good).error();
  return metadata["name"].string();
}

Result<model::Policy> policy_of(const json::Value& document) {
  auto name = read_head(document, kubernetes_policies, "NetworkPolicy");
  if (!name) return std::move(name).error();
  const json::Value metadata = document["metadata"];
  if (auto good = model::check_long_name("policy", *name); !good) return metadata["name"].error(good.error().message);
  auto scope = metadata["namespace"].string_or(std::string(model::default_namespace));
  if (!scope) return std::move(scope).error();
  if (auto good = model::check_object_name("namespace", *scope); !good) return metadata["namespace"].error(good.error().message);
  if (auto labels = read_labels(metadata["labels"]); !labels) return std::move(labels).error();
  model::Policy out;
  out.name = *std::move(name);
  out.scope = *std::move(scope);
  if (auto good = read_spec(document["spec"], out); !good) return std::move(good).error();
  return out;
}

Result<model::Namespace> namespace_of(const json::Value& document) {
  auto name = read_head(document, kubernetes_core, "Namespace");
  if (!name) return std::move(name).error();
  const json::Value metadata = document["metadata"];
  if (auto good = model::check_object_name("namespace", *name); !good) return metadata["name"].error(good.error().message);
  if (given(metadata["namespace"])) return metadata["namespace"].error("a Namespace is in no namespace");
  if (const json::Value spec = document["spec"]; given(spec)) {
    if (auto good = only(spec, {"finalizers"}); !good) return std::move(good).error();
  }
  auto labels = read_labels(metadata["labels"]);
  if (!labels) return std::move(labels).error();
  model::Namespace out{.name = *std::move(name), .labels = *std::move(labels)};
  const auto [label, added] = out.labels.emplace(model::namespace_name_label, out.name);
  if (!added && label->second != out.name)
    return metadata["labels"].error(std::string(model::namespace_name_label) + " is always the name");
  return out;
}

// In a document a field that is missing is bad input, not a missing object.
template <class T>
Result<T> checked(Result<T> read) {
  if (!read && read.error().is(Code::not_found)) read.error().code = Code::invalid;
  return read;
}

}  // namespace

Result<model::Policy> read_network_policy(const json::Value& document) { return checked(policy_of(document)); }
Result<model::Namespace> read_namespace(const json::Value& document) { return checked(namespace_of(document)); }

}  // namespace firn::policy
