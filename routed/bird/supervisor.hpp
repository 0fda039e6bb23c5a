// Keeps BIRD running with the configuration that is wanted. Two ways:
//  - supervised: BIRD is our process. Its directory holds bird.conf (0600: passwords), bird.ctl, bird.pid, bird.log.
//    It is no child in spirit: it has its own session and outlives us, since the data plane must not notice our end.
//  - existing: an administrator's BIRD includes the bird.conf we write (0640, group of its socket); we never start or stop it.
//
// After a restart: the BIRD that answers on our socket is adopted, whoever started it. The file `acknowledged` names the
// process and holds the bytes it acknowledged: only when these, bird.conf and the wanted text agree is nothing sent.
// "The file matches" is not "the daemon loaded it". A kill -9 of us leaves BIRD as it is; the next tick() starts from these.
// A BIRD that dies is started again after 1 s, doubling to 30 s, with -R so that its peers keep its routes meanwhile.
//
// A BIRD that is there and does not answer is asked again every second, and never replaced: two of them would fight.
//
// tick() does one step (each command to BIRD is limited to 2 s) and says when to be called again; call it sooner when exit_fd() is
// readable or want() was called. keeper.hpp does that on a thread of its own. Thread safety: one thread.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "routed/bird/config.hpp"
#include "routed/bird/control.hpp"

namespace firn::routed::bird {

struct Settings {
  bool supervise = true;
  std::string binary = "/usr/sbin/bird";
  std::string run_directory = "/run/firn/bird";
  // The blocks the kernel has as blackhole routes now; asked for at each start of BIRD (render_start). Empty: none are given.
  std::function<std::vector<Prefix>()> blocks = {};
  std::string socket;  // "": RUN_DIRECTORY/bird.ctl when supervised, else Debian's /run/bird/bird.ctl

  std::string socket_path() const;
  std::string config_path() const { return run_directory + "/bird.conf"; }
  // What Config::log_file must be.
  std::string log_path() const { return supervise ? run_directory + "/bird.log" : std::string(); }
};

enum class Phase {
  idle,      // no configuration wanted yet
  starting,  // started, does not answer yet
  running,   // answers
  silent,    // there, and does not answer
  down,      // not there; waiting for the next attempt
};
std::string_view to_string(Phase phase);

struct State {
  Phase phase = Phase::idle;
  pid_t pid = 0;
  std::string version;
  unsigned restarts = 0;     // times a BIRD of ours died and was replaced
  unsigned applied = 0;      // configurations sent and acknowledged by this Supervisor
  bool in_force = false;     // the wanted configuration is the one BIRD acknowledged
  std::string daemon_error;  // why BIRD is not running, "" when it is
  std::string config_error;  // why the wanted configuration is not in force, with BIRD's file:line; "" otherwise
  bool operator==(const State&) const = default;
};

// What went over one session.
struct SessionRoutes {
  std::vector<RouteEntry> accepted, rejected;
  std::vector<Prefix> announced;
};

class Supervisor {
 public:
  Supervisor(Settings settings, const Clock& clock);

  // The identical text again makes the next tick() compare once more, and send only when something was changed behind our back.
  void want(Rendered config);
  std::chrono::milliseconds tick();
  const State& state() const { return state_; }
  // Readable when BIRD has ended; -1 while none is known. Changes over time: ask after each tick().
  int exit_fd() const { return process_.get(); }

  // firn's own BGP sessions. Code::unavailable while BIRD does not answer.
  Result<std::vector<Session>> sessions();
  // What the other end of that session is told of.
  Result<std::vector<Prefix>> announced(std::string_view protocol);
  Result<SessionRoutes> routes(std::string_view protocol);
  // Every route that came over that session carries the community of a graceful shutdown.
  Result<bool> says_farewell(std::string_view protocol);

 private:
  using Milliseconds = std::chrono::milliseconds;
  using TimePoint = std::chrono::steady_clock::time_point;

  // 1 s doubling to `most`; forgiven after a minute of quiet.
  struct Backoff {
    Milliseconds delay{0};
    TimePoint due{};
    void fail(TimePoint now, Milliseconds most);
  };
  struct Acknowledged {
    std::string instance, text;
  };

  Milliseconds find_daemon(TimePoint now);
  Status start();
  void adopt(Control control);
  void note_death(TimePoint now);
  void note_silence(const Error& error);
  Milliseconds settle(TimePoint now);
  Status apply();
  Status apply_supervised();
  Status apply_included();
  Status verify_loaded();
  Status acknowledge();
  Status write_config(const std::string& path, std::string_view text);
  Status prepare_directory();
  std::optional<Acknowledged> read_acknowledged() const;
  std::string path(std::string_view file) const;
  template <class T, class Ask>
  Result<T> ask(Ask question);

  Settings settings_;
  const Clock& clock_;
  State state_;
  std::optional<Rendered> wanted_;
  std::optional<Control> control_;
  unique_fd process_;
  pid_t child_ = 0;  // a process of ours that must be reaped
  TimePoint started_{};
  Backoff start_backoff_, apply_backoff_;
};

}  // namespace firn::routed::bird
