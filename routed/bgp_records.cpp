#include "routed/bgp_records.hpp"

#include <utility>

#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

template <class T, class Take>
Status read(kv::Store& cluster, std::string_view prefix, Result<T> (*decode)(model::Source), Take take) {
  auto listing = cluster.range(prefix);
  if (!listing) return std::move(listing).error();
  for (const kv::Entry& entry : listing->entries) {
    auto record = decode(entry.value);
    if (!record) return std::move(record).error().context("record " + entry.key);
    take(*std::move(record));
  }
  return {};
}

template <class T>
auto into(std::vector<T>& out) {
  return [&out](T&& record) { out.push_back(std::move(record)); };
}

template <class T>
auto into(std::map<std::string, T>& out) {
  return [&out](T&& record) {
    std::string name = record.name;
    out.emplace(std::move(name), std::move(record));
  };
}

template <class T>
Result<std::optional<T>> read_one(kv::Store& cluster, std::string_view key, Result<T> (*decode)(model::Source)) {
  const auto stored = cluster.get(key);
  if (!stored) return stored.error();
  if (!*stored) return std::optional<T>();
  auto record = decode((*stored)->value);
  if (!record) return std::move(record).error().context("record " + std::string(key));
  return std::optional<T>(*std::move(record));
}

}  // namespace

Result<BgpRecords> read_bgp_records(kv::Store& cluster, const std::string& node_name) {
  BgpRecords out;
  bird::Records& r = out.records;
  auto self = read_one(cluster, keys::node(node_name), model::decode_node);
  if (!self) return std::move(self).error();
  if (!*self) return make_error(Code::not_found, "the cluster store has no node \"" + node_name + "\"; run firnctl init");
  r.self = **std::move(self);
  auto settings = read_one(cluster, keys::bgp_settings, model::decode_bgp_settings);
  if (!settings) return std::move(settings).error();
  r.settings = settings->value_or(model::BgpSettings{});
  if (auto done = read(cluster, keys::bgp_peers, model::decode_bgp_peer, into(r.peers)); !done) return std::move(done).error();
  if (auto done = read(cluster, keys::bgp_filters, model::decode_bgp_filter, into(r.filters)); !done)
    return std::move(done).error();
  if (auto done = read(cluster, keys::bgp_communities, model::decode_bgp_community, into(r.communities)); !done)
    return std::move(done).error();
  if (auto done = read(cluster, keys::bgp_prefixes, model::decode_bgp_prefix, into(r.prefixes)); !done)
    return std::move(done).error();
  if (auto done = read(cluster, keys::pools, model::decode_pool, into(r.pools)); !done) return std::move(done).error();
  const auto ready = [&](model::BgpReady&& record) { out.ready[record.node] = std::move(record.plan); };
  if (auto done = read(cluster, keys::bgp_readies, model::decode_bgp_ready, ready); !done) return std::move(done).error();
  if (r.settings.topology == model::Topology::peers && out.ready.empty()) return out;
  if (auto done = read(cluster, keys::nodes, model::decode_node, into(r.nodes)); !done) return std::move(done).error();
  auto topology = read_one(cluster, keys::bgp_topology, model::decode_bgp_topology);
  if (!topology) return std::move(topology).error();
  out.topology = *topology;
  return out;
}

}  // namespace firn::routed
