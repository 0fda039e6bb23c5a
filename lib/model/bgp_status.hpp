// What a host tells the cluster of its BGP sessions, for `firnctl bgp status` of all hosts (key: status/bgp/NODE; at most 256
// sessions, those that are not established first), and of drains. docs/bgp.md. Pure; thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

struct BgpSessionStatus {
  std::string kind;  // "peer", "dynamic" or "node"
  std::string name;  // of the peer or the node
  std::string address;
  uint32_t as_number = 0;
  std::string state;  // "Established", "Active" ...
  int64_t since = 0;  // Unix time; 0: not known
  uint64_t imported = 0, filtered = 0, exported = 0;
  std::string last_error;  // in words
  bool established() const { return state == "Established"; }
  bool operator==(const BgpSessionStatus&) const = default;
};

struct BgpStatus {
  static constexpr size_t max_sessions = 256;
  // Older than that it says nothing of the present: hosts write every `heartbeat` seconds at the latest.
  static constexpr int64_t heartbeat = 60, stale_after = 200;

  std::string node;
  int64_t at = 0;       // Unix time it was written at
  std::string bird;     // "running", "down" ...; "absent" when there is nothing to run it for
  std::string reason;   // why it does not run or has not the wanted configuration; ""
  std::string plan;     // of sessions between hosts
  bool ready = false;   // the plan is in place
  std::string drain;    // "none", "announce" or "withdraw"
  int64_t omitted = 0;  // sessions beyond max_sessions
  std::vector<BgpSessionStatus> sessions;
  bool operator==(const BgpStatus&) const = default;
};

// What a host says of drains (Node::drain), which it tells apart by their `since`. Key: status/drain/NODE.
struct DrainReport {
  // Of its own.
  struct Own {
    int64_t since = 0;
    bool withdrawn = false;            // nothing is announced any more, and will not be until this drain is over
    std::vector<std::string> moved;    // hosts that say in their `left` that they have left this one
    std::vector<std::string> awaited;  // that do not say so, yet or in time
    std::vector<std::string> unasked;  // peers that are no hosts of the cluster
    bool operator==(const Own&) const = default;
  };
  std::string node;
  std::map<std::string, int64_t> left;  // nodes of which this host has no route that it would prefer to another's, by their drain
  std::optional<Own> own;
  bool operator==(const DrainReport&) const = default;
};

std::string encode(const BgpStatus&);
std::string encode(const DrainReport&);
Result<BgpStatus> decode_bgp_status(Source);
Result<DrainReport> decode_drain_report(Source);

}  // namespace firn::model
