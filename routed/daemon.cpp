#include "routed/daemon.hpp"

#include <algorithm>
#include <type_traits>

#include "ipam/allocator.hpp"
#include "lib/base/file.hpp"
#include "routed/blocks.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds reap_delay{200};      // deleting many links at once costs about as much as deleting one
constexpr milliseconds blocks_delay{200};
constexpr milliseconds retry_delay{1000};    // after a failed listing, or while a store cannot be opened

IntakeListener listener_of(Compute& compute, std::function<void()> addresses, std::function<void()> cluster, std::function<void()> wake) {
  return {[&compute](const std::string& handle, const model::Endpoint* endpoint) { compute.set_endpoint(handle, endpoint); },
          [&compute](const std::string& key, const model::Block* block) { compute.set_block(key, block); }, std::move(addresses),
          std::move(cluster), std::move(wake), [&compute] { return compute.has_containers(); }};
}

}  // namespace

Daemon::Daemon(loop::Loop& loop, Log& log, const Clock& clock, const Config& config, netlink::Kernel& kernel, netlink::Monitor& monitor)
    : loop_(loop),
      log_(log),
      clock_(clock),
      config_(config),
      kernel_(kernel),
      monitor_(monitor),
      intake_(loop, log, config.state_dir,
              listener_of(compute_, [this] { schedule_blocks(); }, [this] { schedule_blocks(); }, [this] { round(); })),
      routes_(kernel, clock),
      neighbours_(kernel, clock),
      bgp_(loop, log, clock, config.bird, config.run_dir, [this] { return compute_.blocks(); }),
      started_at_(clock.unix_seconds()) {}

Status Daemon::start() {
  if (auto made = make_directories(config_.run_dir, 0755); !made) return made;
  if (auto failed = listen()) return std::move(*failed);
  if (auto started = intake_.start(); !started) return started;
  auto watch = loop_.readable(monitor_.fd(), [this] { round(); });
  if (!watch) return std::move(watch).error();
  monitor_watch_ = std::move(*watch);
  resync_timer_ = loop_.every(config_.resync, [this] { resync(); });
  resync();
  if (!intake_.complete()) log_.info("waiting: " + intake_.trouble());
  return {};
}

std::optional<Error> Daemon::listen() {
  auto server = control::listen(config_.run_dir + "/routed.sock", config_.socket_group,
                                [this](const control::Peer&, std::string_view request) { return answer(request); });
  if (!server) return std::move(server).error();
  control_ = std::move(*server);
  auto watch = loop_.readable(control_->fd(), [this] { control_->serve(); });
  if (!watch) return std::move(watch).error();
  control_watch_ = std::move(*watch);
  if (config_.metrics.empty()) return std::nullopt;
  const auto where = http::parse_listen(config_.metrics);
  if (!where) return where.error();
  std::map<std::string, http::Handler> pages;
  pages["/metrics"] = [this] { return http::Response{200, "text/plain; version=0.0.4; charset=utf-8", metrics_text()}; };
  pages["/healthz"] = [] { return http::Response{200, {}, "ok\n"}; };
  pages["/readyz"] = [this] {
    const std::string why = not_ready();
    return why.empty() ? http::Response{200, {}, "ready\n"} : http::Response{503, {}, why + "\n"};
  };
  auto http = http::serve(loop_, *where, std::move(pages));
  if (!http) return std::move(http).error();
  http_ = std::move(*http);
  return std::nullopt;
}

void Daemon::reload() {
  log_.info("reading stores and kernel again");
  intake_.reopen();
  resync();
  schedule_blocks();
}

std::string Daemon::not_ready() const {
  if (intake_.lost()) return intake_.trouble();
  if (reconciled_) return {};
  if (!intake_.complete()) return intake_.trouble();
  return last_error_.empty() ? "the kernel has not been listed yet" : last_error_;
}

void Daemon::note_failure(const std::string& topic, const Error& error) {
  last_error_ = error.message;
  last_error_at_ = clock_.unix_seconds();
  log_.repeated(Level::error, topic + " " + std::string(to_string(error.code)), error.message);
}

void Daemon::round() {
  intake_.poll();
  take_events();
  hand_over_changes();
  if (std::exchange(want_resync_, false)) return resync();
  reconcile();
}

void Daemon::resync() {
  const auto began = clock_.steady();
  const auto listed = list_kernel();
  metrics_.reconciled("resync", listed.ok(), std::chrono::duration<double>(clock_.steady() - began).count());
  if (!listed) {
    note_failure("resync", listed.error());
    soon_timer_ = loop_.after(retry_delay, [this] { resync(); });
    return;
  }
  last_resync_ = clock_.unix_seconds();
  bgp_.update(intake_.cluster(), node_name_);
  reconcile();
}

// The order matters: a route is never older than its link, nor than its record, so these are read after it. Otherwise what a
// plugin is just making would look like nobody's.
Status Daemon::list_kernel() {
  auto routes = RouteKind::list(kernel_);
  if (!routes) return std::move(routes).error().context("listing routes");
  auto neighbours = NeighbourKind::list(kernel_);
  if (!neighbours) return std::move(neighbours).error().context("listing neighbours");
  auto links = kernel_.links();
  if (!links) return std::move(links).error().context("listing links");
  compute_.set_links(*links);
  intake_.poll();
  hand_over_changes();
  std::erase_if(*neighbours, [&](const auto& entry) { return !compute_.is_ours(entry.first.index); });
  routes_.set_actual(std::move(*routes));
  neighbours_.set_actual(std::move(*neighbours));
  return {};
}

void Daemon::take_events() {
  auto events = monitor_.read();
  if (!events) {
    note_failure("events", events.error());
    want_resync_ = true;
    return;
  }
  if (events->lost) {
    log_.repeated(Level::warning, "lost events", "the kernel dropped events (receiveBuffer is too small for this host); listing everything again");
    want_resync_ = true;
    return;
  }
  for (const netlink::Event& event : events->events) {
    switch (event.what) {
      case netlink::Event::What::link: take_link(event); break;
      case netlink::Event::What::route: observe(routes_, event.route, event.removed); break;
      case netlink::Event::What::neighbour:
        if (compute_.is_ours(event.neighbour.index)) observe(neighbours_, event.neighbour, event.removed);
        break;
      case netlink::Event::What::address: break;
    }
  }
}

void Daemon::take_link(const netlink::Event& event) {
  const int index = event.link.index;
  const bool before = compute_.is_usable(index);
  if (event.removed) compute_.remove_link(index);
  else compute_.set_link(event.link);
  // The kernel removes a link's routes and neighbours when it goes down, and does not tell of each.
  if (before && (event.removed || !event.link.up)) {
    routes_.forget_actual_if([index](const RouteKey&, const netlink::Route& route) { return route.oif == index; });
    neighbours_.forget_actual_if([index](const NeighbourKey& key, const netlink::Neighbour&) { return key.index == index; });
  }
  hand_over_changes();
}

void Daemon::hand_over_changes() {
  Changes changes = compute_.take_changes();
  if (!changes.routes.empty()) bgp_.blocks_changed();
  for (auto& [key, route] : changes.routes) {
    // Nobody but this daemon writes blackholes: no reason to wait.
    const bool alone = route && route->type == netlink::RouteType::blackhole;
    if (route) routes_.want(key, std::move(*route), routes_.listed() && !alone ? new_grace : milliseconds(0));
    else routes_.unwant(key);
  }
  for (auto& [key, neighbour] : changes.neighbours) {
    if (neighbour) neighbours_.want(key, *neighbour, neighbours_.listed() ? new_grace : milliseconds(0));
    else neighbours_.unwant(key);
  }
  if (compute_.dead_links() > 0) schedule_reap();
}

void Daemon::reconcile() {
  if (routes_.listed() && neighbours_.listed() && intake_.complete() && !intake_.lost()) {
    reconcile_one(routes_, "route");
    reconcile_one(neighbours_, "neighbour");
    if (!std::exchange(reconciled_, true)) {
      log_.info("ready: " + std::to_string(routes_.desired()) + " routes, " + std::to_string(routes_.pending()) + " pending");
    }
  }
  schedule_next();
}

template <class Kind>
void Daemon::reconcile_one(Driver<Kind>& driver, const std::string& kind) {
  if (driver.pending() + driver.kept() == 0) return;
  const auto began = clock_.steady();
  const size_t kept_before = driver.kept();
  const Outcome outcome = driver.apply([&](const auto& key, const auto& spec) {
    if constexpr (std::is_same_v<Kind, RouteKind>) return compute_.is_unknown_attachment(spec.oif);
    else return compute_.is_unknown_attachment(key.index);
  });
  if (driver.kept() > kept_before) {
    log_.repeated(Level::warning, "unknown attachment " + kind,
                  "unknown attachment: " + std::to_string(driver.kept()) + " " + kind +
                      "(s) of containers that " + config_.state_dir + " does not know are left alone; were they attached with another stateDir?");
  }
  if (outcome.done + outcome.failed == 0) return;
  const bool ok = outcome.failed == 0;
  metrics_.reconciled(kind, ok, std::chrono::duration<double>(clock_.steady() - began).count());
  if (outcome.repaired > 0) {
    metrics_.repaired(kind, outcome.repaired);
    log_.repeated(Level::warning, "drift " + kind,
                  "restored " + std::to_string(outcome.repaired) + " " + kind + "(s) that somebody else removed or changed");
  }
  log_.debug(kind + ": " + std::to_string(outcome.done) + " written or removed, " + std::to_string(outcome.failed) + " failed");
  if (outcome.first_failure) note_failure(kind, *outcome.first_failure);
  if (outcome.unknown) soon_timer_ = loop_.after(retry_delay, [this] { resync(); });
}

void Daemon::schedule_next() {
  std::optional<std::chrono::steady_clock::time_point> next = routes_.next_due();
  if (const auto other = neighbours_.next_due(); other && (!next || *other < *next)) next = other;
  if (intake_.must_retry()) {
    const auto retry = clock_.steady() + retry_delay;
    if (!next || retry < *next) next = retry;
  }
  if (!next) {
    round_timer_.cancel();
    return;
  }
  const auto delay = std::chrono::ceil<milliseconds>(*next - clock_.steady());
  round_timer_ = loop_.after(std::max(delay, milliseconds(1)), [this] { round(); });
}

void Daemon::schedule_reap() {
  if (!reap_timer_) reap_timer_ = loop_.after(reap_delay, [this] { reap(); });
}

void Daemon::reap() {
  reap_timer_.cancel();
  const size_t dead = compute_.dead_links();
  if (dead == 0) return;
  const std::vector<netlink::Request> requests{netlink::DeleteGroup{netlink::dead_group}};
  const auto done = netlink::all_done(kernel_.apply(requests));
  if (done) {
    reaped_ += dead;
    log_.debug("deleted " + std::to_string(dead) + " dead link(s)");
    return;
  }
  // Somebody else was faster, or the kernel refuses: only a new listing tells.
  if (done.error().sys != ENODEV) note_failure("dead links", done.error());
  soon_timer_ = loop_.after(retry_delay, [this] { resync(); });
}

void Daemon::schedule_blocks() {
  if (!blocks_timer_) blocks_timer_ = loop_.after(blocks_delay, [this] { maintain(); });
}

// Endpoints of an earlier boot hold addresses that nobody uses: free them now rather than at the first attach.
void Daemon::begin_boot() {
  if (boot_begun_) return;
  auto boot = ipam::current_boot_id();
  if (!boot) return note_failure("boot", boot.error());
  ipam::Options options;
  options.boot_id = std::move(*boot);
  const auto begun = ipam::Allocator(*intake_.node(), clock_, std::move(options)).begin_boot();
  if (!begun) return note_failure("boot", begun.error());
  boot_begun_ = true;
}

void Daemon::maintain() {
  blocks_timer_.cancel();
  if (intake_.node() == nullptr) return;
  begin_boot();
  if (auto name = intake_.node_name()) node_name_ = std::move(*name);
  if (intake_.cluster() != nullptr && !node_name_.empty()) {
    const auto outcome = maintain_blocks(*intake_.cluster(), *intake_.node(), node_name_, clock_.unix_seconds());
    if (!outcome) note_failure("blocks", outcome.error());
    else for (const std::string& claimed : outcome->claimed) log_.info("claimed a spare block: " + claimed);
  }
  bgp_.update(intake_.cluster(), node_name_);
  round();
}

}  // namespace firn::routed
