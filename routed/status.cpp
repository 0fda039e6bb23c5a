// What the daemon says of itself: replies of routed.sock and gauges for /metrics.
#include "ipam/allocator.hpp"
#include "lib/json/json.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

// The loop waits no longer than that for BIRD; a scrape not at all.
constexpr std::chrono::milliseconds patience{10};

std::string failure(const Error& error) {
  json::Writer w;
  w.begin_object().field("ok", false).field("error", error.message).field("code", to_string(error.code)).end_object();
  return std::move(w).take();
}

template <class Kind>
void write_counts(json::Writer& w, std::string_view name, const Driver<Kind>& driver) {
  w.key(name).begin_object();
  w.field("desired", static_cast<uint64_t>(driver.desired())).field("actual", static_cast<uint64_t>(driver.actual()));
  w.field("pending", static_cast<uint64_t>(driver.pending())).field("writes", driver.writes());
  w.field("unknownAttachment", static_cast<uint64_t>(driver.kept())).end_object();
}

std::string_view bird_state(const Bgp::View& view) {
  if (view.running) return "running";
  return view.configured ? to_string(view.bird.phase) : std::string_view("absent");
}

void write_session(json::Writer& w, const bird::Session& session) {
  w.begin_object().field("peer", bird::peer_of(session.protocol).value_or(session.protocol));
  w.field("address", session.neighbor_address).field("as", session.neighbor_as);
  w.field("state", session.bgp_state.empty() ? session.state : session.bgp_state).field("established", session.established());
  w.field("since", session.since).field_if("lastError", session.last_error);
  w.key("channels").begin_array();
  for (const bird::Channel& channel : session.channels) {
    w.begin_object().field("family", channel.name).field("state", channel.state);
    w.field("imported", channel.imported).field("exported", channel.exported).end_object();
  }
  w.end_array();
}

void write_bird(json::Writer& w, const Bgp::View& view, bool supervised) {
  w.field("state", bird_state(view)).field("running", view.running).field("supervised", supervised);
  w.field_if("reason", view.reason).field_if("version", view.bird.version).field("inForce", view.bird.in_force);
  w.field("restarts", view.bird.restarts);
  if (view.bird.pid > 0) w.field("pid", static_cast<int64_t>(view.bird.pid));
}

}  // namespace

std::string Daemon::answer(std::string_view request) {
  const auto document = json::Document::parse(request);
  if (!document) return failure(document.error());
  const auto op = document->root()["op"].string();
  if (!op) return failure(op.error());
  if (*op == "status") return status();
  if (*op == "bgp") return bgp_details();
  if (*op == "resync") {
    resync();
    json::Writer w;
    w.begin_object().field("ok", true).field("pending", static_cast<uint64_t>(routes_.pending() + neighbours_.pending() + links_.pending() + forwards_.pending())).end_object();
    return std::move(w).take();
  }
  return failure(make_error(Code::invalid, "unknown op \"" + *op + "\" (status, bgp, resync)"));
}

std::string Daemon::status() {
  const Bgp::View view = bgp_.view(patience);
  json::Writer w;
  w.begin_object().field("ok", true).field("version", FIRN_VERSION);
  w.field("uptimeSeconds", clock_.unix_seconds() - started_at_).field("stateDir", config_.state_dir);
  const std::string waiting = not_ready();
  w.field("ready", waiting.empty()).field_if("waitingFor", waiting);
  w.field("node", self_.name).field("clusterPresent", cluster_->present()).field("nodePresent", intake_.node() != nullptr);
  w.field_if("storeTrouble", intake_.trouble().empty() ? cluster_->trouble() : intake_.trouble());
  w.field("alive", cluster_->is_alive()).field_if("refused", cluster_->refused());
  w.field("endpoints", static_cast<uint64_t>(compute_.endpoints()));
  write_counts(w, "routes", routes_);
  write_counts(w, "neighbours", neighbours_);
  write_counts(w, "links", links_);
  write_counts(w, "forwards", forwards_);
  w.field("unreachableBlocks", static_cast<uint64_t>(compute_.overlay().unreachable()));
  w.field_if("unreachableWhy", compute_.overlay().trouble());
  w.field("driftRepaired", metrics_.repaired_total()).field("deadLinksReaped", reaped_).field("lastResync", last_resync_);
  if (!last_error_.empty()) {
    w.key("lastError").begin_object().field("message", last_error_).field("at", last_error_at_).end_object();
  }
  w.key("bird").begin_object();
  write_bird(w, view, bgp_.supervised());
  w.key("sessions").begin_array();
  for (const bird::Session& session : view.sessions) {
    write_session(w, session);
    w.end_object();
  }
  w.end_array().end_object().end_object();
  return std::move(w).take();
}

std::string Daemon::bgp_details() {
  const Bgp::View view = bgp_.view(patience);
  json::Writer w;
  w.begin_object().field("ok", true);
  write_bird(w, view, bgp_.supervised());
  w.key("sessions").begin_array();
  for (const bird::Session& session : view.sessions) {
    write_session(w, session);
    w.field("localAs", session.local_as).field("holdTime", session.hold_time).field("keepaliveTime", session.keepalive_time);
    const auto told = view.announced.find(bird::peer_of(session.protocol).value_or(session.protocol));
    if (told != view.announced.end()) {
      if (const auto& announced = told->second) {
        w.key("announced").begin_array();
        for (const Prefix& prefix : *announced) w.value(prefix.to_string());
        w.end_array();
      } else {
        w.field("announcedError", announced.error().message);
      }
    }
    w.end_object();
  }
  w.end_array().end_object();
  return std::move(w).take();
}

Gauges Daemon::gauges() {
  Gauges out;
  out.routes_desired = routes_.desired();
  out.routes_actual = routes_.actual();
  out.routes_pending = routes_.pending();
  for (const bird::Session& session : bgp_.view({}).sessions) {
    const auto name = bird::peer_of(session.protocol);
    if (!name) continue;
    Gauges::Peer peer{*name, session.established(), {}};
    for (const bird::Channel& channel : session.channels) peer.channels.push_back({channel.name, channel.imported, channel.exported});
    out.peers.push_back(std::move(peer));
  }
  for (const Remote::PoolState& pool : remote_.pools()) out.cluster_pools.push_back({pool.name, pool.blocks, pool.unclaimed});
  if (intake_.node() == nullptr) return out;
  auto usage = ipam::Allocator(*intake_.node(), clock_, {}).usage();
  if (!usage) {
    note_failure("usage", usage.error());
    return out;
  }
  for (const ipam::PoolUse& use : *usage) {
    const uint64_t taken = use.used + use.cooling;
    out.pools.push_back({use.pool.name, use.blocks, use.used, use.capacity > taken ? use.capacity - taken : 0, use.cooling});
  }
  return out;
}

std::string Daemon::metrics_text() { return metrics_.text(gauges()); }

}  // namespace firn::routed
