#include "routed/remote.hpp"

#include <algorithm>
#include <cmath>

#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;
namespace records = ipam::records;

// "claim/POOL/PREFIXKEY"
struct ClaimName {
  std::string pool;
  Prefix prefix;
};
Result<ClaimName> parse_claim_key(std::string_view key) {
  const std::string_view name = key.substr(keys::claims.size());
  const size_t slash = name.find('/');
  const auto prefix = slash == std::string_view::npos ? std::nullopt : records::parse_prefix_key(name.substr(slash + 1));
  if (!prefix) return records::unreadable(key, make_error(Code::invalid, "it is not the key of a claim"));
  return ClaimName{std::string(name.substr(0, slash)), *prefix};
}

Result<model::Node> read_node(std::string_view key, std::string_view value) {
  auto node = model::decode_node(value);
  if (!node) return records::unreadable(key, node.error());
  if (keys::node(node->name) != key) return records::unreadable(key, make_error(Code::invalid, "it is of node " + node->name));
  return node;
}

}  // namespace

std::vector<Error> Remote::take(const ClusterUpdate& update) {
  std::vector<Error> unreadable;
  records_.set_revision(update.revision);
  if (update.whole) {
    take_whole(update, unreadable);
    read_ = true;
    return unreadable;
  }
  for (const auto& [key, value] : update.records) {
    if (auto taken = take_one(key, value ? &*value : nullptr); !taken) unreadable.push_back(std::move(taken).error());
  }
  return unreadable;
}

std::vector<Remote::PoolState> Remote::pools() const {
  std::vector<PoolState> out;
  for (const std::string& key : records_.keys(keys::pools)) {
    const auto pool = records::read_pool(key, records_.at(key));
    if (!pool) continue;
    PoolState state{pool->name, std::ldexp(1.0, pool->block_size - pool->leasable().length()), 0, 0};
    const std::string claims = keys::claims_of(pool->name);
    state.own = records_.keys(claims).size();
    const auto bridged =
        std::count_if(bridged_.begin(), bridged_.end(), [&](const std::string& claim) { return claim.starts_with(claims); });
    state.unclaimed = std::max(
        0.0, state.blocks - static_cast<double>(overlay_.claims(pool->name, pool->block_size)) - static_cast<double>(bridged));
    out.push_back(std::move(state));
  }
  return out;
}

std::vector<std::string> Remote::silent_nodes() const {
  std::vector<std::string> out;
  const auto nodes = records_.keys(keys::nodes);
  for (const std::string& key : nodes) {
    const std::string name = key.substr(keys::nodes.size());
    if (name != self_ && !records_.has(keys::beat(name)) && !records_.has(keys::loss(name))) out.push_back(name);
  }
  return out;
}

std::vector<model::Lost> Remote::lost_nodes() const {
  std::vector<model::Lost> out;
  for (const std::string& key : records_.keys(keys::losses)) {
    auto lost = model::decode_lost(records_.at(key));
    if (lost && keys::loss(lost->node) == key && lost->node != self_ && !records_.has(keys::beat(lost->node)))
      out.push_back(std::move(*lost));
  }
  return out;
}

void Remote::take_whole(const ClusterUpdate& update, std::vector<Error>& unreadable) {
  ClusterView view;
  view.self = self_;
  records_.clear();
  bridged_.clear();
  for (const auto& [key, value] : update.records) {
    const auto add = [&, &name = key](auto record, auto& all) {
      if (record) return all.push_back(std::move(*record));
      view.unreadable.insert(name);
      unreadable.push_back(std::move(record).error());
    };
    const bool claim = key.starts_with(keys::claims);
    if (claim) add(records::read_claim(key, *value), view.claims);
    else if (key.starts_with(keys::pools)) add(records::read_pool(key, *value), view.pools);
    else if (key.starts_with(keys::nodes)) add(read_node(key, *value), view.nodes);
    if (claim && !view.unreadable.contains(key) && view.claims.back().use == model::Use::bridged) bridged_.insert(key);
    if (key.starts_with(keys::published)) continue;  // the firewall's
    if (!claim || (!view.unreadable.contains(key) && (view.claims.back().node == self_ || view.claims.back().prefix.is_host())))
      records_.put(key, *value);
  }
  overlay_.set_cluster(view);
}

Status Remote::take_one(const std::string& key, const std::string* value) {
  const bool claim = key.starts_with(keys::claims);
  if (claim) {
    auto name = parse_claim_key(key);
    if (!name) return std::move(name).error();
    auto record = value == nullptr ? Result<model::Claim>(model::Claim{}) : records::read_claim(key, *value);
    if (!record) return std::move(record).error();
    overlay_.set_claim(name->pool, name->prefix, value == nullptr ? nullptr : &*record);
    if (value != nullptr && record->use == model::Use::bridged) bridged_.insert(key);
    else bridged_.erase(key);
    if (value == nullptr || (record->node != self_ && !record->prefix.is_host())) records_.erase(key);
    else records_.put(key, *value);
    return {};
  }
  if (key.starts_with(keys::published)) return {};  // the firewall's
  if (value == nullptr) records_.erase(key);
  else records_.put(key, *value);
  if (key.starts_with(keys::pools)) {
    const std::string name = key.substr(keys::pools.size());
    if (value == nullptr) return overlay_.set_pool(name, nullptr), Status();
    auto pool = records::read_pool(key, *value);
    if (!pool) return std::move(pool).error();
    overlay_.set_pool(name, &*pool);
  } else if (key.starts_with(keys::nodes)) {
    const std::string name = key.substr(keys::nodes.size());
    if (value == nullptr) return overlay_.set_node(name, nullptr), Status();
    auto node = read_node(key, *value);
    if (!node) return std::move(node).error();
    overlay_.set_node(name, &*node);
  }
  return {};
}

}  // namespace firn::routed
