#include "routed/policy/compute.hpp"

#include <algorithm>

#include "lib/policy/check.hpp"
#include "routed/policy/base.hpp"

namespace firn::routed::policy {

namespace {

size_t at(Direction direction) { return static_cast<size_t>(direction); }

const std::vector<model::PolicyRule>& rules_of(const model::Policy& policy, Direction direction) {
  return direction == Direction::ingress ? policy.ingress : policy.egress;
}

bool has_pass(const std::vector<model::PolicyRule>& rules) {
  return std::ranges::any_of(rules, [](const model::PolicyRule& r) { return r.action == model::PolicyAction::pass; });
}

const char* word(Direction direction) { return direction == Direction::ingress ? "in" : "out"; }

}  // namespace

Compute::Compute() { put_base(changes_); }

void Compute::set_settings(const model::PolicySettings& settings) {
  if (settings_ == settings) return;
  const bool rules_change = settings_.log_group != settings.log_group || settings_.log_rate != settings.log_rate;
  settings_ = settings;
  for (auto& [key, subject] : subjects_) place(key, subject);
  if (rules_change) {
    for (auto& [place, chain] : chains_) compile(place, chain);
  }
  put_host_chains();
}

void Compute::set_namespace(const std::string& name, const model::Namespace* record) {
  members_.set_namespace(name, record);
  for (auto it = subjects_.lower_bound(IdentityKey{name, {}}); it != subjects_.end() && it->first.space == name; ++it) {
    select_anew(it->first, it->second);
    place(it->first, it->second);
  }
}

// Policies -----------------------------------------------------------------------------------------------------------------

Status Compute::set_policy(const std::string& key, const model::Policy* policy) {
  if (policy == nullptr) {
    drop_policy(key);
    return {};
  }
  auto selection = selection_of(policy->scope, policy->selector, policy->namespace_selector);
  std::optional<Error> bad;
  if (!selection) bad = std::move(selection).error();
  for (const Direction direction : directions) {
    for (const model::PolicyRule& rule : rules_of(*policy, direction)) {
      for (const model::PolicyPeer* peer : {&rule.source, &rule.destination}) {
        const auto read = selection_of(policy->scope, peer->selector, peer->namespace_selector);
        if (!read && !bad) bad = Error(read.error()).context(std::string(word(direction)) + "gress rule");
      }
    }
  }
  if (bad) {
    set_unreadable_policy(key);
    return (*std::move(bad)).context(firn::policy::title_of(*policy));
  }
  Policy out;
  out.record = *policy;
  out.selection = *std::move(selection);
  out.rank = {policy->order, !policy->global(), policy->scope, policy->name, key};
  for (const Direction direction : directions) out.passes[at(direction)] = has_pass(rules_of(*policy, direction));
  put_policy(std::move(out));
  return {};
}

void Compute::set_unreadable_policy(const std::string& key) {
  if (policies_.contains(key)) return;
  Policy out;
  std::string_view rest = key;
  if (rest.starts_with(model::keys::namespaced_policies)) {
    rest.remove_prefix(model::keys::namespaced_policies.size());
    const size_t slash = rest.find('/');
    out.record.scope = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
  } else if (rest.starts_with(model::keys::global_policies)) {
    rest.remove_prefix(model::keys::global_policies.size());
  }
  // Containers alone: a slip must not shut a host.
  if (out.record.global()) {
    out.selection.space_selector = firn::policy::Selector();
    out.record.namespace_selector = "";
  }
  if (!out.record.global()) out.selection.space = out.record.scope;
  out.record.name = rest;
  out.record.applies_ingress = out.record.applies_egress = true;
  out.rank = {out.record.order, !out.record.global(), out.record.scope, out.record.name, key};
  put_policy(std::move(out));
}

void Compute::put_policy(Policy policy) {
  const std::string key = policy.rank.key;
  const auto it = policies_.find(key);
  if (it != policies_.end() && it->second.record == policy.record) return;
  const Rank old_rank = it == policies_.end() ? policy.rank : it->second.rank;
  const Policy& now = policies_.insert_or_assign(key, std::move(policy)).first->second;
  for (const Direction direction : directions) {
    for (const Pass pass : {Pass::on, Pass::accept, Pass::drop}) {
      const auto chain = chains_.find({direction, {key, pass}});
      if (chain != chains_.end()) compile(chain->first, chain->second);
    }
  }
  for (auto& [identity, subject] : subjects_) {
    const bool selected = selects(now, identity);
    bool touched = false;
    for (const Direction direction : directions) {
      const bool applies = direction == Direction::ingress ? now.record.applies_ingress : now.record.applies_egress;
      touched |= subject.selected[at(direction)].erase(old_rank) > 0;
      if (selected && applies) touched |= subject.selected[at(direction)].insert(now.rank).second;
    }
    if (touched) place(identity, subject);
  }
}

void Compute::drop_policy(const std::string& key) {
  const auto it = policies_.find(key);
  if (it == policies_.end()) return;
  const Rank rank = it->second.rank;
  for (auto& [identity, subject] : subjects_) {
    const size_t erased = subject.selected[0].erase(rank) + subject.selected[1].erase(rank);
    if (erased > 0) place(identity, subject);
  }
  policies_.erase(it);
}

bool Compute::selects(const Policy& policy, const IdentityKey& key) const {
  if (is_host(key)) {
    return policy.record.global() && !policy.selection.space_selector && policy.selection.selector.matches(key.labels);
  }
  return policy.selection.matches(key, members_.labels_of_namespace(key.space));
}

// Subjects -----------------------------------------------------------------------------------------------------------------

void Compute::select_anew(const IdentityKey& key, Subject& subject) {
  for (auto& selected : subject.selected) selected.clear();
  for (const auto& [name, policy] : policies_) {
    if (!selects(policy, key)) continue;
    if (policy.record.applies_ingress) subject.selected[at(Direction::ingress)].insert(policy.rank);
    if (policy.record.applies_egress) subject.selected[at(Direction::egress)].insert(policy.rank);
  }
}

std::string Compute::default_verdict(const IdentityKey& key) const {
  return settings_.default_deny && !is_host(key) ? "drop" : "accept";
}

std::vector<Compute::ChainId> Compute::chains_of(const IdentityKey& key, const Subject& subject, Direction direction) const {
  const Pass at_end = default_verdict(key) == "drop" ? Pass::drop : Pass::accept;
  std::vector<ChainId> out;
  const auto& selected = subject.selected[at(direction)];
  for (auto it = selected.begin(); it != selected.end(); ++it) {
    const bool passes_last = std::next(it) == selected.end() && policies_.at(it->key).passes[at(direction)];
    out.push_back({it->key, passes_last ? at_end : Pass::on});
  }
  return out;
}

// Gives the subject the profile that what selects it asks for. The new one is entered before the old one is left, so that what
// both need stays.
void Compute::place(const IdentityKey& key, Subject& subject) {
  for (const Direction direction : directions) {
    std::vector<ChainId> chains = chains_of(key, subject, direction);
    std::vector<ChainId>& had = subject.chains[at(direction)];
    std::string verdict = chains == had && !chains.empty() ? subject.verdict[at(direction)] : default_verdict(key);
    if (chains != had) {
      if (!chains.empty()) verdict = "goto " + enter_profile(chains, direction);
      if (!had.empty()) leave_profile(had, direction);
      had = std::move(chains);
    }
    if (verdict == subject.verdict[at(direction)]) continue;
    subject.verdict[at(direction)] = verdict;
    for (const auto& [interface, count] : subject.interfaces) put_verdict(key, interface, direction, verdict);
  }
}

void Compute::put_verdict(const IdentityKey& key, const std::string& interface, Direction direction, const std::string& verdict) {
  if (is_host(key) && interface == "*") {
    host_default_[direction] = verdict;
    put_host_chains();
    return;
  }
  const bool in = direction == Direction::ingress;
  const char* map = is_host(key) ? (in ? host_in_map : host_out_map) : (in ? ingress_map : egress_map);
  std::optional<std::string>& element = changes_.elements[{map, nft::quoted(interface)}];
  if (verdict.empty()) element.reset();
  else element = verdict;
}

void Compute::join(const IdentityKey& key, const std::string& interface) {
  const auto [it, fresh] = subjects_.try_emplace(key);
  Subject& subject = it->second;
  if (fresh) {
    select_anew(key, subject);
    place(key, subject);
  }
  if (++subject.interfaces[interface] > 1) return;
  for (const Direction direction : directions) put_verdict(key, interface, direction, subject.verdict[at(direction)]);
}

void Compute::leave(const IdentityKey& key, const std::string& interface, bool replaced) {
  const auto it = subjects_.find(key);
  Subject& subject = it->second;
  const auto named = subject.interfaces.find(interface);
  if (--named->second > 0) return;
  subject.interfaces.erase(named);
  for (const Direction direction : directions) {
    if (!replaced) put_verdict(key, interface, direction, {});
  }
  if (!subject.interfaces.empty()) return;
  for (const Direction direction : directions) {
    if (!subject.chains[at(direction)].empty()) leave_profile(subject.chains[at(direction)], direction);
  }
  subjects_.erase(it);
}

// Endpoints ----------------------------------------------------------------------------------------------------------------

void Compute::set_endpoint(const std::string& id, const model::Endpoint* endpoint, bool here, const std::vector<Prefix>& extra) {
  std::optional<Members::Endpoint> member;
  std::optional<Here> local;
  if (endpoint != nullptr) {
    member = Members::Endpoint{
        {model::namespace_of(*endpoint), endpoint->labels}, endpoint->addresses, model::named_ports_of(*endpoint)};
    if (here && !endpoint->host_ifname.empty()) {
      local = Here{member->identity, endpoint->host_ifname, endpoint->mac, endpoint->addresses, extra};
    }
  }
  members_.set_endpoint(id, std::move(member));

  const auto it = here_.find(id);
  if (it == here_.end() ? !local : local && it->second == *local) return;
  // The new one first: what both need stays.
  std::optional<Here> old;
  if (it != here_.end()) old = std::move(it->second);
  if (old) put_guard(*old, false);
  if (local) {
    put_guard(*local, true);
    join(local->identity, local->interface);
  }
  if (old) leave(old->identity, old->interface, local && local->interface == old->interface);
  if (local) here_[id] = *std::move(local);
  else here_.erase(id);
}

void Compute::put_guard(const Here& here, bool present) {
  const std::string sender = nft::quoted(here.interface) + " . " + here.mac.to_string() + " . ";
  const auto put = [&](const std::string& set, const std::string& source) {
    std::optional<std::string>& element = changes_.elements[{set, sender + source}];
    if (present) element = "";
    else element.reset();
  };
  for (const Address& address : here.addresses) put(guard_set(address.family(), false), address.to_string());
  for (const Prefix& prefix : here.extra) put(guard_set(prefix.family(), true), prefix.to_string());
}

std::vector<nft::ElementKey> Compute::elements_of(const std::string& id) const {
  const auto it = here_.find(id);
  if (it == here_.end()) return {};
  std::vector<nft::ElementKey> out{{ingress_map, nft::quoted(it->second.interface)},
                                   {egress_map, nft::quoted(it->second.interface)}};
  const std::string sender = nft::quoted(it->second.interface) + " . " + it->second.mac.to_string() + " . ";
  for (const Address& address : it->second.addresses) {
    out.push_back({guard_set(address.family(), false), sender + address.to_string()});
  }
  return out;
}

void Compute::set_host_endpoint(const std::string& key, const model::HostEndpoint* endpoint) {
  const auto it = host_endpoints_.find(key);
  std::optional<std::pair<IdentityKey, std::string>> old;
  if (it != host_endpoints_.end()) {
    old = std::move(it->second);
    host_endpoints_.erase(it);
  }
  if (endpoint != nullptr) {
    host_endpoints_[key] = {IdentityKey{"", endpoint->labels}, endpoint->interface};
    join(IdentityKey{"", endpoint->labels}, endpoint->interface);
  }
  if (old) leave(old->first, old->second, endpoint != nullptr && endpoint->interface == old->second);
  put_host_chains();
}

void Compute::put_host_chains() {
  if (host_endpoints_.empty()) {
    drop_host_hooks(changes_);
    return;
  }
  put_host_hooks(changes_, settings_, host_default_[Direction::ingress], host_default_[Direction::egress]);
}

// Chains -------------------------------------------------------------------------------------------------------------------

// Readable in `nft list`: names of policies are [a-z0-9.-] and hold no slash, so no two places get one name. Of a place in chains_.
std::string Compute::name_of(const Place& place) const {
  const model::Policy& policy = policies_.at(place.second.policy).record;
  const Pass pass = place.second.pass;
  constexpr size_t longest = 200;  // of 255 that nftables takes (NFT_NAME_MAXLEN)
  std::string owner = policy.global() ? "gnp/" + policy.name : "np/" + policy.scope + "/" + policy.name;
  if (owner.size() > longest) owner = owner.substr(0, longest) + "." + std::to_string(chains_.at(place).number);
  return owner + "/" + word(place.first) + (pass == Pass::on ? "" : pass == Pass::accept ? "/accept" : "/drop");
}

std::string Compute::enter_profile(const std::vector<ChainId>& chains, Direction direction) {
  Profile& profile = profiles_[{direction, chains}];
  if (profile.users++ > 0) return profile.chain;
  profile.chain = (direction == Direction::ingress ? "to." : "from.") + std::to_string(next_++);
  nft::Chain out;
  for (const ChainId& id : chains) {
    const auto [it, fresh] = chains_.try_emplace({direction, id});
    ++it->second.users;
    if (fresh) it->second.number = next_++;
    if (fresh) compile(it->first, it->second);
    out.rules.push_back("jump " + name_of(it->first));
  }
  out.rules.push_back("counter drop comment " + nft::quoted("no rule allowed it"));
  changes_.chains[profile.chain] = std::move(out);
  return profile.chain;
}

void Compute::leave_profile(const std::vector<ChainId>& chains, Direction direction) {
  const auto profile = profiles_.find({direction, chains});
  if (--profile->second.users > 0) return;
  changes_.chains[profile->second.chain] = std::nullopt;
  for (const ChainId& id : chains) {
    const auto it = chains_.find({direction, id});
    if (--it->second.users > 0) continue;
    release(it->second);
    changes_.chains[name_of(it->first)] = std::nullopt;
    chains_.erase(it);
  }
  profiles_.erase(profile);
}

void Compute::compile(const Place& place, PolicyChain& chain) {
  const model::Policy& policy = policies_.at(place.second.policy).record;
  const PolicyChain before = chain;
  chain.selections.clear();
  chain.ports.clear();
  chain.lists.clear();
  RuleContext context;
  context.pass = place.second.pass == Pass::on ? "return" : place.second.pass == Pass::accept ? "accept" : "drop";
  context.log_group = settings_.log_group;
  context.log_rate = settings_.log_rate;
  context.members = [&](const model::PolicyPeer& peer) {
    // Readable: set_policy() has refused the others.
    auto selection = selection_of(policy.scope, peer.selector, peer.namespace_selector);
    chain.selections.push_back(*std::move(selection));
    return members_.acquire(chain.selections.back());
  };
  context.named_port = [&](const std::string& port, uint8_t protocol) {
    chain.ports.emplace_back(port, protocol);
    return members_.acquire_port(port, protocol);
  };
  context.port_list = [&](const std::vector<uint16_t>& ports) {
    chain.lists.push_back(ports);
    return members_.acquire_list(ports);
  };
  nft::Chain out;
  int number = 0;
  for (const model::PolicyRule& rule : rules_of(policy, place.first)) {
    context.comment = firn::policy::title_of(policy) + " " + word(place.first) + " " + std::to_string(++number);
    for (std::string& text : rule_text(rule, context)) out.rules.push_back(std::move(text));
  }
  changes_.chains[name_of(place)] = std::move(out);
  release(before);
}

void Compute::release(const PolicyChain& chain) {
  for (const Selection& selection : chain.selections) members_.release(selection);
  for (const auto& [port, protocol] : chain.ports) members_.release_port(port, protocol);
  for (const auto& list : chain.lists) members_.release_list(list);
}

Result<firn::policy::Evaluator> Compute::evaluator() const {
  std::vector<model::Policy> policies;
  for (const auto& [key, policy] : policies_) policies.push_back(policy.record);
  return firn::policy::Evaluator::make(std::move(policies), members_.namespaces(), settings_);
}

std::set<Address> Compute::addresses_here() const {
  std::set<Address> out;
  for (const auto& [id, here] : here_) out.insert(here.addresses.begin(), here.addresses.end());
  return out;
}

void Compute::take_changes(nft::Changes& out) {
  members_.take_changes(changes_);
  out = std::exchange(changes_, {});
}

}  // namespace firn::routed::policy
