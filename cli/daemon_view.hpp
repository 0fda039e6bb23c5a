// What firn-routed says of BIRD and its sessions (ops "status" and "bgp", docs/control.md), as values. Pure.
// Tolerant: a field that is missing or of another kind is empty, so that firnctl can be newer or older than the daemon.
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/json/json.hpp"

namespace firn::cli {

struct Session {
  std::string peer, kind, address, state, since, last_error;
  int64_t as_number = 0;
  bool established = false;
  int64_t imported = 0, filtered = 0, exported = 0;  // prefixes, over all channels
  std::vector<Prefix> announced;
  std::string announced_error;  // why `announced` is not known
};

struct BirdView {
  std::string state, reason, version;
  bool running = false, supervised = false, in_force = false;
  int64_t pid = 0;
  std::vector<Session> sessions;  // by peer

  size_t established() const;
  std::string summary() const;  // "running (2.0.12, pid 812), configuration in force"
};

// `bird`: the reply's root for the op "bgp", its member "bird" for "status".
BirdView read_bird(const json::Value& bird);
std::string text_of(const json::Value& value);
int64_t number_of(const json::Value& value);
bool flag_of(const json::Value& value);

}  // namespace firn::cli
