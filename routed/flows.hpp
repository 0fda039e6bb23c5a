// Flows: ends the connections that are forbidden by now: a policy has changed, or labels have, or the container has gone and its
// address may be another's, or a port is published that clients have sent to before. The table of connections may be large, so it
// is read, and entries are removed, on a thread; what is forbidden is judged on the loop, by what Compute knows then. At most once
// a second, and only after something has changed. Owns: nothing that outlives it; a kill -9 leaves flows that a change should have
// ended, and the next start looks at all of them. Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/loop/loop.hpp"
#include "lib/netlink/conntrack.hpp"
#include "routed/policy/compute.hpp"

namespace firn::routed {

class Flows {
 public:
  struct Ports {
    std::function<Result<std::set<Address>>()> own;  // the host's addresses
    std::function<void(const Error&)> failed;
    std::function<void(size_t)> ended;  // so many connections
  };
  Flows(loop::Loop& loop, const policy::Compute& compute, Ports ports);
  Flows(const Flows&) = delete;
  Flows& operator=(const Flows&) = delete;
  ~Flows();

  // The table in the kernel is another one than before: look soon.
  void changed();
  // These were of a container of this host, and are no more.
  void gone(const std::vector<Address>& addresses) { gone_.insert(addresses.begin(), addresses.end()); }
  // These lead to a container of this host from now on.
  void published(const std::vector<model::PortPlace>& places) { published_.insert(published_.end(), places.begin(), places.end()); }

 private:
  struct Listing {
    std::vector<netlink::Flow> flows;
    Status status;
  };
  void look();
  void judge(Listing listing);
  void work(std::function<std::function<void()>()> job);
  void rest();

  loop::Loop& loop_;
  const policy::Compute& compute_;
  const Ports ports_;
  std::unique_ptr<netlink::Conntrack> conntrack_;  // the thread's while there is one
  std::thread thread_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  loop::Handle timer_;
  bool busy_ = false, again_ = false;
  std::set<Address> gone_, gone_now_;
  std::vector<model::PortPlace> published_, published_now_;
};

}  // namespace firn::routed
