// Firewall: the nftables table on the loop's side. Feeds policy::Compute and policy::Nat with this host's endpoints and pools and
// the cluster's policies and nodes, hands what they wish to nft::Table, watches for others who change the table, and keeps the hold
// table behind it.
// Nothing is written before the endpoints of this host are known and the policies of the cluster, or the copy of them that an
// earlier run left; until then the old rules stay, and who waits for an endpoint is told so.
// Owns: tables inet firn and inet firn_hold; STATE_DIR/policy.copy; the mark policy/active in the node store, from which a plugin
// without a daemon knows that its container would be shut. A kill -9 leaves the table in force, and the hold table gone.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "lib/loop/loop.hpp"
#include "lib/model/records.hpp"
#include "lib/netlink/kernel.hpp"
#include "lib/netlink/table_monitor.hpp"
#include "routed/cluster/follower.hpp"
#include "routed/config.hpp"
#include "routed/counters.hpp"
#include "routed/flows.hpp"
#include "routed/log.hpp"
#include "routed/nft/child.hpp"
#include "routed/nft/hold.hpp"
#include "routed/nft/table.hpp"
#include "routed/policy/compute.hpp"
#include "routed/policy/extra_sources.hpp"
#include "routed/policy/nat.hpp"
#include "routed/policy_copy.hpp"

namespace firn::routed {

class Firewall {
 public:
  struct Ports {
    std::function<void(const std::string& topic, const Error&)> failed;
    std::function<kv::Store*()> node;  // nullptr while there is none, or it cannot be relied on
    // Writes the file on a thread that may wait.
    std::function<void(const std::string& path, std::string text)> save;
  };
  Firewall(loop::Loop& loop, Log& log, const Clock& clock, const Config& config, netlink::Kernel& kernel, Ports ports);

  // Reads the copy of an earlier run; with "policy": false takes a table of an earlier run away.
  void start();
  void set_endpoint(const std::string& handle, const model::Endpoint* endpoint);  // of this host
  void set_pool(const std::string& name, const model::Pool* pool);
  void set_self(const std::string& node);  // "": the host has no name yet
  bool knows_self() const { return self_known_; }
  void take(const ClusterUpdate& update);
  void set_link(const netlink::Link& link);
  void remove_link(const std::string& name);
  void set_links(const std::vector<netlink::Link>& all);  // and forgets the others
  // Writes what is due. `known`: the endpoints of this host have been read whole.
  void flush(bool known);
  void resync();

  bool is_on() const { return config_.policy; }
  // Why the table is not in place; "" when it is, or is not wished for.
  std::string trouble() const;
  bool knows(const std::string& handle) const { return here_.contains(handle); }
  // The endpoint may talk, and its ports lead to it: what it needs is in the kernel.
  bool is_open_for(const std::string& handle) const;
  // `done` is called once that is so, or after `patience` with the reason why not.
  void wait(const std::string& handle, std::chrono::milliseconds patience, std::function<void(const Status&)> done);
  CounterReader& counters() { return counters_; }
  // The attachments of this host, by interface.
  std::map<std::string, std::string> handles() const;

  struct State {
    nft::Table::State table;
    policy::Compute::Counts policies;
    unsigned child_starts = 0;
    bool held = false;  // the hold table is there
    std::string hold_trouble;
    bool from_copy = false;  // the cluster's policies are those of an earlier run
    uint64_t waiting = 0;
    uint64_t flows_ended = 0;  // connections that a change forbade
  };
  State state() const;

 private:
  struct Waiter {
    std::string handle;
    std::function<void(const Status&)> done;
    loop::Handle timer;
  };
  void remove_table();
  void read_copy();
  void take_record(const std::string& key, const std::string* value);
  void take_policy(const std::string& key, const std::string* value);
  void take_published(const std::string& key, const std::string* value);
  void save_soon();
  bool open_monitor();
  void take_news();
  void table_applied();
  void child_started();
  void child_ended(const Error& why);
  void hold();
  void mark_node();
  void group_links();
  void guard(const std::string& handle, const model::Endpoint* endpoint);
  void loosen_links();
  void answer_waiters();
  Flows::Ports flow_ports();

  loop::Loop& loop_;
  Log& log_;
  const Config& config_;
  netlink::Kernel& kernel_;
  const Ports ports_;
  nft::Child child_;
  nft::Table table_;
  CounterReader counters_;
  policy::Compute compute_;
  policy::Nat nat_;
  Flows flows_;
  bool flows_due_ = false;  // the table changes: flows may be forbidden once it is in place
  uint64_t flows_ended_ = 0;
  std::unique_ptr<netlink::TableMonitor> monitor_;
  loop::Handle monitor_watch_, save_timer_, hold_timer_;

  std::string self_;
  bool self_known_ = false;    // "" says then that this host has no name
  PolicyRecords records_;      // of the cluster, as far as policy goes by them
  bool cluster_read_ = false;  // or a copy was
  bool from_copy_ = false;
  bool held_ = false, holding_ = false, hold_impossible_ = false;
  nft::Changes unmarked_;  // the chains that set the hold table's mark, as they are without
  bool marked_ = false;    // the node store has the mark
  std::string monitor_trouble_, table_trouble_, hold_trouble_;
  struct Side {  // of an endpoint of this host
    std::string interface;
    std::vector<Address> addresses;
    std::vector<model::PortPlace> ports;
  };
  std::map<std::string, size_t> interfaces_;       // of endpoints of this host
  std::map<std::string, Side> here_;               // by handle
  std::map<std::string, model::Pool> pools_;       // with extra sources
  std::map<std::string, model::Endpoint> asking_;  // handle -> who has asked to send from more than its own addresses
  bool settings_known_ = false, links_checked_ = false;
  std::set<std::string> loosened_, loosen_;  // interfaces whose source check is left to the table alone: are, shall be
  std::map<std::string, int> ungrouped_;     // veths with firn's alias that are not in its group
  std::list<Waiter> waiters_;
};

// Records of the cluster that only the firewall goes by, and of which there may be very many.
bool is_published(std::string_view key);

}  // namespace firn::routed
