#include "cli/policy_world.hpp"

#include <algorithm>

#include "cli/parse.hpp"
#include "ipam/across.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

constexpr size_t least_prefix = 4;  // of a container's id, so that a typing mistake does not match

Result<std::vector<model::Policy>> read_policies(kv::Store& cluster) {
  auto out = list_records(cluster, model::keys::global_policies, model::decode_policy);
  if (!out) return out;
  auto more = list_records(cluster, model::keys::namespaced_policies, model::decode_policy);
  if (!more) return more;
  out->insert(out->end(), more->begin(), more->end());
  return out;
}

// Those of this host as they are, those of others as they have published them.
Result<std::vector<Container>> read_containers(const Context& context, kv::Store* cluster) {
  std::vector<Container> out;
  std::string self;
  auto node = context.node_store();
  if (node) {
    auto name = context.node_name(**node);
    if (!name) return std::move(name).error();
    self = *std::move(name);
    auto own = list_records(**node, model::keys::endpoints, model::decode_endpoint);
    if (!own) return std::move(own).error();
    for (model::Endpoint& endpoint : *own) out.push_back({self, std::move(endpoint)});
  } else if (cluster == nullptr) {
    return std::move(node).error();
  }
  if (cluster == nullptr) return out;
  auto across = ipam::read_across(*cluster);
  if (!across) return std::move(across).error();
  for (const auto& [key, why] : across->damaged) context.err << "firnctl: left out: " << printable(why.message) << "\n";
  for (ipam::PublishedEndpoint& one : across->endpoints) {
    if (self.empty() || one.node != self) out.push_back({one.node, std::move(one.endpoint)});
  }
  return out;
}

bool is_meant(const Container& container, const std::string& what) {
  const model::Endpoint& e = container.endpoint;
  if (model::handle_of(e) == what || e.container_id == what) return true;
  return !e.pod_name.empty() && model::namespace_of(e) + "/" + e.pod_name == what;
}

void add_address(Party& party, const Address& address) {
  const auto same = [&](const Address& other) { return other.family() == address.family(); };
  if (std::none_of(party.addresses.begin(), party.addresses.end(), same)) party.addresses.push_back(address);
}

Party party_of(const Container& container) {
  Party out{.name = container.name(), .container = &container, .node = container.node, .addresses = {}};
  for (const Address& address : container.endpoint.addresses) add_address(out, address);
  return out;
}

Party party_of(const World& world, const Address& address) {
  Party out{.name = address.to_string(), .container = nullptr, .node = {}, .addresses = {address}};
  for (const Container& container : world.containers) {
    const auto& all = container.endpoint.addresses;
    if (std::find(all.begin(), all.end(), address) == all.end()) continue;
    out.container = &container;
    out.node = container.node;
    out.name = container.name();
    return out;
  }
  for (const model::Node& node : world.nodes) {
    if (std::find(node.addresses.begin(), node.addresses.end(), address) == node.addresses.end()) continue;
    out.node = node.name;
    out.name = "host " + node.name;
  }
  return out;
}

}  // namespace

std::string Container::name() const {
  return endpoint.pod_name.empty() ? model::handle_of(endpoint) : model::namespace_of(endpoint) + "/" + endpoint.pod_name;
}

Result<World> read_world(const Context& context) {
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  auto containers = read_containers(context, cluster->get());
  if (!containers) return std::move(containers).error();
  World out;
  out.containers = *std::move(containers);
  // Without a cluster store there are no policies.
  if (*cluster == nullptr) return out;
  kv::Store& store = **cluster;
  auto policies = read_policies(store);
  auto namespaces = list_records(store, model::keys::namespaces, model::decode_namespace);
  auto settings = get_record(store, model::keys::policy_settings, model::decode_policy_settings);
  auto host_endpoints = list_records(store, model::keys::host_endpoints, model::decode_host_endpoint);
  auto nodes = list_records(store, model::keys::nodes, model::decode_node);
  if (!policies) return std::move(policies).error();
  if (!namespaces) return std::move(namespaces).error();
  if (!settings) return std::move(settings).error();
  if (!host_endpoints) return std::move(host_endpoints).error();
  if (!nodes) return std::move(nodes).error();
  auto evaluator = policy::Evaluator::make(*std::move(policies), *namespaces, settings->value_or(model::PolicySettings()));
  // Nothing that the caller typed: a record that got into the store past firnctl.
  if (!evaluator) return make_error(Code::io, evaluator.error().message);
  out.evaluator = *std::move(evaluator);
  out.host_endpoints = *std::move(host_endpoints);
  out.nodes = *std::move(nodes);
  return out;
}

Result<Party> find_party(const World& world, const std::string& what) {
  if (auto address = Address::parse(what)) return party_of(world, *address);
  for (const Container& container : world.containers) {
    if (is_meant(container, what)) return party_of(container);
  }
  const Container* found = nullptr;
  for (const Container& container : world.containers) {
    if (what.size() < least_prefix || !container.endpoint.container_id.starts_with(what)) continue;
    if (found != nullptr && found->endpoint.container_id != container.endpoint.container_id)
      return make_error(Code::invalid, "several containers begin with " + what + ": " + found->endpoint.container_id + ", " +
                                           container.endpoint.container_id + " ...");
    if (found == nullptr) found = &container;
  }
  if (found != nullptr) return party_of(*found);
  return make_error(Code::not_found, "there is no pod NAMESPACE/NAME, container or address " + what +
                                         "; 'firnctl endpoint list --all' shows what is known");
}

Result<policy::End> end_of(const World& world, const Party& party, Family family, const std::string& interface) {
  policy::End out;
  out.node = party.node;
  for (const Address& address : party.addresses) {
    if (address.family() == family) out.address = address;
  }
  if (party.container != nullptr) {
    out.endpoint = &party.container->endpoint;
    return out;
  }
  std::vector<std::string> names;
  for (const model::HostEndpoint& endpoint : world.host_endpoints) {
    if (endpoint.node != party.node) continue;
    names.push_back(endpoint.interface);
    // A name goes before the "*" for all others.
    const bool meant =
        interface.empty() || endpoint.interface == interface || (endpoint.interface == "*" && out.host_endpoint == nullptr);
    if (meant) out.host_endpoint = &endpoint;
    if (!interface.empty() && endpoint.interface == interface) break;
  }
  if (interface.empty() && names.size() > 1)
    return make_error(Code::invalid, "host " + party.node + " has several host endpoints (" + join(names, ", ") +
                                         "); say with --interface by which one the packets pass");
  return out;
}

}  // namespace firn::cli
