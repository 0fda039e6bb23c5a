// What the daemon says of itself: replies of routed.sock and gauges for /metrics.
#include "ipam/allocator.hpp"
#include "lib/json/json.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

// The loop waits no longer than that for BIRD; a scrape not at all.
constexpr std::chrono::milliseconds patience{10};
// A reply has at most 8 MiB.
constexpr size_t most_routes_told = 50'000;

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

void write_firewall(json::Writer& w, const Firewall& firewall) {
  const Firewall::State state = firewall.state();
  const auto counts = [&](std::string_view name, const nft::Table::Counts& of) {
    w.key(name).begin_object().field("desired", static_cast<uint64_t>(of.desired)).field("actual", static_cast<uint64_t>(of.actual));
    w.field("pending", static_cast<uint64_t>(of.pending)).end_object();
  };
  const std::string trouble = firewall.trouble();
  w.field("on", firewall.is_on()).field("inPlace", firewall.is_on() && trouble.empty()).field_if("waitingFor", trouble);
  w.field("policies", static_cast<uint64_t>(state.policies.policies)).field("fromCopy", state.from_copy);
  counts("sets", state.table.sets);
  counts("chains", state.table.chains);
  counts("elements", state.table.elements);
  w.field("transactions", state.table.transactions).field("replacements", state.table.replacements);
  w.field("repairs", state.table.repairs).field("refusals", state.table.refusals);
  w.field("setAside", static_cast<uint64_t>(state.table.aside)).field_if("setAsideWhy", state.table.why_aside);
  w.field("lastTransactionMicroseconds", static_cast<int64_t>(state.table.last_transaction.count()));
  w.field("held", state.held).field_if("holdTrouble", state.hold_trouble);
  w.field("childStarts", state.child_starts).field("waiting", state.waiting);
}

std::string_view bird_state(const Bgp::View& view) {
  if (view.running) return "running";
  return view.configured ? to_string(view.bird.phase) : std::string_view("absent");
}

void write_session(json::Writer& w, const bird::Session& session) {
  const auto name = bird::session_of(session.protocol);
  w.begin_object().field("peer", name ? name->name : session.protocol);
  w.field("kind", to_string(name ? name->kind : bird::SessionKind::peer));
  w.field("address", session.neighbor_address).field("as", session.neighbor_as);
  w.field("state", session.bgp_state.empty() ? session.state : session.bgp_state).field("established", session.established());
  w.field("since", session.since).field_if("lastError", error_in_words(session.last_error));
  w.key("channels").begin_array();
  for (const bird::Channel& channel : session.channels) {
    w.begin_object().field("family", channel.name).field("state", channel.state);
    w.field("imported", channel.imported);
    w.field("filtered", channel.filtered).field("exported", channel.exported).end_object();
  }
  w.end_array();
}

void write_bird(json::Writer& w, const Bgp::View& view, bool supervised) {
  w.field("state", bird_state(view)).field("running", view.running).field("supervised", supervised);
  w.field_if("reason", view.reason).field_if("version", view.bird.version).field("inForce", view.bird.in_force);
  w.field("restarts", view.bird.restarts);
  if (view.bird.pid > 0) w.field("pid", static_cast<int64_t>(view.bird.pid));
  w.field_if("plan", view.plan).field("planInPlace", view.plan_in_place).field("keptSessions", static_cast<uint64_t>(view.kept));
  w.field("drain", to_string(view.drain));
}

}  // namespace

std::optional<std::string> Daemon::answer(const control::Peer& peer, std::string_view request) {
  const auto document = json::Document::parse(request);
  if (!document) return failure(document.error());
  const auto op = document->root()["op"].string();
  if (!op) return failure(op.error());
  if (*op == "status") return status();
  if (*op == "bgp") return bgp_details();
  if (*op == "need") {
    auto reply = need(document->root());
    return reply ? *std::move(reply) : failure(reply.error());
  }
  if (*op == "pools") return pools_copied();
  if (*op == "policy") return await_policy(peer.client, document->root());
  if (*op == "counters") return counters(peer.client);
  if (*op == "routes") return bgp_routes();
  if (*op == "resync") {
    resync();
    json::Writer w;
    w.begin_object().field("ok", true).field("pending", static_cast<uint64_t>(routes_.pending() + neighbours_.pending() + links_.pending() + forwards_.pending())).end_object();
    return std::move(w).take();
  }
  return failure(make_error(Code::invalid, "unknown op \"" + *op + "\" (status, bgp, routes, need, pools, policy, counters, resync)"));
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
  w.key("policy").begin_object();
  write_firewall(w, firewall_);
  w.end_object();
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
    const auto told = view.announced.find(session.protocol);
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

// A client asks again while this says pending: the loop does not wait for BIRD.
std::string Daemon::bgp_routes() {
  const auto report = bgp_.routes();
  json::Writer w;
  w.begin_object().field("ok", true).field("pending", report == nullptr && bgp_.view({}).running).key("sessions").begin_array();
  if (report == nullptr) return std::move(w.end_array().end_object()).take();
  size_t left = most_routes_told;
  const auto entries = [&](std::string_view name, const std::vector<bird::RouteEntry>& routes) {
    w.key(name).begin_array();
    for (size_t i = 0; i < routes.size() && left > 0; ++i, --left) {
      w.begin_object().field("prefix", routes[i].prefix.to_string()).field("via", routes[i].via).field("best", routes[i].best).end_object();
    }
    w.end_array();
  };
  for (const auto& [protocol, routes] : report->sessions) {
    const auto name = bird::session_of(protocol);
    w.begin_object().field("peer", name ? name->name : protocol);
    w.field("kind", to_string(name ? name->kind : bird::SessionKind::peer)).field("protocol", protocol);
    if (!routes) {
      w.field("error", routes.error().message).end_object();
      continue;
    }
    entries("accepted", routes->accepted);
    entries("rejected", routes->rejected);
    w.key("announced").begin_array();
    for (size_t i = 0; i < routes->announced.size() && left > 0; ++i, --left) w.value(routes->announced[i].to_string());
    w.end_array().end_object();
  }
  return std::move(w.end_array().field("complete", left > 0).end_object()).take();
}

Gauges Daemon::gauges() {
  Gauges out;
  out.routes_desired = routes_.desired();
  out.routes_actual = routes_.actual();
  out.routes_pending = routes_.pending();
  for (const bird::Session& session : bgp_.view({}).sessions) {
    const auto name = bird::session_of(session.protocol);
    if (!name) continue;
    Gauges::Peer peer{name->kind == bird::SessionKind::peer ? name->name : session.protocol, session.established(), {}};
    for (const bird::Channel& channel : session.channels) peer.channels.push_back({channel.name, channel.imported, channel.exported});
    out.peers.push_back(std::move(peer));
  }
  for (const Remote::PoolState& pool : remote_.pools()) out.cluster_pools.push_back({pool.name, pool.blocks, pool.unclaimed});
  if (firewall_.is_on()) out.nft = firewall_gauges();
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
