// firnctl init and join: what makes a machine a firn host, the first one of a cluster or one more. The node store's key `self` is
// written last: until it is there, a run that was killed is completed by the next one.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "cli/etcd_options.hpp"
#include "cli/ipam.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/claims.hpp"
#include "ipam/pools.hpp"
#include "ipam/mirror.hpp"
#include "ipam/identity.hpp"
#include "ipam/mirror.hpp"
#include "ipam/node_store.hpp"
#include "ipam/ownership.hpp"
#include "lib/base/file.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

struct Args {
  std::string name;
  std::vector<Address> addresses;
  std::optional<uint32_t> as_number;
  std::optional<Address> router_id;
  std::vector<model::Pool> pools;
  Labels labels;
  EtcdArgs etcd;
  bool join = false;
};

// An etcd that this host is not on yet.
struct NewCluster {
  cluster::Config config;
  kv::Position position;
};

std::string host_name() {
  char buffer[256] = {};
  if (::gethostname(buffer, sizeof buffer - 1) != 0) return {};
  std::string name = buffer;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name;
}

// The address this host would use towards the rest of the world. connect() of a datagram socket asks the kernel and sends nothing.
std::optional<Address> default_source(Family family) {
  const unique_fd fd(::socket(family == Family::v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return std::nullopt;
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (family == Family::v4) {
    auto* to = reinterpret_cast<sockaddr_in*>(&storage);
    to->sin_family = AF_INET;
    to->sin_port = htons(9);
    to->sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1, documentation
    size = sizeof *to;
  } else {
    auto* to = reinterpret_cast<sockaddr_in6*>(&storage);
    to->sin6_family = AF_INET6;
    to->sin6_port = htons(9);
    ::inet_pton(AF_INET6, "2001:db8::1", &to->sin6_addr);
    size = sizeof *to;
  }
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0) return std::nullopt;
  size = sizeof storage;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return std::nullopt;
  const auto address = family == Family::v4 ? Address::from_bytes(family, &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr)
                                            : Address::from_bytes(family, &reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr);
  if (address.is_loopback() || address.is_unspecified() || address.is_link_local()) return std::nullopt;
  return address;
}

Result<std::string> machine_id(const std::string& state_dir) {
  if (auto known = ipam::known_machine_id(state_dir); !known.empty()) return known;
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return errno_error("make a machine id");
  static constexpr char digits[] = "0123456789abcdef";
  std::string id;
  for (const unsigned char byte : bytes) id.append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
  if (auto written = write_file_atomic(ipam::own_machine_id_path(state_dir), id + "\n", 0600); !written) return std::move(written).error();
  return id;
}

Status check_args(Args& args) {
  if (args.name.empty()) args.name = host_name();
  if (auto good = model::check_object_name("node name", args.name); !good) {
    Error error = std::move(good).error();
    error.message += "; name the node with --name";
    return error;
  }
  if (args.router_id && (!args.router_id->is_v4() || args.router_id->is_unspecified())) {
    return make_error(Code::invalid,
                      "--router-id: " + args.router_id->to_string() + " must have the form of an IPv4 address and not be 0.0.0.0");
  }
  for (size_t i = 0; i < args.pools.size(); ++i) {
    if (auto good = ipam::validate(args.pools[i]); !good) return std::move(good).error().context("pool " + args.pools[i].name);
    for (size_t j = 0; j < i; ++j) {
      const model::Pool &a = args.pools[j], &b = args.pools[i];
      if (a.name == b.name) return make_error(Code::invalid, "pool " + a.name + " is given twice");
      if (a.cidr.overlaps(b.cidr)) {
        return make_error(Code::conflict, "pools " + a.name + " (" + a.cidr.to_string() + ") and " + b.name + " (" +
                                              b.cidr.to_string() + ") overlap");
      }
    }
  }
  return {};
}

// What of the host's setup is not as asked; only what was asked is compared. `unfinished`: what is not there yet will be made.
Result<std::vector<std::string>> differences(kv::Store& cluster, const std::string& self, const Args& args, bool named,
                                             bool unfinished) {
  std::vector<std::string> out;
  const auto differs = [&](const std::string& what, const std::string& is, const std::string& asked) {
    if (is != asked) out.push_back(what + ": " + is + ", asked for " + asked);
  };
  if (named) differs("name", self, args.name);
  auto node = get_record(cluster, model::keys::node(self), model::decode_node);
  if (!node) return std::move(node).error();
  auto settings = get_record(cluster, model::keys::bgp_settings, model::decode_bgp_settings);
  if (!settings) return std::move(settings).error();
  auto pools = list_records(cluster, model::keys::pools, model::decode_pool);
  if (!pools) return std::move(pools).error();
  if (!args.addresses.empty()) differs("addresses", *node ? join((*node)->addresses) : "none", join(args.addresses));
  if (!args.labels.empty()) differs("labels", *node ? labels_text((*node)->labels) : "none", labels_text(args.labels));
  if (args.as_number && (*settings || !unfinished))
    differs("AS number", *settings ? std::to_string((*settings)->as_number) : "not set", std::to_string(*args.as_number));
  if (args.router_id) {
    const bool set = *settings && (*settings)->router_id;
    if (set || !unfinished) differs("router id", set ? (*settings)->router_id->to_string() : "not set", args.router_id->to_string());
  }
  for (const model::Pool& asked : args.pools) {
    const auto text = [](const model::Pool& p) { return p.cidr.to_string() + " with blocks of /" + std::to_string(p.block_size); };
    const auto is = std::find_if(pools->begin(), pools->end(), [&](const model::Pool& p) { return p.name == asked.name; });
    if (is == pools->end() && unfinished) continue;
    differs("pool " + asked.name, is == pools->end() ? "not there" : text(*is), text(asked));
  }
  return out;
}

Status check_pools(kv::Store& store, const std::vector<model::Pool>& asked) {
  auto pools = list_records(store, model::keys::pools, model::decode_pool);
  if (!pools) return std::move(pools).error();
  for (const model::Pool& a : asked) {
    for (const model::Pool& b : *pools) {
      const bool same = a.name == b.name && a.cidr == b.cidr && a.block_size == b.block_size;
      if (!same && (a.name == b.name || a.cidr.overlaps(b.cidr))) {
        return make_error(Code::conflict, "pool " + a.name + " (" + a.cidr.to_string() + "): pool " + b.name + " (" +
                                              b.cidr.to_string() + ") is in the way");
      }
    }
  }
  return {};
}

Result<std::unique_ptr<kv::Store>> made(Result<std::unique_ptr<kv::Store>> store) {
  if (!store && store.error().is(Code::denied)) return make_error(Code::denied, store.error().message + "; run as root");
  return store;
}

// The name is this machine's to have: nobody else is, or was, that node.
Status check_name(kv::Transaction& tx, const model::Node& record, const model::Identity& self) {
  auto value = tx.get(model::keys::beat(self.name));
  if (!value) return std::move(value).error();
  const auto beat = value->has_value() ? model::decode_beat(**value) : Result<model::Beat>(model::Beat{});
  if (!beat) return damaged(model::keys::beat(self.name), beat.error());
  const bool alive = value->has_value();
  if (record.machine_id != self.machine_id) {
    return make_error(Code::exists, "another machine of the cluster has the name " + self.name + (alive ? ", and is alive" : "") +
                                        "; name this one with --name" +
                                        (alive ? "" : ", or give the name free with 'firnctl node remove " + self.name + "' on another host"));
  }
  if (!alive || beat->instance == self.instance) return {};
  return make_error(Code::exists, "a host with the name " + self.name + " and the id of this machine is alive (since " +
                                      time_text(beat->since) + "); if this machine is a copy of it, give this one another id (32 hex "
                                      "digits in STATE/machine-id) and name; if it is the same, wait a minute after the last one ended");
}

// This node's record, with a new generation, and the settings of BGP when it is the first. What is there stays: it may have been made
// by another node, or by this one before it lost its node store.
Status write_node(const Context& context, const Args& args, model::Identity& self, kv::Store& cluster, bool shared) {
  auto committed = cluster.transact([&](kv::Transaction& tx) -> Status {
    const auto known = tx.get(model::keys::node(args.name));
    if (!known) return known.error();
    model::Node record{args.name, self.machine_id, args.addresses, args.labels, std::nullopt, context.clock.unix_seconds(), 0, {}};
    if (*known) {
      auto stored = model::decode_node(**known);
      if (!stored) return std::move(stored).error().context("the record of node " + args.name);
      record = std::move(*stored);
      if (auto ours = shared ? check_name(tx, record, self) : Status(); !ours) return ours;
    }
    auto generation = ipam::next_generation(tx);
    if (!generation) return std::move(generation).error();
    record.generation = self.generation = *generation;
    tx.put(model::keys::node(args.name), model::encode(record));
    const auto stored = tx.get(model::keys::bgp_settings);
    if (!stored) return stored.error();
    model::BgpSettings settings;
    if (args.as_number) settings.as_number = *args.as_number;
    if (*stored) {
      auto decoded = model::decode_bgp_settings(**stored);
      if (!decoded) return std::move(decoded).error().context("BGP settings");
      settings = std::move(*decoded);
    }
    if (!settings.router_id) settings.router_id = args.router_id;
    std::string text = model::encode(settings);
    if (!*stored || **stored != text) tx.put(model::keys::bgp_settings, text);
    return {};
  });
  if (!committed) return std::move(committed).error();
  return {};
}

// The blocks of before, of a host that was removed: those that nobody has taken meanwhile are this host's again, before anything is
// leased from them.
Status settle(const Context& context, Stores& stores, const model::Identity& self) {
  auto blocks = ipam::blocks_here(*stores.node);
  if (!blocks) return std::move(blocks).error();
  const ipam::Settled settled = ipam::settle_blocks(*stores.cluster, self, *blocks, context.clock.unix_seconds());
  if (settled.refused) return *settled.refused;
  if (settled.lost.empty()) return {};
  auto holders = ipam::drop_blocks(*stores.node, settled.lost);
  if (!holders) return std::move(holders).error();
  context.err << "firnctl: " << settled.lost.size() << " block(s) of before are another node's now (" << settled.lost.front().owner
              << (settled.lost.size() > 1 ? " and others" : "") << ")";
  if (!holders->empty()) context.err << "; stop what still has addresses of them: " << ipam::holders_text(*holders);
  context.err << "\n";
  return {};
}

// Everything that init and join write. Each step may have been done by a run that was killed. `joined`: the etcd this host comes to.
Status make_host(const Context& context, const Args& args, const std::optional<NewCluster>& joined) {
  if (auto made = make_directories(context.state_dir, 0700); !made) {
    Error error = std::move(made).error();
    if (error.is(Code::denied) && ::geteuid() != 0) error.message += "; run as root";
    return error;
  }
  auto id = machine_id(context.state_dir);
  if (!id) return std::move(id).error();
  Stores stores;
  stores.name = args.name;
  auto on_etcd = context.cluster_config();
  if (!on_etcd) return std::move(on_etcd).error();
  const bool shared = joined || *on_etcd;
  if (joined) {
    auto connected = cluster::connect(joined->config);
    if (!connected) return std::move(connected).error();
    stores.cluster = std::move(connected->store);
  } else {
    kv::SqliteOptions durable;
    durable.path = context.cluster_path();
    auto cluster = shared ? context.cluster_store() : made(kv::open_sqlite(durable));
    if (!cluster) return std::move(cluster).error();
    stores.cluster = std::move(*cluster);
  }
  ipam::NodeStoreOptions opening;
  opening.path = context.node_path();
  auto node = made(ipam::open_node_store(opening));
  if (!node) return std::move(node).error();
  stores.node = std::move(*node);
  for (kv::Store* store : {stores.cluster.get(), stores.node.get()}) {
    if (auto good = check_pools(*store, args.pools); !good) return good;
  }
  auto instance = ipam::instance_of(context.state_dir);
  if (!instance) return std::move(instance).error();
  model::Identity self{args.name, std::move(*id), 0, std::move(*instance)};
  if (auto written = write_node(context, args, self, *stores.cluster, shared); !written) return written;
  for (const model::Pool& pool : args.pools) {
    auto created = ipam::create_pool(*stores.cluster, pool);
    if (!created && !created.error().is(Code::exists)) return created;
  }
  if (joined) {
    if (auto written = cluster::write_config(context.state_dir, joined->config, joined->position); !written) return written;
  }
  if (auto mirrored = context.mirror(stores); !mirrored) return mirrored;
  if (auto settled = settle(context, stores, self); !settled) return settled;
  auto named = stores.node->transact([&](kv::Transaction& tx) -> Status {
    ipam::put_identity(tx, self);
    return {};
  });
  if (!named) return std::move(named).error();
  return {};
}

// The cluster knows this host and its node store does not: an init that was killed, or a node store that was lost. With containers
// running, the second: a new store would give their addresses away again.
Status check_nothing_lost(const Context& context, const std::string& known_as) {
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  auto interfaces = live_interfaces(**kernel);
  if (!interfaces) return std::move(interfaces).error();
  if (interfaces->empty()) return {};
  return make_error(Code::conflict, context.cluster_place() + " knows this host as " + known_as + ", " + context.node_path() +
                                        " does not say so, and " + std::to_string(interfaces->size()) +
                                        " container interface(s) are here: the node store was lost; nothing was changed; "
                                        "'firnctl ipam reset' makes it anew from what is alive");
}

Error difference(const std::string& self, const std::vector<std::string>& differ) {
  return make_error(Code::conflict, "this host is initialised already, as " + self + ", and differs from what is asked: " +
                                        join(differ, "; ") +
                                        "; nothing was changed; use 'firnctl node set', 'firnctl bgp settings' and 'firnctl pool create'");
}

// What --etcd says against what this host is on. The store of an etcd that it is not on yet, and what is to be kept of that.
Result<std::unique_ptr<kv::Store>> open_asked(const Context& context, const Args& args, std::optional<NewCluster>& joined) {
  auto asked = config_of(args.etcd);
  if (!asked) return std::move(asked).error();
  if (args.join && !*asked) return make_error(Code::invalid, "--etcd: is required; the first host was made with 'firnctl init --etcd'");
  auto configured = context.cluster_config();
  if (!configured) return std::move(configured).error();
  if (*configured || !*asked) {
    if (*asked && !same_cluster(**configured, **asked)) {
      return make_error(Code::conflict, "this host is on " + join((*configured)->endpoints, ",") + " with prefix " + (*configured)->prefix +
                                            " already; nothing was changed; edit " + cluster::config_path(context.state_dir) +
                                            " when the endpoints have changed");
    }
    return context.cluster_if_any();
  }
  struct stat info {};
  if (::stat(context.cluster_path().c_str(), &info) == 0) {
    return make_error(Code::conflict, "this host has a cluster store of its own, " + context.cluster_path() +
                                          "; 'firnctl cluster migrate' with the same --etcd options moves it onto etcd");
  }
  auto connected = cluster::connect(**asked);
  if (!connected) return std::move(connected).error();
  auto nodes = list_records(*connected->store, model::keys::nodes, model::decode_node);
  if (!nodes) return std::move(nodes).error();
  if (nodes->empty() && args.join) {
    return make_error(Code::conflict, "the cluster with prefix " + (*asked)->prefix + " is not initialised; make the first host with "
                                                                                      "'firnctl init' and the same options");
  }
  if (auto busy = check_not_migrating(*connected->store); !busy) return std::move(busy).error();
  if (!nodes->empty() && !args.join) {
    auto own = own_name(context, *connected->store);
    if (!own) return std::move(own).error();
    if (own->empty()) {
      return make_error(Code::exists, "the cluster with prefix " + (*asked)->prefix + " is initialised already (by " + nodes->front().name +
                                          (nodes->size() > 1 ? " and others" : "") + "); 'firnctl join' with the same options adds this host");
    }
  }
  joined = NewCluster{std::move(**asked), connected->position};
  return std::move(connected->store);
}

// The host was a node, and the cluster does not say so any more: it may become one again, under its name.
Result<bool> was_removed(const Context& context, const std::unique_ptr<kv::Store>& cluster, const std::string& name) {
  if (!cluster || name.empty()) return false;
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto self = context.identity(**node);
  if (!self) return std::move(self).error();
  if (!*self || (*self)->machine_id.empty()) return false;
  const model::Identity whole = **self;
  (*self)->instance.clear();
  bool removed = false;
  auto known = cluster->transact([&](kv::Transaction& tx) -> Status {
    auto same = ipam::check_identity(tx, **self);
    removed = !same && same.error().is(Code::denied);
    if (removed || !same) return removed ? Status() : same;
    return ipam::check_identity(tx, whole);  // another host may be alive under the name
  });
  if (!known) return std::move(known).error();
  return removed;
}

Result<Exit> init(const Context& context, Args args) {
  const bool named = !args.name.empty();
  if (auto good = check_args(args); !good) return std::move(good).error();
  std::optional<NewCluster> joined;
  auto cluster = open_asked(context, args, joined);
  if (!cluster) return std::move(cluster).error();
  std::string self;
  if (*cluster) {
    if (auto node = context.node_store()) {
      auto name = context.node_name(**node);
      if (!name) return std::move(name).error();
      self = std::move(*name);
    }
  }
  if (joined && !self.empty()) {
    return make_error(Code::conflict, "this host is initialised already, as " + self + ", and its cluster store is gone: put " +
                                          context.cluster_path() + " or " + cluster::config_path(context.state_dir) + " back");
  }
  json::Writer w;
  w.begin_object().field("state_dir", context.state_dir);
  auto removed = was_removed(context, *cluster, self);
  if (!removed) return std::move(removed).error();
  if (*removed && named && args.name != self) return difference(self, {"name: " + self + ", asked for " + args.name});
  if (*removed) args.name = self;
  if (!self.empty() && !*removed) {
    auto differ = differences(**cluster, self, args, named, false);
    if (!differ) return std::move(differ).error();
    if (!differ->empty()) return difference(self, *differ);
    return context.done(self + " is initialised already (" + context.state_dir + "); nothing to do",
                        w.field("name", self).field("changed", false).end_object().text());
  }
  if (*cluster && !*removed) {
    auto known_as = own_name(context, **cluster);
    if (!known_as) return std::move(known_as).error();
    if (!known_as->empty()) {
      if (auto good = check_nothing_lost(context, *known_as); !good) return std::move(good).error();
      auto differ = differences(**cluster, *known_as, args, named, true);
      if (!differ) return std::move(differ).error();
      if (!differ->empty()) return difference(*known_as, *differ);
      args.name = *known_as;
      auto node = get_record(**cluster, model::keys::node(*known_as), model::decode_node);
      if (!node) return std::move(node).error();
      if (*node && args.addresses.empty()) args.addresses = (*node)->addresses;
      auto settings = get_record(**cluster, model::keys::bgp_settings, model::decode_bgp_settings);
      if (!settings) return std::move(settings).error();
      if (*settings) args.as_number = (*settings)->as_number;
    }
  }
  if (args.join) {
    auto settings = get_record(**cluster, model::keys::bgp_settings, model::decode_bgp_settings);
    if (!settings) return std::move(settings).error();
    if (*settings) args.as_number = (*settings)->as_number;
  }
  cluster->reset();
  if (args.addresses.empty()) {
    for (const Family family : {Family::v4, Family::v6}) {
      if (auto address = default_source(family)) args.addresses.push_back(*address);
    }
    if (args.addresses.empty()) {
      return make_error(Code::invalid, "this host has no default route to take its address from; name the address with --address");
    }
  }
  if (auto made = make_host(context, args, joined); !made) return std::move(made).error();
  const std::string next = args.pools.empty() && !args.join ? "; next: firnctl pool create NAME CIDR" : "";
  return context.done(args.name + (args.join ? " has joined (" : " is initialised (") + context.state_dir + ", address " + join(args.addresses) + ", AS " +
                          std::to_string(args.as_number.value_or(model::BgpSettings{}.as_number)) + ")" + next,
                      w.field("name", args.name).field("changed", true).end_object().text());
}

void add_node_options(Command& verb, Args& args) {
  verb.option("--name", "NODE", "Name of this node (default: the host name)", Command::text(args.name))
      .list("--address", "A", "How peers reach this host; may be repeated (default: source address of the default route)",
            take_addresses(args.addresses))
      .list("--label", "KEY=VALUE", "Label of this node, for pools with a node selector; may be repeated", take_label(args.labels));
}

}  // namespace

void add_init(Command& root, Context& context) {
  auto args = std::make_shared<Args>();
  Command verb = root.verb("init", "Make this machine a firn host, alone or as the first of a cluster",
                           "firnctl init\n"
                           "firnctl init --name node-a --address 192.0.2.11 --as 65001 --pool web=10.44.0.0/16\n"
                           "firnctl init --pool v4=10.44.0.0/16,block-size=24 --pool v6=fd00:44::/64 --label rack=r1\n"
                           "firnctl init --etcd https://etcd-1:2379,https://etcd-2:2379 --etcd-ca /etc/firn/etcd-ca.pem",
                           [args, &context] { return init(context, *args); });
  add_node_options(verb, *args);
  verb.option("--as", "N", "AS number of this host and of every node without its own (default: 64512)", take_as_number(args->as_number))
      .option("--router-id", "A", "BGP router id (default: the node's first IPv4 address)", take_address(args->router_id))
      .list("--pool", "NAME=CIDR[,block-size=N]", "Make a pool of addresses; may be repeated",
            [args](const std::string& text) -> Status {
              auto pool = parse_pool(text);
              if (!pool) return std::move(pool).error();
              args->pools.push_back(std::move(*pool));
              return {};
            });
  add_etcd_options(verb, args->etcd);
}

void add_join(Command& root, Context& context) {
  auto args = std::make_shared<Args>();
  args->join = true;
  Command verb = root.verb("join", "Make this machine one more host of a cluster on etcd",
                           "firnctl join --etcd https://etcd-1:2379,https://etcd-2:2379 --etcd-ca /etc/firn/etcd-ca.pem\n"
                           "firnctl join --name node-b --etcd http://192.0.2.5:2379 --label rack=r2",
                           [args, &context] { return init(context, *args); });
  add_node_options(verb, *args);
  add_etcd_options(verb, args->etcd);
}

}  // namespace firn::cli
