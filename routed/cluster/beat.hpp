// Beat: keeps this node's beat/NAME in the cluster alive, under a lease, and finds out by that when the cluster says that this host
// is not the node (removed, a clone, the name given again). A host that was started anew takes its own beat over; another host's,
// under the same name and machine id, is waited for as long as a lease lives, for that of the boot before looks the same. Owns:
// beat/NAME, which a kill -9 leaves for the rest of its lease. Thread safety: one thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "ipam/grace.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::routed {

class Beat {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Without a machine id (a store of this host alone) there is no beat.
  Beat(model::Identity self, std::chrono::seconds life) : self_(std::move(self)), life_(life) {}

  bool is_wanted() const { return !self_.machine_id.empty(); }
  Time due() const { return due_; }
  void hurry() { due_ = {}; }
  // One beat. An error is of the store, and the next one tries again.
  Status beat(kv::Store& cluster, Time now, int64_t unix_now);
  bool is_alive() const { return lease_ != 0; }
  // What the last call of beat() read, if it returned well and this host had a beat by it.
  const std::optional<ipam::GraceTerms>& terms() const { return terms_; }
  // Why this host is not the node; "" when it is, as far as the last beat knows.
  const std::string& refused() const { return refused_; }

 private:
  Status begin(kv::Store& cluster, int64_t unix_now);

  model::Identity self_;
  std::chrono::seconds life_;
  Time due_{};
  Time doubtful_since_{};  // another host has the beat
  kv::LeaseId lease_ = 0;  // 0: none
  std::optional<ipam::GraceTerms> terms_;
  std::string refused_;
};

}  // namespace firn::routed
