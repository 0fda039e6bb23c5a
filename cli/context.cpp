#include "cli/context.hpp"

#include <unistd.h>

#include <ostream>

#include "ipam/identity.hpp"
#include "ipam/mirror.hpp"
#include "ipam/node_store.hpp"
#include "lib/control/control.hpp"
#include "lib/model/keys.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::cli {

namespace {

constexpr std::chrono::milliseconds daemon_deadline{5000};

Error advise(Error error) {
  if (error.is(Code::denied) && ::geteuid() != 0) error.message += "; run as root";
  if (error.is(Code::invalid) || error.is(Code::not_found)) error.code = Code::io;
  return error;
}

}  // namespace

Result<std::unique_ptr<kv::Store>> Context::node_store() const {
  ipam::NodeStoreOptions opening;
  opening.path = node_path();
  opening.create = false;
  auto store = ipam::open_node_store(opening);
  if (store) return store;
  if (store.error().is(Code::not_found)) {
    return make_error(Code::io,
                      "there is no firn state in " + state_dir +
                          "; run 'firnctl init', or name the directory with --state-dir, if containers were attached with "
                          "another stateDir");
  }
  Error error = advise(std::move(store).error());
  // The engine knows no more than to move a damaged file away; alone, that would lose every lease.
  if (error.message.find("move it away") != std::string::npos) {
    error.message += "; for this store 'firnctl ipam reset' does that, and keeps the addresses of the containers that run";
  }
  return error;
}

Result<std::unique_ptr<kv::Store>> Context::cluster_store() const {
  auto store = cluster_if_any();
  if (store && !*store)
    return make_error(Code::io, "this host has no cluster state in " + state_dir + "; run 'firnctl init' first");
  return store;
}

Result<std::unique_ptr<kv::Store>> Context::cluster_if_any() const {
  auto store = cluster::open_cluster(state_dir);
  if (store) return store;
  if (store.error().is(Code::not_found)) return std::unique_ptr<kv::Store>();
  return advise(std::move(store).error());
}

std::string Context::cluster_place() const {
  const auto config = cluster_config();
  return config && *config ? "the etcd of " + cluster::config_path(state_dir) : cluster_path();
}

Result<Stores> Context::stores() const {
  Stores opened;
  auto cluster = cluster_store();
  if (!cluster) return std::move(cluster).error();
  opened.cluster = std::move(*cluster);
  auto node = node_store();
  if (!node) return std::move(node).error();
  opened.node = std::move(*node);
  auto name = node_name(*opened.node);
  if (!name) return std::move(name).error();
  if (name->empty()) return make_error(Code::io, "'firnctl init' was not finished on this host; run it again");
  opened.name = std::move(*name);
  return opened;
}

Result<std::string> Context::node_name(kv::Store& node) const {
  auto entry = node.get(model::keys::node_identity);
  if (!entry) return std::move(entry).error();
  return entry->has_value() ? (*entry)->value : std::string();
}

Result<std::optional<model::Identity>> Context::identity(kv::Store& node) const {
  auto config = cluster_config();
  if (!config) return std::move(config).error();
  return ipam::host_identity(node, state_dir, config->has_value());
}

Result<ipam::Allocator> Context::allocator(kv::Store& node) const {
  ipam::Options options;
  auto boot = ipam::current_boot_id();
  if (!boot) return std::move(boot).error();
  options.boot_id = std::move(*boot);
  return ipam::Allocator(node, clock, std::move(options));
}

Status Context::mirror(Stores& stores) const {
  auto changed = ipam::mirror(*stores.cluster, *stores.node, stores.name);
  if (!changed) return std::move(changed).error().context("the change is made, but this host's copy of it is not");
  return {};
}

Result<json::Document> Context::ask(std::string_view op) const {
  json::Writer request;
  request.begin_object().field("op", op).end_object();
  auto reply = control::call(socket, request.text(), daemon_deadline);
  if (!reply) return std::move(reply).error();
  auto document = json::Document::parse(*reply);
  if (!document) return make_error(Code::io, "the daemon on " + socket + " sent no JSON: " + document.error().message);
  if (auto good = document->root()["ok"].boolean_or(true); good && !*good) {
    auto why = document->root()["error"].string();
    return make_error(Code::io, "the daemon on " + socket + " refused: " + (why ? printable(*why) : "no reason given"));
  }
  return document;
}

Exit Context::no_daemon(const Error& error) const {
  err << "firnctl: " << error.message << "; start it with 'systemctl start firn-routed', or name its socket with --socket\n";
  return Exit::no_daemon;
}

Exit Context::print(std::string_view json_text, std::string_view table_text) const {
  switch (output) {
    case Output::table: out << table_text; break;
    case Output::json: out << json::pretty(json_text) << "\n"; break;
    case Output::yaml:
      auto document = json::Document::parse(json_text);
      if (!document) {
        err << "firnctl: what should be shown is no JSON: " << document.error().message << "\n";
        return Exit::failure;
      }
      out << yaml::write(document->root());
      break;
  }
  return Exit::ok;
}

Exit Context::print(std::string_view json_text, const Table& table, std::string_view when_empty) const {
  if (output == Output::table && table.empty()) {
    err << when_empty << "\n";
    return Exit::ok;
  }
  return print(json_text, table.text());
}

Exit Context::done(std::string_view sentence, std::string_view json_text) const {
  return print(json_text, std::string(sentence) + "\n");
}

Error damaged(std::string_view key, const Error& why) {
  return make_error(Code::io, "the record " + std::string(key) + " cannot be read: " + why.message);
}

Status put_record(kv::Store& store, const std::string& key, const std::string& value) {
  auto committed = store.transact([&](kv::Transaction& tx) -> Status {
    tx.put(key, value);
    return {};
  });
  if (!committed) return std::move(committed).error();
  return {};
}

}  // namespace firn::cli
