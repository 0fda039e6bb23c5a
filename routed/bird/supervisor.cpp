#include "routed/bird/supervisor.hpp"

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lib/base/file.hpp"
#include "routed/bird/process.hpp"

namespace firn::routed::bird {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t max_config = 16 * 1024 * 1024;
constexpr milliseconds quiet{30'000};  // nothing to do: exit_fd and want() wake the loop
constexpr milliseconds start_poll{20};
constexpr milliseconds start_patience{10'000};  // for the first answer of a BIRD just started
// A BIRD that is busy or silent now may be neither in a moment, whereas one that refused a text will refuse it again.
constexpr milliseconds ask_again{1000};
constexpr milliseconds longest_delay{30'000};
constexpr std::string_view nothing_yet = "# firn-routed has no configuration that BIRD accepts yet.\n";

// Nobody listens on the socket.
bool nobody(const Error& error) { return error.is(Code::unavailable) && (error.sys == ENOENT || error.sys == ECONNREFUSED); }

}  // namespace

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::idle: return "idle";
    case Phase::starting: return "starting";
    case Phase::running: return "running";
    case Phase::silent: return "silent";
    case Phase::down: return "down";
  }
  return "unknown";
}

std::string Settings::socket_path() const {
  if (!socket.empty()) return socket;
  return supervise ? run_directory + "/bird.ctl" : "/run/bird/bird.ctl";
}

void Supervisor::Backoff::fail(TimePoint now, Milliseconds most) {
  const bool forgiven = now > due + seconds(60);
  delay = forgiven ? milliseconds(1000) : std::clamp(delay * 2, milliseconds(1000), most);
  due = now + delay;
}

Supervisor::Supervisor(Settings settings, const Clock& clock) : settings_(std::move(settings)), clock_(clock) {}

std::string Supervisor::path(std::string_view file) const { return settings_.run_directory + "/" + std::string(file); }

void Supervisor::want(Rendered config) {
  state_.in_force = false;
  if (wanted_ == config) return;
  wanted_ = std::move(config);
  state_.config_error.clear();
  apply_backoff_ = {};
}

std::chrono::milliseconds Supervisor::tick() {
  if (!wanted_) return quiet;
  const TimePoint now = clock_.steady();
  if (has_ended(process_)) note_death(now);
  if (!control_) {
    const auto wait = find_daemon(now);
    if (!control_) return wait;
  }
  return settle(now);
}

// The daemon ---------------------------------------------------------------------------------------------------------------

void Supervisor::note_death(TimePoint now) {
  control_.reset();
  process_.reset();
  std::string how = "BIRD (process " + std::to_string(state_.pid) + ") has ended";
  if (child_ > 0) {
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      if (WIFSIGNALED(status)) how += " by signal " + std::to_string(WTERMSIG(status));
      else how += " with status " + std::to_string(WEXITSTATUS(status));
    }
    child_ = 0;
    const auto words = last_words(path("bird.stderr"));
    if (!words.empty()) how += ": " + words;
  }
  state_.phase = Phase::down;
  state_.pid = 0;
  state_.in_force = false;
  state_.daemon_error = how;
  if (settings_.supervise) ++state_.restarts;
  start_backoff_.fail(now, longest_delay);
}

void Supervisor::note_silence(const Error& error) {
  control_.reset();
  state_.phase = Phase::silent;
  state_.daemon_error = "BIRD is there and does not answer: " + error.message;
}

// Adopts whoever answers on the socket; when nobody can answer and BIRD is ours to run, starts it.
std::chrono::milliseconds Supervisor::find_daemon(TimePoint now) {
  const auto left = [&](TimePoint due) { return std::max(std::chrono::ceil<milliseconds>(due - now), start_poll); };
  if (state_.phase != Phase::starting && now < start_backoff_.due) return left(start_backoff_.due);
  auto control = Control::connect(settings_.socket_path());
  if (control) {
    adopt(*std::move(control));
    return start_poll;
  }
  // A process that listens but does not answer, or whose socket we may not use, is not replaced: two BIRDs would fight.
  const bool free = nobody(control.error());
  if (state_.phase == Phase::starting && now < started_ + start_patience) return start_poll;
  // EAGAIN: it has not taken those who asked before.
  if (!free && (control.error().is(Code::unavailable) || control.error().sys == EAGAIN)) {
    note_silence(control.error());
    return ask_again;
  }
  state_.daemon_error = control.error().message;
  state_.phase = Phase::down;
  if (settings_.supervise && free && !process_) {
    if (auto status = start(); status) {
      started_ = now;
      state_.daemon_error = "BIRD has just been started and does not answer yet";
      return start_poll;
    } else {
      state_.daemon_error = status.error().message;
    }
  }
  start_backoff_.fail(now, longest_delay);
  return left(start_backoff_.due);
}

Status Supervisor::prepare_directory() {
  if (auto status = make_directories(settings_.run_directory, 0750); !status) return status;
  // Also when it is there from a run of the other kind: an administrator's BIRD must get in, and nobody into our own.
  if (::chmod(settings_.run_directory.c_str(), settings_.supervise ? 0700 : 0750) != 0) {
    return errno_error("chmod " + settings_.run_directory);
  }
  return {};
}

// With the wanted text when BIRD accepts it, else with the last one it acknowledged: better old sessions than none.
Status Supervisor::start() {
  if (auto status = prepare_directory(); !status) return status;
  const auto previous = read_acknowledged();
  const std::string candidate = path("bird.conf.candidate");
  if (auto status = write_config(candidate, wanted_->text); !status) return status;
  auto checked = check_with_binary(settings_.binary, candidate, path("bird.stderr"), Control::default_deadline);
  ::unlink(candidate.c_str());
  if (!checked && !(checked.error().is(Code::invalid) && previous)) return checked;
  if (!checked) state_.config_error = checked.error().message;
  // The blocks of this moment only beside the wanted text: that is applied, without them, as soon as BIRD answers.
  const std::string start = checked && settings_.blocks ? render_start(settings_.blocks()) : std::string();
  if (auto status = write_config(settings_.config_path(), checked ? wanted_->text + start : previous->text); !status) return status;

  std::vector<std::string> arguments = {settings_.binary, "-f", "-c", settings_.config_path(), "-s", settings_.socket_path(), "-P",
                                        path("bird.pid")};
  // Only a restart is a graceful one: at the first start there is nothing for the peers to have kept.
  if (previous) arguments.emplace_back("-R");
  auto pid = spawn_detached(arguments, path("bird.stderr"));
  if (!pid) return std::move(pid).error();
  child_ = *pid;
  state_.pid = *pid;
  state_.phase = Phase::starting;
  auto process = open_process(*pid);
  if (!process) return std::move(process).error();
  process_ = *std::move(process);
  return {};
}

void Supervisor::adopt(Control control) {
  auto process = open_process(control.daemon_pid());
  auto status = control.status();  // after open_process: the process we watch is the one that answers
  if (!status) {
    state_.daemon_error = status.error().message;
    start_backoff_.fail(clock_.steady(), longest_delay);
    return;
  }
  // Before the routes of render_start() go, the same ones of the kernel must be there.
  if (state_.phase == Phase::starting) {
    if (auto scanned = control.scan_kernel("firn_kernel*"); !scanned) {
      state_.daemon_error = scanned.error().message;
      start_backoff_.fail(clock_.steady(), longest_delay);
      return;
    }
  }
  if (process) process_ = *std::move(process);
  control_ = std::move(control);
  state_.phase = Phase::running;
  state_.pid = control_->daemon_pid();
  state_.version = status->version;
  state_.daemon_error.clear();
}

// The configuration --------------------------------------------------------------------------------------------------------

std::chrono::milliseconds Supervisor::settle(TimePoint now) {
  if (state_.in_force) return quiet;
  if (now < apply_backoff_.due) return std::max(std::chrono::ceil<milliseconds>(apply_backoff_.due - now), start_poll);
  if (auto status = apply(); !status) {
    state_.config_error = status.error().message;
    // The stream may be lost: find_daemon() tells a dead BIRD from a closed connection.
    const bool passing = status.error().is(Code::unavailable);
    if (passing) control_.reset();
    apply_backoff_.fail(now, passing ? ask_again : longest_delay);
    return apply_backoff_.delay;
  }
  state_.in_force = true;
  state_.config_error.clear();
  return quiet;
}

Status Supervisor::apply() {
  if (auto status = prepare_directory(); !status) return status;
  const auto acknowledged = read_acknowledged();
  const auto on_disk = read_file(settings_.config_path(), max_config);
  const std::string instance = instance_of(state_.pid);
  if (acknowledged && !instance.empty() && acknowledged->instance == instance && acknowledged->text == wanted_->text && on_disk &&
      *on_disk == wanted_->text && verify_loaded()) {
    return {};
  }
  auto status = settings_.supervise ? apply_supervised() : apply_included();
  if (!status) return status;
  if (status = verify_loaded(); !status) return status;
  ++state_.applied;
  return acknowledge();
}

// The file BIRD would start from changes only once BIRD has found the new text good.
Status Supervisor::apply_supervised() {
  const std::string candidate = path("bird.conf.candidate");
  if (auto status = write_config(candidate, wanted_->text); !status) return status;
  auto checked = control_->check(candidate);
  ::unlink(candidate.c_str());
  if (!checked) return checked;
  const auto before = read_file(settings_.config_path(), max_config);
  if (auto status = write_config(settings_.config_path(), wanted_->text); !status) return status;
  auto status = control_->configure(settings_.config_path());
  if (!status && !status.error().is(Code::unavailable) && before) {
    if (auto back = write_config(settings_.config_path(), *before); !back) status.error().message += "; " + back.error().message;
  }
  return status;
}

// The administrator's file includes ours, so BIRD can only check ours in its place; a refused one is taken back at once.
Status Supervisor::apply_included() {
  const auto before = read_acknowledged();
  if (auto status = write_config(settings_.config_path(), wanted_->text); !status) return status;
  auto status = control_->apply("");
  if (!status && !status.error().is(Code::unavailable)) {
    const auto old = before ? std::string_view(before->text) : nothing_yet;
    if (auto back = write_config(settings_.config_path(), old); !back) status.error().message += "; " + back.error().message;
  }
  return status;
}

Status Supervisor::verify_loaded() {
  auto running = control_->sessions("firn_*");
  if (!running) return std::move(running).error();
  for (const auto& name : wanted_->protocols) {
    const bool there = std::any_of(running->begin(), running->end(), [&](const auto& s) { return s.protocol == name; });
    if (there) continue;
    std::string text = "BIRD read its configuration but knows no protocol " + name;
    if (!settings_.supervise) text += "; its bird.conf must contain: include \"" + settings_.run_directory + "/bird.con?\";";
    return make_error(Code::invalid, text);
  }
  return {};
}

Status Supervisor::acknowledge() {
  return write_file_atomic(path("acknowledged"), instance_of(state_.pid) + "\n" + wanted_->text, 0600);
}

std::optional<Supervisor::Acknowledged> Supervisor::read_acknowledged() const {
  auto content = read_file(path("acknowledged"), max_config);
  if (!content) return std::nullopt;
  const auto line = content->find('\n');
  if (line == std::string::npos) return std::nullopt;
  return Acknowledged{content->substr(0, line), content->substr(line + 1)};
}

// Passwords are inside: ours alone, or also the group that may use the existing BIRD's socket, which BIRD itself belongs to.
Status Supervisor::write_config(const std::string& file, std::string_view text) {
  if (settings_.supervise) return write_file_atomic(file, text, 0600);
  struct stat socket {};
  if (::stat(settings_.socket_path().c_str(), &socket) != 0) return errno_error("stat " + settings_.socket_path());
  if (::chown(settings_.run_directory.c_str(), 0, socket.st_gid) != 0) return errno_error("chown " + settings_.run_directory);
  if (auto status = write_file_atomic(file, text, 0640); !status) return status;
  if (::chown(file.c_str(), 0, socket.st_gid) != 0) return errno_error("chown " + file);
  return {};
}

// Questions ----------------------------------------------------------------------------------------------------------------

template <class T, class Ask>
Result<T> Supervisor::ask(Ask question) {
  if (!control_) {
    return make_error(Code::unavailable, "BIRD is " + std::string(to_string(state_.phase)) +
                                             (state_.daemon_error.empty() ? "" : ": " + state_.daemon_error));
  }
  Result<T> answer = question(*control_);
  // Once more on a fresh connection: BIRD may have restarted since the last question.
  if (!answer && answer.error().is(Code::unavailable) && !control_->open()) {
    auto again = Control::connect(settings_.socket_path());
    if (!again && !nobody(again.error())) note_silence(again.error());
    if (!again || again->daemon_pid() != state_.pid) return answer;
    control_ = *std::move(again);
    return question(*control_);
  }
  return answer;
}

Result<std::vector<Session>> Supervisor::sessions() {
  auto all = ask<std::vector<Session>>([](Control& control) { return control.sessions("firn_*"); });
  if (all) std::erase_if(*all, [](const Session& s) { return s.kind != "BGP"; });
  return all;
}

Result<std::vector<Prefix>> Supervisor::announced(std::string_view protocol) {
  return ask<std::vector<Prefix>>([&](Control& control) { return control.exported(protocol); });
}

Result<SessionRoutes> Supervisor::routes(std::string_view protocol) {
  SessionRoutes out;
  for (const bool filtered : {false, true}) {
    auto entries = ask<std::vector<RouteEntry>>([&](Control& control) { return control.imported(protocol, filtered); });
    if (!entries) return std::move(entries).error();
    (filtered ? out.rejected : out.accepted) = *std::move(entries);
  }
  auto told = announced(protocol);
  if (!told) return std::move(told).error();
  out.announced = *std::move(told);
  return out;
}

Result<bool> Supervisor::says_farewell(std::string_view protocol) {
  auto others =
      ask<std::vector<Prefix>>([&](Control& control) { return control.imported_without(protocol, model::graceful_shutdown); });
  if (!others) return std::move(others).error();
  return others->empty();
}

}  // namespace firn::routed::bird
