// Remote: what the cluster says, on the loop's side. Takes updates of the ClusterThread, tells Overlay of pools, nodes and claims,
// and keeps the records that others read here (mirror, Bgp). A record that cannot be read is reported, and what was known of it
// stays in force. Owns nothing in the world. Thread safety: belongs to the thread of the loop.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "routed/cluster/records.hpp"
#include "routed/overlay.hpp"

namespace firn::routed {

class Remote {
 public:
  explicit Remote(Overlay& overlay) : overlay_(overlay) {}

  void set_self(const std::string& name) { self_ = name; }
  // What could not be read, one error a record.
  std::vector<Error> take(const ClusterUpdate& update);
  // nullptr before the cluster has been read whole, once.
  kv::Store* records() { return read_ ? &records_ : nullptr; }
  bool is_read() const { return read_; }
  // How much of each pool is claimed, by whatever node.
  struct PoolState {
    std::string name;
    double blocks = 0, unclaimed = 0;  // an IPv6 pool may have more than 2^64
    size_t own = 0;                    // of this node
  };
  std::vector<PoolState> pools() const;
  // Other nodes with blocks of the pool.
  std::vector<std::string> owners(const std::string& pool) const { return overlay_.owners(pool); }
  // Nodes without a beat, of which nobody has noted that they are lost.
  std::vector<std::string> silent_nodes() const;
  // Those of which it is noted, and a node that is removed just now.
  std::vector<model::Lost> lost_nodes() const;

 private:
  void take_whole(const ClusterUpdate& update, std::vector<Error>& unreadable);
  Status take_one(const std::string& key, const std::string* value);

  Overlay& overlay_;
  ClusterRecords records_;
  std::set<std::string> bridged_;  // keys of claims that Overlay does not keep
  std::string self_;
  bool read_ = false;
};

}  // namespace firn::routed
