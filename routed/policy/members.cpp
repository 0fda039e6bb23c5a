#include "routed/policy/members.hpp"

#include <algorithm>

namespace firn::routed::policy {

bool Selection::matches(const IdentityKey& identity, const firn::policy::Labels& space_labels) const {
  if (space && *space != identity.space) return false;
  if (space_selector && !space_selector->matches(space_labels)) return false;
  return selector.matches(identity.labels);
}

std::string Selection::text() const {
  const std::string where = space ? "namespace " + *space : space_selector ? "namespaces " + space_selector->text() : "everywhere";
  return where + ": " + selector.text();
}

Result<Selection> selection_of(const std::string& scope, const std::optional<std::string>& selector,
                               const std::optional<std::string>& namespace_selector) {
  Selection out;
  auto parsed = firn::policy::Selector::parse(selector.value_or(""));
  if (!parsed) return std::move(parsed).error().context("selector");
  out.selector = *std::move(parsed);
  if (namespace_selector) {
    auto space = firn::policy::Selector::parse(*namespace_selector);
    if (!space) return std::move(space).error().context("namespace_selector");
    out.space_selector = *std::move(space);
  } else if (!scope.empty()) {
    out.space = scope;
  }
  return out;
}

firn::policy::Labels Members::labels_of_namespace(const std::string& name) const {
  const auto it = namespaces_.find(name);
  firn::policy::Labels out = it == namespaces_.end() ? firn::policy::Labels() : it->second;
  out[std::string(model::namespace_name_label)] = name;
  return out;
}

std::vector<model::Namespace> Members::namespaces() const {
  std::vector<model::Namespace> out;
  for (const auto& [name, labels] : namespaces_) out.push_back({name, labels});
  return out;
}

std::map<Address, model::Endpoint> Members::holders(const std::set<Address>& addresses) const {
  std::map<Address, model::Endpoint> out;
  for (const auto& [id, endpoint] : endpoints_) {
    for (const Address& address : endpoint.addresses) {
      if (!addresses.contains(address) || out.contains(address)) continue;
      model::Endpoint& record = out[address];
      record.container_id = id;
      record.pod_namespace = endpoint.identity.space;
      record.labels = endpoint.identity.labels;
      record.addresses = endpoint.addresses;
      if (!endpoint.ports.empty())
        record.annotations[std::string(model::named_ports_annotation)] = model::to_string(endpoint.ports);
    }
  }
  return out;
}

void Members::set_namespace(const std::string& name, const model::Namespace* record) {
  if (record == nullptr) namespaces_.erase(name);
  else namespaces_[name] = record->labels;
  for (auto it = identities_.lower_bound(IdentityKey{name, {}}); it != identities_.end() && it->first.space == name; ++it) {
    for (const auto& [text, group] : groups_) match(*group, it->first, it->second);
  }
}

void Members::set_endpoint(const std::string& id, std::optional<Endpoint> endpoint) {
  const auto it = endpoints_.find(id);
  std::optional<Endpoint> old;
  if (it != endpoints_.end()) {
    if (endpoint && it->second == *endpoint) return;
    old = std::move(it->second);
    endpoints_.erase(it);
  }
  // The new one first: an address that both have stays in its sets all the while.
  if (endpoint) join(id, *endpoint);
  if (old) leave(id, *old, endpoint && endpoint->identity == old->identity);
  if (endpoint) endpoints_[id] = *std::move(endpoint);
}

void Members::join(const std::string& id, const Endpoint& endpoint) {
  const auto [it, fresh] = identities_.try_emplace(endpoint.identity);
  if (fresh) {
    for (const auto& [text, group] : groups_) match(*group, it->first, it->second);
  }
  it->second.endpoints.insert(id);
  for (Group* group : it->second.groups) {
    for (const Address& address : endpoint.addresses) hold(*group, address, true);
  }
  for (const model::NamedPort& port : endpoint.ports) {
    const auto found = ports_.find({port.name, port.protocol});
    if (found == ports_.end()) continue;
    for (const Address& address : endpoint.addresses) hold_port(found->first, found->second, address, port.port, true);
  }
}

void Members::leave(const std::string& id, const Endpoint& endpoint, bool keeps_identity) {
  const auto it = identities_.find(endpoint.identity);
  for (Group* group : it->second.groups) {
    for (const Address& address : endpoint.addresses) hold(*group, address, false);
  }
  for (const model::NamedPort& port : endpoint.ports) {
    const auto found = ports_.find({port.name, port.protocol});
    if (found == ports_.end()) continue;
    for (const Address& address : endpoint.addresses) hold_port(found->first, found->second, address, port.port, false);
  }
  if (keeps_identity) return;
  it->second.endpoints.erase(id);
  if (!it->second.endpoints.empty()) return;
  for (Group* group : it->second.groups) group->identities.erase(&it->first);
  identities_.erase(it);
}

// Puts the identity's addresses into the group or takes them out, as the selection says now.
void Members::match(Group& group, const IdentityKey& key, Identity& identity) {
  const bool should = group.selection.matches(key, labels_of_namespace(key.space));
  if (should == identity.groups.contains(&group)) return;
  if (should) {
    identity.groups.insert(&group);
    group.identities.insert(&key);
  } else {
    identity.groups.erase(&group);
    group.identities.erase(&key);
  }
  for (const std::string& id : identity.endpoints) {
    const auto endpoint = endpoints_.find(id);
    if (endpoint == endpoints_.end()) continue;
    for (const Address& address : endpoint->second.addresses) hold(group, address, should);
  }
}

void Members::put(const nft::ElementKey& key, bool present) {
  std::optional<std::string>& element = changes_.elements[key];
  if (present) element = "";
  else element.reset();
}

namespace {

nft::ElementKey member_key(Number number, const Address& address) {
  return {members_set[address.is_v4() ? 0 : 1], std::to_string(number) + " . " + address.to_string()};
}

nft::ElementKey named_key(Number number, const Address& address, uint8_t protocol, uint16_t port) {
  return {named_set[address.is_v4() ? 0 : 1],
          std::to_string(number) + " . " + address.to_string() + " . " + std::to_string(protocol) + " . " + std::to_string(port)};
}

}  // namespace

void Members::hold(Group& group, const Address& address, bool holds) {
  size_t& count = group.holders[address];
  if (holds) {
    if (count++ == 0) put(member_key(group.number, address), true);
  } else if (--count == 0) {
    group.holders.erase(address);
    put(member_key(group.number, address), false);
  }
}

void Members::hold_port(const PortKey& key, PortGroup& group, const Address& address, uint16_t port, bool holds) {
  size_t& count = group.holders[{address, port}];
  if (holds) {
    if (count++ == 0) put(named_key(group.number, address, key.second, port), true);
  } else if (--count == 0) {
    group.holders.erase({address, port});
    put(named_key(group.number, address, key.second, port), false);
  }
}

Number Members::acquire(const Selection& selection) {
  std::unique_ptr<Group>& group = groups_[selection.text()];
  if (group == nullptr) {
    group = std::make_unique<Group>();
    group->selection = selection;
    group->number = next_++;
    for (auto& [key, identity] : identities_) match(*group, key, identity);
  }
  ++group->users;
  return group->number;
}

void Members::release(const Selection& selection) {
  const auto it = groups_.find(selection.text());
  Group& group = *it->second;
  if (--group.users > 0) return;
  for (const IdentityKey* key : group.identities) identities_.find(*key)->second.groups.erase(&group);
  for (const auto& [address, count] : group.holders) put(member_key(group.number, address), false);
  groups_.erase(it);
}

Number Members::acquire_port(const std::string& name, uint8_t protocol) {
  const auto [it, fresh] = ports_.try_emplace(PortKey{name, protocol});
  PortGroup& group = it->second;
  if (fresh) {
    group.number = next_++;
    for (const auto& [id, endpoint] : endpoints_) {
      for (const model::NamedPort& port : endpoint.ports) {
        if (port.name != name || port.protocol != protocol) continue;
        for (const Address& address : endpoint.addresses) hold_port(it->first, group, address, port.port, true);
      }
    }
  }
  ++group.users;
  return group.number;
}

void Members::release_port(const std::string& name, uint8_t protocol) {
  const auto it = ports_.find({name, protocol});
  if (--it->second.users > 0) return;
  for (const auto& [where, count] : it->second.holders)
    put(named_key(it->second.number, where.first, protocol, where.second), false);
  ports_.erase(it);
}

Number Members::acquire_list(const std::vector<uint16_t>& ports) {
  const auto [it, fresh] = lists_.try_emplace(ports);
  if (fresh) {
    it->second.number = next_++;
    for (const uint16_t port : ports) put({ports_set, std::to_string(it->second.number) + " . " + std::to_string(port)}, true);
  }
  ++it->second.users;
  return it->second.number;
}

void Members::release_list(const std::vector<uint16_t>& ports) {
  const auto it = lists_.find(ports);
  if (--it->second.users > 0) return;
  for (const uint16_t port : ports) put({ports_set, std::to_string(it->second.number) + " . " + std::to_string(port)}, false);
  lists_.erase(it);
}

void Members::take_changes(nft::Changes& out) {
  out.elements.merge(changes_.elements);
  changes_ = {};
}

}  // namespace firn::routed::policy
