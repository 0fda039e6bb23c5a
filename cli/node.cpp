// firnctl node: the hosts of the cluster.
#include <algorithm>

#include "cli/kind.hpp"
#include "cli/node_drain.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/nodes.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

std::string as_text(const model::Node& node) { return node.as_number ? std::to_string(*node.as_number) : "default"; }

Status validate(const model::Node& node) {
  const auto at = [](std::string_view field, const Status& why) {
    return make_error(Code::invalid, "/" + std::string(field) + ": " + why.error().message);
  };
  if (node.addresses.empty())
    return make_error(Code::invalid, "/addresses: peers must be able to reach the node at one address at least");
  if (node.as_number) {
    if (auto good = check_as_number(*node.as_number); !good) return at("as_number", good);
  }
  for (const auto& [key, value] : node.labels) {
    if (auto good = check_label(key, value); !good) return at("labels", good);
  }
  return {};
}

std::vector<std::string> row(const model::Node& node) {
  return {join(node.addresses), as_text(node), labels_text(node.labels), time_text(node.joined_at)};
}

// With what the cluster knows of it: a record of firn is an object, and these are more fields of it.
std::string with_state(const model::Node& node, const ipam::NodeState& state) {
  json::Writer w;
  w.begin_object().field("alive", state.beat.has_value());
  if (state.beat) w.field("alive_since", state.beat->since);
  if (state.lost_at) w.field("last_seen", *state.lost_at);
  if (state.promise && state.promise->generation == node.generation) w.field("promised_grace", state.promise->grace);
  w.key("blocks").begin_array();
  for (const model::Claim& claim : state.claims) {
    w.begin_object()
        .field("prefix", claim.prefix.to_string())
        .field("pool", claim.pool)
        .field("use", to_string(claim.use))
        .end_object();
  }
  const std::string more = std::move(w.end_array().end_object()).take();
  const std::string record = model::encode(node);
  return record.substr(0, record.size() - 1) + "," + more.substr(1);
}

// A node that never had a beat, as on a host alone, is neither.
std::string alive_text(const ipam::NodeState& state) {
  if (state.beat) return "yes";
  return state.lost_at ? "no, since " + time_text(*state.lost_at) : "-";
}

Result<Exit> list(const Context& context) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto states = ipam::node_states(**cluster);
  if (!states) return std::move(states).error();
  auto nodes = list_records(**cluster, model::keys::nodes, model::decode_node);
  if (!nodes) return std::move(nodes).error();
  const Kind kind = node_kind();
  if (context.output == Output::yaml) return print_yaml(context, kind, *nodes);
  std::vector<std::string> heads = kind.table_heads();
  heads.insert(heads.end(), {"ALIVE", "BLOCKS"});
  Table table(heads);
  json::Writer w;
  w.begin_array();
  for (const model::Node& node : *nodes) {
    const ipam::NodeState& state = (*states)[node.name];
    std::vector<std::string> cells = row(node);
    cells.insert(cells.end(), {alive_text(state), std::to_string(state.claims.size())});
    table.add(node.name, cells);
    w.raw(with_state(node, state));
  }
  return context.print(w.end_array().text(), table, "no nodes; make this host one with: firnctl init");
}

Result<model::Node> find(Stores& stores, const std::string& name) {
  const std::string& wanted = name.empty() ? stores.name : name;
  auto node = get_record(*stores.cluster, model::keys::node(wanted), model::decode_node);
  if (!node) return std::move(node).error();
  if (!*node) return make_error(Code::not_found, "there is no node " + wanted + "; 'firnctl node list' shows them");
  return std::move(**node);
}

Result<Exit> show(const Context& context, const std::string& name) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto node = find(*stores, name);
  if (!node) return std::move(node).error();
  if (context.output == Output::yaml) return print_yaml(context, node_kind(), std::vector{*node});
  auto states = ipam::node_states(*stores->cluster);
  if (!states) return std::move(states).error();
  const ipam::NodeState& state = (*states)[node->name];
  auto moved = drain_report(*stores->cluster, *node);
  if (!moved) return std::move(moved).error();
  Sheet sheet;
  sheet.line("Name", node->name).line("This host", node->name == stores->name ? "yes" : "no");
  sheet.line("Addresses", join(node->addresses)).line("AS", as_text(*node)).line("Labels", labels_text(node->labels));
  if (node->drain)
    sheet.line("Drained", "since " + time_text(node->drain->since) + ", grace " + std::to_string(node->drain->grace) + " s");
  if (*moved) sheet.line("Neighbours", drain_text(**moved));
  sheet.line("Machine id", node->machine_id).line("Joined", time_text(node->joined_at));
  sheet.line("Generation", std::to_string(node->generation));
  sheet.line("Alive", alive_text(state) + (state.beat ? ", since " + time_text(state.beat->since) : ""));
  if (state.promise && state.promise->generation == node->generation)
    sheet.line("Promise", "leases nothing from " + std::to_string(state.promise->grace) + " s after its last beat on");
  for (const model::Claim& claim : state.claims) sheet.line("Block", claim.prefix.to_string() + " of pool " + claim.pool);
  return context.print(with_state(*node, state), sheet.text());
}

struct Change {
  std::string name;
  std::string as_number;  // "", a number, or "default"
  std::vector<Address> addresses;
  std::vector<std::string> labels;  // "key=value", or "key-" to remove
};

Status apply(const Change& change, model::Node& node) {
  if (change.as_number == "default") {
    node.as_number.reset();
  } else if (!change.as_number.empty()) {
    auto number = parse_as_number(change.as_number);
    if (!number) return std::move(number).error().context("--as");
    node.as_number = *number;
  }
  if (!change.addresses.empty()) node.addresses = change.addresses;
  for (const std::string& text : change.labels) {
    if (auto done = change_label(node.labels, text); !done)
      return std::move(done).error().context(done.error().is(Code::not_found) ? "node " + node.name : "--label");
  }
  return {};
}

Result<Exit> set(const Context& context, const Change& change) {
  if (change.as_number.empty() && change.addresses.empty() && change.labels.empty()) {
    return make_error(Code::invalid, "nothing to set; give --as, --address or --label");
  }
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto node = find(*stores, change.name);
  if (!node) return std::move(node).error();
  const model::Node before = *node;
  if (auto applied = apply(change, *node); !applied) return std::move(applied).error();
  if (auto good = validate(*node); !good) return as_option(std::move(good).error());
  if (*node == before) return context.done("node " + node->name + " is so already", model::encode(*node));
  if (auto put = put_record(*stores->cluster, model::keys::node(node->name), model::encode(*node)); !put)
    return std::move(put).error();
  return context.done("node " + node->name + " changed", model::encode(*node));
}

struct Removal {
  std::string name;
  bool force = false;
};

Result<Exit> remove(const Context& context, const Removal& removal) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto freed = ipam::remove_node(*stores->cluster, removal.name, removal.force);
  if (!freed && freed.error().is(Code::conflict)) {
    freed.error().message +=
        "; --force removes it all the same: until it notices, it leases addresses of blocks that other hosts may have by then, "
        "and two containers may get one address";
  }
  if (!freed) return std::move(freed).error();
  json::Writer w;
  w.begin_object().field("name", removal.name).field("blocks", static_cast<uint64_t>(*freed)).end_object();
  return context.done("node " + removal.name + " is removed; " + std::to_string(*freed) + " block(s) are free", w.text());
}

}  // namespace

Kind node_kind() {
  Description<model::Node> d;
  d.kind.name = "Node";
  d.kind.name_field = "name";
  d.kind.metadata = {"labels"};
  d.kind.status = {"machine_id", "joined_at", "generation", "drain"};
  d.kind.keys = model::keys::nodes;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    if (auto good = model::check_object_name("node name", name); !good) return std::move(good).error();
    return model::keys::node(name);
  };
  d.kind.made_by = "'firnctl init' on that host";
  d.kind.kept = "a node is not deleted like this";
  d.kind.heads = {"ADDRESSES", "AS", "LABELS", "JOINED"};
  d.name = [](const model::Node& node) { return node.name; };
  d.decode = model::decode_node;
  d.row = row;
  d.validate = validate;
  return erased(std::move(d));
}

void add_node(Command& root, Context& context) {
  Command node = root.group("node", "Hosts of the cluster");
  node.verb("list", "List the nodes", "firnctl node list\nfirnctl node list -o json", [&context] { return list(context); });

  auto name = std::make_shared<std::string>();
  node.verb("show", "Show one node (default: this host)", "firnctl node show\nfirnctl node show node-b",
            [name, &context] { return show(context, *name); })
      .positional("NODE", "Its name", Command::text(*name), Need::optional);

  add_node_drain(node, context);

  auto change = std::make_shared<Change>();
  node.verb("set", "Change a node (default: this host)",
            "firnctl node set --as 65002\nfirnctl node set --label rack=r2 --label old-\nfirnctl node set node-b --address "
            "192.0.2.12",
            [change, &context] { return set(context, *change); })
      .positional("NODE", "Its name", Command::text(change->name), Need::optional)
      .option("--as", "N|default", "AS number of this node alone; default: the one of 'firnctl bgp settings'",
              Command::text(change->as_number))
      .list("--address", "A", "How peers reach the node; replaces all its addresses; may be repeated",
            take_addresses(change->addresses))
      .list("--label", "KEY=VALUE|KEY-", "Set a label, or remove it; may be repeated", [change](const std::string& text) -> Status {
        change->labels.push_back(text);
        return {};
      });

  auto removal = std::make_shared<Removal>();
  node.verb("remove", "Remove a node that does not come back; its blocks are free then",
            "firnctl node remove node-c\nfirnctl node remove node-c --force",
            [removal, &context] { return remove(context, *removal); })
      .positional("NODE", "Its name", Command::text(removal->name))
      .flag("--force", "Also while it is alive: its containers may share addresses with others then", removal->force);
}

}  // namespace firn::cli
