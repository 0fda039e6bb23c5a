// A thread of its own for the Supervisor: BIRD may take its time over an answer, or hang, and routes are repaired meanwhile.
// Everything that waits for BIRD (start, check, configuration, questions) happens on this thread; others leave their wishes and
// take the last report, which is at most a second or two old while BIRD answers.
// Owns: the Supervisor (supervisor.hpp says what a kill -9 leaves) and the thread, which ends with the Keeper; with a BIRD that
// hangs that takes the few seconds of the question in progress.
// Thread safety: all calls from one thread; `changed` is called on the keeper's own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "routed/bird/supervisor.hpp"

namespace firn::routed::bird {

struct Report {
  State state;
  std::vector<Session> sessions;                                 // none while BIRD does not answer
  std::map<std::string, Result<std::vector<Prefix>>> announced;  // protocol -> prefixes told; established sessions with peers only
  std::set<std::string>
      farewells;  // established sessions of watch() over which nothing else came than routes of a graceful shutdown
};

// What went over every established session, at one moment.
struct RoutesReport {
  std::chrono::steady_clock::time_point at;
  std::map<std::string, Result<SessionRoutes>> sessions;  // by protocol
};

class Keeper {
 public:
  // settings.blocks is not used: see set_blocks(). `changed`: the state differs from the one before.
  static Result<std::unique_ptr<Keeper>> start(Settings settings, const Clock& clock, std::function<void()> changed);
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper();

  void want(Rendered config);
  // What Settings::blocks answers from now on.
  void set_blocks(std::vector<Prefix> blocks);
  // The protocols of sessions whose other end is being drained.
  void watch(std::set<std::string> leaving);
  // Asks BIRD anew and waits at most `patience` for it; then the last report will do, which 0 takes at once.
  Report report(std::chrono::milliseconds patience);
  // Of the last two seconds, or nothing: then BIRD is being asked, so ask again. Kept for ten seconds: there may be many.
  std::shared_ptr<const RoutesReport> routes();

 private:
  Keeper(Settings settings, const Clock& clock, std::function<void()> changed, unique_fd wake);
  void run();
  Report observe(const std::set<std::string>& leaving);
  std::shared_ptr<const RoutesReport> list_routes(const std::vector<Session>& sessions);
  void rest(std::chrono::milliseconds longest) const;
  void wake() const;

  std::function<void()> changed_;
  unique_fd wake_;  // an eventfd
  std::mutex mutex_;
  std::condition_variable answered_;
  // Under the mutex.
  std::optional<Rendered> wanted_;
  bool offered_ = false;  // since the supervisor last took it
  std::vector<Prefix> blocks_;
  std::set<std::string> leaving_;
  Report report_;
  uint64_t asked_ = 0, reported_ = 0;  // questions so far, and how many of them report_ knows of
  bool ending_ = false;
  bool routes_asked_ = false;
  std::shared_ptr<const RoutesReport> routes_;

  Supervisor supervisor_;  // the thread's alone
  std::thread thread_;
};

}  // namespace firn::routed::bird
