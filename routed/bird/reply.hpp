// What BIRD says on its control socket: bytes to replies, replies to sessions, status and routes. Pure and incremental;
// the other end is a daemon, yet every size is bounded and anything that is not the protocol is Code::invalid.
// Codes and forms: BIRD 2.x doc/reply_codes and nest/*.c, as spoken by 2.0.12. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"

namespace firn::routed::bird {

struct ReplyLine {
  int code = 0;
  std::string text;
  bool operator==(const ReplyLine&) const = default;
};

// All lines up to the one that ends the reply, whose code decides.
struct Reply {
  std::vector<ReplyLine> lines;
  std::vector<std::string> notices;  // asynchronous "+" lines that came in between

  int code() const { return lines.empty() ? 0 : lines.back().code; }
  std::string_view last() const { return lines.empty() ? std::string_view{} : std::string_view(lines.back().text); }
  bool failed() const { return code() >= 8000; }
};

class ReplyParser {
 public:
  struct Limits {
    size_t line = 4096;
    size_t lines = 200'000;
    size_t bytes = 16 * 1024 * 1024;  // of one reply
  };
  ReplyParser() : ReplyParser(Limits{}) {}
  explicit ReplyParser(Limits limits) : limits_(limits) {}

  // After an error the stream is out of step: every later call fails the same way.
  Status feed(std::string_view bytes);
  // The oldest finished reply.
  std::optional<Reply> next();

 private:
  Status take_line(std::string_view line);
  Status broken(std::string message);

  Limits limits_;
  std::string partial_;
  Reply current_;
  size_t current_bytes_ = 0;
  std::deque<Reply> ready_;
  std::optional<Error> error_;
};

struct Channel {
  std::string name;   // "ipv4", "ipv6"
  std::string state;  // "UP", "DOWN" ...
  uint64_t imported = 0, filtered = 0, exported = 0, preferred = 0;
  bool operator==(const Channel&) const = default;
};

// One protocol of `show protocols all`; the BGP fields are empty for other kinds.
struct Session {
  std::string protocol;  // "firn_peer_tor_a"
  std::string kind;      // "BGP", "Kernel" ...
  std::string state;     // "up", "start", "down" ...
  std::string since;     // as BIRD writes it: "2026-01-31 12:00:00"
  std::string info;
  std::string bgp_state;  // "Established", "Active" ...
  std::string neighbor_address;
  uint32_t neighbor_as = 0, local_as = 0;
  std::string last_error;                 // "Received: Hold timer expired"; "" when there was none
  int hold_time = 0, keepalive_time = 0;  // seconds as negotiated; 0 while not established
  std::vector<Channel> channels;

  bool established() const { return bgp_state == "Established"; }
  bool operator==(const Session&) const = default;
};

// One route of `show route`.
struct RouteEntry {
  Prefix prefix;
  std::string via;    // "192.0.2.1 on eth0", "blackhole" ...; of several ways the first
  bool best = false;  // the one that is used
  bool operator==(const RouteEntry&) const = default;
};

struct DaemonStatus {
  std::string version;  // "2.0.12"
  std::string router_id;
  std::string last_reboot;
  std::string last_reconfiguration;
  std::string graceful_restart;  // "" when no recovery is running
  bool running = false;          // "Daemon is up and running", as against reconfiguring or shutting down
  bool operator==(const DaemonStatus&) const = default;
};

// Each gives BIRD's own words as an Error when the reply is a refusal (8xxx, 9xxx).
Result<std::vector<Session>> parse_sessions(const Reply& reply);
Result<DaemonStatus> parse_status(const Reply& reply);
// Prefixes of `show route ...`, each once, in the order BIRD wrote them.
Result<std::vector<Prefix>> parse_routes(const Reply& reply);
// The routes of `show route protocol ...`: one of each prefix, with the way it leads.
Result<std::vector<RouteEntry>> parse_route_entries(const Reply& reply);
// A refusal in words; the code of the Error follows BIRD's (8002: invalid, 8003: not_found, 8005: unavailable ...).
Error refusal(std::string_view what, const Reply& reply);

}  // namespace firn::routed::bird
