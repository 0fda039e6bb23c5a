// Publisher: keeps the copies of this host's endpoints in the cluster store (ipam/publish.hpp) up to date: what changed, gathered
// for a second; everything, compared, at the start, after the cluster store was away, after a failure, and now and then. It
// remembers handles alone and reads their records when it writes. Owns nothing in the world; a kill loses what was gathered, and
// the next start compares. Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "ipam/publish.hpp"
#include "lib/loop/loop.hpp"
#include "routed/cluster/thread.hpp"

namespace firn::routed {

class Publisher {
 public:
  struct Ports {
    std::function<void(ClusterThread::Job)> post;
    std::function<bool()> present;          // the cluster store can be had
    std::function<kv::Store*()> node;       // nullptr while there is none, or it cannot be relied on
    std::function<model::Identity()> self;  // without a name before this host is a node
    std::function<void(const Error&)> failed;
  };
  struct Delays {
    std::chrono::milliseconds gather{1000};
    std::chrono::milliseconds retry{5000};
    std::chrono::milliseconds compare{10 * 60 * 1000};
  };

  Publisher(loop::Loop& loop, Ports ports, Delays delays);
  Publisher(loop::Loop& loop, Ports ports);

  void changed(const std::string& handle);
  void everything();  // also when there is a cluster store again

 private:
  void schedule(std::chrono::milliseconds delay);
  void write();
  void take(const Result<ipam::Published>& outcome);

  loop::Loop& loop_;
  const Ports ports_;
  const Delays delays_;
  loop::Handle timer_, compare_;
  std::set<std::string> handles_;  // changed since the last writing
  bool all_ = true;
  bool writing_ = false;
};

}  // namespace firn::routed
