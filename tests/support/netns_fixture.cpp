#include "tests/support/netns_fixture.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "lib/base/file.hpp"

namespace firn::test {

namespace {

const std::string directory = "/run/netns";
const std::string prefix = "firn-t-";

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "NetnsFixture: %s (network namespaces need root)\n", what.c_str());
  std::abort();
}

void remove_named(const std::string& path) {
  ::umount2(path.c_str(), MNT_DETACH);
  ::unlink(path.c_str());
}

// "firn-t-PID-N" whose process is gone: its test was killed.
void remove_leftovers() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string file = entry.path().filename();
    if (!file.starts_with(prefix)) continue;
    const long pid = std::strtol(file.c_str() + prefix.size(), nullptr, 10);
    if (pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) remove_named(entry.path());
  }
}

void mount_at(const std::string& path) {
  ::mkdir(directory.c_str(), 0755);
  remove_leftovers();
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file) give_up("cannot create " + path);
  if (::mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) give_up("cannot mount " + path);
}

void loopback_up() {
  auto kernel = netlink::open_kernel();
  if (!kernel) give_up(kernel.error().message);
  netlink::SetLink up;
  up.index = 1;
  up.up = true;
  if (auto status = netlink::all_done((*kernel)->apply(std::vector<netlink::Request>{up})); !status.ok()) {
    give_up(status.error().message);
  }
}

}  // namespace

NetnsFixture::NetnsFixture(Kind kind) {
  static std::atomic<int> counter{0};
  if (kind == Kind::named) {
    name_ = prefix + std::to_string(::getpid()) + "-" + std::to_string(++counter);
    path_ = directory + "/" + name_;
  }
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) give_up("unshare failed");
    if (kind == Kind::named) mount_at(path_);
    auto opened = netlink::open_netns("/proc/thread-self/ns/net");
    if (!opened) give_up(opened.error().message);
    netns_ = std::move(*opened);
    loopback_up();
  }).join();
  if (kind == Kind::anonymous) path_ = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd());
}

NetnsFixture::~NetnsFixture() {
  if (!name_.empty()) remove_named(path_);
}

void NetnsFixture::enter() const {
  if (auto status = netlink::enter_netns(netns_); !status.ok()) give_up(status.error().message);
}

std::unique_ptr<netlink::Kernel> NetnsFixture::kernel() const {
  return run([] {
    auto kernel = netlink::open_kernel();
    if (!kernel) give_up(kernel.error().message);
    return std::move(*kernel);
  });
}

std::string NetnsFixture::read(const std::string& file) const {
  return run([&] {
    auto content = read_file(file);
    if (!content) return std::string();
    while (!content->empty() && content->back() == '\n') content->pop_back();
    return std::move(*content);
  });
}

int run_program(const NetnsFixture* netns, const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: execvp wants no const
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) give_up("fork failed");
  if (child == 0) {
    if (netns != nullptr && ::setns(netns->fd(), CLONE_NEWNET) != 0) ::_exit(126);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace firn::test
