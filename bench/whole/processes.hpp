// What the benchmarks of whole processes share: starting them, timing them, namespaces for them, and the figures.
// Owns nothing. Thread safety: none.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "bench: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

inline double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// One process: program, environment, text on its standard input. Output goes to a file that is shown when it fails.
struct Command {
  std::string program;
  std::vector<std::string> arguments, environment;
  std::string input;
};

inline pid_t start(const Command& c, int output) {
  std::vector<char*> argv{const_cast<char*>(c.program.c_str())}, env;
  for (const auto& a : c.arguments) argv.push_back(const_cast<char*>(a.c_str()));
  for (const auto& e : c.environment) env.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);
  const int in = ::memfd_create("stdin", MFD_CLOEXEC);
  if (::write(in, c.input.data(), c.input.size()) != static_cast<ssize_t>(c.input.size())) die("write stdin");
  ::lseek(in, 0, SEEK_SET);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output, 1);
  ::posix_spawn_file_actions_adddup2(&actions, output, 2);
  pid_t pid = 0;
  if (::posix_spawn(&pid, c.program.c_str(), &actions, nullptr, argv.data(), env.data()) != 0) die("start " + c.program);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in);
  return pid;
}

// Runs to the end and returns how long it took; stops the benchmark when it failed. `said`: what it printed.
inline double run(const Command& c, std::string* said = nullptr) {
  const int output = ::memfd_create("output", MFD_CLOEXEC);
  const auto begin = Clock::now();
  const pid_t pid = start(c, output);
  int status = 0;
  ::waitpid(pid, &status, 0);
  const double took = milliseconds(Clock::now() - begin);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    char text[2000] = {};
    ::lseek(output, 0, SEEK_SET);
    const ssize_t n = ::read(output, text, sizeof text - 1);
    std::fprintf(stderr, "bench: %s failed: %.*s\n", c.program.c_str(), static_cast<int>(std::max<ssize_t>(n, 0)), text);
    std::exit(1);
  }
  if (said != nullptr) {
    char text[65536];
    const ssize_t n = ::pread(output, text, sizeof text, 0);
    said->assign(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  }
  ::close(output);
  return took;
}

// A namespace kept alive by a bind mount, as container runtimes do. A child makes it so that this process stays where it is.
inline void make_netns(const std::string& path) {
  ::close(::open(path.c_str(), O_CREAT | O_RDONLY | O_CLOEXEC, 0600));
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::unshare(CLONE_NEWNET) != 0) ::_exit(1);
    ::_exit(::mount("/proc/self/ns/net", path.c_str(), nullptr, MS_BIND, nullptr) == 0 ? 0 : 2);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) die("make namespace " + path);
}

inline void drop_netns(const std::string& path) {
  ::umount2(path.c_str(), MNT_DETACH);
  ::unlink(path.c_str());
}

inline std::vector<std::string> cni_environment(const std::string& verb, const std::string& id, const std::string& netns,
                                                const std::string& path) {
  return {"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_NETNS=" + netns,
          "CNI_IFNAME=eth0",     "CNI_PATH=" + path,      "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
}

class Samples {
 public:
  void add(const std::string& name, double value) { values_[name].push_back(value); }
  double quantile(const std::string& name, double q) {
    auto& v = values_[name];
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v[std::min(v.size() - 1, static_cast<size_t>(q * static_cast<double>(v.size())))];
  }
  void row(const std::string& name) {
    std::printf("  %-34s p50 %7.3f   p99 %7.3f ms\n", name.c_str(), quantile(name, 0.50), quantile(name, 0.99));
  }
  void ratio(const std::string& a, const std::string& b, const char* goal) {
    std::printf("  %-34s p50 %7.3f   p99 %7.3f      goal %s\n", (a + " / " + b).c_str(), quantile(a, 0.5) / quantile(b, 0.5),
                quantile(a, 0.99) / quantile(b, 0.99), goal);
  }

 private:
  std::map<std::string, std::vector<double>> values_;
};

}  // namespace bench
