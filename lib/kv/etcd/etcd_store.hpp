// The etcd engine of lib/kv, over the JSON gateway of etcd 3.4 and later. Owns: the keys below a prefix; among them four kinds
// of its own, which hold a NUL byte, as no caller's key may (docs/cluster.md, "Keys").
// A transaction is optimistic: its body reads at one revision, one etcd transaction writes if nothing of what was read has
// changed since, otherwise the body runs again. When the answer to a commit is lost, the store first makes sure that it can no
// longer happen, then looks whether it has. A kill -9 leaves a transaction that is whole or not there.
// Each call has one deadline, whatever the members do. A cluster with another id, or whose revision went back, is refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/http/client.hpp"
#include "lib/kv/store.hpp"

namespace firn::kv {

// How far a cluster had come when it was last heard of.
struct Position {
  uint64_t cluster_id = 0;  // 0: not known
  Revision revision = 0;
};

struct EtcdOptions {
  std::vector<http::Endpoint> endpoints;  // at least one; the next is tried when one fails
  std::string prefix = "/firn/v1/";
  http::Tls tls;  // for the endpoints that are https
  std::string user, password;
  std::chrono::milliseconds deadline{5000};      // of every call, retries and all
  size_t answer_limit = 32 * 1024 * 1024;        // bytes
  Position known;                                // from before; a cluster that does not come after it is refused
  std::function<void(const Position&)> remember; // called when the position has advanced
};

// Asks the cluster once. Errors: unavailable (no member answers in time), conflict (another cluster, or one that went back),
// denied (certificate, user), invalid (options).
Result<std::unique_ptr<Store>> open_etcd(const EtcdOptions& options);

// What a member says of itself, for people.
struct MemberStatus {
  http::Endpoint endpoint;
  std::string trouble;  // "": it answers, and is of the cluster
  uint64_t member_id = 0;
  std::string name, version;
  bool leader = false, learner = false;
  Revision revision = 0;
  int64_t database_bytes = 0;
  std::vector<std::string> alarms;
  std::chrono::microseconds latency{0};
};
struct ClusterStatus {
  uint64_t cluster_id = 0;
  std::vector<MemberStatus> members;  // one an endpoint, in their order
};
Result<ClusterStatus> etcd_status(const EtcdOptions& options);

// "cdf818194e3a8c32", as etcdctl writes it.
std::string cluster_id_text(uint64_t id);

}  // namespace firn::kv
