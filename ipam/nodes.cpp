#include "ipam/nodes.hpp"

#include <algorithm>
#include <functional>

#include "ipam/claims.hpp"
#include "ipam/grace.hpp"
#include "ipam/loans.hpp"
#include "ipam/publish.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

constexpr size_t batch = 30;  // a loan reads and writes three keys of the 128 of an etcd transaction

// Inside the transaction that erases the record: an error, why the node must stay.
using MayGo = std::function<Status(kv::Transaction&)>;

// Whether there was anything. What tells of the loss stays to the end: by it a removal that was begun is found.
Result<bool> erase_record(kv::Store& cluster, const std::string& name, const MayGo& may_go) {
  bool there = false;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    there = false;
    for (const std::string& key : {keys::node(name), keys::loss(name)}) {
      auto record = tx.get(key);
      if (!record) return std::move(record).error();
      there = there || record->has_value();
    }
    if (auto good = may_go(tx); !good) return good;
    for (const std::string& key : {keys::node(name), keys::beat(name), keys::promise(name), keys::bgp_ready(name),
                                   keys::bgp_status(name), keys::drain_report(name)})
      tx.erase(key);
    return {};
  });
  if (!done) return std::move(done).error();
  return there;
}

// A host may take the name while its claims are given free: these are its own then.
Status check_gone(kv::Transaction& tx, const std::string& name) {
  auto record = tx.get(keys::node(name));
  if (!record) return std::move(record).error();
  if (record->has_value()) return make_error(Code::conflict, "node " + name + " has joined meanwhile");
  return {};
}

Status free_claims(kv::Store& cluster, const std::string& name, const std::vector<model::Claim>& claims) {
  for (size_t from = 0; from < claims.size(); from += batch) {
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      if (auto gone = check_gone(tx, name); !gone) return gone;
      for (size_t i = from; i < std::min(claims.size(), from + batch); ++i) {
        auto claim = records::claim_at(tx, claims[i].pool, claims[i].prefix);
        if (!claim) return std::move(claim).error();
        if (!claim->has_value() || (*claim)->node != name) continue;
        tx.erase(keys::claim(claims[i].pool, claims[i].prefix));
        if (auto noted = note_return(tx, **claim); !noted) return noted;
      }
      return {};
    });
    if (!done) return std::move(done).error();
  }
  return {};
}

Result<size_t> remove_if(kv::Store& cluster, const std::string& name, const MayGo& may_go) {
  auto there = erase_record(cluster, name, may_go);
  if (!there) return std::move(there).error();
  auto claims = claims_of(cluster, name);
  if (!claims) return std::move(claims).error();
  if (!*there && claims->empty())
    return make_error(Code::not_found, "there is no node " + name + "; 'firnctl node list' shows them");
  if (auto freed = free_claims(cluster, name, *claims); !freed) return std::move(freed).error();
  if (auto unpublished = unpublish_node(cluster, name); !unpublished) return std::move(unpublished).error();
  auto ended = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto gone = check_gone(tx, name); !gone) return gone;
    tx.erase(keys::loss(name));
    return {};
  });
  if (!ended) return std::move(ended).error();
  return claims->size();
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
    auto promises = tx.range(keys::promises);
    if (!promises) return std::move(promises).error();
    for (const kv::Entry& entry : *promises) {
      // One that cannot be read is none.
      if (auto promise = model::decode_promise(entry.value)) out[promise->node].promise = *promise;
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
  return remove_if(cluster, name, [&](kv::Transaction& tx) -> Status {
    auto beat = tx.get(keys::beat(name));
    if (!beat) return std::move(beat).error();
    if (!beat->has_value() || force) return {};
    return make_error(Code::conflict,
                      "node " + name +
                          " is alive: firn-routed runs there and reaches the cluster; stop it first "
                          "('systemctl stop firn-routed', then wait half a minute), with every container that has an address");
  });
}

Result<size_t> remove_overdue(kv::Store& cluster, const model::Lost& seen, int64_t waited, int64_t life) {
  const std::string& name = seen.node;
  return remove_if(cluster, name, [&](kv::Transaction& tx) -> Status {
    const auto stays = [&](const std::string& why) { return make_error(Code::conflict, "node " + name + " stays: " + why); };
    auto beat = tx.get(keys::beat(name));
    if (!beat) return std::move(beat).error();
    auto lost = tx.get(keys::loss(name));
    if (!lost) return std::move(lost).error();
    if (beat->has_value() || *lost != model::encode(seen)) return stays("it was alive meanwhile");
    const std::string key = keys::node(name);
    auto text = tx.get(key);
    if (!text) return std::move(text).error();
    if (!text->has_value()) return {};
    auto record = model::decode_node(**text);
    if (!record) return records::unreadable(key, record.error());
    auto terms = grace_terms(tx, name, record->generation, life);
    if (!terms) return std::move(terms).error();
    if (!terms->trouble.empty()) return stays(terms->trouble);
    if (terms->wanted == 0) return stays("no grace of nodes is set");
    if (terms->promised == 0)
      return stays("it has not promised to stop leasing; make sure that it is off, then 'firnctl node remove " + name + "'");
    if (waited < std::max(terms->wanted, terms->promised) + life) return stays("its grace is not over");
    return {};
  });
}

}  // namespace firn::ipam
