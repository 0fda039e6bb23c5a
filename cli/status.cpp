// firnctl status and version: the host on one screen.
#include <ostream>

#include "cli/daemon_view.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

// Lines of the screen and members of the JSON object, in step.
struct Screen {
  Sheet sheet;
  json::Writer json;
  Exit exit = Exit::ok;
};

void show_daemon(const Context& context, Screen& screen) {
  auto reply = context.ask("status");
  screen.json.key("daemon");
  if (!reply) {
    screen.exit = reply.error().is(Code::unavailable) ? Exit::no_daemon : Exit::failure;
    screen.sheet.line("Daemon", reply.error().message);
    screen.json.begin_object().field("reachable", false).field("error", reply.error().message).end_object();
    return;
  }
  const json::Value root = reply->root();
  const bool ready = flag_of(root["ready"]);
  const std::string waiting = text_of(root["waitingFor"]);
  const std::string last_error = text_of(root["lastError"]["message"]);
  const auto routes = root["routes"];
  std::string text = "firn-routed " + text_of(root["version"]) + (ready ? ", ready" : ", NOT ready: " + waiting);
  if (const int64_t pending = number_of(routes["pending"]); pending > 0) text += ", " + std::to_string(pending) + " routes pending";
  screen.sheet.line("Daemon", text);
  if (!last_error.empty()) screen.sheet.line("Last error", time_text(number_of(root["lastError"]["at"])) + " " + last_error);
  screen.sheet.line("Routes", std::to_string(number_of(routes["actual"])) + " of " + std::to_string(number_of(routes["desired"])) +
                                  " in the kernel, " + std::to_string(number_of(root["driftRepaired"])) + " repaired");
  if (const int64_t blocks = number_of(root["unreachableBlocks"]); blocks > 0)
    screen.sheet.line("Unreachable", std::to_string(blocks) + " block(s) of other hosts; " + text_of(root["unreachableWhy"]));
  const BirdView bird = read_bird(root["bird"]);
  screen.sheet.line("BIRD", bird.summary());
  screen.sheet.line("BGP sessions",
                    std::to_string(bird.established()) + " of " + std::to_string(bird.sessions.size()) + " established");
  if (!ready) screen.exit = Exit::problems;
  screen.json.raw(root.dump());
}

Result<Exit> status(const Context& context) {
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  auto name = context.node_name(**node);
  if (!name) return std::move(name).error();
  auto allocator = context.allocator(**node);
  if (!allocator) return std::move(allocator).error();
  auto usage = allocator->usage();
  if (!usage) return std::move(usage).error();
  auto endpoints = allocator->endpoints();
  if (!endpoints) return std::move(endpoints).error();

  Screen screen;
  screen.json.begin_object().field("node", *name).field("state_dir", context.state_dir);
  std::string identity = name->empty() ? "not initialised (containers can use ipam.subnet; 'firnctl init' does the rest)" : *name;
  if (*cluster && !name->empty()) {
    auto record = get_record(**cluster, model::keys::node(*name), model::decode_node);
    if (!record) return std::move(record).error();
    auto settings = get_record(**cluster, model::keys::bgp_settings, model::decode_bgp_settings);
    if (!settings) return std::move(settings).error();
    if (*record) {
      const uint32_t as_number = model::as_number_of(settings->value_or(model::BgpSettings{}), **record);
      identity += ", " + join((*record)->addresses) + ", AS " + std::to_string(as_number);
      screen.json.field("as_number", as_number);
    }
  }
  screen.sheet.line("Node", identity).line("State", context.state_dir);
  show_daemon(context, screen);

  uint64_t blocks = 0, capacity = 0, used = 0, cooling = 0;
  for (const ipam::PoolUse& use : *usage) {
    blocks += use.blocks;
    capacity += use.capacity;
    used += use.used;
    cooling += use.cooling;
  }
  screen.sheet.line("Pools", std::to_string(usage->size())).line("Blocks", std::to_string(blocks));
  screen.sheet.line("Addresses",
                    std::to_string(used) + " used of " + std::to_string(capacity) + ", " + std::to_string(cooling) + " cooling");
  screen.sheet.line("Endpoints", std::to_string(endpoints->size()));
  screen.json.field("pools", static_cast<uint64_t>(usage->size()))
      .field("blocks", blocks)
      .field("capacity", capacity)
      .field("used", used);
  screen.json.field("cooling", cooling).field("endpoints", static_cast<uint64_t>(endpoints->size())).end_object();
  context.print(screen.json.text(), screen.sheet.text());
  return screen.exit;
}

}  // namespace

void add_status(Command& root, Context& context) {
  root.verb("status", "Show this host on one screen: node, daemon, BIRD, addresses", "firnctl status\nfirnctl status -o json",
            [&context] { return status(context); });
}

void add_version(Command& root, Context& context) {
  root.verb("version", "Show the version", "firnctl version", [&context]() -> Result<Exit> {
    json::Writer w;
    w.begin_object().field("version", FIRN_VERSION).end_object();
    return context.print(w.text(), "firnctl " FIRN_VERSION "\n");
  });
}

}  // namespace firn::cli
