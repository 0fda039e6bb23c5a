#include "routed/bird/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "lib/base/file.hpp"

namespace firn::routed::bird {

namespace {

// posix_spawn's two argument blocks, freed on every path.
struct SpawnSetup {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
};

}  // namespace

Result<pid_t> spawn_detached(const std::vector<std::string>& arguments, const std::string& output) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[] = {path.data(), nullptr};

  SpawnSetup setup;
  posix_spawn_file_actions_addopen(&setup.actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&setup.actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&setup.actions, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&setup.actions, 3);
  posix_spawn_file_actions_addchdir_np(&setup.actions, "/");
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &all);
  posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  pid_t pid = 0;
  const int err = posix_spawn(&pid, argv[0], &setup.actions, &setup.attributes, argv.data(), environment);
  if (err != 0) {
    auto error = errno_error("start " + arguments[0], err);
    if (err == ENOENT) error.message += "; install the package bird2, or set bird.binary";
    return error;
  }
  return pid;
}

Status check_with_binary(const std::string& binary, const std::string& file, const std::string& output,
                         std::chrono::milliseconds deadline) {
  auto pid = spawn_detached({binary, "-p", "-c", file}, output);
  if (!pid) return std::move(pid).error();
  int status = 0;
  auto process = open_process(*pid);
  pollfd entry{process ? process->get() : -1, POLLIN, 0};
  const bool in_time = process && ::poll(&entry, 1, static_cast<int>(deadline.count())) == 1;
  if (!in_time) ::kill(*pid, SIGKILL);
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {}
  if (!process) return std::move(process).error();
  if (!in_time)
    return make_error(Code::unavailable, "'" + binary + " -p' did not end within " + std::to_string(deadline.count()) + " ms");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return make_error(Code::invalid, "check of the configuration: " + last_words(output));
}

Result<unique_fd> open_process(pid_t pid) {
  // By number: glibc 2.36 declares pidfd_open() without extern "C".
  unique_fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return errno_error("watch process " + std::to_string(pid));
  return fd;
}

bool has_ended(const unique_fd& process) {
  pollfd entry{process.get(), POLLIN, 0};
  return process && ::poll(&entry, 1, 0) == 1;
}

std::string instance_of(pid_t pid) {
  if (pid <= 0) return {};
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat) return {};
  // The second field is the name in parentheses and may hold anything; the third follows the last parenthesis.
  std::string_view rest = *stat;
  const auto name_end = rest.rfind(')');
  if (name_end == std::string_view::npos) return {};
  rest.remove_prefix(name_end + 1);
  for (int field = 3; field <= 22; ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto end = std::min(rest.find(' '), rest.size());
    if (field == 22) return std::to_string(pid) + " " + std::string(rest.substr(0, end));
    rest.remove_prefix(end);
  }
  return {};
}

std::string last_words(const std::string& file) {
  auto content = read_file(file);
  if (!content) return {};
  std::string out = content->substr(content->size() > 400 ? content->size() - 400 : 0);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

}  // namespace firn::routed::bird
