#include "ipam/nodes.hpp"

#include <algorithm>

#include "ipam/claims.hpp"
#include "ipam/loans.hpp"
#include "ipam/publish.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

constexpr size_t batch = 30;  // a loan reads and writes three keys of the 128 of an etcd transaction

// Whether there was a record; refuses while the node is alive.
Result<bool> erase_record(kv::Store& cluster, const std::string& name, bool force) {
  bool there = false;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    auto record = tx.get(keys::node(name));
    if (!record) return std::move(record).error();
    there = record->has_value();
    auto beat = tx.get(keys::beat(name));
    if (!beat) return std::move(beat).error();
    if (beat->has_value() && !force) {
      return make_error(Code::conflict,
                        "node " + name +
                            " is alive: firn-routed runs there and reaches the cluster; stop it first "
                            "('systemctl stop firn-routed', then wait half a minute), with every container that has an address");
    }
    for (const std::string& key : {keys::node(name), keys::beat(name), keys::loss(name), keys::bgp_ready(name), keys::bgp_status(name)})
      tx.erase(key);
    return {};
  });
  if (!done) return std::move(done).error();
  return there;
}

}  // namespace

Result<std::map<std::string, NodeState>> node_states(kv::Store& cluster) {
  std::map<std::string, NodeState> out;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    out.clear();
    auto beats = tx.range(keys::beats);
    if (!beats) return std::move(beats).error();
    for (const kv::Entry& entry : *beats) {
      auto beat = model::decode_beat(entry.value);
      if (!beat) return records::unreadable(entry.key, beat.error());
      out[beat->node].beat = *beat;
    }
    auto losses = tx.range(keys::losses);
    if (!losses) return std::move(losses).error();
    for (const kv::Entry& entry : *losses) {
      auto lost = model::decode_lost(entry.value);
      if (!lost) return records::unreadable(entry.key, lost.error());
      out[lost->node].lost_at = lost->at;
    }
    auto claims = tx.range(keys::claims);
    if (!claims) return std::move(claims).error();
    for (const kv::Entry& entry : *claims) {
      auto claim = records::read_claim(entry.key, entry.value);
      if (!claim) return std::move(claim).error();
      out[claim->node].claims.push_back(std::move(*claim));
    }
    return {};
  });
  if (!done) return std::move(done).error();
  return out;
}

Status note_lost(kv::Store& cluster, const std::vector<std::string>& nodes, int64_t now) {
  for (const std::string& name : nodes) {
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      auto record = tx.get(keys::node(name));
      if (!record) return std::move(record).error();
      auto beat = tx.get(keys::beat(name));
      if (!beat) return std::move(beat).error();
      auto noted = tx.get(keys::loss(name));
      if (!noted) return std::move(noted).error();
      if (record->has_value() && !beat->has_value() && !noted->has_value())
        tx.put(keys::loss(name), model::encode(model::Lost{name, now}));
      return {};
    });
    if (!done) return std::move(done).error();
  }
  return {};
}

Result<size_t> remove_node(kv::Store& cluster, const std::string& name, bool force) {
  auto there = erase_record(cluster, name, force);
  if (!there) return std::move(there).error();
  auto claims = claims_of(cluster, name);
  if (!claims) return std::move(claims).error();
  if (!*there && claims->empty())
    return make_error(Code::not_found, "there is no node " + name + "; 'firnctl node list' shows them");
  for (size_t from = 0; from < claims->size(); from += batch) {
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      for (size_t i = from; i < std::min(claims->size(), from + batch); ++i) {
        const std::string key = keys::claim((*claims)[i].pool, (*claims)[i].prefix);
        auto value = tx.get(key);
        if (!value) return std::move(value).error();
        if (!value->has_value()) continue;
        auto claim = records::read_claim(key, **value);
        if (!claim) return std::move(claim).error();
        if (claim->node != name) continue;
        tx.erase(key);
        if (auto noted = note_return(tx, *claim); !noted) return noted;
      }
      return {};
    });
    if (!done) return std::move(done).error();
  }
  if (auto unpublished = unpublish_node(cluster, name); !unpublished) return std::move(unpublished).error();
  return claims->size();
}

}  // namespace firn::ipam
