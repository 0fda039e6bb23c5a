// What the daemon does for the stores: copies of the cluster in the node store, blocks claimed ahead, and what the cluster says of
// other hosts.
#include <algorithm>

#include "ipam/allocator.hpp"
#include "ipam/claims.hpp"
#include "ipam/give_back.hpp"
#include "ipam/mirror.hpp"
#include "ipam/ownership.hpp"
#include "lib/model/keys.hpp"
#include "routed/blocks.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds blocks_delay{200};
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

void Daemon::maintain() {
  blocks_timer_.cancel();
  if (intake_.node() == nullptr) return;
  begin_boot();
  if (auto name = intake_.node_name(); name && *name != node_name_) {
    node_name_ = std::move(*name);
    remote_.set_self(node_name_);
    cluster_->set_self(node_name_);
  }
  if (remote_.is_read() && !node_name_.empty()) {
    if (std::exchange(copy_due_, false)) {
      const auto copied = ipam::mirror(*remote_.records(), *intake_.node(), node_name_);
      if (!copied) {
        copy_due_ = true;
        // unavailable: what was read is older than what this host gave back; the news is on its way.
        if (!copied.error().is(Code::unavailable)) note_failure("blocks", copied.error());
      }
    }
    give_back();
    claim_ahead();
  }
  // Our routes first: when a pool leaves mode bgp, BIRD takes its own away.
  round();
  bgp_.update(remote_.records(), node_name_);
  if (std::exchange(trim_due_, false)) give_memory_back();
}

// What is known of other hosts stays in force while the cluster store cannot be read.
void Daemon::take_update(const ClusterUpdate& update) {
  for (const Error& error : remote_.take(update)) note_failure("cluster", error);
  const std::string trouble = compute_.overlay().trouble();
  if (!trouble.empty()) log_.repeated(Level::warning, "unreachable blocks", trouble);
  copy_due_ = true;
  // A block may be free now that was not.
  const bool freed = std::any_of(update.records.begin(), update.records.end(),
                                 [](const auto& record) { return !record.second || record.first.starts_with(model::keys::pools); });
  if (update.whole || freed) claim_again_ = {};
  trim_due_ = trim_due_ || update.whole;
  schedule_blocks();
}

void Daemon::take_cluster_state() {
  if (cluster_->trouble().empty()) log_.info(cluster_->present() ? "reading the cluster store" : "there is no cluster store");
  // Each trouble is a topic of its own: that the cluster is refused must not wait behind the lost connection which came before.
  else note_failure("cluster " + cluster_->trouble(), make_error(Code::unavailable, cluster_->trouble()));
  if (cluster_->present()) schedule_blocks();
}

// Blocks in the parts that pools give up, once nothing of them is leased or cools. After a kill this finds what it has begun.
void Daemon::give_back() {
  if (giving_back_ || !cluster_->present()) return;
  const int64_t cooled = clock_.unix_seconds() - ipam::Options{}.cooldown.count();
  auto marked = ipam::mark_closed(*remote_.records(), *intake_.node(), node_name_, cooled);
  if (!marked) return note_failure("blocks", marked.error());
  if (marked->empty()) return;
  giving_back_ = true;
  cluster_->post([this, marked = *std::move(marked)](kv::Store* cluster) {
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

void Daemon::claim_ahead() {
  if (claiming_ || !cluster_->present() || clock_.steady() < claim_again_) return;
  const auto blocks = blocks_of(*intake_.node());
  if (!blocks) return note_failure("blocks", blocks.error());
  auto shortages = pools_without_spare(*blocks);
  if (shortages.empty()) return;
  claiming_ = true;
  cluster_->post([this, shortages = std::move(shortages), name = node_name_, now = clock_.unix_seconds()](kv::Store* cluster) {
    return [this, outcome = claim_blocks(cluster, name, shortages, now)] { take_claims(outcome); };
  });
}

void Daemon::take_claims(const ClaimsOutcome& outcome) {
  claiming_ = false;
  if (outcome.failure) note_failure("blocks", *outcome.failure);
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

}  // namespace firn::routed
