// Hosts and routers for tests with real BIRD: namespaces of the test's own, joined by veths. A Host is what firn-routed holds
// there; a Router is a BIRD with a configuration written by hand.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "lib/base/file.hpp"
#include "routed/bird/keeper.hpp"
#include "routed/bird/process.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn::routed::bird {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::NetnsFixture;
using testing::HasSubstr;

inline Address address(std::string_view text) { return Address::parse(text).value(); }
inline Prefix prefix(std::string_view text) { return Prefix::parse(text).value(); }

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/tmp/firn-t-bird-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  std::string operator/(std::string_view file) const { return path_ + "/" + std::string(file); }

 private:
  std::string path_;
};

// Ends a process by its id; it may or may not be our child.
inline void end_process(pid_t pid, int signal = SIGKILL) {
  if (pid <= 0) return;
  auto process = open_process(pid);
  ::kill(pid, signal);
  for (int i = 0; process && !has_ended(*process) && i < 500; ++i) ::usleep(10'000);
  if (process && !has_ended(*process)) ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

inline void ip(const NetnsFixture& netns, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  EXPECT_EQ(test::run_program(&netns, arguments), 0) << arguments[1] << " " << arguments[2];
}

// What `ip` prints, to look for a route in it.
inline std::string ip_output(const NetnsFixture& netns, const std::vector<std::string>& arguments) {
  const TempDirectory directory;
  const std::string file = directory / "output";
  std::vector<std::string> all = {"/usr/sbin/ip"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto pid = netns.run([&] { return spawn_detached(all, file); });
  if (!pid) return pid.error().message;
  ::waitpid(*pid, nullptr, 0);
  return read_file(file).value();
}

inline bool has_route(const NetnsFixture& netns, const std::string& route, const std::string& words = "proto bird") {
  const bool v6 = route.find(':') != std::string::npos;
  return ip_output(netns, {v6 ? "-6" : "-4", "route", "show", route}).find(words) != std::string::npos;
}

inline void veth(const NetnsFixture& a, const std::string& a_name, const std::string& a_network, const NetnsFixture& b,
                 const std::string& b_name, const std::string& b_network) {
  ip(a, {"link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.name()});
  const auto bring_up = [](const NetnsFixture& netns, const std::string& name, const std::string& network) {
    ip(netns, {"addr", "add", "10.0." + network, "dev", name});
    std::string six = "fd00:0:0:" + network.substr(0, network.find('.')) + "::" + network.substr(network.find('.') + 1);
    six.replace(six.find('/'), 3, "/64");
    ip(netns, {"addr", "add", six, "dev", name, "nodad"});
    ip(netns, {"link", "set", name, "up"});
  };
  bring_up(a, a_name, a_network);
  bring_up(b, b_name, b_network);
}

inline std::string words_of(const Result<Reply>& reply) {
  if (!reply) return reply.error().message;
  std::string out;
  for (const ReplyLine& line : reply->lines) out += line.text + "\n";
  return out;
}

// A router that is not ours: BIRD with a configuration written by hand.
class Router {
 public:
  Router(const NetnsFixture& netns, const std::string& id, const std::string& rest) : netns_(netns) {
    const std::string head =
        "log \"" + (directory_ / "log") + "\" all;\nrouter id " + id + ";\nprotocol device {}\n" +
        "protocol kernel { ipv4 { import none; export all; }; }\nprotocol kernel { ipv6 { import none; export all; }; }\n";
    EXPECT_TRUE(write_file_atomic(directory_ / "bird.conf", head + rest).ok());
    start();
  }
  ~Router() { end_process(pid_, SIGTERM); }
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  pid_t pid() const { return pid_; }
  // What it answers to a command, line by line.
  std::string ask(const std::string& command) const {
    auto control = Control::connect(directory_ / "bird.ctl");
    if (!control) return control.error().message;
    return words_of(control->command(command));
  }

 private:
  void start() {
    auto pid = netns_.run([&] {
      return spawn_detached(
          {"/usr/sbin/bird", "-f", "-c", directory_ / "bird.conf", "-s", directory_ / "bird.ctl", "-P", directory_ / "bird.pid"},
          directory_ / "output");
    });
    ASSERT_TRUE(pid.ok()) << pid.error().message;
    pid_ = *pid;
    for (int i = 0; i < 500 && !Control::connect(directory_ / "bird.ctl"); ++i) ::usleep(10'000);
    ASSERT_TRUE(Control::connect(directory_ / "bird.ctl").ok()) << last_words(directory_ / "output");
  }

  const NetnsFixture& netns_;
  TempDirectory directory_;
  pid_t pid_ = 0;
};

inline std::string router_session(const std::string& name, const std::string& host, const std::string& options = "") {
  const bool v6 = host.find(':') != std::string::npos;
  return "protocol bgp " + name + " { local as 64600; neighbor " + host +
         " as 64512; direct; connect delay time 1; connect retry time 2;\n" + "error wait time 1, 2; graceful restart on; " +
         options + "\n" + (v6 ? "ipv6" : "ipv4") + " { next hop self; import all; export where source = RTS_STATIC; }; }\n";
}

constexpr const char* two_networks =
    "protocol static { ipv4;\n route 10.200.0.0/24 blackhole;\n route 10.201.0.0/24 blackhole;\n}\n";

inline ResolvedPeer peer(std::string name, std::string_view at) {
  ResolvedPeer out;
  out.peer.name = std::move(name);
  out.peer.address = address(at);
  out.peer.as_number = 64600;
  out.peer.connect_retry = 2;
  return out;
}

// The host: a namespace, and what firn-routed holds there. BIRD is ended with the test, not with the Supervisor.
class Host {
 public:
  explicit Host(bool supervise = true) {
    settings.supervise = supervise;
    settings.run_directory = directory / "run";
    if (!supervise) settings.socket = directory / "admin.ctl";
    config.local_as = 64512;
    config.router_id = address("10.0.1.1");
    config.log_file = settings.log_path();
    restart_routed();
  }
  ~Host() {
    end_process(last_pid_);
    if (supervisor) end_process(supervisor->state().pid);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void restart_routed() { supervisor.emplace(settings, clock); }
  void want() {
    auto rendered = render(config);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    supervisor->want(*rendered);
  }
  // Runs the loop until the condition holds. The limit is only there to end a test that fails.
  bool until(const std::function<bool()>& condition) {
    const auto limit = steady_clock::now() + std::chrono::seconds(40);
    while (steady_clock::now() < limit) {
      netns.run([&] { (void)supervisor->tick(); });
      if (supervisor->state().pid > 0) last_pid_ = supervisor->state().pid;
      if (condition()) return true;
      ::usleep(20'000);
    }
    return false;
  }
  bool until_in_force() {
    return until([&] { return supervisor->state().in_force; });
  }
  std::optional<Session> session(const std::string& name) {
    auto all = supervisor->sessions();
    if (!all) return std::nullopt;
    const auto it = std::find_if(all->begin(), all->end(), [&](const auto& s) { return s.protocol == protocol_of(name); });
    return it == all->end() ? std::nullopt : std::optional(*it);
  }
  std::string ask(const std::string& command) {
    auto control = Control::connect(settings.socket_path());
    return control ? words_of(control->command(command)) : control.error().message;
  }
  bool established(const std::string& name) {
    const auto found = session(name);
    return found && found->established();
  }
  bool until_established(const std::string& name) {
    return until([&] { return established(name); });
  }
  std::string why() const { return supervisor->state().daemon_error + " | " + supervisor->state().config_error; }

  TempDirectory directory;
  NetnsFixture netns{NetnsFixture::Kind::named};
  SystemClock clock;
  Settings settings;
  Config config;
  std::optional<Supervisor> supervisor;

 private:
  pid_t last_pid_ = 0;
};

class Bird : public testing::Test {
 protected:
  void SetUp() override {
    veth(host.netns, "h1", "1.1/24", router1, "r1", "1.2/24");
    veth(host.netns, "h2", "2.1/24", router2, "r2", "2.2/24");
  }
  NetnsFixture router1{NetnsFixture::Kind::named}, router2{NetnsFixture::Kind::named};
  Host host;
};

}  // namespace firn::routed::bird
