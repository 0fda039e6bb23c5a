// firnctl bgp status: this host's sessions as firn-routed sees them now, and those of the other hosts as they last told the
// cluster.
#include "lib/model/bgp_status.hpp"

#include <algorithm>
#include <map>
#include <ostream>

#include "cli/bgp.hpp"
#include "cli/daemon_view.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

// "5d3h", "12m4s"; "-" when it is not known.
std::string duration_text(int64_t seconds) {
  if (seconds < 0) return "-";
  const std::pair<char, int64_t> units[] = {{'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};
  for (size_t i = 0; i + 1 < std::size(units); ++i) {
    const auto [letter, size] = units[i];
    if (seconds < size) continue;
    const auto [next_letter, next_size] = units[i + 1];
    return std::to_string(seconds / size) + letter + std::to_string(seconds % size / next_size) + next_letter;
  }
  return std::to_string(seconds) + "s";
}

struct Other {
  std::string node;
  std::optional<model::BgpStatus> status;
  bool stale = false;
};

// The other nodes of the cluster, with what they told.
Result<std::vector<Other>> other_hosts(const Context& context) {
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  if (*cluster == nullptr) return std::vector<Other>();
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto self = context.node_name(**node);
  if (!self) return std::move(self).error();
  auto nodes = list_records(**cluster, model::keys::nodes, model::decode_node);
  if (!nodes) return std::move(nodes).error();
  auto statuses = list_records(**cluster, model::keys::bgp_statuses, model::decode_bgp_status);
  if (!statuses) return std::move(statuses).error();
  std::map<std::string, const model::BgpStatus*> told;
  for (const model::BgpStatus& status : *statuses) told.emplace(status.node, &status);
  std::vector<Other> out;
  for (const model::Node& each : *nodes) {
    if (each.name == *self) continue;
    Other other{each.name, {}, false};
    if (const auto it = told.find(each.name); it != told.end()) {
      other.status = *it->second;
      other.stale = context.clock.unix_seconds() - it->second->at > model::BgpStatus::stale_after;
    }
    out.push_back(std::move(other));
  }
  return out;
}

std::string plan_text(const std::string& plan, bool in_place, int64_t kept, const std::string& drain) {
  std::string out;
  const std::string shape = plan.substr(0, plan.find('-'));
  if (!shape.empty() && shape != "peers") out += "Between hosts: " + shape + (in_place ? "" : ", not in place yet") + "\n";
  if (kept > 0) out += "Kept until every host is ready: " + std::to_string(kept) + " session(s) of the topology before\n";
  if (drain == "announce") out += "Drain: graceful shutdown is announced, withdrawal follows\n";
  if (drain == "withdraw") out += "Drain: nothing is announced; 'firnctl node undrain' ends it\n";
  return out;
}

std::string hosts_text(const std::vector<Other>& others, int64_t now) {
  if (others.empty()) return {};
  Table table({"NODE", "PEER", "ADDRESS", "AS", "STATE", "UPTIME", "IN", "FILTERED", "OUT", "LAST-ERROR"});
  for (const Other& other : others) {
    const auto alone = [&](const std::string& state, const std::string& why) {
      table.add({other.node, "", "", "", state, "", "", "", "", why});
    };
    if (!other.status) {
      alone("unknown", "it has told nothing yet");
      continue;
    }
    const model::BgpStatus& s = *other.status;
    if (other.stale) {
      alone("unknown", "it has told nothing for " + duration_text(now - s.at));
      continue;
    }
    if (s.bird != "running" || s.sessions.empty()) alone("BIRD " + s.bird, s.reason);
    for (const model::BgpSessionStatus& session : s.sessions) {
      table.add({other.node, session.name, session.address, std::to_string(session.as_number), session.state,
                 duration_text(session.since > 0 ? now - session.since : -1), std::to_string(session.imported),
                 std::to_string(session.filtered), std::to_string(session.exported), session.last_error});
    }
    if (s.omitted > 0) alone("", std::to_string(s.omitted) + " more established sessions");
  }
  return "\nOther hosts\n" + table.text();
}

std::string with_cluster(const json::Value& reply, const std::vector<Other>& others) {
  json::Writer w;
  w.begin_object();
  if (const auto members = reply.object()) {
    for (const auto& [name, value] : *members) w.key(name).raw(value.dump());
  }
  w.key("cluster").begin_array();
  for (const Other& other : others) {
    w.begin_object().field("node", other.node).field("stale", other.stale).key("status");
    if (other.status) w.raw(encode(*other.status));
    else w.null();
    w.end_object();
  }
  return std::move(w.end_array().end_object()).take();
}

Result<Exit> status(const Context& context) {
  auto reply = context.ask("bgp");
  if (!reply) {
    if (!reply.error().is(Code::unavailable)) return std::move(reply).error();
    return context.no_daemon(reply.error());
  }
  const BirdView view = read_bird(reply->root());
  Table table({"PEER", "KIND", "ADDRESS", "AS", "STATE", "SINCE", "IN", "FILTERED", "OUT", "LAST-ERROR"});
  for (const Session& s : view.sessions) {
    table.add({s.peer, s.kind, s.address, std::to_string(s.as_number), s.state, s.since, std::to_string(s.imported),
               std::to_string(s.filtered), std::to_string(s.exported), s.last_error});
  }
  if (context.output == Output::table && table.empty()) {
    // A BIRD that has peers and does not answer is no reason to make another.
    const bool unknown = !view.running && view.state != "absent";
    context.err << (unknown ? "the sessions are not known until BIRD answers\n"
                            : "no sessions; make one with: firnctl bgp peer add NAME --address A --as N\n");
  }
  auto others = other_hosts(context);
  // This host's own sessions are known also while the cluster store is not.
  if (!others) context.err << "note: other hosts are not shown: " << printable(others.error().message) << "\n";
  const std::vector<Other> shown = others ? *std::move(others) : std::vector<Other>();
  const json::Value root = reply->root();
  return context.print(
      with_cluster(root, shown),
      "BIRD: " + printable(view.summary()) + "\n" +
          plan_text(text_of(root["plan"]), flag_of(root["planInPlace"]), number_of(root["keptSessions"]), text_of(root["drain"])) +
          (table.empty() ? "" : "\n" + table.text()) + hosts_text(shown, context.clock.unix_seconds()));
}

}  // namespace

void add_bgp_status(Command& bgp, Context& context) {
  bgp.verb("status", "Show BIRD and its sessions, and those of the other hosts", "firnctl bgp status\nfirnctl bgp status -o json",
           [&context] { return status(context); });
}

}  // namespace firn::cli
