// Counters of the table, from nft's listings: what each rule matched, by its comment, and how many packets of each interface asked
// for a verdict (the first ones of each connection: what is established passes before).
// Owns nothing. Thread safety: belongs to the thread of the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "routed/nft/child.hpp"

namespace firn::routed {

struct Counter {
  uint64_t packets = 0, bytes = 0;
  bool operator==(const Counter&) const = default;
};
struct Counters {
  std::map<std::string, Counter> rules;  // by comment: rules of one comment are one rule for two families
  struct Interface {
    Counter egress, ingress;
    bool operator==(const Interface&) const = default;
  };
  std::map<std::string, Interface> interfaces;
};

// Takes one listing of nft's into `out`: of the table, or of a map. Code::invalid: it is none.
Status take_listing(std::string_view json, Counters& out);

// Reads them by firn-nft, once for all who ask meanwhile, and not twice within a second.
class CounterReader {
 public:
  using Done = std::function<void(const Result<Counters>&)>;
  CounterReader(nft::Runner& runner, const Clock& clock, std::string table);

  void read(Done done);
  // As last read; starts another reading when that is older than `age`.
  const Counters& last(std::chrono::milliseconds age);

 private:
  void next(size_t listing);
  void finish(const Result<Counters>& outcome);

  nft::Runner& runner_;
  const Clock& clock_;
  const std::string table_;
  std::vector<Done> waiting_;
  bool reading_ = false;
  Counters under_way_, last_;
  std::optional<std::chrono::steady_clock::time_point> read_at_;
};

}  // namespace firn::routed
