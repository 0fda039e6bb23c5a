// firnctl node drain-bgp and undrain: a host leaves BGP for maintenance and comes back. What is wanted is in its node record, so it
// survives restarts of everything; firn-routed of that host does it and says how far it is (status/bgp/NODE, status/drain/NODE).
#include "cli/node_drain.hpp"

#include <unistd.h>

#include <chrono>
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

struct Wish {
  std::string name;
  std::optional<int> grace, timeout;
  bool wait = false;
};

struct Changed {
  model::Node node;
  bool was_drained = false;
};
// With a drain, one that is there already stays; without, it ends.
Result<Changed> change(Stores& stores, const std::string& name, const std::optional<model::Drain>& drain) {
  const std::string wanted = name.empty() ? stores.name : name;
  Changed out;
  auto committed = stores.cluster->transact([&](kv::Transaction& tx) -> Status {
    auto text = tx.get(model::keys::node(wanted));
    if (!text) return std::move(text).error();
    if (!*text) return make_error(Code::not_found, "there is no node " + wanted + "; 'firnctl node list' shows them");
    auto record = model::decode_node(**text);
    if (!record) return damaged(model::keys::node(wanted), record.error());
    out = {*std::move(record), false};
    out.was_drained = out.node.drain.has_value();
    if (out.was_drained == drain.has_value()) return {};
    out.node.drain = drain;
    tx.put(model::keys::node(wanted), model::encode(out.node));
    return {};
  });
  if (!committed) return std::move(committed).error();
  return out;
}

// Waits until the host says itself that it has followed.
Status wait_for(const Context& context, Stores& stores, const model::Node& node, std::string_view drain, int64_t since,
                int seconds) {
  const auto deadline = context.clock.steady() + std::chrono::seconds(seconds);
  std::string last = "it has told nothing yet";
  while (true) {
    auto status = get_record(*stores.cluster, model::keys::bgp_status(node.name), model::decode_bgp_status);
    if (!status) return std::move(status).error();
    if (*status) {
      if ((*status)->drain == drain && (*status)->at >= since && (*status)->reason.empty()) return {};
      last = "it says " + (*status)->drain + ((*status)->reason.empty() ? "" : ", " + (*status)->reason);
    }
    if (context.clock.steady() >= deadline) {
      return make_error(Code::unavailable,
                        "node " + node.name + " has not followed within " + std::to_string(seconds) + " s (" + last +
                            "); is firn-routed running there? The wish stays: 'firnctl bgp status' shows when it is done");
    }
    // Sleeps because the store of another process tells no one here when it changes.
    ::usleep(200'000);
  }
}

Result<Exit> drain(const Context& context, const Wish& wish) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto changed = change(*stores, wish.name, model::Drain{context.clock.unix_seconds(), wish.grace.value_or(model::Drain{}.grace)});
  if (!changed) return std::move(changed).error();
  const model::Node& node = changed->node;
  if (wish.grace && *wish.grace != node.drain->grace)
    return make_error(Code::conflict, "node " + node.name + " is being drained with a grace of " +
                                          std::to_string(node.drain->grace) + " s; 'firnctl node undrain' first to change it");
  if (!wish.wait) {
    const std::string begun = " asks its neighbours to prefer other ways, and withdraws when they do, in " +
                              std::to_string(node.drain->grace) + " s at the latest";
    return context.done("node " + node.name + (changed->was_drained ? " is drained already" : begun), model::encode(node));
  }
  auto done = wait_for(context, *stores, node, "withdraw", node.drain->since, wish.timeout.value_or(node.drain->grace + 60));
  if (!done) return std::move(done).error();
  auto report = drain_report(*stores->cluster, node);
  if (!report) return std::move(report).error();
  const std::string neighbours = *report ? drain_text(**report) : "";
  return context.done("node " + node.name + " announces nothing any more" + (neighbours.empty() ? "" : "; " + neighbours),
                      model::encode(node));
}

Result<Exit> undrain(const Context& context, const Wish& wish) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  const int64_t now = context.clock.unix_seconds();
  auto changed = change(*stores, wish.name, std::nullopt);
  if (!changed) return std::move(changed).error();
  if (wish.wait && changed->was_drained) {
    if (auto done = wait_for(context, *stores, changed->node, "none", now, wish.timeout.value_or(60)); !done)
      return std::move(done).error();
  }
  return context.done("node " + changed->node.name + (changed->was_drained ? " announces its blocks again" : " is not drained"),
                      model::encode(changed->node));
}

}  // namespace

Result<std::optional<model::DrainReport::Own>> drain_report(kv::Store& cluster, const model::Node& node) {
  auto report = get_record(cluster, model::keys::drain_report(node.name), model::decode_drain_report);
  if (!report) return std::move(report).error();
  std::optional<model::DrainReport::Own> out;
  if (*report && node.drain && (*report)->own && (*report)->own->since == node.drain->since) out = std::move((*report)->own);
  return out;
}

std::string drain_text(const model::DrainReport::Own& report) {
  std::string out;
  const auto add = [&](std::string_view words, const std::vector<std::string>& names) {
    if (!names.empty()) out.append(out.empty() ? "" : "; ").append(words).append(": ").append(join(names, ", "));
  };
  add("moved", report.moved);
  add(report.withdrawn ? "did not say in time that they moved" : "have not moved yet", report.awaited);
  add("could not be asked, for they are no hosts", report.unasked);
  return out;
}

void add_node_drain(Command& node, Context& context) {
  auto draining = std::make_shared<Wish>();
  node.verb("drain-bgp", "Take a node out of BGP for maintenance (default: this host)",
            "firnctl node drain-bgp --wait\nfirnctl node drain-bgp node-b --grace 60",
            [draining, &context] { return drain(context, *draining); })
      .positional("NODE", "Its name", Command::text(draining->name), Need::optional)
      .option("--grace", "S",
              "Seconds that neighbours have at most to move, after the graceful-shutdown community (RFC 8326) (default: 30)",
              Command::number(draining->grace, 0, 3600))
      .flag("--wait", "Wait until it announces nothing", draining->wait)
      .option("--timeout", "S", "Wait at most so long (default: the grace and 60)", Command::number(draining->timeout, 1, 86'400));

  auto returning = std::make_shared<Wish>();
  node.verb("undrain", "Take a node back into BGP (default: this host)", "firnctl node undrain --wait\nfirnctl node undrain node-b",
            [returning, &context] { return undrain(context, *returning); })
      .positional("NODE", "Its name", Command::text(returning->name), Need::optional)
      .flag("--wait", "Wait until it announces again", returning->wait)
      .option("--timeout", "S", "Wait at most so long (default: 60)", Command::number(returning->timeout, 1, 86'400));
}

}  // namespace firn::cli
