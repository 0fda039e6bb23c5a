// A Kernel in memory that enforces the real one's rules, so that what passes here also works there: EEXIST, ENODEV, ENETDOWN for
// routes through links that are down, ENETUNREACH for gateways nobody can reach, routes that vanish with their link.
// tests/netns/fake_kernel_test.cpp plays the same random requests to both and compares.
// Faults are planted by the test: once, or every N-th request. Thread safety: none.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "lib/netlink/kernel.hpp"

namespace firn::test {

class FakeKernel final : public netlink::Kernel {
 public:
  FakeKernel();  // `lo` at index 1, up

  // The world --------------------------------------------------------------------------------------------------------
  int add_link(const std::string& name, bool up = true, const std::string& kind = "veth");
  void set_up(int index, bool up);
  void remove_link(int index);
  // Somebody else's doing: no rule but the kernel's, not counted, no fault.
  int run(const netlink::Request& request);  // errno, 0 for success
  // The namespace behind the descriptor in CreateVeth::peer_netns_fd.
  void connect(int netns_fd, FakeKernel& other) { namespaces_[netns_fd] = &other; }
  // What a Monitor would have told since the last call. IPv4 routes vanish with their link without a word, as in the kernel.
  std::vector<netlink::Event> take_events() { return std::exchange(events_, {}); }

  // Faults -----------------------------------------------------------------------------------------------------------
  void fail_once(int err, std::function<bool(const netlink::Request&)> when = nullptr);
  void fail_every(size_t n, int err);                                   // 0: never again
  void break_next_batch(Error error);                                   // apply() returns the error; nothing of the batch is done
  bool consumed() const { return faults_.empty() && broken_.empty(); }  // every fault planted once has happened

  size_t requests() const { return requests_; }  // through apply(), failed ones as well
  size_t batches() const { return batches_; }
  size_t dumps() const { return dumps_; }

  // Kernel -----------------------------------------------------------------------------------------------------------
  Result<std::vector<netlink::Failure>> apply(std::span<const netlink::Request> requests) override;
  Result<netlink::Link> link(const std::string& name) override;
  Result<netlink::Link> link(int index) override;
  Result<int> index_of(const std::string& name) override;
  Result<std::vector<netlink::Link>> links() override;
  Result<std::vector<netlink::LinkAddress>> addresses(int index) override;
  Result<std::vector<netlink::Route>> routes(const netlink::RouteFilter& filter) override;
  Result<std::vector<netlink::Neighbour>> neighbours(int index) override;
  Result<std::vector<netlink::Forward>> forwards(int index) override;
  Result<std::vector<netlink::Rule>> rules(Family family) override;
  Result<netlink::TrafficBounds> traffic_bounds(int index) override;
  using Kernel::lookup;
  Result<netlink::Route> lookup(const Address& destination, int through) override;

 private:
  struct Fault {
    int err;
    std::function<bool(const netlink::Request&)> when;
  };
  int planted_fault(const netlink::Request& request);
  int route_error(const netlink::Route& route) const;
  int put_route(const netlink::Route& route, bool replace);
  bool gateway_reachable(const netlink::Route& route) const;
  int execute(const netlink::CreateVeth& r);
  int execute(const netlink::CreateVxlan& r);
  int execute(const netlink::SetLink& r);
  int execute(const netlink::DeleteLink& r);
  int execute(const netlink::DeleteGroup& r);
  int execute(const netlink::AddAddress& r);
  int execute(const netlink::RemoveAddress& r);
  int execute(const netlink::AddRoute& r);
  int execute(const netlink::ReplaceRoute& r);
  int execute(const netlink::RemoveRoute& r);
  int execute(const netlink::ReplaceNeighbour& r);
  int execute(const netlink::RemoveNeighbour& r);
  int execute(const netlink::ReplaceForward& r);
  int execute(const netlink::RemoveForward& r);
  int execute(const netlink::AddRule& r);
  int execute(const netlink::RemoveRule& r);
  int execute(const netlink::ShapeOutgoing& r);
  int execute(const netlink::AddClassifier& r);
  int execute(const netlink::PoliceIncoming& r);
  netlink::Link* find(const std::string& name);
  void went_down(int index);
  void forget_link(int index);
  void tell(const netlink::Link& link, bool removed);
  void tell(const netlink::Route& route, bool removed);
  void tell(const netlink::Neighbour& neighbour, bool removed);
  void tell(const netlink::Forward& forward, bool removed);
  int forward_error(const netlink::Forward& forward) const;

  int next_index_ = 1;
  std::map<int, netlink::Link> links_;
  std::map<int, std::pair<FakeKernel*, int>> peers_;
  std::map<int, FakeKernel*> namespaces_;
  std::vector<netlink::LinkAddress> addresses_;
  std::vector<netlink::Route> routes_;
  std::vector<netlink::Neighbour> neighbours_;
  std::vector<netlink::Forward> forwards_;
  std::vector<netlink::Rule> rules_;
  std::map<int, netlink::TrafficBounds> bounds_;
  std::vector<int> classifiers_;
  std::vector<netlink::Event> events_;
  std::vector<Fault> faults_;
  std::deque<Error> broken_;
  size_t every_ = 0;
  int every_error_ = 0;
  size_t requests_ = 0;
  size_t batches_ = 0;
  size_t dumps_ = 0;
};

}  // namespace firn::test
