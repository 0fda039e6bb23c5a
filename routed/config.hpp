// Settings of firn-routed: defaults, then /etc/firn/routed.json, then the command line. Formats: docs/routing.md.
// Owns nothing. Thread safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "routed/log.hpp"

namespace firn::routed {

struct BirdConfig {
  bool supervise = true;                  // start and watch over a BIRD of our own
  std::string socket;                     // default: RUN_DIR/bird/bird.ctl when supervised, /run/bird/bird.ctl otherwise
  std::string binary = "/usr/sbin/bird";  // for supervise
};

struct NftConfig {
  std::string binary;          // of firn-nft; "": beside firn-routed, or where it is installed
  uint32_t mark = 0x04000000;  // one bit of packet marks, between two chains only (nft/hold.hpp)
};

struct Config {
  std::string state_dir = "/var/lib/firn";
  std::string run_dir = "/run/firn";
  std::string metrics = "127.0.0.1:9490";  // "": off
  Level log_level = Level::info;
  std::chrono::seconds resync{60};
  std::chrono::seconds node_life{30};     // after its last beat in the cluster this host counts as alive
  std::string socket_group;               // members may ask routed.sock; "": root only
  int receive_buffer = 16 * 1024 * 1024;  // bytes for kernel events
  BirdConfig bird;
  bool policy = true;  // false: no nftables at all, and a table of an earlier run is removed
  NftConfig nft;
};

struct Invocation {
  enum class What { run, help, version } what = What::run;
  Config config;
};

// Reads the command line and the configuration file it names (the default one may be missing).
// Code::invalid: the message names the option, or the file and the field.
Result<Invocation> read_invocation(const std::vector<std::string>& arguments);
// Puts the fields of the JSON text into `config`. Unknown fields are errors: a typing mistake must not be silent.
Status apply_json(std::string_view text, Config& config);
std::string_view usage();

}  // namespace firn::routed
