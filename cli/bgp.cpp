// firnctl bgp settings: what holds for every node.
#include "cli/bgp.hpp"

#include "cli/kind.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

// What was given; the rest stays. '' takes a value away.
struct Settings {
  std::optional<uint32_t> as_number;
  std::string router_id;  // "", an address, or "default"
  std::optional<std::vector<std::string>> labelled_as;
  std::optional<int> ecmp, mesh_limit, node_hold_time;
  std::optional<std::string> topology, cluster_id, node_password_file;
  std::optional<Labels> reflectors;
  std::optional<bool> node_bfd;
};

Result<model::LabelledAs> parse_labelled_as(const std::string& text) {
  const auto equals = text.rfind('=');
  auto labels = equals == std::string::npos ? Result<Labels>(Labels{}) : parse_selector(text.substr(0, equals));
  if (!labels) return std::move(labels).error();
  if (labels->empty()) return make_error(Code::invalid, "'" + text + "' is not KEY=VALUE[,KEY=VALUE]=AS");
  auto number = parse_as_number(text.substr(equals + 1));
  if (!number) return std::move(number).error();
  return model::LabelledAs{*labels, *number};
}

Status validate(const model::BgpSettings& settings) {
  if (auto good = check_as_number(settings.as_number); !good)
    return make_error(Code::invalid, "/as_number: " + good.error().message);
  if (settings.router_id && (!settings.router_id->is_v4() || settings.router_id->is_unspecified())) {
    return make_error(Code::invalid, "/router_id: must have the form of an IPv4 address and not be 0.0.0.0");
  }
  if (settings.router_id && settings.topology != model::Topology::peers)
    return make_error(Code::invalid, "/router_id: one for all hosts does not go with sessions between them: each needs its own");
  if (settings.cluster_id && settings.cluster_id->is_unspecified())
    return make_error(Code::invalid, "/cluster_id: must not be 0.0.0.0");
  if (settings.topology == model::Topology::reflectors && settings.reflectors.empty())
    return make_error(Code::invalid, "/reflectors: the topology reflectors needs the labels of the nodes that reflect");
  for (size_t i = 0; i < settings.labelled_as.size(); ++i) {
    if (auto good = check_as_number(settings.labelled_as[i].as_number); !good)
      return make_error(Code::invalid, "/labelled_as/" + std::to_string(i) + ": " + good.error().message);
  }
  if (!settings.node_password_file.empty() &&
      (settings.node_password_file.front() != '/' || settings.node_password_file.find_first_of("\n\r\"") != std::string::npos))
    return make_error(Code::invalid, "/node_password_file: must be an absolute path");
  return {};
}

std::string labelled_as_text(const model::BgpSettings& settings) {
  std::vector<std::string> out;
  for (const model::LabelledAs& one : settings.labelled_as)
    out.push_back(labels_text(one.node_selector) + "=" + std::to_string(one.as_number));
  return join(out, "; ");
}

std::string router_id_text(const model::BgpSettings& settings) {
  return settings.router_id ? settings.router_id->to_string() : "default (the node's first IPv4 address)";
}

Status apply(const Settings& change, model::BgpSettings& now) {
  if (change.labelled_as) {
    now.labelled_as.clear();
    for (const std::string& text : *change.labelled_as) {
      if (text.empty()) continue;
      auto one = parse_labelled_as(text);
      if (!one) return std::move(one).error().context("--as-of");
      now.labelled_as.push_back(*std::move(one));
    }
  }
  if (change.topology) {
    auto topology = model::parse_topology(*change.topology);
    if (!topology) return std::move(topology).error().context("--topology");
    now.topology = *topology;
  }
  if (change.cluster_id) {
    now.cluster_id.reset();
    if (!change.cluster_id->empty()) {
      auto id = Address::parse(*change.cluster_id);
      if (!id || !id->is_v4()) return make_error(Code::invalid, "--cluster-id: must have the form of an IPv4 address");
      now.cluster_id = *id;
    }
  }
  now.ecmp = change.ecmp.value_or(now.ecmp);
  now.mesh_limit = change.mesh_limit.value_or(now.mesh_limit);
  now.node_hold_time = change.node_hold_time.value_or(now.node_hold_time);
  now.reflectors = change.reflectors.value_or(now.reflectors);
  now.node_bfd = change.node_bfd.value_or(now.node_bfd);
  now.node_password_file = change.node_password_file.value_or(now.node_password_file);
  if (now.node_hold_time == 1 || now.node_hold_time == 2)
    return make_error(Code::invalid, "--node-hold-time: must be 0 or 3 to 65535");
  return {};
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
  if (auto applied = apply(change, now); !applied) return std::move(applied).error();
  if (auto good = validate(now); !good) return as_option(std::move(good).error());
  if (*before != now) {
    if (auto put = put_record(**cluster, key, model::encode(now)); !put) return std::move(put).error();
  }
  if (context.output == Output::yaml) return print_yaml(context, bgp_settings_kind(), std::vector{now});
  Sheet sheet;
  sheet.line("AS", std::to_string(now.as_number));
  if (!now.labelled_as.empty()) sheet.line("AS by label", labelled_as_text(now));
  sheet.line("Router id", router_id_text(now)).line("ECMP", std::to_string(now.ecmp) + " paths");
  std::string topology(to_string(now.topology));
  if (now.topology == model::Topology::automatic) topology += ", mesh up to " + std::to_string(now.mesh_limit) + " hosts";
  sheet.line("Topology", topology).line("Reflectors", labels_text(now.reflectors));
  if (now.cluster_id) sheet.line("Cluster id", now.cluster_id->to_string());
  sheet.line("Between hosts", "hold time " + std::to_string(now.node_hold_time) + " s" + (now.node_bfd ? ", BFD" : "") +
                                  (now.node_password_file.empty() ? "" : ", password " + now.node_password_file));
  return context.print(model::encode(now), sheet.text());
}

}  // namespace

Kind bgp_settings_kind() {
  Description<model::BgpSettings> d;
  d.kind.name = "BgpSettings";
  d.kind.keys = model::keys::bgp_settings;
  d.kind.kept = "every node reads them; apply other values instead";
  d.kind.heads = {"AS", "ROUTER-ID", "TOPOLOGY"};
  d.name = [](const model::BgpSettings&) { return "default"; };
  d.decode = model::decode_bgp_settings;
  d.row = [](const model::BgpSettings& settings) {
    return std::vector<std::string>{std::to_string(settings.as_number), router_id_text(settings),
                                    std::string(to_string(settings.topology))};
  };
  d.validate = validate;
  return erased(std::move(d));
}

void add_bgp(Command& root, Context& context) {
  Command group = root.group("bgp", "BGP sessions");
  add_bgp_peer(group, context);

  add_bgp_filter(group, context);
  add_bgp_community(group, context);
  add_bgp_prefix(group, context);
  add_bgp_status(group, context);
  add_bgp_routes(group, context);

  auto change = std::make_shared<Settings>();
  group
      .verb("settings", "Show or change what holds for every node",
            "firnctl bgp settings\nfirnctl bgp settings --as 65001 --router-id 192.0.2.11\n"
            "firnctl bgp settings --topology auto --reflectors role=reflector --mesh-limit 50\n"
            "firnctl bgp settings --as-of rack=r1=65101 --as-of rack=r2=65102",
            [change, &context] { return settings(context, *change); })
      .option("--as", "N", "AS number of every node without its own", take_as_number(change->as_number))
      .option("--router-id", "A|default", "Router id; default: each node's first IPv4 address", Command::text(change->router_id))
      .list("--as-of", "KEY=VALUE=N", "AS number of nodes with these labels; replaces all of them; '' for none",
            take_texts(change->labelled_as))
      .option("--ecmp", "N", "Most paths of one route (default: 16)", Command::number(change->ecmp, 1, 64))
      .option("--topology", "T", "Sessions between hosts: peers (none, default), mesh, reflectors or auto",
              take_text(change->topology))
      .option("--reflectors", "KEY=VALUE,...", "Labels of the nodes that reflect", take_selector(change->reflectors))
      .option("--cluster-id", "A", "Cluster id of the reflectors (default: each its router id)", take_text(change->cluster_id))
      .option("--mesh-limit", "N", "With auto: a mesh up to so many hosts (default: 100)",
              Command::number(change->mesh_limit, 2, 10'000))
      .option("--node-password-file", "FILE", "TCP MD5 password of the sessions between hosts, on each of them",
              take_text(change->node_password_file))
      .toggle("node-bfd", "BFD between hosts", change->node_bfd)
      .option("--node-hold-time", "S", "Hold time between hosts (default: 90)", Command::number(change->node_hold_time, 0, 65535));
}

}  // namespace firn::cli
