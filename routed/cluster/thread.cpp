#include "routed/cluster/thread.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "ipam/allocator.hpp"
#include "lib/base/clock.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr milliseconds store_deadline{2000};
constexpr milliseconds retry_delay{1000};

}  // namespace

Result<std::unique_ptr<ClusterThread>> ClusterThread::start(std::string state_dir, std::chrono::seconds life,
                                                            std::function<void(Function)> deliver, Listener listener) {
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd");
  std::unique_ptr<ClusterThread> made(
      new ClusterThread(std::move(state_dir), life, std::move(deliver), std::move(listener), std::move(wake)));
  try {
    made->thread_ = std::thread([raw = made.get()] { raw->run(); });
  } catch (const std::system_error& failed) {
    return errno_error("start a thread for the cluster store", failed.code().value());
  }
  return made;
}

ClusterThread::ClusterThread(std::string state_dir, std::chrono::seconds life, std::function<void(Function)> deliver,
                             Listener listener, unique_fd wake)
    : state_dir_(std::move(state_dir)),
      life_(life),
      deliver_(std::move(deliver)),
      listener_(std::move(listener)),
      wake_(std::move(wake)) {}

ClusterThread::~ClusterThread() {
  order([](Orders& orders) { orders.ending = true; });
  if (thread_.joinable()) thread_.join();
}

// The loop's side ---------------------------------------------------------------------------------------------------------

void ClusterThread::order(const std::function<void(Orders&)>& change) {
  {
    const std::lock_guard lock(mutex_);
    change(orders_);
  }
  const uint64_t one = 1;
  // Full: it is awake already.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void ClusterThread::set_self(const model::Identity& self) {
  order([&](Orders& orders) { orders.self = self; });
}
void ClusterThread::look() {
  order([](Orders& orders) { orders.look = true; });
}
void ClusterThread::reopen() {
  order([](Orders& orders) { orders.reopen = true; });
}
void ClusterThread::post(Job job) {
  order([&](Orders& orders) { orders.jobs.push_back(std::move(job)); });
}

// The thread's side -------------------------------------------------------------------------------------------------------

void ClusterThread::run() {
  for (;;) {
    Orders orders;
    {
      const std::lock_guard lock(mutex_);
      if (orders_.ending) return;
      orders = std::exchange(orders_, {});
      orders_.self = orders.self;
    }
    obey(std::move(orders));
    follow();
    beat();
    rest();
  }
}

void ClusterThread::obey(Orders orders) {
  if (orders.taken) outstanding_ = false;
  if (orders.look) absent_ = false;
  if (orders.reopen || orders.self != self_) {
    if (orders.self != self_) beat_ = Beat(orders.self, life_);
    self_ = orders.self;
    follower_.reset();
    absent_ = false;
    retry_at_ = {};
  }
  asked_ = asked_ || orders.look || orders.taken || !orders.jobs.empty();
  if (orders.jobs.empty()) return;
  if (follower_ == nullptr) open();
  for (const Job& job : orders.jobs) {
    if (auto then = job(follower_ == nullptr ? nullptr : &follower_->store())) deliver_(std::move(then));
  }
}

void ClusterThread::open() {
  if (self_.name.empty() || absent_ || Steady::now() < retry_at_) return;
  auto store = cluster::open_cluster(state_dir_, store_deadline);
  if (!store && store.error().is(Code::not_found)) {
    absent_ = true;
    return say({});
  }
  if (!store) return close(store.error());
  // The watch begins before the first reading: nothing falls in between.
  if (auto watched = (*store)->watch_fd(); !watched) return close(watched.error());
  follower_ = std::make_unique<Follower>(*std::move(store), self_.name);
  asked_ = true;
}

void ClusterThread::close(const Error& why) {
  follower_.reset();
  retry_at_ = Steady::now() + retry_delay;
  say({false, false, why.message, said_.refused});
}

void ClusterThread::follow() {
  if (follower_ == nullptr) open();
  if (follower_ == nullptr || outstanding_ || !std::exchange(asked_, false)) return;
  auto update = follower_->poll();
  if (!update && follower_->is_stranger()) {
    beat_.hurry();
    return say({true, false, update.error().message, said_.refused});
  }
  // Opened anew, it may be another file, or another member.
  if (!update) return close(update.error());
  say({true, said_.alive, {}, said_.refused});
  if (update->empty()) return;
  const std::string own = model::keys::node(self_.name);
  if (std::any_of(update->records.begin(), update->records.end(), [&](const auto& record) { return record.first == own; }))
    beat_.hurry();
  outstanding_ = true;
  deliver_([this, taken = std::make_shared<ClusterUpdate>(*std::move(update))] {
    listener_.update(*taken);
    order([](Orders& orders) { orders.taken = true; });
  });
}

void ClusterThread::beat() {
  if (follower_ == nullptr || !beat_.is_wanted() || Steady::now() < beat_.due()) return;
  auto boot = ipam::current_boot_id();
  if (!boot) return close(boot.error());
  const ipam::Moment began = ipam::moment(SystemClock(), *std::move(boot));
  const auto beaten = beat_.beat(follower_->store(), Steady::now(), began.wall);
  if (!beaten) return close(beaten.error());
  // Before the news that the host is alive, which may lift a fence.
  if (listener_.beat && beat_.terms()) deliver_([this, terms = *beat_.terms(), began] { listener_.beat(terms, began); });
  say({true, beat_.is_alive(), said_.trouble, beat_.refused()});
}

void ClusterThread::say(State now) {
  if (said_ == now) return;
  said_ = now;
  deliver_([this, now = std::move(now)] {
    seen_ = now;
    listener_.state();
  });
}

void ClusterThread::rest() {
  const auto watched = follower_ == nullptr ? Result<int>(-1) : follower_->fd();
  if (!watched) return close(watched.error());
  pollfd entries[] = {{wake_.get(), POLLIN, 0}, {outstanding_ ? -1 : *watched, POLLIN, 0}};
  const bool retries = follower_ == nullptr && !absent_ && !self_.name.empty();
  const bool beats = follower_ != nullptr && beat_.is_wanted();
  int timeout = -1;
  if (retries || beats) {
    const auto left = (retries ? retry_at_ : beat_.due()) - Steady::now();
    timeout = static_cast<int>(std::clamp<int64_t>(std::chrono::ceil<milliseconds>(left).count(), 1, 60'000));
  }
  ::poll(entries, 2, timeout);
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
  if (entries[1].revents != 0) asked_ = true;
}

}  // namespace firn::routed
