// The grace of nodes: how long the cluster waits for a node that is not alive before it takes its blocks, and what each node has
// promised about it. Pure; thread safety: plain values.
#pragma once

#include <string>

#include "lib/model/records.hpp"

namespace firn::model {

inline constexpr int64_t min_node_grace = 60, max_node_grace = 30 * 86'400;  // seconds, as a person may set it

// Cluster store, key: settings. What holds for every node.
struct ClusterSettings {
  int64_t node_grace = 0;  // seconds; 0: nobody's blocks are taken
  bool operator==(const ClusterSettings&) const = default;
};

// Cluster store, key: promise/NODE, written by that node: this long after its last beat it leases nothing from the cluster's pools.
// Without a promise of this generation of the node its blocks are not taken by a program.
struct Promise {
  std::string node;
  uint64_t generation = 0;
  int64_t grace = 0;  // seconds
  bool operator==(const Promise&) const = default;
};

std::string encode(const ClusterSettings&);
std::string encode(const Promise&);
Result<ClusterSettings> decode_cluster_settings(Source);
Result<Promise> decode_promise(Source);

namespace keys {
inline constexpr std::string_view settings = "settings";
inline constexpr std::string_view promises = "promise/";
std::string promise(std::string_view node);
}  // namespace keys

}  // namespace firn::model
