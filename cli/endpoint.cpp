// firnctl endpoint: the attachments of this host, and those that all hosts have published.
#include <algorithm>
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/across.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/policy.hpp"

namespace firn::cli {

namespace {

constexpr size_t short_id = 12;  // as container runtimes show the 64 digits of an id
constexpr size_t longest_annotation = 1024;
constexpr size_t least_prefix = 4;  // of an id, so that a typing mistake does not match

std::string pod_text(const model::Endpoint& e) { return e.pod_name.empty() ? "" : e.pod_namespace + "/" + e.pod_name; }
std::string kind_text(const model::Endpoint& e) { return e.kind == model::EndpointKind::interface ? "interface" : "address"; }
std::string container_text(const model::Endpoint& e) {
  const bool hex = e.container_id.size() == 64 && e.container_id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return hex ? e.container_id.substr(0, short_id) : e.container_id;
}

Result<std::vector<model::Endpoint>> endpoints(const Context& context, const std::string& network) {
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto allocator = context.allocator(**node);
  if (!allocator) return std::move(allocator).error();
  return allocator->endpoints(network);
}

Result<Exit> list(const Context& context, const std::string& network) {
  auto all = endpoints(context, network);
  if (!all) return std::move(all).error();
  Table table({"CONTAINER", "INTERFACE", "NETWORK", "ADDRESSES", "HOST-INTERFACE", "POD", "CREATED"});
  for (const model::Endpoint& e : *all) {
    table.add({container_text(e), e.ifname, e.network, join(e.addresses), e.host_ifname, pod_text(e), time_text(e.created_at)});
  }
  return context.print(encode_all(*all), table,
                       network.empty() ? "no endpoints on this host" : "no endpoints of network " + network + " on this host");
}

// As hosts have published them.
Result<Exit> list_all(const Context& context, const std::string& network) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto across = ipam::read_across(**cluster);
  if (!across) return std::move(across).error();
  Table table({"HOST", "CONTAINER", "INTERFACE", "NETWORK", "ADDRESSES", "POD", "CREATED"});
  json::Writer w;
  w.begin_array();
  for (const auto& [host, e] : across->endpoints) {
    if (!network.empty() && e.network != network) continue;
    table.add({host, container_text(e), e.ifname, e.network, join(e.addresses), pod_text(e), time_text(e.created_at)});
    w.begin_object().field("node", host).key("endpoint").raw(model::encode(e)).end_object();
  }
  for (const auto& [key, why] : across->damaged) context.err << "firnctl: left out: " << printable(why.message) << "\n";
  return context.print(w.end_array().text(), table,
                       network.empty() ? "no endpoints are published" : "no endpoints of network " + network + " are published");
}

// By handle, address, or container id (whole, or its unique beginning); several interfaces of one container are all shown.
Result<std::vector<model::Endpoint>> matching(const std::vector<model::Endpoint>& all, const std::string& what) {
  const auto select = [&](const auto& wanted) {
    std::vector<model::Endpoint> out;
    std::copy_if(all.begin(), all.end(), std::back_inserter(out), wanted);
    return out;
  };
  if (auto found = select([&](const model::Endpoint& e) { return model::handle_of(e) == what; }); !found.empty()) return found;
  if (auto address = Address::parse(what)) {
    auto found = select(
        [&](const model::Endpoint& e) { return std::find(e.addresses.begin(), e.addresses.end(), *address) != e.addresses.end(); });
    if (!found.empty()) return found;
    return make_error(Code::not_found,
                      "no endpoint of this host has the address " + what + "; 'firnctl route why " + what + "' follows it");
  }
  if (auto found = select([&](const model::Endpoint& e) { return e.container_id == what; }); !found.empty()) return found;
  auto found = select([&](const model::Endpoint& e) { return what.size() >= least_prefix && e.container_id.starts_with(what); });
  if (found.empty()) return make_error(Code::not_found, "there is no endpoint " + what + "; 'firnctl endpoint list' shows them");
  for (const model::Endpoint& e : found) {
    if (e.container_id == found.front().container_id) continue;
    return make_error(Code::invalid,
                      "several containers begin with " + what + ": " + found.front().container_id + ", " + e.container_id + " ...");
  }
  return found;
}

std::string ports_text(const std::vector<model::PublishedPort>& ports) {
  std::string out;
  for (const model::PublishedPort& port : ports) out += (out.empty() ? "" : ", ") + to_string(port);
  return out;
}

std::string bucket_text(const model::Bucket& bucket) {
  return std::to_string(bucket.rate) + " bit/s, burst " + std::to_string(bucket.burst) + " bit";
}

std::string sheet_of(const model::Endpoint& e) {
  Sheet sheet;
  sheet.line("Handle", model::handle_of(e))
      .line("Network", e.network)
      .line("Container", e.container_id)
      .line("Interface", e.ifname);
  sheet.line("Kind", kind_text(e)).line("Addresses", join(e.addresses));
  sheet.line("Leased by firn", e.leased ? "yes" : "no, by another IPAM plugin");
  if (e.kind == model::EndpointKind::interface) {
    sheet.line("Host interface", e.host_ifname).line("MAC", e.mac.to_string()).line("MTU", std::to_string(e.mtu));
  }
  sheet.line("Network namespace", e.netns);
  if (!e.pod_name.empty()) sheet.line("Pod", pod_text(e)).line("Pod UID", e.pod_uid);
  if (!e.labels.empty()) sheet.line("Labels", labels_text(e.labels));
  if (!e.annotations.empty()) sheet.line("Annotations", labels_text(e.annotations));
  if (!e.ports.empty()) sheet.line("Published ports", ports_text(e.ports));
  if (e.bandwidth.ingress) sheet.line("Limit to it", bucket_text(e.bandwidth.ingress));
  if (e.bandwidth.egress) sheet.line("Limit from it", bucket_text(e.bandwidth.egress));
  sheet.line("Boot", e.boot_id).line("Created", time_text(e.created_at));
  return sheet.text();
}

Result<Exit> show(const Context& context, const std::string& what) {
  auto all = endpoints(context, {});
  if (!all) return std::move(all).error();
  auto found = matching(*all, what);
  if (!found) return std::move(found).error();
  std::string text;
  for (const model::Endpoint& e : *found) text += (text.empty() ? "" : "\n") + sheet_of(e);
  return context.print(encode_all(*found), text);
}

struct Relabel {
  std::string what;
  std::vector<std::string> changes;  // "key=value", "key-"
  bool annotations = false;
};

// Annotations hold more than labels do.
Status change_annotation(std::map<std::string, std::string>& annotations, std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return change_label(annotations, text);
  const std::string_view key = text.substr(0, equals), value = text.substr(equals + 1);
  if (auto good = check_label(key, ""); !good) return good;
  if (value.size() > longest_annotation || std::any_of(value.begin(), value.end(), [](char c) { return c < ' ' || c > '~'; }))
    return make_error(Code::invalid, "an annotation has at most " + std::to_string(longest_annotation) + " printable characters");
  if (key == model::named_ports_annotation) {
    if (auto good = model::check_named_ports(value); !good) return std::move(good).error().context(key);
  }
  annotations[std::string(key)] = value;
  return {};
}

// Labels come from the runtime when a container is attached; this changes what is recorded since, and firn-routed sees it.
Result<Exit> relabel(const Context& context, const Relabel& args) {
  auto all = endpoints(context, {});
  if (!all) return std::move(all).error();
  auto found = matching(*all, args.what);
  if (!found) return std::move(found).error();
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  std::vector<model::Endpoint> changed;
  bool same = true;
  auto committed = (*node)->transact([&](kv::Transaction& tx) -> Status {
    changed.clear();
    same = true;
    for (const model::Endpoint& endpoint : *found) {
      const std::string handle = model::handle_of(endpoint), key = model::keys::endpoint(handle);
      auto text = tx.get(key);
      if (!text) return std::move(text).error();
      if (!*text) return make_error(Code::not_found, "endpoint " + handle + " has gone meanwhile");
      auto record = model::decode_endpoint(**text);
      if (!record) return damaged(key, record.error());
      for (const std::string& change : args.changes) {
        auto done = args.annotations ? change_annotation(record->annotations, change) : change_label(record->labels, change);
        if (!done) return std::move(done).error().context("endpoint " + handle);
      }
      const std::string now = model::encode(*record);
      same = same && now == **text;
      if (now != **text) tx.put(key, now);
      changed.push_back(*std::move(record));
    }
    return {};
  });
  if (!committed) return std::move(committed).error();
  return context.done("endpoint " + args.what + (same ? " is so already" : " changed"), encode_all(changed));
}

}  // namespace

void add_endpoint(Command& root, Context& context) {
  Command group = root.group("endpoint", "Containers attached to this host, and to all");

  struct List {
    std::string network;
    bool all = false;
  };
  auto args = std::make_shared<List>();
  group
      .verb("list", "List the endpoints",
            "firnctl endpoint list\nfirnctl endpoint list --network web -o json\nfirnctl endpoint list --all",
            [args, &context] { return args->all ? list_all(context, args->network) : list(context, args->network); })
      .option("--network", "NAME", "Only of this CNI network", Command::text(args->network))
      .flag("--all", "Of every host, as they have published them", args->all);

  auto what = std::make_shared<std::string>();
  group
      .verb("show", "Show what is recorded of a container",
            "firnctl endpoint show 0123456789ab\nfirnctl endpoint show 10.44.0.7\nfirnctl endpoint show web/0123456789ab/eth0",
            [what, &context] { return show(context, *what); })
      .positional("HANDLE", "Container id (or its beginning), address, or NETWORK/CONTAINER/INTERFACE", Command::text(*what));

  auto relabelled = std::make_shared<Relabel>();
  group
      .verb("label", "Change the labels of a container on this host; policies see them at once",
            "firnctl endpoint label 0123456789ab app=web tier-\n"
            "firnctl endpoint label web/0123456789ab/eth0 --annotation firn.io/ports=http=8080/tcp,dns=53/udp",
            [relabelled, &context] { return relabel(context, *relabelled); })
      .flag("--annotation", "Change annotations instead", relabelled->annotations)
      .positional("HANDLE", "Container id (or its beginning), address, or NETWORK/CONTAINER/INTERFACE",
                  Command::text(relabelled->what))
      .positionals("KEY=VALUE|KEY-", "Set it, or take it away", [relabelled](const std::string& text) -> Status {
        relabelled->changes.push_back(text);
        return {};
      });
}

}  // namespace firn::cli
