#include "routed/cluster/follower.hpp"

#include <algorithm>
#include <array>

#include "lib/model/keys.hpp"
#include "lib/model/loan.hpp"
#include "lib/model/policy.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

constexpr std::array followed{keys::pools, keys::reservations, keys::claims,     keys::nodes,     keys::beats,        keys::losses,
                              keys::bgp,   keys::policies,     keys::namespaces, keys::published, keys::drain_reports};
// Reading more keys than that one by one costs more than a listing.
constexpr size_t most_single_reads = 64;

}  // namespace

Follower::Follower(std::unique_ptr<kv::Store> store, std::string self)
    : store_(std::move(store)), self_(std::move(self)), followed_(followed.begin(), followed.end()) {
  followed_.push_back(keys::host_endpoint(self_, ""));
  followed_.push_back(keys::asks_of(self_));
  followed_.push_back(keys::returns_to(self_));
}

bool Follower::is_followed(std::string_view key) const {
  return std::any_of(followed_.begin(), followed_.end(), [&](const std::string& prefix) { return key.starts_with(prefix); });
}

Result<ClusterUpdate> Follower::poll() {
  stranger_ = false;
  auto changes = store_->changes(revision_, {});
  if (!changes) return std::move(changes).error();
  if (!listed_ || changes->compacted) {
    // Not before the listing is there: until then everything is news.
    auto update = list();
    if (update) revision_ = changes->revision;
    return update;
  }
  std::erase_if(changes->keys, [this](const std::string& key) { return !is_followed(key); });
  if (changes->keys.empty()) {
    revision_ = changes->revision;
    return ClusterUpdate{};
  }
  auto update = changes->keys.size() > most_single_reads ? list() : read(changes->keys);
  if (update) revision_ = changes->revision;
  if (update && !update->whole) update->revision = revision_;
  return update;
}

Result<ClusterUpdate> Follower::list() {
  ClusterUpdate update;
  bool member = false;
  const std::string own = keys::node(self_);
  const auto done = store_->transact([&](kv::Transaction& tx) -> Status {
    update = {true, 0, {}};
    member = false;
    for (const std::string& prefix : followed_) {
      auto entries = tx.range(prefix);
      if (!entries) return std::move(entries).error();
      update.records.reserve(update.records.size() + entries->size());
      for (kv::Entry& entry : *entries) {
        member = member || entry.key == own;
        update.records.emplace_back(std::move(entry.key), std::move(entry.value));
      }
    }
    return {};
  });
  listed_ = false;
  if (!done) return done.error();
  stranger_ = !member;
  if (stranger_) return make_error(Code::not_found, "the cluster store has no node \"" + self_ + "\"");
  listed_ = true;
  update.revision = *done;
  return update;
}

Result<ClusterUpdate> Follower::read(const std::vector<std::string>& names) {
  ClusterUpdate update;
  const std::string own = keys::node(self_);
  const auto done = store_->transact([&](kv::Transaction& tx) -> Status {
    update = {};
    stranger_ = false;
    for (const std::string& key : names) {
      auto value = tx.get(key);
      if (!value) return std::move(value).error();
      stranger_ = stranger_ || (key == own && !value->has_value());
      update.records.emplace_back(key, std::move(*value));
    }
    return {};
  });
  if (!done) return done.error();
  if (!stranger_) return update;
  listed_ = false;
  return make_error(Code::not_found, "the cluster store has no node \"" + self_ + "\" any more");
}

}  // namespace firn::routed
