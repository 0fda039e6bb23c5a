#include "routed/daemon.hpp"

#include <malloc.h>

#include <algorithm>
#include <type_traits>

#include "lib/base/file.hpp"

namespace firn::routed {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds reap_delay{200};    // deleting many links at once costs about as much as deleting one
constexpr milliseconds retry_delay{1000};  // after a failed listing, or while the store cannot be opened

IntakeListener listener_of(Compute& compute, Publisher& publisher, Firewall& firewall, std::function<void()> addresses,
                           std::function<void()> cluster, std::function<void()> wake) {
  return {[&compute, &publisher, &firewall](const std::string& handle, const model::Endpoint* endpoint) {
            compute.set_endpoint(handle, endpoint);
            firewall.set_endpoint(handle, endpoint);
            publisher.changed(handle);
          },
          [&compute](const std::string& key, const model::Block* block) { compute.set_block(key, block); },
          [&firewall](const std::string& name, const model::Pool* pool) { firewall.set_pool(name, pool); },
          std::move(addresses),
          std::move(cluster),
          std::move(wake),
          [&compute] { return compute.has_containers(); }};
}

template <class Kind>
void unwant(Driver<Kind>& driver, const typename Kind::Key& key) {
  driver.unwant(key);
}
// Only this daemon writes the route of a block, so there is no record to wait for; and until it has gone the block is announced.
void unwant(RouteDriver& driver, const RouteKey& key) {
  const netlink::Route* wished = driver.desired(key);
  const bool block = wished != nullptr && wished->type == netlink::RouteType::blackhole;
  driver.unwant(key, block ? milliseconds(0) : RouteKind::linger);
}

}  // namespace

void give_memory_back() { ::malloc_trim(0); }

Daemon::Daemon(loop::Loop& loop, Log& log, const Clock& clock, const Config& config, netlink::Kernel& kernel,
               netlink::Monitor& monitor)
    : loop_(loop),
      log_(log),
      clock_(clock),
      config_(config),
      kernel_(kernel),
      monitor_(monitor),
      intake_(loop, log, config.state_dir,
              listener_of(
                  compute_, publisher_, firewall_, [this] { schedule_blocks(); },
                  [this] {
                    if (cluster_ != nullptr) cluster_->look();
                    schedule_blocks();
                  },
                  [this] { round(); })),
      links_(kernel, clock),
      forwards_(kernel, clock),
      neighbours_(kernel, clock),
      routes_(kernel, clock),
      remote_(compute_.overlay()),
      publisher_(loop, publisher_ports()),
      firewall_(loop, log, clock, config, kernel, firewall_ports()),
      bgp_(loop, log, clock, config.bird, config.run_dir,
           {[this] { return compute_.blocks(); },
            [this](const std::string& key, const std::string& value) { put_record(key, value); },
            [this] { bgp_.update(remote_.records(), self_.name); }, [this] { return remote_.records(); }}),
      started_at_(clock.unix_seconds()) {}

Status Daemon::start() {
  if (auto made = make_directories(config_.run_dir, 0755); !made) return made;
  if (auto failed = listen()) return std::move(*failed);
  firewall_.start();
  auto cluster =
      ClusterThread::start(config_.state_dir, config_.node_life, [this](ClusterThread::Function fn) { loop_.post(std::move(fn)); },
                           {[this](const ClusterUpdate& update) { take_update(update); }, [this] { take_cluster_state(); },
                            [this](const ipam::GraceTerms& terms, const ipam::Moment& began) { take_beat(terms, began); }});
  if (!cluster) return std::move(cluster).error();
  cluster_ = *std::move(cluster);
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
                                [this](const control::Peer& peer, std::string_view request) { return answer(peer, request); });
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
  cluster_->reopen();
  resync();
  schedule_blocks();
}

std::string Daemon::not_ready() const {
  if (intake_.lost()) return intake_.trouble();
  if (reconciled_) return firewall_.trouble();
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
  bgp_.update(remote_.records(), self_.name);
  firewall_.resync();
  keep_fence();
  note_lost_nodes();
  remove_overdue_nodes();
  reconcile();
  schedule_blocks();  // what cooled may be given back now
  give_memory_back();
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
  const Links devices = LinkKind::list(*links);
  auto forwards = ForwardKind::list(kernel_, devices);
  if (!forwards) return std::move(forwards).error().context("listing forwarding entries");
  auto addresses = kernel_.addresses(0);
  if (!addresses) return std::move(addresses).error().context("listing addresses");
  compute_.set_links(*links);
  firewall_.set_links(*links);
  compute_.overlay().set_addresses(*addresses);
  intake_.poll();
  hand_over_changes();
  std::erase_if(*neighbours, [&](const auto& entry) { return !compute_.is_ours(entry.first.index); });
  links_.set_actual(devices);
  forwards_.set_actual(std::move(*forwards));
  neighbours_.set_actual(std::move(*neighbours));
  routes_.set_actual(std::move(*routes));
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
    log_.repeated(Level::warning, "lost events",
                  "the kernel dropped events (receiveBuffer is too small for this host); listing everything again");
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
      case netlink::Event::What::forward:
        if (compute_.overlay().is_device(event.forward.index)) observe(forwards_, event.forward, event.removed);
        break;
      case netlink::Event::What::address: take_address(event); break;
    }
  }
}

void Daemon::take_link(const netlink::Event& event) {
  const int index = event.link.index;
  if (event.removed) firewall_.remove_link(event.link.name);
  else firewall_.set_link(event.link);
  const bool before = compute_.is_usable(index), device = compute_.overlay().is_device(index);
  observe(links_, event.link, compute_.link_name(index), event.removed);
  if (event.removed) compute_.remove_link(index);
  else compute_.set_link(event.link);
  // The kernel removes a link's routes and neighbours when it goes down, and does not tell of each.
  if (before && (event.removed || !event.link.up)) {
    routes_.forget_actual_if([index](const RouteKey&, const netlink::Route& route) { return route.oif == index; });
    neighbours_.forget_actual_if([index](const NeighbourKey& key, const netlink::Neighbour&) { return key.index == index; });
  }
  if (device && event.removed) {
    forwards_.forget_actual_if([index](const ForwardKey& key, const netlink::Forward&) { return key.index == index; });
  }
  hand_over_changes();
}

// With an address go the IPv4 routes that it reached, and the kernel does not tell of them.
void Daemon::take_address(const netlink::Event& event) {
  if (compute_.is_ours(event.address.index)) return;
  const bool matters = compute_.overlay().set_address(event.address, !event.removed);
  if (matters && event.removed) want_resync_ = true;
}

void Daemon::hand_over_changes() {
  Changes changes = compute_.take_changes();
  if (!changes.routes.empty() && bgp_.blocks_changed()) {
    bgp_due_ = true;
    schedule_blocks();
  }
  // What a plugin writes itself, right after the record that we see, is left to it for a moment.
  const auto hand_over = [](auto& driver, auto& wishes, const auto& plugins) {
    for (auto& [key, wish] : wishes) {
      if (!wish) unwant(driver, key);
      else driver.want(key, std::move(*wish), driver.listed() && plugins(*wish) ? new_grace : milliseconds(0));
    }
  };
  const auto nobody = [](const auto&) { return false; };
  hand_over(links_, changes.links, nobody);
  hand_over(forwards_, changes.forwards, nobody);
  hand_over(neighbours_, changes.neighbours,
            [this](const netlink::Neighbour& n) { return !compute_.overlay().is_device(n.index); });
  hand_over(routes_, changes.routes, [](const netlink::Route& r) { return r.type == netlink::RouteType::unicast && !r.gateway; });
  if (compute_.dead_links() > 0) schedule_reap();
}

void Daemon::reconcile() {
  const bool known = intake_.complete() && !intake_.lost();
  // The first container of a host waits for the table, which waits for this.
  if (known && !firewall_.knows_self()) learn_identity();
  firewall_.flush(known);
  if (routes_.listed() && intake_.complete() && !intake_.lost()) {
    for (const Step step : {Step::remove, Step::put}) {
      const auto links = [&] { reconcile_one(links_, "link", step); };
      const auto forwards = [&] { reconcile_one(forwards_, "forward", step); };
      const auto neighbours = [&] { reconcile_one(neighbours_, "neighbour", step); };
      const auto routes = [&] { reconcile_one(routes_, "route", step); };
      if (step == Step::put) links(), forwards(), neighbours(), routes();
      else routes(), neighbours(), forwards(), links();
    }
    if (!std::exchange(reconciled_, true)) {
      log_.info("ready: " + std::to_string(routes_.desired()) + " routes, " + std::to_string(routes_.pending()) + " pending");
    }
  }
  schedule_next();
}

template <class Kind>
void Daemon::reconcile_one(Driver<Kind>& driver, const std::string& kind, Step step) {
  if (driver.pending() + driver.kept() == 0) return;
  const auto began = clock_.steady();
  const size_t kept_before = driver.kept();
  const Outcome outcome = driver.apply(step, [&](const auto& key, const auto& spec) {
    // Before the cluster has told what of other hosts is wanted, what an earlier run made for it stays.
    if constexpr (std::is_same_v<Kind, RouteKind>)
      return compute_.is_unknown_attachment(spec.oif) || (!remote_.is_read() && spec.gateway);
    else if constexpr (std::is_same_v<Kind, NeighbourKind>)
      return compute_.is_unknown_attachment(key.index) || (!remote_.is_read() && compute_.overlay().is_device(key.index));
    else return !remote_.is_read();
  });
  if (driver.kept() > kept_before && remote_.is_read()) {
    log_.repeated(Level::warning, "unknown attachment " + kind,
                  "unknown attachment: " + std::to_string(driver.kept()) + " " + kind + "(s) of containers that " +
                      config_.state_dir + " does not know are left alone; were they attached with another stateDir?");
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
  std::optional<std::chrono::steady_clock::time_point> next;
  for (const auto& due : {links_.next_due(), forwards_.next_due(), neighbours_.next_due(), routes_.next_due()}) {
    if (due && (!next || *due < *next)) next = due;
  }
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

}  // namespace firn::routed
