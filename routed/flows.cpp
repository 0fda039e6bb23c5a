#include "routed/flows.hpp"

#include <utility>

#include "routed/policy/forbidden.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

// Changes come in bursts (a rollout changes many endpoints), and a look costs about a microsecond a connection.
constexpr milliseconds gather{100}, pause{1000};
constexpr size_t most_flows = 1'000'000;  // of containers here; some 200 bytes each

}  // namespace

Flows::Flows(loop::Loop& loop, const policy::Compute& compute, Ports ports)
    : loop_(loop), compute_(compute), ports_(std::move(ports)) {}

Flows::~Flows() {
  *alive_ = false;
  if (thread_.joinable()) thread_.join();
}

void Flows::changed() {
  if (busy_) {
    again_ = true;
  } else if (!timer_) {
    timer_ = loop_.after(gather, [this] { look(); });
  }
}

// Runs the job on the thread, and what it returns on the loop.
void Flows::work(std::function<std::function<void()>()> job) {
  if (thread_.joinable()) thread_.join();
  thread_ = std::thread([this, job = std::move(job), alive = alive_] {
    loop_.post([then = job(), alive] {
      if (*alive) then();
    });
  });
}

void Flows::look() {
  timer_.cancel();
  if (!compute_.may_forbid() && gone_.empty() && published_.empty()) return;
  if (conntrack_ == nullptr) {
    auto opened = netlink::open_conntrack();
    if (!opened) return ports_.failed(opened.error());
    conntrack_ = *std::move(opened);
  }
  busy_ = true;
  gone_now_ = std::exchange(gone_, {});
  published_now_ = std::exchange(published_, {});
  std::set<Address> ours = compute_.addresses_here();
  ours.insert(gone_now_.begin(), gone_now_.end());
  work([this, ours = std::move(ours), ports = published_now_]() -> std::function<void()> {
    auto listing = std::make_shared<Listing>();
    listing->status = conntrack_->list(most_flows, [&](const netlink::Flow& flow) {
      const bool of_ours = ours.contains(flow.real.source) || ours.contains(flow.real.destination);
      if (of_ours || policy::missed_a_port(flow, ports)) listing->flows.push_back(flow);
    });
    return [this, listing] { judge(std::move(*listing)); };
  });
}

void Flows::judge(Listing listing) {
  // A listing that broke off still tells of many.
  if (!listing.status) ports_.failed(listing.status.error());
  const auto evaluator = compute_.evaluator();
  if (!evaluator) {
    ports_.failed(evaluator.error());
    return rest();
  }
  policy::FlowView view;
  std::set<Address> all;
  for (const netlink::Flow& flow : listing.flows) all.insert({flow.real.source, flow.real.destination});
  view.holders = compute_.holders(all);
  if (compute_.may_forbid()) view.here = compute_.addresses_here();
  auto own = ports_.own();
  if (!own) {
    ports_.failed(own.error());
    return rest();
  }
  view.own = *std::move(own);
  // Whatever an address that was given to the next container meanwhile spoke before is over as well.
  view.gone = gone_now_;
  view.published = published_now_;
  std::vector<netlink::Flow> over;
  for (const size_t index : policy::forbidden(listing.flows, *evaluator, view)) over.push_back(listing.flows[index]);
  if (over.empty()) return rest();
  work([this, over = std::move(over)]() -> std::function<void()> {
    size_t ended = 0;
    Status status;
    for (const netlink::Flow& flow : over) {
      const Status done = conntrack_->end(flow);
      if (done) ++ended;
      else if (!done.error().is(Code::not_found)) status = done;
    }
    return [this, ended, status] {
      if (!status) ports_.failed(status.error());
      if (ended > 0) ports_.ended(ended);
      rest();
    };
  });
}

void Flows::rest() {
  timer_ = loop_.after(pause, [this] {
    timer_.cancel();
    busy_ = false;
    if (std::exchange(again_, false) || !gone_.empty() || !published_.empty()) look();
  });
}

}  // namespace firn::routed
