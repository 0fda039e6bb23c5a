#include "routed/policy/nat.hpp"

#include <algorithm>

namespace firn::routed::policy {

namespace {

constexpr Family families[] = {Family::v4, Family::v6};

std::string digit(Family family) { return family == Family::v4 ? "4" : "6"; }
std::string type(Family family) { return family == Family::v4 ? "ipv4_addr" : "ipv6_addr"; }
// The keyword of the family in nft's language: "ip saddr", "dnat ip to".
std::string ip(Family family) { return family == Family::v4 ? "ip" : "ip6"; }

std::string ports_of_every(Family family) { return "port_any" + digit(family); }
std::string ports_of_one(Family family) { return "port_one" + digit(family); }
std::string hairpin(Family family) { return "hairpin" + digit(family); }
std::string cluster(Family family) { return "cluster" + digit(family); }
std::string chain_of(const model::Pool& pool) { return "nat_pool." + pool.name; }
std::string exclusions_of(const model::Pool& pool) { return "nat_excluded." + pool.name; }

nft::Set address_set(Family family, bool interval) {
  nft::Set set;
  set.key = type(family);
  set.interval = interval;
  return set;
}

// Prefixes without those inside of others: an interval set takes no overlaps.
std::vector<Prefix> cover(std::vector<Prefix> prefixes) {
  // A wider prefix comes before the narrower ones that begin at its own address.
  std::ranges::sort(prefixes);
  std::vector<Prefix> out;
  for (const Prefix& prefix : prefixes) {
    if (out.empty() || !out.back().contains(prefix)) out.push_back(prefix);
  }
  return out;
}

void put_chains(nft::Changes& out) {
  for (const Family family : families) {
    nft::Set ports;
    ports.key = "inet_proto . inet_service";
    ports.data = type(family) + " . inet_service";
    out.sets[ports_of_every(family)] = ports;
    ports.key = type(family) + " . " + ports.key;
    out.sets[ports_of_one(family)] = ports;
    nft::Set pairs;
    pairs.key = type(family) + " . " + type(family);
    out.sets[hairpin(family)] = pairs;
    out.sets[cluster(family)] = address_set(family, true);
  }
  // Packets that only pass through are for somebody else's port of that number.
  const std::string here = "fib daddr type local jump published";
  out.chains["nat_prerouting"] = nft::Chain{"type nat hook prerouting priority dstnat; policy accept;", {here}};
  out.chains["nat_output"] = nft::Chain{"type nat hook output priority -100; policy accept;", {here}};
  nft::Chain published;
  published.rules = {"ip daddr 127.0.0.0/8 return", "ip6 daddr { ::1, fe80::/10 } return"};
  for (const Family family : families) {
    const std::string place = "meta l4proto . th dport map @";
    published.rules.push_back("dnat " + ip(family) + " to " + ip(family) + " daddr . " + place + ports_of_one(family));
    published.rules.push_back("meta nfproto ipv" + digit(family) + " dnat " + ip(family) + " to " + place + ports_of_every(family));
  }
  out.chains["published"] = published;
}

// `pools`: by prefix, the chain of the pool. They are few, so each has a rule: nft 1.0.6 cannot write a map of prefixes to
// verdicts.
nft::Chain leaving(const std::map<Prefix, std::string>& pools) {
  nft::Chain out{"type nat hook postrouting priority srcnat; policy accept;", {}};
  for (const Family family : families) {
    const std::string of = ip(family);
    // To its own published port and back: the answer must come by way of the host, which knows both names of the port.
    out.rules.push_back(of + " saddr . " + of + " daddr @" + hairpin(family) + " masquerade fully-random");
    out.rules.push_back(of + " daddr @" + cluster(family) + " accept");
  }
  for (const auto& [prefix, chain] : pools)
    out.rules.push_back(ip(prefix.family()) + " saddr " + prefix.to_string() + " goto " + chain);
  return out;
}

template <class Map, class Wanted>
void put_difference(const Map& before, const Map& now, Wanted& out) {
  for (const auto& [key, value] : before) {
    if (!now.contains(key)) out[key] = std::nullopt;
  }
  for (const auto& [key, value] : now) {
    const auto old = before.find(key);
    if (old == before.end() || old->second != value) out[key] = value;
  }
}

}  // namespace

Nat::Nat() { put_chains(changes_); }

void Nat::set_endpoint(const std::string& id, const model::Endpoint* endpoint) {
  Elements wanted;
  for (size_t i = 0; endpoint != nullptr && i < endpoint->ports.size(); ++i) {
    const model::PublishedPort& port = endpoint->ports[i];
    for (const model::PortPlace& place : model::places_of(port, endpoint->addresses)) {
      const Family family = place.address.family();
      const auto target = model::target_of(endpoint->addresses, family);
      if (!target) continue;
      // Numbers: nft looks names of protocols up in /etc/protocols, which a small host does not have.
      const std::string number = std::to_string(place.protocol) + " . " + std::to_string(place.port);
      const std::string to = target->to_string();
      if (place.address.is_unspecified()) {
        wanted[{ports_of_every(family), number}] = to + " . " + std::to_string(port.container_port);
      } else {
        wanted[{ports_of_one(family), place.address.to_string() + " . " + number}] =
            to + " . " + std::to_string(port.container_port);
      }
      wanted[{hairpin(family), to + " . " + to}] = "";
    }
  }
  Elements& before = endpoints_[id];
  for (const auto& [key, value] : before) {
    if (wanted.contains(key)) continue;
    auto& holders = holders_[key];
    std::erase(holders, id);
    if (holders.empty()) {
      holders_.erase(key);
      changes_.elements[key] = std::nullopt;
    } else {
      changes_.elements[key] = endpoints_[holders.back()][key];
    }
  }
  for (const auto& [key, value] : wanted) {
    const auto old = before.find(key);
    if (old != before.end() && old->second == value) continue;
    if (old == before.end()) holders_[key].push_back(id);
    changes_.elements[key] = value;
  }
  if (wanted.empty()) endpoints_.erase(id);
  else before = std::move(wanted);
}

void Nat::set_pool(const std::string& name, const model::Pool* pool) {
  stale_ = true;
  if (pool == nullptr) pools_.erase(name);
  else pools_[name] = *pool;
}

void Nat::set_node(const std::string& name, const model::Node* node) {
  const auto old = nodes_.find(name);
  if (node == nullptr ? old == nodes_.end() : old != nodes_.end() && old->second == node->addresses) return;
  stale_ = true;
  if (node == nullptr) nodes_.erase(old);
  else nodes_[name] = node->addresses;
}

Nat::Outgoing Nat::outgoing() const {
  Outgoing out;
  std::vector<Prefix> inside;
  for (const auto& [name, addresses] : nodes_) {
    for (const Address& address : addresses) inside.push_back(Prefix::host(address));
  }
  std::map<Prefix, std::string> with_nat;
  for (const auto& [name, pool] : pools_) {
    inside.push_back(pool.cidr);
    if (!pool.nat) continue;
    const Family family = pool.cidr.family();
    nft::Chain chain;
    if (!pool.nat_exclude.empty()) {
      const std::string set = exclusions_of(pool);
      out.sets[set] = address_set(family, true);
      for (const Prefix& prefix : cover(pool.nat_exclude)) out.elements[{set, prefix.to_string()}] = "";
      chain.rules.push_back(ip(family) + " daddr @" + set + " accept");
    }
    // The ports that a host draws for many containers are drawn at random, or two of them take the same at once.
    chain.rules.push_back(pool.nat_source ? "snat " + ip(family) + " to " + pool.nat_source->to_string() + " fully-random"
                                          : "masquerade fully-random");
    out.chains[chain_of(pool)] = chain;
    with_nat[pool.cidr] = chain_of(pool);
  }
  for (const Prefix& prefix : cover(std::move(inside))) out.elements[{cluster(prefix.family()), prefix.to_string()}] = "";
  out.chains["nat_postrouting"] = leaving(with_nat);
  return out;
}

void Nat::take_changes(nft::Changes& out) {
  if (std::exchange(stale_, false)) {
    Outgoing now = outgoing();
    put_difference(outgoing_.sets, now.sets, changes_.sets);
    put_difference(outgoing_.chains, now.chains, changes_.chains);
    put_difference(outgoing_.elements, now.elements, changes_.elements);
    outgoing_ = std::move(now);
  }
  for (auto& [key, wish] : changes_.sets) out.sets[key] = std::move(wish);
  for (auto& [key, wish] : changes_.chains) out.chains[key] = std::move(wish);
  for (auto& [key, wish] : changes_.elements) out.elements[key] = std::move(wish);
  changes_ = {};
}

std::vector<nft::ElementKey> Nat::elements_of(const std::string& id) const {
  std::vector<nft::ElementKey> out;
  const auto found = endpoints_.find(id);
  if (found == endpoints_.end()) return out;
  for (const auto& [key, value] : found->second) out.push_back(key);
  return out;
}

}  // namespace firn::routed::policy
