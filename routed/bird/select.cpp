#include "routed/bird/select.hpp"

#include <algorithm>
#include <utility>

#include "lib/base/hash.hpp"

namespace firn::routed::bird {

namespace {

Result<Rule> resolve(const model::FilterRule& rule, const std::map<std::string, model::BgpCommunity>& named) {
  Rule out;
  out.action = rule.action;
  out.prefixes = rule.prefixes;
  out.prepend = rule.prepend;
  out.med = rule.med;
  out.local_pref = rule.local_pref;
  for (const auto& [texts, target] : {std::pair(&rule.communities, &out.communities),
                                      {&rule.add_communities, &out.add},
                                      {&rule.remove_communities, &out.remove}}) {
    auto values = resolve_communities(*texts, named);
    if (!values) return std::move(values).error();
    *target = *std::move(values);
  }
  return out;
}

Result<std::vector<Rule>> chain_of(const std::vector<std::string>& names, const Records& records) {
  std::vector<Rule> out;
  for (const std::string& name : names) {
    const auto it = records.filters.find(name);
    if (it == records.filters.end()) return make_error(Code::invalid, "there is no filter " + name);
    for (const model::FilterRule& rule : it->second.rules) {
      auto resolved = resolve(rule, records.communities);
      if (!resolved) return std::move(resolved).error().context("filter " + name);
      out.push_back(*std::move(resolved));
    }
  }
  return out;
}

Result<ResolvedPeer> resolve(const model::BgpPeer& peer, const Records& records) {
  ResolvedPeer out;
  out.peer = peer;
  auto imports = chain_of(peer.import_filters, records);
  if (!imports) return std::move(imports).error().context("BGP peer " + peer.name + ": import_filters");
  auto exports = chain_of(peer.export_filters, records);
  if (!exports) return std::move(exports).error().context("BGP peer " + peer.name + ": export_filters");
  auto communities = resolve_communities(peer.communities, records.communities);
  if (!communities) return std::move(communities).error().context("BGP peer " + peer.name + ": communities");
  out.import_chain = *std::move(imports);
  out.export_chain = *std::move(exports);
  out.communities = *std::move(communities);
  return out;
}

}  // namespace

Result<std::vector<model::Community>> resolve_communities(const std::vector<std::string>& texts,
                                                          const std::map<std::string, model::BgpCommunity>& named) {
  std::vector<model::Community> out;
  const auto add = [&](const model::Community& c) {
    if (std::find(out.begin(), out.end(), c) == out.end()) out.push_back(c);
  };
  for (const std::string& text : texts) {
    if (auto value = model::parse_community(text)) {
      add(*value);
      continue;
    }
    const auto it = named.find(text);
    if (it == named.end()) return make_error(Code::invalid, "there is no community " + text);
    for (const std::string& each : it->second.values) {
      auto value = model::parse_community(each);
      if (!value) return std::move(value).error().context("community " + text);
      add(*value);
    }
  }
  return out;
}

bool concerns(const model::BgpPeer& peer, const model::Node& node) {
  return peer.node.empty() ? selects(peer.node_selector, node) : peer.node == node.name;
}

Drain drain_of(const model::Node& node, int64_t now) {
  if (!node.drain) return Drain::none;
  return until_next_drain(node, now) > 0 ? Drain::announce : Drain::withdraw;
}

int64_t until_next_drain(const model::Node& node, int64_t now) {
  if (!node.drain) return 0;
  // Another host's clock made the record: whatever it says, the grace is no longer than it should be.
  return std::clamp<int64_t>(node.drain->since + node.drain->grace - now, 0, node.drain->grace);
}

Result<Config> select(const Records& records) {
  const model::BgpSettings& settings = records.settings;
  const model::Node& node = records.self;
  Config out;
  out.local_as = as_number_of(settings, node);
  out.ecmp = settings.ecmp;
  out.cluster_id = settings.cluster_id;
  out.own_addresses = node.addresses;
  std::optional<Address> id = settings.router_id;
  for (const Address& address : node.addresses) {
    if (!id && address.is_v4()) id = address;
  }
  // One for all hosts, as the settings have it, will not do between them; names differ.
  if (!id && settings.topology != model::Topology::peers) id = Address::v4(static_cast<uint32_t>(fnv1a(node.name)) | 1);
  if (!id) {
    return make_error(Code::invalid, "BGP needs a router id: node " + node.name +
                                         " has no IPv4 address; set one: firnctl bgp settings --router-id A.B.C.D");
  }
  out.router_id = *id;
  for (const model::BgpPeer& peer : records.peers) {
    if (!concerns(peer, node)) continue;
    auto resolved = resolve(peer, records);
    if (!resolved) return std::move(resolved).error();
    out.peers.push_back(*std::move(resolved));
  }
  for (const model::Pool& pool : records.pools) {
    out.of_hosts.push_back(pool.cidr);
    if (pool.mode != model::RoutingMode::bgp) out.routed_by_firn.push_back(pool.cidr);
    if (!pool.advertise) out.unannounced.push_back(pool.cidr);
  }
  for (const model::BgpPrefix& prefix : records.prefixes) {
    out.of_hosts.push_back(prefix.cidr);
    if (!selects(prefix.node_selector, node)) continue;
    auto communities = resolve_communities(prefix.communities, records.communities);
    if (!communities) return std::move(communities).error().context("announced prefix " + prefix.cidr.to_string());
    out.extra.push_back({prefix.cidr, *std::move(communities)});
  }
  return out;
}

}  // namespace firn::routed::bird
