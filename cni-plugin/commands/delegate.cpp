#include "cni-plugin/commands/delegate.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "lib/base/unique_fd.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace firn::cni {

namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr std::chrono::seconds deadline{60};
constexpr size_t max_output = 1024 * 1024;

Fault broken(const std::string& what, std::string_view problem) {
  return fault(FaultCode::delegate, what + ": " + std::string(problem));
}

Outcome<std::string> find_plugin(const std::string& type, std::string_view path) {
  if (path.empty()) {
    return fault(FaultCode::invalid_environment, "required env variables [CNI_PATH] missing",
                 "it is needed to find the IPAM plugin " + type);
  }
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), directory.size() + 1));
    if (directory.empty() || directory.front() != '/') continue;
    std::string candidate = std::string(directory) + "/" + type;
    struct stat info {};
    if (::stat(candidate.c_str(), &info) == 0 && S_ISREG(info.st_mode)) return candidate;
  }
  return fault(FaultCode::delegate, "IPAM plugin " + type + " is not in CNI_PATH (" + std::string(path.substr(0, 256)) + ")",
               "install it there, or use \"firn-ipam\"");
}

// The text as a file, so that writing it cannot wait for a reader.
Result<unique_fd> text_file(const std::string& text) {
  unique_fd file(::memfd_create("stdin", MFD_CLOEXEC));
  if (!file) return errno_error("memfd_create");
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(file.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return errno_error("write");
    at += static_cast<size_t>(n);
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return errno_error("lseek");
  return file;
}

// `changed`: "NAME=VALUE", in place of this process's variables of those names.
Result<pid_t> start(const std::string& program, int input, int output, std::vector<std::string> changed) {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const bool replaced = std::ranges::any_of(
        changed, [&](const std::string& text) { return std::strncmp(*variable, text.c_str(), text.find('=') + 1) == 0; });
    if (!replaced) variables.push_back(*variable);
  }
  for (std::string& text : changed) variables.push_back(text.data());
  variables.push_back(nullptr);
  std::string name = program;
  char* arguments[] = {name.data(), nullptr};
  posix_spawn_file_actions_t actions;
  if (const int err = ::posix_spawn_file_actions_init(&actions); err != 0) return errno_error("start " + program, err);
  posix_spawnattr_t attributes;
  if (const int err = ::posix_spawnattr_init(&attributes); err != 0) {
    ::posix_spawn_file_actions_destroy(&actions);
    return errno_error("start " + program, err);
  }
  // This process ignores it, which a child would inherit.
  sigset_t defaults;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  pid_t pid = 0;
  int err = ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  if (err == 0) err = ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  if (err == 0) err = ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  if (err == 0) err = ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (err == 0) err = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, variables.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return errno_error("start " + program, err);
  return pid;
}

// Everything until the end of file: the end of the child, or of whoever inherited its stdout.
Result<std::string> read_until(int fd, SteadyClock::time_point until) {
  std::string out;
  char buffer[8192];
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - SteadyClock::now()).count();
    pollfd wanted{fd, POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno_error("poll");
    if (ready == 0)
      return make_error(Code::unavailable, "gave no answer in " + std::to_string(deadline.count()) + " s and was killed");
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read");
    if (n == 0) return out;
    if (out.size() + static_cast<size_t>(n) > max_output) return make_error(Code::invalid, "printed more than 1 MiB");
    out.append(buffer, static_cast<size_t>(n));
  }
}

int reap_child(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

Outcome<std::string> run(const Call& call, Verb verb, std::vector<std::string> changed) {
  const std::string& type = call.config.ipam.type;
  const std::string what = "IPAM plugin " + type + ", " + std::string(to_string(verb));
  auto program = find_plugin(type, call.environment.path);
  if (!program) return std::move(program).fault();
  auto input = text_file(call.config.text);
  if (!input) return broken(what, input.error().message);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return broken(what, errno_error("pipe").message);
  unique_fd read_end(ends[0]), write_end(ends[1]);
  changed.push_back("CNI_COMMAND=" + std::string(to_string(verb)));
  auto pid = start(*program, input->get(), write_end.get(), std::move(changed));
  if (!pid) return broken(what, pid.error().message);
  write_end.reset();
  auto output = read_until(read_end.get(), SteadyClock::now() + deadline);
  if (!output) ::kill(*pid, SIGKILL);
  const int status = reap_child(*pid);
  if (!output) return broken(what, output.error().message);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return *std::move(output);
  if (auto own = parse_error_json(*output)) {
    own->message = what + ": " + own->message;
    return *std::move(own);
  }
  if (WIFSIGNALED(status)) return broken(what, "ended by signal " + std::to_string(WTERMSIG(status)));
  return broken(what, "exit status " + std::to_string(WEXITSTATUS(status)) + " and no error object: " + output->substr(0, 512));
}

}  // namespace

Outcome<std::string> run_delegate(const Call& call, Verb verb) { return run(call, verb, {}); }

Outcome<std::string> release_by_delegate(const Call& call, const model::Endpoint& record) {
  return run(call, Verb::del,
             {"CNI_CONTAINERID=" + record.container_id, "CNI_IFNAME=" + record.ifname, "CNI_NETNS=" + record.netns});
}

Outcome<CniResult> delegate_add(const Call& call) {
  auto text = run_delegate(call, Verb::add);
  if (!text) return std::move(text).fault();
  const std::string what = "IPAM plugin " + call.config.ipam.type + ", ADD";
  auto document = json::Document::parse(*text);
  if (!document) return broken(what, document.error().message);
  auto result = parse_result(document->root());
  if (!result) return broken(what, result.error().message);
  if (result->ips.empty()) return broken(what, "its result has no addresses");
  return *std::move(result);
}

}  // namespace firn::cni
