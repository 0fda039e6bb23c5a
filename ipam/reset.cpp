// reset_node_store() of check.hpp: a new store in the place of a damaged file.
#include "ipam/check.hpp"
#include "ipam/grace.hpp"
#include "ipam/identity.hpp"
#include "ipam/records.hpp"
#include "ipam/mirror.hpp"
#include "ipam/node_store.hpp"
#include "ipam/rebuild.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

}  // namespace

Result<std::string> reset_node_store(const std::string& path, kv::Store* cluster, const std::string& node_name,
                                     const std::string& boot_id, const std::vector<model::Endpoint>& live, const Clock& clock) {
  auto aside = set_node_store_aside(path);
  if (!aside) return aside;
  NodeStoreOptions opening;
  opening.path = path;
  opening.boot_id = boot_id;
  auto store = open_node_store(opening);
  if (!store) return std::move(store).error();
  model::Identity self{node_name};
  bool promised = false;
  if (cluster != nullptr && !node_name.empty()) {
    const std::string key = keys::node(node_name);
    auto entry = cluster->get(key);
    if (!entry) return std::move(entry).error();
    auto node = *entry ? model::decode_node((*entry)->value) : Result<model::Node>(model::Node{});
    if (!node) return records::unreadable(key, node.error());
    self.generation = node->generation;
    auto read = cluster->transact([&](kv::Transaction& tx) -> Status {
      auto terms = grace_terms(tx, node_name, self.generation, 0);
      if (!terms) return std::move(terms).error();
      promised = terms->promised > 0;
      return {};
    });
    if (!read) return std::move(read).error();
  }
  auto written = (*store)->transact([&](kv::Transaction& tx) -> Status {
    if (!node_name.empty()) put_identity(tx, self);
    // The fence of before may have come; the next beat says when this one does.
    if (promised)
      tx.put(keys::fence, model::encode(model::Fence{1, "firn-routed has not reached the cluster since the node store was made anew"}));
    // Before the first block: adopting one leaves out the addresses that the leases of these hold.
    for (model::Endpoint endpoint : live) {
      endpoint.boot_id = boot_id;
      tx.put(keys::endpoint(model::handle_of(endpoint)), model::encode(endpoint));
      for (const Address& address : endpoint.addresses) {
        tx.put(keys::lease(address),
               model::encode(model::Lease{address, model::handle_of(endpoint), "unknown", Prefix::host(address)}));
      }
    }
    tx.put(keys::boot, boot_id);
    return {};
  });
  if (!written) return std::move(written).error();
  if (cluster != nullptr) {
    if (auto copied = mirror(*cluster, **store, node_name); !copied) return std::move(copied).error();
  }
  // Now that the blocks are there, the leases can name theirs.
  auto settled = (*store)->transact([&](kv::Transaction& tx) {
    RebuildOptions rebuilding;
    rebuilding.boot_id = boot_id;
    rebuilding.now = clock.unix_seconds();
    rebuilding.keep = [](const model::Endpoint&) { return true; };
    return rebuild(tx, rebuilding);
  });
  if (!settled) return std::move(settled).error();
  return aside;
}

}  // namespace firn::ipam
