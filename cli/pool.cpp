// firnctl pool: where addresses come from.
#include "cli/pool.hpp"

#include <algorithm>

#include "cli/kind.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/pools.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

// Pools of the cluster and those that CNI configurations with `ipam.subnet` made on this host alone, by name.
Result<std::vector<model::Pool>> all_pools(kv::Store* cluster, kv::Store* node) {
  std::vector<model::Pool> out;
  if (cluster != nullptr) {
    auto pools = list_records(*cluster, model::keys::pools, model::decode_pool);
    if (!pools) return std::move(pools).error();
    out = std::move(*pools);
  }
  if (node != nullptr) {
    auto pools = list_records(*node, model::keys::pools, model::decode_pool);
    if (!pools) return std::move(pools).error();
    for (model::Pool& pool : *pools) {
      if (pool.node_only) out.push_back(std::move(pool));
    }
  }
  std::sort(out.begin(), out.end(), [](const model::Pool& a, const model::Pool& b) { return a.name < b.name; });
  return out;
}

struct Opened {
  std::unique_ptr<kv::Store> node, cluster;
};

// Whatever of the two stores this host has.
Result<Opened> open(const Context& context) {
  Opened out;
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  out.cluster = std::move(*cluster);
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  out.node = std::move(*node);
  return out;
}

Result<model::Pool> find(const std::vector<model::Pool>& pools, const std::string& name) {
  const auto found = std::find_if(pools.begin(), pools.end(), [&](const model::Pool& pool) { return pool.name == name; });
  if (found == pools.end()) return make_error(Code::not_found, "there is no pool " + name + "; 'firnctl pool list' shows them");
  return *found;
}

std::string scope(const model::Pool& pool) { return pool.node_only ? "this host" : "cluster"; }
std::string state(const model::Pool& pool) {
  std::string out = pool.disabled ? "disabled" : "enabled";
  if (pool.shrinking_to) out += ", shrinking to " + pool.shrinking_to->to_string();
  if (!pool.moving_from.empty()) out += ", taking over " + join(pool.moving_from, " ");
  return out;
}

// How its blocks are reached from other hosts, and what else is set: "vxlan cross-subnet", "bgp", "direct no-advertise".
std::string routing(const model::Pool& pool) {
  std::string out(to_string(pool.mode));
  if (pool.cross_subnet) out += " cross-subnet";
  if (!pool.advertise) out += " no-advertise";
  if (pool.strict) out += " strict";
  if (pool.status_when_low) out += " status-when-low";
  if (pool.nat) out += " nat";
  return out;
}

// Settings that create and set share; what is not given stays as it is.
struct Settings {
  std::optional<model::RoutingMode> mode;
  std::optional<bool> cross_subnet, advertise, strict, status_when_low, nat;
  std::optional<Labels> selector;
  std::optional<std::vector<Prefix>> nat_exclude, extra_sources;
  std::optional<std::optional<AddressRange>> nat_source;
  bool empty() const {
    return !mode && !cross_subnet && !advertise && !strict && !status_when_low && !selector && !nat && !nat_exclude &&
           !nat_source && !extra_sources;
  }
  void apply_to(model::Pool& pool) const {
    pool.mode = mode.value_or(pool.mode);
    pool.cross_subnet = cross_subnet.value_or(pool.cross_subnet);
    pool.advertise = advertise.value_or(pool.advertise);
    pool.strict = strict.value_or(pool.strict);
    pool.status_when_low = status_when_low.value_or(pool.status_when_low);
    if (selector) pool.node_selector = *selector;
    pool.nat = nat.value_or(pool.nat);
    // Without NAT its details say nothing.
    if (nat == false) pool.nat_exclude.clear(), pool.nat_source.reset();
    if (nat_exclude) pool.nat_exclude = *nat_exclude;
    if (nat_source) pool.nat_source = *nat_source;
    if (extra_sources) pool.extra_sources = *extra_sources;
  }
};

std::string prefixes_text(const std::vector<Prefix>& prefixes) {
  std::string out;
  for (const Prefix& prefix : prefixes) out += (out.empty() ? "" : ", ") + prefix.to_string();
  return out;
}

// "A/N,B/M"; "": none.
Result<std::vector<Prefix>> parse_prefixes(std::string_view text) {
  std::vector<Prefix> out;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    auto prefix = Prefix::parse(text.substr(0, comma));
    if (!prefix) return std::move(prefix).error();
    out.push_back(*prefix);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return out;
}

Status read_prefixes(const std::string& text, std::optional<std::vector<Prefix>>& out) {
  auto prefixes = parse_prefixes(text);
  if (!prefixes) return std::move(prefixes).error();
  out = *std::move(prefixes);
  return {};
}

void take_nat(Command& verb, Settings& settings) {
  verb.toggle("nat", "Its containers leave the cluster with their host's address", settings.nat)
      .option("--nat-exclude", "CIDR,...", "Destinations that see the container's own address all the same; '' for none",
              [&settings](const std::string& text) { return read_prefixes(text, settings.nat_exclude); })
      .option("--extra-sources", "CIDR,...", "Further addresses that its containers may ask to send from; '' for none",
              [&settings](const std::string& text) { return read_prefixes(text, settings.extra_sources); })
      .option("--nat-source", "ADDRESS[-ADDRESS]", "Addresses of the host to leave with; '' for that of the way out",
              [&settings](const std::string& text) -> Status {
                settings.nat_source.emplace();
                if (text.empty()) return {};
                auto range = AddressRange::parse(text);
                if (!range) return std::move(range).error();
                *settings.nat_source = *range;
                return {};
              });
}

void take_settings(Command& verb, Settings& settings) {
  verb.option("--mode", "MODE", "How other hosts reach its blocks: bgp (default), direct (one layer 2), vxlan",
              [&settings](const std::string& text) -> Status {
                auto mode = model::parse_routing_mode(text);
                if (!mode) return std::move(mode).error();
                settings.mode = *mode;
                return {};
              })
      .toggle("cross-subnet", "vxlan: encapsulate only between hosts that share no layer 2", settings.cross_subnet)
      .toggle("advertise", "Announce its blocks over BGP (default)", settings.advertise)
      .toggle("strict", "Hosts lease from their own blocks alone", settings.strict)
      .toggle("status-when-low", "CNI STATUS fails (51) on hosts without a spare block of it that can claim none",
              settings.status_when_low)
      .option("--node-selector", "K=V,...", "Only nodes with these labels take new blocks; '' for every node",
              take_selector(settings.selector));
  take_nat(verb, settings);
}

// The pools of this host's CNI configurations are not in the cluster store; they want their addresses all the same.
Status check_subnets_here(kv::Store& node, const model::Pool& pool) {
  auto here = all_pools(nullptr, &node);
  if (!here) return std::move(here).error();
  for (const model::Pool& other : *here) {
    if (!other.cidr.overlaps(pool.cidr)) continue;
    return make_error(Code::conflict, "pool " + pool.name + " (" + pool.cidr.to_string() + ") overlaps with " + other.name +
                                          ", which a CNI configuration with ipam.subnet made on this host; 'firnctl pool delete " +
                                          other.name + "' removes it once its containers are gone");
  }
  return {};
}

std::vector<std::string> row(const model::Pool& pool) {
  return {pool.cidr.to_string(), "/" + std::to_string(pool.block_size), routing(pool), scope(pool),
          state(pool),           labels_text(pool.node_selector)};
}

// The pools of the cluster: those of CNI configurations are not documents.
std::vector<model::Pool> of_cluster(std::vector<model::Pool> pools) {
  std::erase_if(pools, [](const model::Pool& pool) { return pool.node_only; });
  return pools;
}

Result<Exit> create(const Context& context, model::Pool pool, const std::optional<int>& block_size, const Settings& settings) {
  pool.block_size = block_size.value_or(model::default_block_size(pool.cidr));
  settings.apply_to(pool);
  if (auto good = ipam::validate(pool); !good) return as_option(std::move(good).error());
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  if (auto apart = check_subnets_here(*stores->node, pool); !apart) return std::move(apart).error();
  if (auto created = ipam::create_pool(*stores->cluster, pool); !created) return std::move(created).error();
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  return context.done(
      "pool " + pool.name + " created (" + pool.cidr.to_string() + ", blocks of /" + std::to_string(pool.block_size) + ")",
      model::encode(pool));
}

Result<Exit> list(const Context& context) {
  auto opened = open(context);
  if (!opened) return std::move(opened).error();
  auto pools = all_pools(opened->cluster.get(), opened->node.get());
  if (!pools) return std::move(pools).error();
  const Kind kind = pool_kind();
  if (context.output == Output::yaml) return print_yaml(context, kind, of_cluster(std::move(*pools)));
  Table table(kind.table_heads());
  for (const model::Pool& pool : *pools) table.add(pool.name, row(pool));
  return context.print(encode_all(*pools), table, "no pools; make one with: firnctl pool create NAME CIDR");
}

Result<Exit> show(const Context& context, const std::string& name) {
  auto opened = open(context);
  if (!opened) return std::move(opened).error();
  auto pools = all_pools(opened->cluster.get(), opened->node.get());
  if (!pools) return std::move(pools).error();
  auto pool = find(*pools, name);
  if (!pool) return std::move(pool).error();
  if (context.output == Output::yaml && !pool->node_only) return print_yaml(context, pool_kind(), std::vector{*pool});
  std::vector<model::Claim> claims;
  if (opened->cluster) {
    auto listed = list_records(*opened->cluster, model::keys::claims_of(name), model::decode_claim);
    if (!listed) return std::move(listed).error();
    claims = std::move(*listed);
  }
  auto allocator = context.allocator(*opened->node);
  if (!allocator) return std::move(allocator).error();
  auto usage = allocator->usage();
  if (!usage) return std::move(usage).error();

  json::Writer w;
  w.begin_object().key("pool").raw(model::encode(*pool)).key("claims").raw(encode_all(claims));
  Sheet sheet;
  sheet.line("Name", pool->name).line("CIDR", pool->cidr.to_string()).line("Block size", "/" + std::to_string(pool->block_size));
  sheet.line("Mode", routing(*pool));
  if (!pool->nat_exclude.empty()) sheet.line("No NAT towards", prefixes_text(pool->nat_exclude));
  if (pool->nat_source) sheet.line("NAT source", pool->nat_source->to_string());
  if (!pool->extra_sources.empty()) sheet.line("Extra sources", prefixes_text(pool->extra_sources));
  sheet.line("Scope", scope(*pool)).line("State", state(*pool)).line("Node selector", labels_text(pool->node_selector));
  for (const ipam::PoolUse& use : *usage) {
    if (use.pool.name != name) continue;
    w.field("blocks", use.blocks).field("capacity", use.capacity).field("used", use.used).field("cooling", use.cooling);
    sheet.line("Blocks here", std::to_string(use.blocks));
    sheet.line("Addresses here", std::to_string(use.used) + " used of " + std::to_string(use.capacity) + ", " +
                                     std::to_string(use.cooling) + " cooling");
  }
  std::string text = sheet.text();
  if (!claims.empty()) {
    Table table({"BLOCK", "NODE", "USE", "CLAIMED"});
    for (const model::Claim& claim : claims) {
      table.add({claim.prefix.to_string(), claim.node, std::string(to_string(claim.use)), time_text(claim.claimed_at)});
    }
    text += "\n" + table.text();
  }
  return context.print(w.end_object().text(), text);
}

struct Change {
  std::string name;
  bool disable = false, enable = false;
  Settings settings;
};

Result<Exit> set(const Context& context, const Change& change) {
  if (change.disable && change.enable) return make_error(Code::invalid, "--disabled and --enabled exclude each other");
  if (!change.disable && !change.enable && change.settings.empty()) {
    return make_error(Code::invalid, "nothing to set; --help shows what can be");
  }
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto pools = all_pools(stores->cluster.get(), stores->node.get());
  if (!pools) return std::move(pools).error();
  auto pool = find(*pools, change.name);
  if (!pool) return std::move(pool).error();
  if (pool->node_only) {
    return make_error(Code::conflict, "pool " + pool->name + " belongs to a CNI configuration with ipam.subnet; change it there");
  }
  if (change.disable || change.enable) pool->disabled = change.disable;
  change.settings.apply_to(*pool);
  if (auto updated = ipam::update_pool(*stores->cluster, *pool); !updated) return std::move(updated).error();
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  return context.done("pool " + pool->name + " changed", model::encode(*pool));
}

Result<Exit> remove(const Context& context, const std::string& name) {
  auto opened = open(context);
  if (!opened) return std::move(opened).error();
  auto pools = all_pools(opened->cluster.get(), opened->node.get());
  if (!pools) return std::move(pools).error();
  auto pool = find(*pools, name);
  if (!pool) return std::move(pool).error();
  if (pool->node_only) {
    // Such a pool lives in the node store alone, also on a host without cluster state: the other store is not looked at.
    if (auto deleted = ipam::delete_pool(*opened->node, *opened->node, name, {}); !deleted) return std::move(deleted).error();
    return context.done("pool " + name + " deleted", model::encode(*pool));
  }
  *opened = {};
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  if (auto deleted = ipam::delete_pool(*stores->cluster, *stores->node, name, stores->name); !deleted)
    return std::move(deleted).error();
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  return context.done("pool " + name + " deleted", model::encode(*pool));
}

}  // namespace

Kind pool_kind() {
  Description<model::Pool> d;
  d.kind.name = "Pool";
  d.kind.name_field = "name";
  d.kind.status = {"node_only", "overhead", "shrinking_to", "moving_from"};
  d.kind.keys = model::keys::pools;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    if (auto good = model::check_object_name("pool name", name); !good) return std::move(good).error();
    return model::keys::pool(name);
  };
  d.kind.heads = {"CIDR", "BLOCK", "MODE", "SCOPE", "STATE", "SELECTOR"};
  d.kind.remove = [](const Context&, Stores& stores, const std::string& name) {
    return ipam::delete_pool(*stores.cluster, *stores.node, name, stores.name);
  };
  d.name = [](const model::Pool& pool) { return pool.name; };
  d.decode = model::decode_pool;
  d.row = row;
  d.validate = ipam::validate;
  d.may_become = ipam::may_become;
  d.fits = [](kv::Transaction& tx, kv::Store& node, const model::Pool& pool) -> Status {
    auto pools = list_records(tx, model::keys::pools, model::decode_pool);
    if (!pools) return std::move(pools).error();
    if (auto apart = ipam::check_overlap(*pools, pool); !apart) return apart;
    return check_subnets_here(node, pool);
  };
  return erased(std::move(d));
}

void add_pool(Command& root, Context& context) {
  Command group = root.group("pool", "Pools of addresses");

  struct Create {
    model::Pool pool;
    std::optional<int> block_size;
    Settings settings;
  };
  auto args = std::make_shared<Create>();
  Command made = group.verb("create", "Make a pool",
                            "firnctl pool create web 10.44.0.0/16\n"
                            "firnctl pool create web6 fd00:44::/64 --block-size 120\n"
                            "firnctl pool create edge 192.0.2.0/24 --node-selector rack=r1,zone=a\n"
                            "firnctl pool create far 10.45.0.0/16 --mode vxlan --cross-subnet\n"
                            "firnctl pool create out 10.46.0.0/16 --nat --nat-exclude 172.16.0.0/12",
                            [args, &context] { return create(context, args->pool, args->block_size, args->settings); });
  made.positional("NAME", "Name of the pool", Command::text(args->pool.name))
      .positional("CIDR", "Its addresses, IPv4 or IPv6", take_prefix(args->pool.cidr))
      .option("--block-size", "N", "Prefix length of the blocks that hosts claim (default: 26, IPv6 122)",
              Command::number(args->block_size, 0, 128))
      .flag("--disabled", "Give no addresses out yet", args->pool.disabled);
  take_settings(made, args->settings);

  group.verb("list", "List the pools", "firnctl pool list\nfirnctl pool list -o json", [&context] { return list(context); });

  auto shown = std::make_shared<std::string>();
  group
      .verb("show", "Show one pool, its blocks and its use on this host", "firnctl pool show web",
            [shown, &context] { return show(context, *shown); })
      .positional("POOL", "Name of the pool", Command::text(*shown));

  auto change = std::make_shared<Change>();
  Command changed =
      group.verb("set", "Change a pool; live addresses never move",
                 "firnctl pool set web --disabled\nfirnctl pool set web --enabled\nfirnctl pool set web --node-selector rack=r1\n"
                 "firnctl pool set web --node-selector ''\nfirnctl pool set web --mode vxlan --no-advertise",
                 [change, &context] { return set(context, *change); });
  changed.positional("POOL", "Name of the pool", Command::text(change->name))
      .flag("--disabled", "Give no new addresses out; live ones stay", change->disable)
      .flag("--enabled", "Give addresses out again", change->enable);
  take_settings(changed, change->settings);

  auto removed = std::make_shared<std::string>();
  group
      .verb("delete", "Delete a pool that nobody uses; otherwise the holders are named", "firnctl pool delete web",
            [removed, &context] { return remove(context, *removed); })
      .positional("POOL", "Name of the pool", Command::text(*removed));

  add_pool_reshape(group, context);
}

}  // namespace firn::cli
