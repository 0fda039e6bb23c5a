// firnctl bgp routes: what went over this host's sessions: accepted, rejected, announced.
#include <unistd.h>

#include <chrono>
#include <ostream>

#include "cli/bgp.hpp"
#include "cli/daemon_view.hpp"

namespace firn::cli {

namespace {

constexpr std::chrono::seconds patience{15};

// firn-routed does not wait for BIRD: it says that it is asking.
Result<json::Document> ask_until_known(const Context& context) {
  const auto deadline = context.clock.steady() + patience;
  while (true) {
    auto reply = context.ask("routes");
    if (!reply || !flag_of(reply->root()["pending"])) return reply;
    if (context.clock.steady() >= deadline)
      return make_error(Code::io, "BIRD has not listed its routes within " + std::to_string(patience.count()) +
                                      " s; 'firnctl bgp status' shows how it is");
    // Sleeps because BIRD answers firn-routed, which has nobody to wake here.
    ::usleep(50'000);
  }
}

Result<Exit> routes(const Context& context, const std::string& peer) {
  auto reply = ask_until_known(context);
  if (!reply) {
    if (!reply.error().is(Code::unavailable)) return std::move(reply).error();
    return context.no_daemon(reply.error());
  }
  auto sessions = reply->root()["sessions"].array();
  if (!sessions) return make_error(Code::io, "firn-routed said nothing of sessions; is it of this version?");
  Table table({"PEER", "DIRECTION", "PREFIX", "VIA", "USED"});
  json::Writer w;
  w.begin_array();
  bool found = false;
  for (const json::Value& session : *sessions) {
    const std::string name = text_of(session["peer"]);
    if (!peer.empty() && name != peer) continue;
    found = true;
    w.raw(session.dump());
    if (const std::string error = text_of(session["error"]); !error.empty())
      context.err << "note: " << printable(name) << ": " << printable(error) << "\n";
    for (const auto& [member, direction] : {std::pair("accepted", "in"), {"rejected", "rejected"}}) {
      const auto entries = session[member].array();
      if (!entries) continue;
      for (const json::Value& entry : *entries)
        table.add({name, direction, text_of(entry["prefix"]), text_of(entry["via"]), flag_of(entry["best"]) ? "yes" : "no"});
    }
    if (const auto announced = session["announced"].array()) {
      for (const json::Value& prefix : *announced) table.add({name, "out", text_of(prefix), "", ""});
    }
  }
  if (!peer.empty() && !found)
    return make_error(Code::not_found,
                      "there is no established session with " + peer + "; 'firnctl bgp status' shows the sessions");
  if (const auto complete = reply->root()["complete"].boolean_or(true); complete && !*complete)
    context.err << "note: there are more routes than are shown\n";
  return context.print(std::move(w.end_array()).take(), table, "no routes went over any session");
}

}  // namespace

void add_bgp_routes(Command& bgp, Context& context) {
  auto peer = std::make_shared<std::string>();
  bgp.verb("routes", "Show what came from whom, and what is announced to whom, on this host",
           "firnctl bgp routes\nfirnctl bgp routes tor-a -o json", [peer, &context] { return routes(context, *peer); })
      .positional("PEER", "Only this peer, or node (default: all)", Command::text(*peer), Need::optional);
}

}  // namespace firn::cli
