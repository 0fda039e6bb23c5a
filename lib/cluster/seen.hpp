// The file STATE_DIR/cluster.seen: the highest revision of the cluster that this host has seen, by any of its programs. A line of
// fixed length, written in place once a second at most and without waiting for the disk: what a power cut loses of it makes the
// check a little weaker, never wrong. Inside this folder only. Thread safety: one thread; processes lock the file.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "lib/base/result.hpp"
#include "lib/kv/etcd/etcd_store.hpp"

namespace firn::cluster {

std::string seen_path(const std::string& state_dir);
// Nothing when there is no such file. Code::io when it cannot be read as one.
Result<std::optional<kv::Position>> read_seen(const std::string& state_dir);
// Replaces it, on the disk when this returns.
Status write_seen(const std::string& state_dir, const kv::Position& position);

// Raises what the file says as the store advances; the last of it when it goes.
class SeenKeeper {
 public:
  explicit SeenKeeper(std::string state_dir) : state_dir_(std::move(state_dir)) {}
  SeenKeeper(const SeenKeeper&) = delete;
  SeenKeeper& operator=(const SeenKeeper&) = delete;
  ~SeenKeeper();
  void remember(const kv::Position& position);

 private:
  void raise();
  std::string state_dir_;
  kv::Position position_;
  bool pending_ = false;
  std::chrono::steady_clock::time_point written_at_{};
};

}  // namespace firn::cluster
