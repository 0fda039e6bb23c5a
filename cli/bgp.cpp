// firnctl bgp: the host's own AS, and how its sessions do.
#include "cli/bgp.hpp"

#include "cli/daemon_view.hpp"
#include "cli/kind.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

Result<Exit> status(const Context& context) {
  auto reply = context.ask("bgp");
  if (!reply) {
    if (!reply.error().is(Code::unavailable)) return std::move(reply).error();
    return context.no_daemon(reply.error());
  }
  const BirdView view = read_bird(reply->root());
  Table table({"PEER", "ADDRESS", "AS", "STATE", "SINCE", "IN", "OUT", "LAST-ERROR"});
  for (const Session& s : view.sessions) {
    table.add({s.peer, s.address, std::to_string(s.as_number), s.state, s.since, std::to_string(s.imported),
               std::to_string(s.exported), s.last_error});
  }
  if (context.output == Output::table && table.empty()) {
    // A BIRD that has peers and does not answer is no reason to make another.
    const bool unknown = !view.running && view.state != "absent";
    context.err << (unknown ? "the sessions are not known until BIRD answers\n"
                            : "no sessions; make one with: firnctl bgp peer add NAME --address A --as N\n");
  }
  return context.print(reply->root().dump(),
                       "BIRD: " + printable(view.summary()) + "\n" + (table.empty() ? "" : "\n" + table.text()));
}

struct Settings {
  std::optional<uint32_t> as_number;
  std::string router_id;  // "", an address, or "default"
};

Status validate(const model::BgpSettings& settings) {
  if (auto good = check_as_number(settings.as_number); !good)
    return make_error(Code::invalid, "/as_number: " + good.error().message);
  if (settings.router_id && (!settings.router_id->is_v4() || settings.router_id->is_unspecified())) {
    return make_error(Code::invalid, "/router_id: must have the form of an IPv4 address and not be 0.0.0.0");
  }
  return {};
}

std::string router_id_text(const model::BgpSettings& settings) {
  return settings.router_id ? settings.router_id->to_string() : "default (the node's first IPv4 address)";
}

Result<Exit> settings(const Context& context, const Settings& change) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  const std::string key(model::keys::bgp_settings);
  auto before = get_record(**cluster, key, model::decode_bgp_settings);
  if (!before) return std::move(before).error();
  model::BgpSettings now = before->value_or(model::BgpSettings{});
  if (change.as_number) now.as_number = *change.as_number;
  if (change.router_id == "default") {
    now.router_id.reset();
  } else if (!change.router_id.empty()) {
    auto address = Address::parse(change.router_id);
    if (!address) return std::move(address).error().context("--router-id");
    now.router_id = *address;
  }
  if (auto good = validate(now); !good) return as_option(std::move(good).error());
  if (*before != now) {
    if (auto put = put_record(**cluster, key, model::encode(now)); !put) return std::move(put).error();
  }
  if (context.output == Output::yaml) return print_yaml(context, bgp_settings_kind(), std::vector{now});
  Sheet sheet;
  sheet.line("AS", std::to_string(now.as_number));
  sheet.line("Router id", router_id_text(now));
  return context.print(model::encode(now), sheet.text());
}

}  // namespace

Kind bgp_settings_kind() {
  Description<model::BgpSettings> d;
  d.kind.name = "BgpSettings";
  d.kind.keys = model::keys::bgp_settings;
  d.kind.kept = "every node reads them; apply other values instead";
  d.kind.heads = {"AS", "ROUTER-ID"};
  d.name = [](const model::BgpSettings&) { return "default"; };
  d.decode = model::decode_bgp_settings;
  d.row = [](const model::BgpSettings& settings) {
    return std::vector<std::string>{std::to_string(settings.as_number), router_id_text(settings)};
  };
  d.validate = validate;
  return erased(std::move(d));
}

void add_bgp(Command& root, Context& context) {
  Command group = root.group("bgp", "BGP sessions");
  add_bgp_peer(group, context);

  group.verb("status", "Show BIRD and its sessions, as firn-routed sees them", "firnctl bgp status\nfirnctl bgp status -o json",
             [&context] { return status(context); });

  auto change = std::make_shared<Settings>();
  group
      .verb("settings", "Show or change what holds for every node",
            "firnctl bgp settings\nfirnctl bgp settings --as 65001 --router-id 192.0.2.11",
            [change, &context] { return settings(context, *change); })
      .option("--as", "N", "AS number of every node without its own", take_as_number(change->as_number))
      .option("--router-id", "A|default", "Router id; default: each node's first IPv4 address", Command::text(change->router_id));
}

}  // namespace firn::cli
