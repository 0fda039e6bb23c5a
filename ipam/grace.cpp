#include "ipam/grace.hpp"

#include <algorithm>

#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

Status done(Result<kv::Revision> committed) {
  if (!committed) return std::move(committed).error();
  return {};
}

}  // namespace

Result<GraceTerms> grace_terms(kv::Transaction& cluster, const std::string& node, uint64_t generation, int64_t life) {
  GraceTerms out;
  auto text = cluster.get(keys::promise(node));
  if (!text) return std::move(text).error();
  if (text->has_value()) {
    // One that cannot be read is none, to others as well.
    const auto promise = model::decode_promise(**text);
    if (promise && promise->generation == generation) out.promised = promise->grace;
  }
  text = cluster.get(keys::settings);
  if (!text) return std::move(text).error();
  if (!text->has_value()) return out;
  const auto settings = model::decode_cluster_settings(**text);
  if (!settings) {
    out.wanted = out.promised;
    out.trouble = "the settings of the cluster cannot be used: " + settings.error().message +
                  "; 'firnctl cluster set --node-grace' writes them anew";
  } else if (settings->node_grace > 0) {
    out.wanted = std::max(settings->node_grace, 2 * life);
  }
  return out;
}

std::optional<model::Fence> fence_of(const GraceTerms& terms, const Moment& began) {
  const int64_t least = std::min(terms.wanted, terms.promised), grace = least > 0 ? least : std::max(terms.wanted, terms.promised);
  if (grace == 0) return std::nullopt;
  return model::Fence{began.wall + grace,
                      "firn-routed here has not reached the cluster for " + std::to_string(grace) +
                          " s, the grace of nodes, so other hosts may take its blocks; see 'firnctl cluster status' "
                          "and 'systemctl status firn-routed'",
                      began.wall, began.boot_id, began.boot + grace};
}

Status extend_fence(kv::Store& node, const GraceTerms& terms, const Moment& began) {
  const auto wanted = fence_of(terms, began);
  return done(node.transact([&](kv::Transaction& tx) -> Status {
    auto value = tx.get(keys::fence);
    if (!value) return std::move(value).error();
    if (value->has_value()) {
      auto old = model::decode_fence(**value);
      if (!old) return records::unreadable(keys::fence, old.error());
      if (old->from == 0 || (wanted && *old == *wanted)) return {};
    }
    if (wanted) tx.put(keys::fence, model::encode(*wanted));
    else if (value->has_value()) tx.erase(keys::fence);
    return {};
  }));
}

Status put_promise(kv::Store& cluster, const model::Identity& self, const GraceTerms& terms, int64_t life) {
  return done(cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto known = check_identity(tx, self); !known) return known;
    auto now = grace_terms(tx, self.name, self.generation, life);
    if (!now) return std::move(now).error();
    if (now->promised != terms.promised) return {};  // the next beat reads it
    if (terms.wanted == 0) tx.erase(keys::promise(self.name));
    else tx.put(keys::promise(self.name), model::encode(model::Promise{self.name, self.generation, terms.wanted}));
    return {};
  }));
}

}  // namespace firn::ipam
