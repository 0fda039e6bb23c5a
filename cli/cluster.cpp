// firnctl cluster: where the cluster store is, how it is, and the way onto etcd.
#include "cli/cluster.hpp"

#include <algorithm>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/mirror.hpp"
#include "lib/model/grace.hpp"

namespace firn::cli {

namespace {

constexpr std::chrono::milliseconds member_deadline{2000};

std::string size_text(int64_t bytes) { return std::to_string((bytes + (1 << 19)) >> 20) + " MiB"; }

std::string latency_text(std::chrono::microseconds time) {
  return std::to_string(time.count() / 1000) + "." + std::to_string(time.count() / 100 % 10) + " ms";
}

std::string role_of(const kv::MemberStatus& member) { return member.leader ? "leader" : member.learner ? "learner" : "follower"; }

std::string state_of(const kv::MemberStatus& member) {
  if (!member.trouble.empty()) return printable(member.trouble);
  return member.alarms.empty() ? "ok" : "alarm " + printable(join(member.alarms, ","));
}

std::string encode(const cluster::Config& config, const kv::ClusterStatus& status, const model::ClusterSettings& settings,
                   const std::string& trouble) {
  json::Writer w;
  w.begin_object().field("engine", "etcd").field("prefix", config.prefix).field("cluster_id", kv::cluster_id_text(config.cluster_id));
  w.field_if("trouble", trouble);
  if (trouble.empty()) w.field("node_grace", settings.node_grace);
  w.key("members").begin_array();
  for (const kv::MemberStatus& member : status.members) {
    w.begin_object().field("endpoint", member.endpoint.to_string()).field_if("trouble", member.trouble);
    if (member.trouble.empty()) {
      w.field("name", member.name).field("id", kv::cluster_id_text(member.member_id)).field("version", member.version);
      w.field("role", role_of(member)).field("revision", member.revision).field("database_bytes", member.database_bytes);
      w.field("latency_us", static_cast<int64_t>(member.latency.count())).key("alarms").begin_array();
      for (const std::string& alarm : member.alarms) w.value(alarm);
      w.end_array();
    }
    w.end_object();
  }
  return std::move(w.end_array().end_object()).take();
}

std::string grace_text(int64_t seconds) { return seconds == 0 ? "off" : std::to_string(seconds) + " s"; }

Result<model::ClusterSettings> read_settings(const Context& context) {
  auto store = context.cluster_store();
  if (!store) return std::move(store).error();
  auto settings = get_record(**store, model::keys::settings, model::decode_cluster_settings);
  if (!settings) return std::move(settings).error();
  return settings->value_or(model::ClusterSettings{});
}

Result<Exit> status(const Context& context) {
  auto config = context.cluster_config();
  if (!config) return std::move(config).error();
  if (!*config) {
    auto store = context.cluster_store();
    if (!store) return std::move(store).error();
    json::Writer w;
    w.begin_object().field("engine", "sqlite").field("path", context.cluster_path()).end_object();
    Sheet sheet;
    sheet.line("Store", context.cluster_path() + ", of this host alone");
    return context.print(w.text(), sheet.text());
  }
  auto options = cluster::etcd_options(**config);
  if (!options) return make_error(Code::io, cluster::config_path(context.state_dir) + ": " + options.error().message);
  options->deadline = member_deadline;
  auto status = kv::etcd_status(*options);
  if (!status) return std::move(status).error();
  const bool silent = std::all_of(status->members.begin(), status->members.end(), [](const auto& member) { return !member.trouble.empty(); });
  std::string trouble = silent ? "no member answers" : "";
  // What every other command would say.
  if (!silent) {
    if (auto store = context.cluster_if_any(); !store) trouble = store.error().message;
  }
  model::ClusterSettings settings;
  if (trouble.empty()) {
    auto read = read_settings(context);
    if (read) settings = *read;
    else trouble = read.error().message;
  }
  Table table({"ENDPOINT", "MEMBER", "ROLE", "VERSION", "REVISION", "SIZE", "LATENCY", "STATE"});
  bool sound = trouble.empty();
  for (const kv::MemberStatus& member : status->members) {
    sound = sound && member.trouble.empty() && member.alarms.empty();
    if (!member.trouble.empty()) {
      table.add({member.endpoint.to_string(), "", "", "", "", "", "", state_of(member)});
    } else {
      table.add({member.endpoint.to_string(), printable(member.name), role_of(member), printable(member.version),
                 std::to_string(member.revision), size_text(member.database_bytes), latency_text(member.latency), state_of(member)});
    }
  }
  Sheet sheet;
  sheet.line("Store", "etcd, prefix " + (*config)->prefix).line("Cluster id", kv::cluster_id_text((*config)->cluster_id));
  sheet.line("State", trouble.empty() ? "in use" : printable(trouble));
  if (trouble.empty()) sheet.line("Node grace", grace_text(settings.node_grace));
  context.print(encode(**config, *status, settings, trouble), sheet.text() + "\n" + table.text());
  return sound ? Exit::ok : Exit::problems;
}

// Without options it shows what is set.
Result<Exit> set(const Context& context, const std::optional<int>& node_grace) {
  auto config = context.cluster_config();
  if (!config) return std::move(config).error();
  if (!*config) return make_error(Code::conflict, "this host has a cluster store of its own: nobody else could take its blocks");
  if (node_grace && *node_grace != 0 && *node_grace < model::min_node_grace)
    return as_option(make_error(Code::invalid, "/node_grace: must be 0 (off) or " + std::to_string(model::min_node_grace) + " to " +
                                                   std::to_string(model::max_node_grace) + " seconds"));
  auto settings = read_settings(context);
  // What cannot be read is written anew.
  if (!settings && node_grace && settings.error().is(Code::io)) settings = model::ClusterSettings{-1};
  if (!settings) return std::move(settings).error();
  if (node_grace && settings->node_grace != *node_grace) {
    settings->node_grace = *node_grace;
    auto store = context.cluster_store();
    if (!store) return std::move(store).error();
    if (auto put = put_record(**store, std::string(model::keys::settings), model::encode(*settings)); !put)
      return std::move(put).error();
  }
  Sheet sheet;
  sheet.line("Node grace", grace_text(settings->node_grace));
  return context.print(model::encode(*settings), sheet.text());
}

// The cluster as it is becomes the one to go on from: after a backup was restored, or the members were made anew.
Result<Exit> accept(const Context& context) {
  auto config = context.cluster_config();
  if (!config) return std::move(config).error();
  if (!*config) return make_error(Code::conflict, "this host has a cluster store of its own; there is nothing to accept");
  auto connected = cluster::connect(**config);
  if (!connected) return std::move(connected).error();
  if (auto written = cluster::write_config(context.state_dir, **config, connected->position); !written) return std::move(written).error();
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  if (auto forgotten = ipam::forget_revision(**node); !forgotten) return std::move(forgotten).error();
  json::Writer w;
  w.begin_object().field("cluster_id", kv::cluster_id_text(connected->position.cluster_id));
  w.field("revision", connected->position.revision).end_object();
  return context.done("this host goes on with cluster " + kv::cluster_id_text(connected->position.cluster_id) + " at revision " +
                          std::to_string(connected->position.revision) +
                          "; restart firn-routed, then see with 'firnctl ipam check' whether the blocks of this host are still claimed",
                      w.text());
}

}  // namespace

void add_cluster(Command& root, Context& context) {
  Command cluster = root.group("cluster", "The store that the hosts share");
  cluster.verb("status", "Show the members, their health and how fast they answer", "firnctl cluster status",
               [&context] { return status(context); });
  auto node_grace = std::make_shared<std::optional<int>>();
  cluster.verb("set", "Set what holds for every host; without options show it", "firnctl cluster set --node-grace 3600",
               [node_grace, &context] { return set(context, *node_grace); })
      .option("--node-grace", "S", "Give up a host that is not alive for so many seconds (60 to 2592000; 0: never)",
              Command::number(*node_grace, 0, model::max_node_grace));
  add_cluster_migrate(cluster, context);
  cluster.verb("accept", "Go on with a cluster that was restored from a backup or made anew",
               "systemctl stop firn-routed\nfirnctl cluster accept\nfirnctl ipam check --fix\nsystemctl start firn-routed",
               [&context] { return accept(context); });
}

}  // namespace firn::cli
