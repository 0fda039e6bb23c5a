// Bgp: from the cluster's BGP records to a running BIRD, by way of routed/bird. Without peers there is no BIRD, and that is said.
// Owns: the supervisor (see routed/bird/supervisor.hpp for what it owns and what a kill -9 leaves) and its timer.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/loop/loop.hpp"
#include "routed/bird/supervisor.hpp"
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

  struct View {
    bool configured = false;  // there are peers for this node
    bool running = false;
    std::string reason;       // why nothing is configured, not running, or not in force; "" when all is well
    bird::State bird;
    std::vector<bird::Session> sessions;
  };
  View view();
  bool supervised() const { return settings_.supervise; }
  // Prefixes told to each established peer; an error says why not.
  Result<std::vector<Prefix>> announced(const std::string& peer) { return supervisor_.announced(peer); }

 private:
  Result<std::optional<bird::Rendered>> wanted(kv::Store& cluster, const std::string& node_name);
  void tick();
  void report();

  loop::Loop& loop_;
  Log& log_;
  bird::Settings settings_;
  bird::Supervisor supervisor_;
  loop::Handle timer_, exit_watch_;
  bool configured_ = false;
  bool started_ = false;       // want() was called: BIRD is looked after from here on
  std::string reason_ = "waiting for the cluster store";
  std::string reported_;
};

}  // namespace firn::routed
