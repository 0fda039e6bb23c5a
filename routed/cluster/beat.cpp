#include "routed/cluster/beat.hpp"

#include <algorithm>

#include "ipam/identity.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {

namespace keys = model::keys;

Status Beat::beat(kv::Store& cluster, Time now, int64_t unix_now) {
  due_ = now + std::max(std::chrono::milliseconds(life_) / 3, std::chrono::milliseconds(200));
  terms_.reset();
  model::Identity alone = self_;
  alone.instance.clear();
  Error denied;
  bool doubtful = false;
  ipam::GraceTerms terms;
  const auto known = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto same = ipam::check_identity(tx, alone); !same) return same;
    auto sole = ipam::check_identity(tx, self_);
    doubtful = !sole && sole.error().is(Code::denied);
    if (doubtful) denied = sole.error();
    if (doubtful || !sole) return doubtful ? Status() : sole;
    auto read = ipam::grace_terms(tx, self_.name, self_.generation, life_.count());
    if (!read) return std::move(read).error();
    terms = *read;
    return {};
  });
  if (!known && known.error().is(Code::denied)) {
    refused_ = known.error().message;
    lease_ = 0;  // what is left of it, if it was ours, ends by itself
    return {};
  }
  if (!known) return known.error();
  if (doubtful) {
    if (doubtful_since_ == Time{}) doubtful_since_ = now;
    if (now - doubtful_since_ > life_ + life_ / 2) refused_ = denied.message;
    return {};
  }
  doubtful_since_ = {};
  refused_.clear();
  terms_ = terms;
  if (lease_ != 0) {
    auto kept = cluster.keep_alive(lease_);
    if (kept) return {};
    if (!kept.error().is(Code::not_found)) return std::move(kept).error();
    lease_ = 0;
  }
  return begin(cluster, unix_now);
}

Status Beat::begin(kv::Store& cluster, int64_t unix_now) {
  auto lease = cluster.grant(life_);
  if (!lease) return std::move(lease).error();
  const auto begun = cluster.transact([&](kv::Transaction& tx) -> Status {
    if (auto ours = ipam::check_identity(tx, self_); !ours) return ours;
    tx.put(keys::beat(self_.name),
           model::encode(model::Beat{self_.name, self_.machine_id, self_.generation, self_.instance, unix_now}), *lease);
    tx.erase(keys::loss(self_.name));
    return {};
  });
  if (!begun) {
    due_ = {};
    return begun.error();
  }
  lease_ = *lease;
  return {};
}

}  // namespace firn::routed
