// Bgp: from the cluster's BGP records to a running BIRD, by way of routed/bird. Without peers there is no BIRD, and that is said.
// Owns: the keeper of BIRD (routed/bird/keeper.hpp and supervisor.hpp say what they own and what a kill -9 leaves), from the first
// wanted configuration on. Waits for BIRD no longer than it is told to.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/loop/loop.hpp"
#include "routed/bird/keeper.hpp"
#include "routed/config.hpp"
#include "routed/log.hpp"

namespace firn::routed {

class Bgp {
 public:
  // `blocks`: the block routes that are in the kernel or on their way there.
  Bgp(loop::Loop& loop, Log& log, const Clock& clock, const BirdConfig& config, const std::string& run_dir,
      std::function<std::vector<Prefix>()> blocks);

  // Reads settings, node and peers anew; `cluster` may be null (not there yet).
  void update(kv::Store* cluster, const std::string& node_name);
  // `blocks` has something else to say.
  void blocks_changed();

  struct View {
    bool configured = false;  // there are peers for this node
    bool running = false;
    std::string reason;       // why nothing is configured, not running, or not in force; "" when all is well
    bird::State bird;
    std::vector<bird::Session> sessions;
    std::map<std::string, Result<std::vector<Prefix>>> announced;  // told to each established peer, or why that is not known
  };
  // As BIRD says now when it says so within `patience`, else as it said last.
  View view(std::chrono::milliseconds patience);
  bool supervised() const { return settings_.supervise; }

 private:
  Result<std::optional<bird::Rendered>> wanted(kv::Store& cluster, const std::string& node_name);
  bool start_keeper();
  void report();

  loop::Loop& loop_;
  Log& log_;
  const Clock& clock_;
  std::function<std::vector<Prefix>()> blocks_;
  bird::Settings settings_;
  std::unique_ptr<bird::Keeper> keeper_;  // BIRD is looked after from the first wanted configuration on
  bool configured_ = false;
  std::string reason_ = "waiting for the cluster store";
  std::string reported_;
};

}  // namespace firn::routed
