// The grace of nodes on the loop's side: this host's fence and promise, and other hosts that have been dead for too long
// (ipam/grace.hpp has the bargain and the reasons).
#include "ipam/grace.hpp"

#include "ipam/loans.hpp"
#include "ipam/nodes.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {

// While a promise changes the fence waits: it must go by the one that is in force.
void Daemon::take_beat(const ipam::GraceTerms& terms, const ipam::Moment& began) {
  if (promising_ || intake_.node() == nullptr) return;
  terms_ = terms;
  beat_began_ = began;
  if (const auto extended = ipam::extend_fence(*intake_.node(), terms, began); !extended)
    return note_failure("grace", extended.error());
  if (!terms.trouble.empty()) note_failure("settings", make_error(Code::io, terms.trouble));
  if (terms.wanted == terms.promised) return;
  // Others rely on it, also when the power fails here.
  if (const auto safe = ipam::make_durable(config_.state_dir + "/node.db"); !safe) return note_failure("grace", safe.error());
  promising_ = true;
  cluster_->post([this, terms, self = self_, life = config_.node_life.count()](kv::Store* cluster) {
    const Status made = cluster != nullptr ? ipam::put_promise(*cluster, self, terms, life) : Status();
    return [this, terms, made] {
      promising_ = false;
      if (!made) return note_failure("grace", made.error());
      log_.debug("the grace of nodes that this host keeps is " + std::to_string(terms.wanted) + " s");
    };
  });
}

// By this host's own steady clock, from when it saw the loss: neither a clock that was set nor a store that was restored shortens
// it.
void Daemon::remove_overdue_nodes() {
  if (!remote_.is_read() || !cluster_->is_alive()) return;
  std::map<std::string, Watched> watched;
  for (model::Lost& lost : remote_.lost_nodes()) {
    const auto before = watched_.find(lost.node);
    const bool same = before != watched_.end() && before->second.lost == lost;
    const std::string name = lost.node;
    watched[name] = {std::move(lost), same ? before->second.since : clock_.steady()};
  }
  watched_ = std::move(watched);
  if (terms_.wanted == 0 || removing_) return;
  const int64_t life = config_.node_life.count();
  for (const auto& [name, node] : watched_) {
    const int64_t waited = std::chrono::duration_cast<std::chrono::seconds>(clock_.steady() - node.since).count();
    if (waited < terms_.wanted + life) continue;
    removing_ = true;
    cluster_->post([this, lost = node.lost, waited, life](kv::Store* cluster) {
      auto removed = cluster != nullptr ? ipam::remove_overdue(*cluster, lost, waited, life) : Result<size_t>(size_t{0});
      return [this, reached = cluster != nullptr, name = lost.node, removed = std::move(removed)] {
        removing_ = false;
        if (removed && reached) {
          log_.warning("node " + name +
                       " was not alive for the grace of nodes and is removed; blocks given free: " + std::to_string(*removed));
        } else if (!removed && removed.error().is(Code::conflict)) {
          log_.repeated(Level::warning, "overdue " + name, removed.error().message);
        } else if (!removed && !removed.error().is(Code::not_found)) {
          note_failure("overdue nodes", removed.error());
        }
      };
    });
  }
}

}  // namespace firn::routed
