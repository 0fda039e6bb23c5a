// Bgp: from the cluster's BGP records to a running BIRD, by way of routed/bird. Without peers and sessions between hosts there is
// no BIRD, and that is said. Once a second it looks at the sessions: whether a change of the topology may go on
// (bird/handover.hpp), whether a drain goes on, and what the cluster is to be told (bgp_publish.hpp). Owns: the keeper of BIRD
// (routed/bird/keeper.hpp and supervisor.hpp say what they own and what a kill -9 leaves), from the first wanted configuration on;
// in the cluster store bgp/ready, status/bgp and status/drain of this node, and bgp/topology together with all others. Waits for
// BIRD no longer than it is told to. Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/loop/loop.hpp"
#include "routed/bgp_publish.hpp"
#include "routed/bgp_records.hpp"
#include "routed/bird/handover.hpp"
#include "routed/bird/keeper.hpp"
#include "routed/bird/topology.hpp"
#include "routed/config.hpp"
#include "routed/farewell.hpp"
#include "routed/log.hpp"

namespace firn::routed {

class Bgp {
 public:
  struct Hooks {
    std::function<std::vector<Prefix>()> blocks;  // the block routes that are in the kernel or on their way there
    // Puts a record into the cluster store, now or soon. A failure is the writer's to report; what is missing is written again.
    std::function<void(const std::string& key, const std::string& value)> write;
    std::function<void()> again;  // time has passed: call update()
    std::function<kv::Store*()> cluster;  // as of update()
  };
  Bgp(loop::Loop& loop, Log& log, const Clock& clock, const BirdConfig& config, const std::string& run_dir, Hooks hooks);

  // Reads the records anew; `cluster` is only read, and may be null (not there yet).
  void update(kv::Store* cluster, const std::string& node_name);
  // `blocks` has something else to say. True: update() must be called, for an address was borrowed or given back.
  bool blocks_changed();

  struct View {
    bool configured = false;  // there are peers for this node
    bool running = false;
    std::string reason;  // why nothing is configured, not running, or not in force; "" when all is well
    bird::State bird;
    std::vector<bird::Session> sessions;
    std::map<std::string, Result<std::vector<Prefix>>>
        announced;     // protocol of an established peer -> what it is told, or why unknown
    std::string plan;  // of sessions between hosts
    bool plan_in_place = false;
    size_t kept = 0;  // sessions of an earlier plan
    bird::Drain drain = bird::Drain::none;
  };
  // As BIRD says now when it says so within `patience`, else as it said last.
  View view(std::chrono::milliseconds patience);
  // What went over the sessions; nothing: BIRD is being asked, or there is none to ask.
  std::shared_ptr<const bird::RoutesReport> routes() { return keeper_ == nullptr ? nullptr : keeper_->routes(); }
  bool supervised() const { return settings_.supervise; }

 private:
  Result<std::optional<bird::Rendered>> wanted(kv::Store& cluster, const std::string& node_name);
  void add_loans(bird::Config& config);
  std::vector<Prefix> loans() const;
  Status add_hosts(bird::Config& config, const BgpRecords& read);
  Status read_passwords(bird::Config& config) const;
  bool start_keeper();
  void report();
  void look();
  void tell_ready(const bird::Report& report);
  void tell_topology();
  void publish(const bird::Report& report);
  bird::Drain drain_now() const;
  void tell_drains(const bird::Report& report);

  loop::Loop& loop_;
  Log& log_;
  const Clock& clock_;
  Hooks hooks_;
  bird::Settings settings_;
  std::unique_ptr<bird::Keeper> keeper_;  // BIRD is looked after from the first wanted configuration on
  loop::Handle look_timer_;
  bool configured_ = false;
  std::string reason_ = "waiting for the cluster store";
  std::string reported_;

  // Of the last update().
  model::Node self_;
  std::vector<Prefix> told_;  // borrowed addresses that are in the configuration
  std::string plan_;
  std::vector<std::string> plan_protocols_;    // what must be up for the plan to be in place
  std::optional<std::set<std::string>> held_;  // sessions between hosts in the configuration; nothing: see what is on disk
  size_t kept_ = 0;                            // of them, of an earlier plan
  bird::Drain drain_ = bird::Drain::none;
  std::vector<std::string> hosts_;                  // with which the configuration has sessions
  Drains draining_;                                 // other hosts
  std::optional<model::DrainReport> drains_;        // nothing: what an earlier run said is not read yet
  std::string ready_told_;                          // the plan of our bgp/ready record
  std::optional<model::BgpTopology> topology_due_;  // the cluster's record should say this

  bird::Settling settling_;
  bool settled_ = false;
  BgpPublisher publisher_;
  std::string told_drains_;  // as the cluster's record should be
  int64_t wrote_at_ = 0, asked_again_at_ = 0, told_drains_at_ = 0;
};

}  // namespace firn::routed
