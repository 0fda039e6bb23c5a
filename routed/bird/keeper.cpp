#include "routed/bird/keeper.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace firn::routed::bird {

namespace {

using std::chrono::milliseconds;

// Between two looks at a BIRD that runs; longer when a look costs much (a hundredth of the time at most).
constexpr milliseconds look_again{1000};
constexpr int rest_for_work = 100;
constexpr std::chrono::seconds routes_fresh{2}, routes_kept{10};
// Of one session; a list of more is work for birdc.
constexpr uint64_t most_routes = 50'000;

Settings with_blocks(Settings settings, std::function<std::vector<Prefix>()> blocks) {
  settings.blocks = std::move(blocks);
  return settings;
}

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::start(Settings settings, const Clock& clock, std::function<void()> changed) {
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return errno_error("eventfd");
  std::unique_ptr<Keeper> keeper(new Keeper(std::move(settings), clock, std::move(changed), std::move(wake)));
  try {
    keeper->thread_ = std::thread([raw = keeper.get()] { raw->run(); });
  } catch (const std::system_error& failed) {
    return errno_error("start a thread for BIRD", failed.code().value());
  }
  return keeper;
}

Keeper::Keeper(Settings settings, const Clock& clock, std::function<void()> changed, unique_fd wake)
    : changed_(std::move(changed)),
      wake_(std::move(wake)),
      supervisor_(with_blocks(std::move(settings),
                              [this] {
                                const std::lock_guard lock(mutex_);
                                return blocks_;
                              }),
                  clock) {}

Keeper::~Keeper() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
  if (thread_.joinable()) thread_.join();
}

void Keeper::want(Rendered config) {
  {
    const std::lock_guard lock(mutex_);
    if (wanted_ != config) report_.state.in_force = false;
    wanted_ = std::move(config);
    offered_ = true;
  }
  wake();
}

void Keeper::set_blocks(std::vector<Prefix> blocks) {
  const std::lock_guard lock(mutex_);
  blocks_ = std::move(blocks);
}

void Keeper::watch(std::set<std::string> leaving) {
  const std::lock_guard lock(mutex_);
  leaving_ = std::move(leaving);
}

Report Keeper::report(milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (patience.count() == 0) return report_;
  const uint64_t question = ++asked_;
  wake();
  answered_.wait_for(lock, patience, [&] { return reported_ >= question; });
  return report_;
}

std::shared_ptr<const RoutesReport> Keeper::routes() {
  const std::lock_guard lock(mutex_);
  if (routes_ != nullptr && std::chrono::steady_clock::now() - routes_->at < routes_fresh) return routes_;
  routes_asked_ = true;
  wake();
  return nullptr;
}

std::shared_ptr<const RoutesReport> Keeper::list_routes(const std::vector<Session>& sessions) {
  auto out = std::make_shared<RoutesReport>();
  for (const Session& session : sessions) {
    if (!session.established()) continue;
    uint64_t count = 0;
    for (const Channel& channel : session.channels) count = std::max({count, channel.imported, channel.filtered, channel.exported});
    out->sessions.emplace(session.protocol,
                          count > most_routes ? Result<SessionRoutes>(make_error(
                                                    Code::exhausted, "has " + std::to_string(count) + " routes, too many to list"))
                                              : supervisor_.routes(session.protocol));
  }
  out->at = std::chrono::steady_clock::now();
  return out;
}

void Keeper::wake() const {
  const uint64_t one = 1;
  // Full: it is awake already.
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void Keeper::rest(milliseconds longest) const {
  // Too long for poll() is long enough: everything that matters wakes it.
  const int timeout = static_cast<int>(std::clamp<int64_t>(longest.count(), 0, 3'600'000));
  pollfd entries[] = {{wake_.get(), POLLIN, 0}, {supervisor_.exit_fd(), POLLIN, 0}};
  ::poll(entries, 2, timeout);
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

Report Keeper::observe(const std::set<std::string>& leaving) {
  Report out;
  if (supervisor_.state().phase == Phase::running) {
    if (auto sessions = supervisor_.sessions()) out.sessions = *std::move(sessions);
    for (const Session& session : out.sessions) {
      // Between hosts there may be thousands of sessions, which are all told the same.
      const auto name = session_of(session.protocol);
      if (name && name->kind != SessionKind::node && session.established())
        out.announced.emplace(session.protocol, supervisor_.announced(session.protocol));
      if (!session.established() || !leaving.contains(session.protocol)) continue;
      if (const auto farewell = supervisor_.says_farewell(session.protocol); farewell && *farewell)
        out.farewells.insert(session.protocol);
    }
  }
  out.state = supervisor_.state();  // behind the questions: they may show that BIRD does not answer
  return out;
}

void Keeper::run() {
  std::optional<Rendered> current;
  for (;;) {
    bool offered = false, routes_asked = false;
    uint64_t question = 0;
    std::set<std::string> leaving;
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      offered = std::exchange(offered_, false);
      if (offered) current = wanted_;
      question = asked_;
      leaving = leaving_;
      routes_asked = std::exchange(routes_asked_, false);
      if (routes_ != nullptr && std::chrono::steady_clock::now() - routes_->at > routes_kept) routes_ = nullptr;
    }
    if (offered) supervisor_.want(*current);
    milliseconds next = supervisor_.tick();
    const auto began = std::chrono::steady_clock::now();
    Report report = observe(leaving);
    const auto cost = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    std::shared_ptr<const RoutesReport> routes = routes_asked ? list_routes(report.sessions) : nullptr;
    if (report.state.phase == Phase::running) next = std::min(next, std::max(look_again, cost * rest_for_work));
    bool news = false;
    {
      const std::lock_guard lock(mutex_);
      news = !(report.state == report_.state);
      report_ = std::move(report);
      if (current != wanted_) report_.state.in_force = false;  // it is of one that was wanted before
      reported_ = question;
      if (routes != nullptr) routes_ = std::move(routes);
    }
    answered_.notify_all();
    if (news) changed_();
    rest(next);
  }
}

}  // namespace firn::routed::bird
