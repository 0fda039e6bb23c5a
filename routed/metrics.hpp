// What firn-routed counts, in Prometheus' text form. prometheus-cpp is used in metrics.cpp alone. Names: docs/routing.md.
// Nothing survives the process: counters start at zero. Thread safety: belongs to the thread of the loop.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace firn::routed {

// Values of the moment, read when somebody asks.
struct Gauges {
  struct Peer {
    std::string name;
    bool established = false;
    struct Channel {
      std::string family;  // "ipv4", "ipv6"
      uint64_t imported = 0, exported = 0;
    };
    std::vector<Channel> channels;
  };
  struct Pool {
    std::string name;
    uint64_t blocks = 0, used = 0, free = 0, cooling = 0;
  };
  uint64_t routes_desired = 0, routes_actual = 0, routes_pending = 0;
  std::vector<Peer> peers;
  std::vector<Pool> pools;
  struct ClusterPool {
    std::string name;
    double blocks = 0, unclaimed = 0;
  };
  std::vector<ClusterPool> cluster_pools;
  // Of the nftables table; nothing with "policy": false.
  struct Nft {
    struct Kind {
      std::string name;  // "set", "chain", "element"
      uint64_t desired = 0, actual = 0, pending = 0;
    };
    std::vector<Kind> kinds;
    bool in_place = false, held = false;
    uint64_t transactions = 0, repairs = 0, refusals = 0, child_starts = 0, policies = 0;
    struct Rule {
      std::string name;
      uint64_t packets = 0, bytes = 0;
    };
    std::vector<Rule> rules;  // at most most_rule_series of them
    struct Endpoint {
      std::string handle;
      uint64_t egress = 0, ingress = 0;  // packets that asked for a verdict
    };
    std::vector<Endpoint> endpoints;  // likewise
  };
  std::optional<Nft> nft;
};

// More rules or endpoints than that have no series: an index of a metrics store is not the place for them.
inline constexpr size_t most_rule_series = 1000;

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // kind: "link", "forward", "neighbour", "route", "resync". One round of reconcile that had something to do, or failed.
  void reconciled(const std::string& kind, bool ok, double seconds);
  void repaired(const std::string& kind, uint64_t objects);
  uint64_t repaired_total() const;
  std::string text(const Gauges& now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace firn::routed
