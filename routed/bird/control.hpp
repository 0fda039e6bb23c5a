// A client of BIRD's control socket: one command at a time, each with a deadline. Owns one connection; BIRD keeps nothing of it
// after a close, so a kill -9 leaves nothing behind (a running `configure` goes on inside BIRD, and `configure status` tells).
// Any failure of the stream closes it: connect anew. Blocks at most the deadline. Thread safety: one thread at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/model/bgp_policy.hpp"
#include "routed/bird/reply.hpp"

namespace firn::routed::bird {

class Control {
 public:
  static constexpr std::chrono::milliseconds default_deadline{2000};

  // Connects and reads the greeting. Code::unavailable when nothing listens there, Code::denied without the right to.
  static Result<Control> connect(const std::string& socket, std::chrono::milliseconds deadline = default_deadline);

  // Full keywords only: BIRD takes no abbreviations here. A refusal (8xxx, 9xxx) is a Reply, not an Error.
  Result<Reply> command(std::string_view line);

  // `file` "": the daemon's own configuration file. check() changes nothing. Both carry BIRD's "file:line:column message".
  Status check(std::string_view file);
  // Ok once BIRD runs the new configuration; a reconfiguration that takes a while is followed to its end, within the deadline
  // (Code::unavailable: still running, ask status later). After any other failure `configure undo` has been sent.
  Status configure(std::string_view file);
  // The three steps: check, configure, undo on failure.
  Status apply(std::string_view file);
  // True while BIRD still works on a reconfiguration.
  Result<bool> reconfiguring();

  Result<DaemonStatus> status();
  // `pattern`: a glob over protocol names, e.g. "firn_*".
  Result<std::vector<Session>> sessions(std::string_view pattern);
  // Prefixes told to the peer behind this protocol. Code::unavailable while the session is not up.
  Result<std::vector<Prefix>> exported(std::string_view protocol);
  // What the peer behind this protocol told us: accepted, or kept back by the import filter.
  Result<std::vector<RouteEntry>> imported(std::string_view protocol, bool filtered);
  // Prefixes that the peer behind this protocol told us without the community, of those that were accepted.
  Result<std::vector<Prefix>> imported_without(std::string_view protocol, const model::Community& community);
  // Has BIRD read the kernel's table now, of every kernel protocol that `pattern` matches.
  Status scan_kernel(std::string_view pattern);

  bool open() const { return static_cast<bool>(fd_); }
  // The process that listens on the socket, as the kernel recorded it.
  pid_t daemon_pid() const { return daemon_pid_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  Control(unique_fd fd, std::string socket, std::chrono::milliseconds deadline, pid_t daemon)
      : fd_(std::move(fd)), socket_(std::move(socket)), deadline_(deadline), daemon_pid_(daemon) {}
  Result<Reply> read_reply(TimePoint until);
  Status send_line(std::string_view line, TimePoint until);
  Status wait(short events, TimePoint until);
  Error lost(std::string_view why);
  Status follow(TimePoint until);

  unique_fd fd_;
  std::string socket_;
  std::chrono::milliseconds deadline_;
  pid_t daemon_pid_ = 0;
  ReplyParser parser_;
};

}  // namespace firn::routed::bird
