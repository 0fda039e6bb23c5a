// Where the cluster store is: etcd when STATE_DIR/cluster.json says so, else the file STATE_DIR/cluster.db. The one way in for
// every program. Owns: cluster.json (0600) and cluster.seen, the last position of the cluster that this host has seen, by which a
// cluster that went back is refused over a restart too (docs/cluster.md). A kill -9 leaves whole files; cluster.seen may lag.
// Thread safety: free functions; a Store belongs to one thread. Several processes may have it open.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/kv/etcd/etcd_store.hpp"
#include "lib/kv/store.hpp"

namespace firn::cluster {

struct Config {
  std::vector<std::string> endpoints;  // URLs
  std::string prefix = "/firn/v1/";
  std::string ca_file, certificate_file, key_file;
  std::string user, password_file;
  uint64_t cluster_id = 0;  // as first seen

  bool operator==(const Config&) const = default;
};

std::string config_path(const std::string& state_dir);
std::string database_path(const std::string& state_dir);

// Nothing: this host has no cluster.json. Code::io for one that cannot be used.
Result<std::optional<Config>> read_config(const std::string& state_dir);
// Code::invalid when it names no endpoint, or a file that cannot be read.
Status check(const Config& config);
// Writes cluster.json, and takes the position as the one to go on from.
Status write_config(const std::string& state_dir, const Config& config, const kv::Position& position);

// The etcd engine's options; reads the password file.
Result<kv::EtcdOptions> etcd_options(const Config& config);

struct Connected {
  std::unique_ptr<kv::Store> store;
  kv::Position position;
};
// Opens etcd as it is now, whatever was seen before: for who sets a host up.
Result<Connected> connect(const Config& config);

// Code::not_found: the host has no cluster store. Other errors as of the engines.
Result<std::unique_ptr<kv::Store>> open_cluster(const std::string& state_dir,
                                                std::chrono::milliseconds deadline = std::chrono::milliseconds(5000));

}  // namespace firn::cluster
