// Daemon: the rooms of firn-routed wired together on one loop. Observes stores and kernel, computes, reconciles, answers.
//   node store -> Intake -> Compute -> Drivers -> Kernel;   kernel events -> Compute, Drivers
//   endpoints, policies -> Firewall -> firn-nft -> nftables
//   cluster store -> ClusterThread -> Remote -> Compute, node store, Bgp;   node store -> jobs of the ClusterThread
// Owns: nothing that its parts do not own. Ending it, in whatever way, leaves routes, neighbours, nftables and BIRD as they are.
// Nothing is written before both the kernel and the node store have been read whole.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "ipam/grace.hpp"
#include "ipam/ownership.hpp"
#include "lib/base/clock.hpp"
#include "lib/control/control.hpp"
#include "lib/http/http.hpp"
#include "lib/json/json.hpp"
#include "lib/loop/loop.hpp"
#include "lib/model/loan.hpp"
#include "lib/netlink/kernel.hpp"
#include "routed/bgp.hpp"
#include "routed/blocks.hpp"
#include "routed/cluster/thread.hpp"
#include "routed/compute.hpp"
#include "routed/config.hpp"
#include "routed/firewall.hpp"
#include "routed/forwards.hpp"
#include "routed/intake.hpp"
#include "routed/links.hpp"
#include "routed/log.hpp"
#include "routed/metrics.hpp"
#include "routed/neighbours.hpp"
#include "routed/publisher.hpp"
#include "routed/remote.hpp"
#include "routed/routes.hpp"

namespace firn::routed {

// A whole listing, of the kernel or of the cluster, takes many small pieces of memory, which the allocator would keep for good.
void give_memory_back();

class Daemon {
 public:
  Daemon(loop::Loop& loop, Log& log, const Clock& clock, const Config& config, netlink::Kernel& kernel, netlink::Monitor& monitor);

  // Opens sockets and watches, reads everything once. Afterwards the loop does the rest.
  Status start();
  // SIGHUP: opens the stores anew and lists the kernel again.
  void reload();

  // A request of routed.sock and its reply, both JSON (docs/control.md).
  std::optional<std::string> answer(const control::Peer& peer, std::string_view request);
  std::string metrics_text();
  // Why the daemon is not ready; "" when it is.
  std::string not_ready() const;

 private:
  // One round: read what changed in the stores and in the kernel, write what is due.
  void round();
  void resync();
  Status list_kernel();
  void take_events();
  void take_link(const netlink::Event& event);
  void hand_over_changes();
  void reconcile();
  void take_address(const netlink::Event& event);
  template <class Kind>
  void reconcile_one(Driver<Kind>& driver, const std::string& kind, Step step);
  void take_update(const ClusterUpdate& update);
  void take_cluster_state();
  void schedule_next();
  void schedule_reap();
  void reap();
  void schedule_blocks();
  void put_record(const std::string& key, const std::string& value);
  void maintain();
  void learn_identity();
  void keep_fence();
  void note_lost_nodes();
  void take_beat(const ipam::GraceTerms& terms, const ipam::Moment& began);
  void remove_overdue_nodes();
  void settle(bool all);
  void take_settled(const ipam::Settled& settled, bool all);
  void watch_pools();
  void claim_ahead();
  void take_claims(const ClaimsOutcome& outcome);
  void note_exhausted(const std::vector<Shortage>& pools);
  void give_back();
  void give_up(std::vector<model::Claim> marked);
  void begin_boot();
  Publisher::Ports publisher_ports();
  Firewall::Ports firewall_ports();
  void note_failure(const std::string& topic, const Error& error);
  std::optional<Error> listen();

  Result<std::string> need(json::Value root);
  std::string pools_copied();
  void finish_need(const std::string& name, const std::string& pool, const Result<model::Claim>& claim);
  void borrow(const std::string& name, const std::string& pool, const std::string& why);
  void answer_asks();
  void answer_ask(const model::Ask& ask);
  void take_returns();

  std::optional<std::string> await_policy(uint64_t client, json::Value root);
  std::optional<std::string> counters(uint64_t client);
  std::string status();
  std::string bgp_details();
  std::string bgp_routes();
  Gauges gauges();
  Gauges::Nft firewall_gauges();

  loop::Loop& loop_;
  Log& log_;
  const Clock& clock_;
  const Config& config_;
  netlink::Kernel& kernel_;
  netlink::Monitor& monitor_;

  Intake intake_;
  Compute compute_;
  LinkDriver links_;  // in the order in which they are put; removed in the opposite one
  ForwardDriver forwards_;
  NeighbourDriver neighbours_;
  RouteDriver routes_;
  Remote remote_;
  Publisher publisher_;
  Firewall firewall_;
  Bgp bgp_;
  Metrics metrics_;
  std::unique_ptr<control::Server> control_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<ClusterThread> cluster_;
  loop::Handle monitor_watch_, control_watch_, resync_timer_, round_timer_, soon_timer_, reap_timer_, blocks_timer_, give_up_timer_;

  model::Identity self_;     // as the node store says; without a name before `firnctl init`
  bool reconciled_ = false;  // the first complete round is done
  bool want_resync_ = false;
  struct Need {
    bool working = false;
    std::string why;  // of the last outcome, if there was no block
    size_t turn = 0;  // which lender is asked next
    loop::Handle timer;
    std::chrono::steady_clock::time_point finished{};
  };
  std::set<std::string> lending_;      // asks that are being answered
  bool returning_ = false;             // a job that ends returns is on its way
  std::map<std::string, Need> needs_;  // "USE/POOL[/ADDRESS]"
  bool copy_due_ = false;              // the cluster says something that the node store may not have yet
  bool bgp_due_ = true;                // what BGP goes by has changed
  bool trim_due_ = false;              // a whole listing was taken in
  ipam::GraceTerms terms_;             // of the last beat
  ipam::Moment beat_began_;
  bool promising_ = false;  // a job that changes the promise is on its way
  bool removing_ = false;   // one that removes a node
  struct Watched {
    model::Lost lost;
    std::chrono::steady_clock::time_point since;
  };
  std::map<std::string, Watched> watched_;  // nodes that this host has seen lost, without a change, since then
  bool settling_ = false;                   // a job that settles blocks is on its way
  bool claiming_ = false;                   // a job that claims blocks is on its way
  bool giving_back_ = false;                // one that gives some back
  std::chrono::steady_clock::time_point claim_again_{};
  bool boot_begun_ = false;
  int64_t started_at_ = 0;
  int64_t last_resync_ = 0;
  uint64_t reaped_ = 0;
  std::string last_error_;
  int64_t last_error_at_ = 0;
};

}  // namespace firn::routed
