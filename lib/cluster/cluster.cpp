#include "lib/cluster/cluster.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>

#include "lib/base/file.hpp"
#include "lib/cluster/seen.hpp"
#include "lib/json/json.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"

namespace firn::cluster {
namespace {

constexpr size_t most_endpoints = 32;

Result<Config> decode(std::string_view text) {
  auto document = json::Document::parse(text);
  if (!document) return std::move(document).error();
  const json::Value root = document->root();
  auto version = root["v"].integer();
  if (!version) return std::move(version).error();
  if (*version != 1) return make_error(Code::invalid, "version " + std::to_string(*version) + " is of a newer firn");
  Config config;
  auto endpoints = root["endpoints"].strings_or_empty();
  if (!endpoints) return std::move(endpoints).error();
  config.endpoints = std::move(*endpoints);
  const std::pair<const char*, std::string*> texts[] = {{"prefix", &config.prefix},
                                                        {"ca_file", &config.ca_file},
                                                        {"certificate_file", &config.certificate_file},
                                                        {"key_file", &config.key_file},
                                                        {"user", &config.user},
                                                        {"password_file", &config.password_file}};
  for (const auto& [name, target] : texts) {
    auto value = root[name].string_or(*target);
    if (!value) return std::move(value).error();
    *target = std::move(*value);
  }
  auto id = root["cluster_id"].string();
  if (!id) return std::move(id).error();
  const auto [end, failed] = std::from_chars(id->data(), id->data() + id->size(), config.cluster_id, 16);
  if (failed != std::errc{} || end != id->data() + id->size() || config.cluster_id == 0) {
    return root["cluster_id"].error("is not the id of a cluster (as in cdf818194e3a8c32)");
  }
  return config;
}

std::string encode(const Config& config) {
  json::Writer w;
  w.begin_object().field("v", 1).key("endpoints").begin_array();
  for (const std::string& endpoint : config.endpoints) w.value(endpoint);
  w.end_array().field("prefix", config.prefix);
  w.field_if("ca_file", config.ca_file).field_if("certificate_file", config.certificate_file).field_if("key_file", config.key_file);
  w.field_if("user", config.user).field_if("password_file", config.password_file);
  w.field("cluster_id", kv::cluster_id_text(config.cluster_id)).end_object();
  return json::pretty(w.text()) + "\n";
}

// Without its line end, as editors and echo leave one.
Result<std::string> read_password(const std::string& path) {
  auto text = read_file(path, 4096);
  if (!text) return std::move(text).error().context("the password of etcd");
  if (!text->empty() && text->back() == '\n') text->pop_back();
  if (text->empty() || text->find('\n') != std::string::npos) return make_error(Code::invalid, path + " is to hold one line, the password");
  return text;
}

}  // namespace

std::string config_path(const std::string& state_dir) { return state_dir + "/cluster.json"; }
std::string database_path(const std::string& state_dir) { return state_dir + "/cluster.db"; }

Result<std::optional<Config>> read_config(const std::string& state_dir) {
  const std::string path = config_path(state_dir);
  auto text = read_file(path);
  if (!text && text.error().is(Code::not_found)) return std::optional<Config>();
  if (!text) return std::move(text).error();
  auto config = decode(*text);
  if (!config) return make_error(Code::io, path + ": " + config.error().message);
  return std::optional<Config>(std::move(*config));
}

Status check(const Config& config) {
  if (config.endpoints.empty()) return make_error(Code::invalid, "no endpoint of etcd is named");
  if (config.endpoints.size() > most_endpoints) return make_error(Code::invalid, "more than " + std::to_string(most_endpoints) + " endpoints");
  bool tls = false;
  for (const std::string& url : config.endpoints) {
    auto endpoint = http::parse_endpoint(url);
    if (!endpoint) return std::move(endpoint).error();
    tls = tls || endpoint->transport == http::Endpoint::Transport::tls;
  }
  for (const std::string* file : {&config.ca_file, &config.certificate_file, &config.key_file}) {
    if (file->empty()) continue;
    if (!tls) return make_error(Code::invalid, *file + " is for TLS, and no endpoint is https");
    if (::access(file->c_str(), R_OK) != 0) return make_error(Code::invalid, errno_error("read " + *file).message);
  }
  if (config.user.empty() != config.password_file.empty()) {
    return make_error(Code::invalid, "a user of etcd needs a password file, and a password file a user");
  }
  return {};
}

Status write_config(const std::string& state_dir, const Config& config, const kv::Position& position) {
  if (auto written = write_seen(state_dir, position); !written) return written;
  Config with_id = config;
  with_id.cluster_id = position.cluster_id;
  return write_file_atomic(config_path(state_dir), encode(with_id), 0600);
}

Result<kv::EtcdOptions> etcd_options(const Config& config) {
  if (auto good = check(config); !good) return std::move(good).error();
  kv::EtcdOptions options;
  for (const std::string& url : config.endpoints) options.endpoints.push_back(http::parse_endpoint(url).value());
  options.prefix = config.prefix;
  options.tls = {config.ca_file, config.certificate_file, config.key_file, ""};
  options.user = config.user;
  if (config.password_file.empty()) return options;
  auto password = read_password(config.password_file);
  if (!password) return std::move(password).error();
  options.password = std::move(*password);
  return options;
}

Result<Connected> connect(const Config& config) {
  auto options = etcd_options(config);
  if (!options) return std::move(options).error();
  const auto position = std::make_shared<kv::Position>();
  options->remember = [position](const kv::Position& reached) { *position = reached; };
  auto store = kv::open_etcd(*options);
  if (!store) return std::move(store).error();
  return Connected{std::move(*store), *position};
}

Result<std::unique_ptr<kv::Store>> open_cluster(const std::string& state_dir, std::chrono::milliseconds deadline) {
  auto config = read_config(state_dir);
  if (!config) return std::move(config).error();
  if (!config->has_value()) {
    kv::SqliteOptions options;
    options.path = database_path(state_dir);
    options.create = false;
    options.deadline = deadline;
    return kv::open_sqlite(options);
  }
  const std::string path = config_path(state_dir);
  auto options = etcd_options(**config);
  if (!options) return make_error(Code::io, path + ": " + options.error().message);
  auto seen = read_seen(state_dir);
  if (!seen) return std::move(seen).error();
  options->known = seen->value_or(kv::Position{(*config)->cluster_id, 0});
  if (options->known.cluster_id != (*config)->cluster_id) options->known = {(*config)->cluster_id, 0};
  options->deadline = deadline;
  const auto keeper = std::make_shared<SeenKeeper>(state_dir);
  options->remember = [keeper](const kv::Position& reached) { keeper->remember(reached); };
  auto store = kv::open_etcd(*options);
  // Not found is for a host without a cluster store alone.
  if (!store && store.error().is(Code::not_found)) return make_error(Code::io, store.error().message);
  if (!store && store.error().is(Code::conflict)) {
    return make_error(Code::conflict, store.error().message + "; if it is meant to be so, run 'firnctl cluster accept' on this host");
  }
  return store;
}

}  // namespace firn::cluster
