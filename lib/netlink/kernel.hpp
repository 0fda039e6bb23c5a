// The seam to the kernel's rtnetlink: one interface, the real one (libnl), and a fake in tests/support that enforces the
// kernel's rules. libnl headers are used in this room alone.
// A Kernel is bound to the network namespace in which it was opened, whatever the thread enters later.
// Thread safety: one Kernel belongs to one thread. Every call has a deadline (default 5 s).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/netlink/types.hpp"

namespace firn::netlink {

struct Failure {
  size_t index;  // of the request in the batch
  Error error;   // "describe(request): reason"; sys holds the kernel's errno
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // Sends all requests as one batch (one sendmsg for each 64 KiB) and returns those that failed. The kernel executes every
  // request, also behind a failed one. An empty vector means that all are done.
  // An Error means that the outcome of some is unknown (socket failure, deadline).
  virtual Result<std::vector<Failure>> apply(std::span<const Request> requests) = 0;

  virtual Result<Link> link(const std::string& name) = 0;  // not_found
  virtual Result<Link> link(int index) = 0;
  // Only the index: one ioctl, for the hot path.
  virtual Result<int> index_of(const std::string& name) = 0;
  // Dumps. An interrupted dump (NLM_F_DUMP_INTR) is repeated up to 5 times, then Code::interrupted.
  virtual Result<std::vector<Link>> links() = 0;
  virtual Result<std::vector<LinkAddress>> addresses(int index) = 0;         // 0: all links
  virtual Result<std::vector<Route>> routes(const RouteFilter& filter) = 0;  // filtered by the kernel (strict dump)
  virtual Result<std::vector<Neighbour>> neighbours(int index) = 0;          // permanent entries; 0: all links
  virtual Result<std::vector<Forward>> forwards(int index) = 0;              // of one vxlan link, learned ones as well
  virtual Result<std::vector<Rule>> rules(Family family) = 0;                // policy rules with our protocol number
  virtual Result<TrafficBounds> traffic_bounds(int index) = 0;  // those that ShapeOutgoing and PoliceIncoming have made
  // Longest-prefix lookup, "ip route get fibmatch": the table's entry. not_found when unreachable, blackholed or prohibited.
  // `through`: a link that it must go through or, for a local address, belong to; 0: any.
  virtual Result<Route> lookup(const Address& destination, int through) = 0;
  Result<Route> lookup(const Address& destination) { return lookup(destination, 0); }
};

// First failure of a batch as a Status; for callers to whom any failure is fatal.
Status all_done(Result<std::vector<Failure>> outcome);

Result<std::unique_ptr<Kernel>> open_kernel();

// The program behind PoliceIncoming, with a bucket of its own that is full at first. Needs CAP_BPF or CAP_SYS_ADMIN.
Result<unique_fd> load_policer(const TokenBucket& bucket);

// Network namespaces ---------------------------------------------------------------------------------------------------
struct Netns {
  unique_fd fd;
  uint64_t inode = 0;
};
// Opens the path once (O_NOFOLLOW is not used: /var/run is a link on many hosts). Code::not_found when it does not exist,
// Code::invalid when it is no network namespace (NSFS_MAGIC and NS_GET_NSTYPE).
Result<Netns> open_netns(const std::string& path);
Result<uint64_t> current_netns_inode();
// setns(2) of the calling thread.
Status enter_netns(const Netns& netns);

// Events ---------------------------------------------------------------------------------------------------------------
struct Event {
  enum class What { link, address, route, neighbour, forward } what = What::link;
  bool removed = false;
  Link link;
  LinkAddress address;
  Route route;
  Neighbour neighbour;
  Forward forward;  // told with the neighbours
};

struct Events {
  std::vector<Event> events;
  bool lost = false;  // the kernel dropped some (ENOBUFS), or there were more than 16,384: list everything again
};

// The kernel tells nobody when IPv4 routes and neighbours vanish with their link (down or deleted): whoever watches them must
// take the link's event as their removal. IPv6 routes are announced one by one. Cloned (cached) routes are left out.
class Monitor {
 public:
  virtual ~Monitor() = default;
  virtual int fd() const = 0;
  virtual Result<Events> read() = 0;  // everything that is there now; never blocks
};
struct MonitorOptions {
  bool links = true, addresses = false, routes = true, neighbours = true;
  int receive_buffer = 16 * 1024 * 1024;  // SO_RCVBUFFORCE; falls back to what the limit allows without CAP_NET_ADMIN
};
Result<std::unique_ptr<Monitor>> open_monitor(const MonitorOptions& options);

}  // namespace firn::netlink
