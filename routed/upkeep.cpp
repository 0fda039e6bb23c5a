// What the daemon does for the stores: copies of the cluster in the node store, blocks claimed ahead, and what the cluster says of
// other hosts.
#include <algorithm>

#include "ipam/allocator.hpp"
#include "ipam/claims.hpp"
#include "ipam/give_back.hpp"
#include "ipam/identity.hpp"
#include "ipam/loans.hpp"
#include "ipam/mirror.hpp"
#include "ipam/nodes.hpp"
#include "ipam/ownership.hpp"
#include "lib/base/file.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/model/keys.hpp"
#include "routed/blocks.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds blocks_delay{200};
constexpr milliseconds withdrawal{1000};   // of a block that is given back, until routers have forgotten it
constexpr milliseconds claim_pause{5000};  // after a claim that gave nothing

}  // namespace

void Daemon::schedule_blocks() {
  if (!blocks_timer_) blocks_timer_ = loop_.after(blocks_delay, [this] { maintain(); });
}

// Endpoints of an earlier boot hold addresses that nobody uses: free them now rather than at the first attach.
void Daemon::begin_boot() {
  if (boot_begun_) return;
  auto boot = ipam::current_boot_id();
  if (!boot) return note_failure("boot", boot.error());
  ipam::Options options;
  options.boot_id = std::move(*boot);
  const auto begun = ipam::Allocator(*intake_.node(), clock_, std::move(options)).begin_boot();
  if (!begun) return note_failure("boot", begun.error());
  boot_begun_ = true;
}

void Daemon::learn_identity() {
  const auto config = cluster::read_config(config_.state_dir);
  if (!config) return note_failure("identity", config.error());
  auto found = ipam::host_identity(*intake_.node(), config_.state_dir, config->has_value());
  if (!found) return note_failure("identity", found.error());
  model::Identity self = found->value_or(model::Identity{});
  firewall_.set_self(self.name);
  if (self == self_) return;
  self_ = std::move(self);
  remote_.set_self(self_.name);
  cluster_->set_self(self_);
  bgp_due_ = true;
  publisher_.everything();
}

void Daemon::maintain() {
  blocks_timer_.cancel();
  if (intake_.node() == nullptr) return;
  begin_boot();
  learn_identity();
  if (remote_.is_read() && !self_.name.empty()) {
    if (std::exchange(copy_due_, false)) {
      const auto copied = ipam::mirror(*remote_.records(), *intake_.node(), self_.name);
      if (!copied) {
        copy_due_ = true;
        // unavailable: what was read is older than what this host gave back; the news is on its way.
        if (!copied.error().is(Code::unavailable)) note_failure("blocks", copied.error());
      } else if (*copied) {
        // A loan may have come: who waits for one looks, and asks again if it was not.
        for (auto& [name, need] : needs_) {
          if (need.timer) need.working = false;
          need.timer.cancel();
        }
      }
    }
    answer_asks();
    take_returns();
    settle(false);
    watch_pools();
    give_back();
    claim_ahead();
  }
  // Our routes first: when a pool leaves mode bgp, BIRD takes its own away.
  round();
  if (std::exchange(bgp_due_, false)) bgp_.update(remote_.records(), self_.name);
  if (std::exchange(trim_due_, false)) give_memory_back();
}

// A host that the cluster does not take for the node any more leases nothing from its pools, and finds out which of its blocks
// are another's. Once it is the node for sure, what is still its own is settled first, and then it leases again.
void Daemon::keep_fence() {
  if (intake_.node() == nullptr || self_.machine_id.empty()) return;
  if (!cluster_->refused().empty()) {
    const auto fenced = ipam::put_fence(*intake_.node(), model::Fence{0, cluster_->refused()});
    if (!fenced) return note_failure("fence", fenced.error());
    if (*fenced)
      note_failure("fence",
                   make_error(Code::denied, cluster_->refused() + "; until then nothing is leased from the cluster's pools"));
    return settle(true);
  }
  if (!cluster_->is_alive()) return;
  const auto fence = intake_.node()->get(model::keys::fence);
  if (fence && *fence) {
    // One that has a time is take_beat()'s: the cluster said by the beat that this host is the node, and has been all along.
    const auto record = model::decode_fence((*fence)->value);
    if (!record || record->from == 0) settle(true);
  }
}

// Every host may notice; who comes first says it for all. At the pace of resync(), so not all at the same moment.
void Daemon::note_lost_nodes() {
  if (!remote_.is_read() || !cluster_->is_alive()) return;
  auto silent = remote_.silent_nodes();
  if (silent.empty()) return;
  cluster_->post([this, silent = std::move(silent), now = clock_.unix_seconds()](kv::Store* cluster) -> ClusterThread::Function {
    const Status noted = cluster != nullptr ? ipam::note_lost(*cluster, silent, now) : Status();
    if (noted) return {};
    return [this, error = noted.error()] { note_failure("lost nodes", error); };
  });
}

// `all`: also the blocks that the cluster is known to give this host, for what is known may be old.
void Daemon::settle(bool all) {
  if (settling_ || !cluster_->present()) return;
  auto blocks =
      all ? ipam::blocks_here(*intake_.node()) : ipam::blocks_without_claim(*intake_.node(), *remote_.records(), self_.name);
  if (!blocks) return note_failure("blocks", blocks.error());
  if (blocks->empty() && !all) return;
  settling_ = true;
  cluster_->post([this, all, blocks = std::move(*blocks), self = self_, now = clock_.unix_seconds()](kv::Store* cluster) {
    ipam::Settled settled;
    if (cluster != nullptr) settled = ipam::settle_blocks(*cluster, self, blocks, now);
    else settled.refused = make_error(Code::unavailable, "the cluster store cannot be had");
    return [this, all, settled = std::move(settled)] { take_settled(settled, all); };
  });
}

void Daemon::take_settled(const ipam::Settled& settled, bool all) {
  settling_ = false;
  if (settled.refused && !settled.refused->is(Code::unavailable)) note_failure("blocks", *settled.refused);
  for (const model::Block& block : settled.claimed) {
    log_.warning("the cluster did not know block " + block.prefix.to_string() + " of pool " + block.pool +
                 " as this host's: claimed again");
  }
  if (intake_.node() == nullptr) return;
  if (!settled.lost.empty()) {
    const auto holders = ipam::drop_blocks(*intake_.node(), settled.lost);
    if (!holders) return note_failure("blocks", holders.error());
    for (const auto& [block, owner, revision] : settled.lost) {
      log_.error("block " + block.prefix.to_string() + " of pool " + block.pool + " is node " + owner +
                 "'s now: it is no longer routed or leased here");
    }
    if (!holders->empty()) {
      note_failure("lost addresses", make_error(Code::conflict, "addresses of lost blocks are still in use here: " +
                                                                    ipam::holders_text(*holders) + "; stop these containers"));
    }
  }
  if (!all || settled.refused || !cluster_->is_alive() || !cluster_->refused().empty()) return;
  const auto lifted = ipam::put_fence(*intake_.node(), ipam::fence_of(terms_, beat_began_));
  if (!lifted) return note_failure("fence", lifted.error());
  if (*lifted) log_.info("this host is node " + self_.name + " of the cluster again, and leases from its pools");
}

// What is known of other hosts stays in force while the cluster store cannot be read.
void Daemon::take_update(const ClusterUpdate& update) {
  for (const Error& error : remote_.take(update)) note_failure("cluster", error);
  firewall_.take(update);
  const std::string trouble = compute_.overlay().trouble();
  if (!trouble.empty()) log_.repeated(Level::warning, "unreachable blocks", trouble);
  copy_due_ = true;
  // A block may be free now that was not.
  const bool freed = std::any_of(update.records.begin(), update.records.end(), [](const auto& record) {
    return !is_published(record.first) && (!record.second || record.first.starts_with(model::keys::pools));
  });
  if (update.whole || freed) claim_again_ = {};
  // Claims, which come and go all the time, do not matter to BGP.
  const bool for_bgp =
      std::any_of(update.records.begin(), update.records.end(), [](const auto& record) { return concerns_bgp(record.first); });
  bgp_due_ = bgp_due_ || update.whole || for_bgp;
  trim_due_ = trim_due_ || update.whole;
  schedule_blocks();
}

void Daemon::take_cluster_state() {
  if (cluster_->trouble().empty()) log_.info(cluster_->present() ? "reading the cluster store" : "there is no cluster store");
  // Each trouble is a topic of its own: that the cluster is refused must not wait behind the lost connection which came before.
  else note_failure("cluster " + cluster_->trouble(), make_error(Code::unavailable, cluster_->trouble()));
  keep_fence();
  if (!cluster_->present()) return;
  schedule_blocks();
  publisher_.everything();
}

Publisher::Ports Daemon::publisher_ports() {
  return {[this](ClusterThread::Job job) { cluster_->post(std::move(job)); },
          [this] { return cluster_ != nullptr && cluster_->present() && cluster_->trouble().empty(); },
          [this] { return intake_.complete() && !intake_.lost() ? intake_.node() : nullptr; }, [this] { return self_; },
          [this](const Error& why) { note_failure("publication", why); }};
}

Firewall::Ports Daemon::firewall_ports() {
  return {[this](const std::string& topic, const Error& why) { note_failure(topic, why); },
          [this] { return intake_.complete() && !intake_.lost() ? intake_.node() : nullptr; },
          [this](const std::string& path, std::string text) {
            cluster_->post([this, path, text = std::move(text)](kv::Store*) -> ClusterThread::Function {
              const auto saved = write_file_atomic(path, text, 0600);
              if (saved) return {};
              return [this, error = saved.error()] { note_failure("policy copy", error); };
            });
          }};
}

// Of this host alone, in the cluster store. One that cannot be written now is written again by whom it is wanted by.
void Daemon::put_record(const std::string& key, const std::string& value) {
  if (!cluster_->present()) return;
  cluster_->post([this, key, value](kv::Store* cluster) {
    std::optional<Error> failure;
    if (cluster != nullptr) {
      const auto done = cluster->transact([&](kv::Transaction& tx) -> Status {
        tx.put(key, value);
        return {};
      });
      if (!done) failure = done.error();
    }
    return [this, failure = std::move(failure)] {
      if (failure) note_failure("cluster", *failure);
    };
  });
}

// Blocks that are empty beyond the high-water mark, and those in the parts that pools give up, once nothing of them is leased or
// cools. After a kill this finds what it has begun.
void Daemon::give_back() {
  if (giving_back_ || !cluster_->present()) return;
  const int64_t cooled = clock_.unix_seconds() - ipam::Options{}.cooldown.count();
  auto here = ipam::select_blocks(*intake_.node(), false);
  if (!here) return note_failure("blocks", here.error());
  auto loans = ipam::select_blocks(*intake_.node(), true);
  if (!loans) return note_failure("blocks", loans.error());
  auto spare = blocks_above_high_water(*here, cooled);
  // A loan goes back as soon as it rests, but not before who asked for it had time to lease it.
  std::copy_if(loans->begin(), loans->end(), std::back_inserter(spare), [&](const model::Block& loan) {
    const std::string key = model::keys::claim(loan.pool, loan.prefix);
    const auto entry = remote_.records()->get(key);
    const auto claim =
        entry && *entry ? model::decode_claim((*entry)->value) : Result<model::Claim>(make_error(Code::not_found, key));
    return claim && claim->claimed_at <= cooled;
  });
  if (!spare.empty() && cluster_->refused().empty()) {
    if (const auto done = ipam::mark_unused(*intake_.node(), spare, self_.name, cooled); !done)
      return note_failure("blocks", done.error());
  }
  auto marked = ipam::mark_closed(*remote_.records(), *intake_.node(), self_.name, cooled);
  if (!marked) return note_failure("blocks", marked.error());
  if (marked->empty()) return;
  giving_back_ = true;
  // Its route goes at once, and with it what peers are told of it. Others may claim it once they have heard of that: no two hosts
  // announce a block.
  intake_.poll();
  hand_over_changes();
  reconcile();
  give_up_timer_ = loop_.after(withdrawal, [this, marked = *std::move(marked)] { give_up(marked); });
}

void Daemon::give_up(std::vector<model::Claim> marked) {
  give_up_timer_.cancel();
  std::erase_if(marked, [this](const model::Claim& claim) {
    return routes_.has_actual(RouteKey{claim.prefix, claim.prefix.is_host() ? host_block_metric : 0});
  });
  if (marked.empty()) {
    giving_back_ = false;
    return schedule_blocks();
  }
  cluster_->post([this, marked = std::move(marked)](kv::Store* cluster) {
    auto outcome = cluster != nullptr ? ipam::give_up(*cluster, marked) : ipam::GiveUpOutcome{};
    return [this, outcome = std::move(outcome)] {
      giving_back_ = false;
      if (outcome.failure) note_failure("blocks", *outcome.failure);
      for (const ipam::GivenUp& one : outcome.given)
        log_.info("gave a block back: " + one.claim.prefix.to_string() + " of pool " + one.claim.pool);
      if (intake_.node() == nullptr) return;
      if (const auto done = ipam::forget(*intake_.node(), outcome.given); !done) note_failure("blocks", done.error());
    };
  });
}

// Said before it hurts: a host that needs a block of a pool that has none left borrows, or attaches nothing.
void Daemon::watch_pools() {
  for (const Remote::PoolState& pool : remote_.pools()) {
    if (pool.unclaimed > pool.blocks / 10 || (pool.own == 0 && pool.unclaimed > 0)) continue;
    log_.repeated(Level::warning, "end of pool " + pool.name,
                  "pool " + pool.name + " comes to its end: " + std::to_string(static_cast<uint64_t>(pool.unclaimed)) + " of " +
                      std::to_string(static_cast<uint64_t>(pool.blocks)) +
                      " blocks are unclaimed; make another pool and name both in ipam.pools, or extend it ('firnctl pool resize')");
  }
}

void Daemon::claim_ahead() {
  if (claiming_ || !cluster_->present() || clock_.steady() < claim_again_) return;
  auto blocks = ipam::select_blocks(*intake_.node(), false);
  if (!blocks) return note_failure("blocks", blocks.error());
  const auto loans = ipam::select_blocks(*intake_.node(), true);
  if (!loans) return note_failure("blocks", loans.error());
  // A loan in use is a reason to look for a block, and no spare one.
  std::copy_if(loans->begin(), loans->end(), std::back_inserter(*blocks),
               [](const model::Block& loan) { return loan.free.empty(); });
  auto shortages = pools_without_spare(*blocks);
  if (shortages.empty()) return note_exhausted({});
  claiming_ = true;
  cluster_->post([this, shortages = std::move(shortages), self = self_, now = clock_.unix_seconds()](kv::Store* cluster) {
    return [this, outcome = claim_blocks(cluster, self, shortages, now)] { take_claims(outcome); };
  });
}

void Daemon::take_claims(const ClaimsOutcome& outcome) {
  claiming_ = false;
  if (outcome.failure) note_failure("blocks", *outcome.failure);
  if (outcome.complete) note_exhausted(outcome.exhausted);
  if (outcome.claimed.empty()) {
    claim_again_ = clock_.steady() + claim_pause;
    return;
  }
  for (const model::Claim& claim : outcome.claimed) {
    log_.info("claimed a spare block: " + claim.prefix.to_string() + " of pool " + claim.pool);
  }
  if (intake_.node() == nullptr) return;
  // A kill before this leaves claims, which mirror() adopts.
  if (const auto adopted = ipam::adopt_blocks(*intake_.node(), outcome.claimed); !adopted) note_failure("blocks", adopted.error());
}

void Daemon::note_exhausted(const std::vector<Shortage>& pools) {
  if (intake_.node() == nullptr) return;
  if (const auto noted = ipam::note_shortages(*intake_.node(), pools); !noted) note_failure("blocks", noted.error());
}

}  // namespace firn::routed
