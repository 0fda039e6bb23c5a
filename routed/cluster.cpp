#include "routed/cluster.hpp"

#include <algorithm>

#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

template <class Decode, class T>
Status read(kv::Transaction& tx, std::string_view prefix, Decode decode, std::vector<T>& out) {
  auto listed = tx.range(prefix);
  if (!listed) return std::move(listed).error();
  out.reserve(listed->size());
  for (const kv::Entry& entry : *listed) {
    auto record = decode(entry.value);
    if (!record) return std::move(record).error().context("record " + entry.key);
    out.push_back(std::move(*record));
  }
  return {};
}

}  // namespace

Result<ClusterView> read_cluster(kv::Store& cluster, const std::string& self) {
  ClusterView out;
  const auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    out = {self, {}, {}, {}};
    if (auto pools = read(tx, keys::pools, model::decode_pool, out.pools); !pools) return pools;
    if (auto nodes = read(tx, keys::nodes, model::decode_node, out.nodes); !nodes) return nodes;
    return read(tx, keys::claims, model::decode_claim, out.claims);
  });
  if (!done) return done.error();
  const bool member = std::any_of(out.nodes.begin(), out.nodes.end(), [&](const model::Node& node) { return node.name == self; });
  if (!member) return make_error(Code::not_found, "the cluster store has no node \"" + self + "\"; run firnctl init");
  return out;
}

}  // namespace firn::routed
