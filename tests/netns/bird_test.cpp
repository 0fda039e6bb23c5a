// Real BIRD on both sides of a veth, in namespaces of the test's own: what the generated configuration does on the wire, and what
// the supervisor does when things die. The routers run a small configuration written here by hand.
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
#include "routed/bird/process.hpp"
#include "routed/bird/keeper.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn::routed::bird {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::NetnsFixture;
using testing::HasSubstr;

Address address(std::string_view text) { return Address::parse(text).value(); }
Prefix prefix(std::string_view text) { return Prefix::parse(text).value(); }

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
void end_process(pid_t pid, int signal = SIGKILL) {
  if (pid <= 0) return;
  auto process = open_process(pid);
  ::kill(pid, signal);
  for (int i = 0; process && !has_ended(*process) && i < 500; ++i) ::usleep(10'000);
  if (process && !has_ended(*process)) ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

void ip(const NetnsFixture& netns, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  EXPECT_EQ(test::run_program(&netns, arguments), 0) << arguments[1] << " " << arguments[2];
}

// What `ip` prints, to look for a route in it.
std::string ip_output(const NetnsFixture& netns, const std::vector<std::string>& arguments) {
  const TempDirectory directory;
  const std::string file = directory / "output";
  std::vector<std::string> all = {"/usr/sbin/ip"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto pid = netns.run([&] { return spawn_detached(all, file); });
  if (!pid) return pid.error().message;
  ::waitpid(*pid, nullptr, 0);
  return read_file(file).value();
}

bool has_route(const NetnsFixture& netns, const std::string& route, const std::string& words = "proto bird") {
  const bool v6 = route.find(':') != std::string::npos;
  return ip_output(netns, {v6 ? "-6" : "-4", "route", "show", route}).find(words) != std::string::npos;
}

void veth(const NetnsFixture& a, const std::string& a_name, const std::string& a_network, const NetnsFixture& b,
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

std::string router_session(const std::string& name, const std::string& host, const std::string& options = "") {
  const bool v6 = host.find(':') != std::string::npos;
  return "protocol bgp " + name + " { local as 64600; neighbor " + host +
         " as 64512; direct; connect delay time 1; connect retry time 2;\n" + "error wait time 1, 2; graceful restart on; " +
         options + "\n" + (v6 ? "ipv6" : "ipv4") + " { next hop self; import all; export where source = RTS_STATIC; }; }\n";
}

constexpr const char* two_networks =
    "protocol static { ipv4;\n route 10.200.0.0/24 blackhole;\n route 10.201.0.0/24 blackhole;\n}\n";

ResolvedPeer peer(std::string name, std::string_view at) {
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

TEST_F(Bird, BlocksInTheKernelReachTheRoutersAndLeaveThem) {
  const Router router(router1, "10.0.1.2", router_session("h4", "10.0.1.1") + router_session("h6", "fd00:0:0:1::1"));
  host.config.peers = {peer("tor", "10.0.1.2"), peer("tor6", "fd00:0:0:1::2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ip(host.netns, {"route", "add", "10.77.0.5/32", "dev", "h1", "proto", "241"});
  ip(host.netns, {"route", "add", "blackhole", "10.88.0.0/26", "proto", "99"});
  ASSERT_TRUE(host.until_established("tor")) << host.why();
  ASSERT_TRUE(host.until_established("tor6")) << host.why();
  ASSERT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26", "via 10.0.1.1"); }));
  const auto applied = host.supervisor->state().applied;

  // A block that comes later, of the other family: nothing is sent to BIRD.
  ip(host.netns, {"-6", "route", "add", "blackhole", "fd77::/122", "proto", "241"});
  ASSERT_TRUE(host.until(
      [&] { return has_route(router1, "fd77::/122", "via fd00:0:0:1::1") || has_route(router1, "fd77::/122", "via fe80"); }));
  EXPECT_EQ(host.supervisor->state().applied, applied);
  EXPECT_EQ(host.supervisor->announced(protocol_of("tor")).value(), std::vector<Prefix>{prefix("10.77.0.0/26")});
  EXPECT_EQ(host.supervisor->announced(protocol_of("tor6")).value(), std::vector<Prefix>{prefix("fd77::/122")});
  EXPECT_FALSE(has_route(router1, "10.77.0.5")) << "endpoints are not announced";
  EXPECT_FALSE(has_route(router1, "10.88.0.0/26")) << "foreign routes are not announced";
  const auto session = host.session("tor");
  EXPECT_EQ(session->neighbor_as, 64600U);
  EXPECT_EQ(session->hold_time, 240);
  ASSERT_EQ(session->channels.size(), 1U);
  EXPECT_EQ(session->channels[0].exported, 1U);

  ip(host.netns, {"route", "del", "blackhole", "10.77.0.0/26", "proto", "241"});
  EXPECT_TRUE(host.until([&] { return !has_route(router1, "10.77.0.0/26"); }));
}

TEST_F(Bird, AHostIsNoTransit) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  const Router two(router2, "10.0.2.2", router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2"), peer("two", "10.0.2.2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24", "via 10.0.1.2"); })) << host.why();
  ASSERT_TRUE(host.until([&] { return has_route(router2, "10.77.0.0/26"); }));
  EXPECT_EQ(host.supervisor->announced(protocol_of("two")).value(), std::vector<Prefix>{prefix("10.77.0.0/26")});
  EXPECT_FALSE(has_route(router2, "10.200.0.0/24"));
}

TEST_F(Bird, ARouterThatAnnouncesOurBlockDoesNotDisplaceIt) {
  const Router one(router1, "10.0.1.2",
                   "protocol static { ipv4;\n route 10.77.0.0/26 blackhole;\n route 10.200.0.0/24 blackhole;\n}\n" +
                       router_session("h", "10.0.1.1"));
  const Router two(router2, "10.0.2.2", router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2"), peer("two", "10.0.2.2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24"); })) << host.why();
  EXPECT_TRUE(host.until([&] { return has_route(router2, "10.77.0.0/26", "via 10.0.2.1"); }));
  EXPECT_FALSE(has_route(host.netns, "10.77.0.0/26", "proto bird"));
}

TEST_F(Bird, TwoRoutersGiveOneRouteOfTwoPaths) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  const Router two(router2, "10.0.2.2", two_networks + router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2"), peer("two", "10.0.2.2")};
  host.want();
  EXPECT_TRUE(host.until([&] {
    return has_route(host.netns, "10.200.0.0/24", "nexthop via 10.0.1.2") &&
           has_route(host.netns, "10.200.0.0/24", "nexthop via 10.0.2.2");
  })) << host.why();
}

TEST_F(Bird, ImportAndExportFiltersChangeWithoutAFlap) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.import_rules = {{true, prefix("10.200.0.0/16"), 16, 24}};
  host.config.peers[0].peer.export_rules = {{true, prefix("10.77.0.0/16"), 26, 26}};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ip(host.netns, {"route", "add", "blackhole", "10.78.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24"); })) << host.why();
  ASSERT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26"); }));
  EXPECT_FALSE(has_route(host.netns, "10.201.0.0/24"));
  EXPECT_FALSE(has_route(router1, "10.78.0.0/26"));

  const auto since = host.session("one")->since;
  host.config.peers[0].peer.import_rules = {{true, prefix("10.201.0.0/16"), 16, 24}};
  host.config.peers[0].peer.export_rules = {{true, prefix("10.78.0.0/16"), 26, 26}};
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  EXPECT_TRUE(host.until([&] { return has_route(host.netns, "10.201.0.0/24") && !has_route(host.netns, "10.200.0.0/24"); }));
  EXPECT_TRUE(host.until([&] { return has_route(router1, "10.78.0.0/26") && !has_route(router1, "10.77.0.0/26"); }));
  EXPECT_EQ(host.session("one")->since, since);
}

TEST_F(Bird, ANewPeerLeavesTheOtherSessionAlone) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1"));
  const Router two(router2, "10.0.2.2", router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until_established("one")) << host.why();
  const auto since = host.session("one")->since;
  const auto applied = host.supervisor->state().applied;

  host.config.peers.push_back(peer("two", "10.0.2.2"));
  host.want();
  ASSERT_TRUE(host.until_established("two")) << host.why();
  EXPECT_EQ(host.session("one")->since, since);
  EXPECT_TRUE(host.established("one"));
  EXPECT_EQ(host.supervisor->state().applied, applied + 1);

  host.want();
  ASSERT_TRUE(host.until_in_force());
  EXPECT_EQ(host.supervisor->state().applied, applied + 1) << "the identical configuration is not sent";

  host.config.peers.erase(host.config.peers.begin() + 1);
  host.want();
  ASSERT_TRUE(host.until_in_force());
  EXPECT_FALSE(host.session("two").has_value());
  EXPECT_EQ(host.session("one")->since, since);
}

TEST_F(Bird, ARefusedConfigurationLeavesEverythingAsItIs) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until_established("one")) << host.why();
  const auto since = host.session("one")->since;
  const auto before = read_file(host.settings.config_path()).value();

  host.supervisor->want(Rendered{"router id 10.0.1.1;\nprotocol nonsense {\n", {}});
  ASSERT_TRUE(host.until([&] { return !host.supervisor->state().config_error.empty(); }));
  EXPECT_THAT(host.supervisor->state().config_error, HasSubstr(":2:10 "));
  EXPECT_FALSE(host.supervisor->state().in_force);
  EXPECT_EQ(host.session("one")->since, since);
  EXPECT_EQ(read_file(host.settings.config_path()).value(), before);

  // Nor does BIRD lose what it can run when it dies meanwhile.
  ::kill(host.supervisor->state().pid, SIGKILL);
  ASSERT_TRUE(host.until([&] { return host.supervisor->state().restarts == 1; }));
  EXPECT_TRUE(host.until_established("one")) << host.why();
  EXPECT_FALSE(host.supervisor->state().in_force);

  host.want();
  EXPECT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().config_error, "");
}

TEST_F(Bird, ADeadBirdIsReplacedAndTheRouterKeepsTheRoute) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26") && has_route(host.netns, "10.200.0.0/24"); }))
      << host.why();
  const pid_t dead = host.supervisor->state().pid;
  ::kill(dead, SIGKILL);
  bool kept = true;
  ASSERT_TRUE(host.until([&] {
    kept = kept && has_route(router1, "10.77.0.0/26") && has_route(host.netns, "10.200.0.0/24");
    return host.supervisor->state().restarts == 1 && host.established("one");
  })) << host.why();
  for (int i = 0; i < 20; ++i) {
    kept = kept && has_route(router1, "10.77.0.0/26") && has_route(host.netns, "10.200.0.0/24");
    ::usleep(20'000);
  }
  EXPECT_TRUE(kept);
  EXPECT_NE(host.supervisor->state().pid, dead);
  EXPECT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().daemon_error, "");
}

TEST_F(Bird, ASilentBirdIsAskedEverySecondAndNeverReplaced) {
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  const pid_t pid = host.supervisor->state().pid;
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  host.config.peers.push_back(peer("two", "10.0.1.3"));
  host.want();
  ASSERT_TRUE(host.until([&] { return host.supervisor->state().phase == Phase::silent; })) << host.why();
  EXPECT_THAT(host.supervisor->state().daemon_error, HasSubstr("does not answer"));
  for (int i = 0; i < 3; ++i) {
    const auto wait = host.netns.run([&] { return host.supervisor->tick(); });
    EXPECT_LE(wait.count(), 1000);
    EXPECT_EQ(host.supervisor->state().pid, pid);
  }
  EXPECT_FALSE(host.supervisor->state().in_force);
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  ASSERT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().pid, pid);
  EXPECT_EQ(host.supervisor->state().restarts, 0U);
  EXPECT_TRUE(host.session("two").has_value());
}

// The thread that BIRD has of its own: what is wanted gets there, what BIRD says comes back, and nobody waits when it says nothing.
TEST_F(Bird, TheKeeperTellsTheLastItKnows) {
  host.config.peers = {peer("one", "10.0.1.2")};
  std::atomic<int> changes = 0;
  auto keeper = host.netns.run([&] { return Keeper::start(host.settings, host.clock, [&] { ++changes; }); });
  ASSERT_TRUE(keeper.ok()) << keeper.error().message;
  (*keeper)->set_blocks({prefix("10.99.0.0/26")});
  (*keeper)->want(render(host.config).value());
  const auto until = [&](const std::function<bool(const Report&)>& holds) {
    const auto limit = steady_clock::now() + std::chrono::seconds(20);
    while (steady_clock::now() < limit) {
      if (holds((*keeper)->report(milliseconds(10)))) return true;
      ::usleep(5'000);
    }
    return false;
  };
  ASSERT_TRUE(until([](const Report& r) { return r.state.in_force && r.sessions.size() == 1; }));
  EXPECT_GT(changes, 0);
  const pid_t pid = (*keeper)->report({}).state.pid;
  EXPECT_NE(read_file(host.settings.run_directory + "/bird.conf").value().find("firn_peer_one"), std::string::npos);
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  ASSERT_TRUE(until([](const Report& r) { return r.state.phase == Phase::silent && r.sessions.empty(); }));
  host.config.peers.push_back(peer("two", "10.0.1.3"));
  (*keeper)->want(render(host.config).value());
  EXPECT_FALSE((*keeper)->report({}).state.in_force);
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  EXPECT_TRUE(until([](const Report& r) { return r.state.in_force && r.sessions.size() == 2; }));
  keeper->reset();
  end_process(pid);
}

TEST_F(Bird, ARestartedRoutedAdoptsTheRunningBird) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until_established("one")) << host.why();
  ASSERT_TRUE(host.until_in_force());
  const auto since = host.session("one")->since;
  const pid_t pid = host.supervisor->state().pid;

  host.restart_routed();
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().pid, pid);
  EXPECT_EQ(host.supervisor->state().applied, 0U) << "BIRD had acknowledged this very text";
  EXPECT_EQ(host.session("one")->since, since);

  // The adopted BIRD is no child; its end is seen all the same.
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(host.until([&] { return host.supervisor->state().restarts == 1 && host.supervisor->state().in_force; }))
      << host.why();
  EXPECT_NE(host.supervisor->state().pid, pid);

  // "The file matches" is not "the daemon loaded it": another file on the disk is put right.
  const std::string good = read_file(host.settings.config_path()).value();
  ASSERT_TRUE(write_file_atomic(host.settings.config_path(), "nonsense", 0600).ok());
  host.restart_routed();
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().applied, 1U);
  EXPECT_EQ(read_file(host.settings.config_path()).value(), good);

  // So is a BIRD that somebody gave another configuration: the next resync finds out.
  ASSERT_TRUE(write_file_atomic(host.directory / "other.conf", "router id 10.0.1.1;\nprotocol device {}\n", 0600).ok());
  auto control = Control::connect(host.settings.socket_path());
  ASSERT_TRUE(control.ok() && control->apply(host.directory / "other.conf").ok());
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  EXPECT_EQ(host.supervisor->state().applied, 2U);
  EXPECT_TRUE(host.session("one").has_value());
}

TEST_F(Bird, BirdHasItsOwnSessionAndItsFilesAreOurs) {
  host.want();
  ASSERT_TRUE(host.until_in_force()) << host.why();
  const pid_t pid = host.supervisor->state().pid;
  EXPECT_EQ(::getsid(pid), pid);
  struct stat info {};
  ASSERT_EQ(::stat(host.settings.config_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat((host.directory / "run/acknowledged").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat(host.settings.run_directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code ignored;
    files += std::filesystem::read_symlink(entry.path(), ignored).string().starts_with("/run/netns") ? 1 : 0;
  }
  EXPECT_EQ(files, 0U) << "no descriptor of ours lives on in BIRD";
}

TEST_F(Bird, PasswordsMustAgree) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1", "password \"right\";"));
  const Router two(router2, "10.0.2.2", router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2"), peer("two", "10.0.2.2")};
  host.config.peers[0].peer.password_file = "/etc/firn/one.password";
  host.config.peers[0].password = "wrong";
  host.want();
  ASSERT_TRUE(host.until_established("two")) << host.why();
  // The router has had at least one attempt of ours by now, as the session to the other one shows.
  ASSERT_TRUE(host.until([&] { return host.session("one") && host.session("one")->bgp_state == "Connect"; }));
  EXPECT_FALSE(host.established("one"));
  host.config.peers[0].password = "right";
  host.want();
  EXPECT_TRUE(host.until_established("one")) << host.why();
}

TEST_F(Bird, BfdEndsASessionLongBeforeItsHoldTime) {
  const Router one(
      router1, "10.0.1.2",
      "protocol bfd { interface \"*\" { interval 300 ms; multiplier 3; }; }\n" + router_session("h", "10.0.1.1", "bfd on;"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.bfd = true;
  host.config.peers[0].peer.graceful_restart = false;
  host.want();
  ASSERT_TRUE(host.until_established("one")) << host.why();
  // Both ends must have seen BFD up before its silence means anything.
  const auto bfd_up = [&] {
    auto control = Control::connect(host.settings.socket_path());
    auto reply = control ? control->command("show bfd sessions") : Result<Reply>(control.error());
    return reply && std::any_of(reply->lines.begin(), reply->lines.end(),
                                [](const auto& l) { return l.text.find(" Up ") != std::string::npos; });
  };
  ASSERT_TRUE(host.until(bfd_up));
  ::kill(one.pid(), SIGSTOP);
  const bool ended = host.until([&] { return !host.established("one"); });
  const auto session = host.session("one");
  ::kill(one.pid(), SIGCONT);
  EXPECT_TRUE(ended);
  ASSERT_TRUE(session.has_value());
  EXPECT_THAT(session->last_error, HasSubstr("BFD"));
}

TEST_F(Bird, SeveralHopsAwayWithTtlSecurity) {
  // host - router1 - router2; the session goes to router2's far address, over the host's own static route.
  veth(router1, "m1", "3.1/24", router2, "m2", "3.2/24");
  ASSERT_TRUE(router1.run([] { return write_sysctl("/proc/sys/net/ipv4/ip_forward", "1"); }).ok());
  ip(host.netns, {"route", "add", "10.0.3.0/24", "via", "10.0.1.2"});
  ip(router2, {"route", "add", "10.0.1.0/24", "via", "10.0.3.1"});
  const Router far(router2, "10.0.3.2",
                   std::string(two_networks) + "protocol direct { ipv4; }\n" +
                       "protocol bgp h { local as 64600; neighbor 10.0.1.1 as 64512; multihop 2; ttl security on; connect delay "
                       "time 1; connect retry time 2;\n"
                       "ipv4 { next hop self; import all; export where source = RTS_STATIC; }; }\n");
  host.config.peers = {peer("far", "10.0.3.2")};
  host.config.peers[0].peer.multihop = 2;
  host.config.peers[0].peer.ttl_security = true;
  host.config.peers[0].peer.source = address("10.0.1.1");
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until_established("far")) << host.why();
  EXPECT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24", "via 10.0.1.2"); }));
  EXPECT_EQ(host.supervisor->announced(protocol_of("far")).value(), std::vector<Prefix>{prefix("10.77.0.0/26")});
}

TEST_F(Bird, WithoutABinaryTheErrorSaysSo) {
  host.settings.binary = "/nonexistent/bird";
  host.restart_routed();
  host.want();
  ASSERT_TRUE(host.until([&] { return !host.supervisor->state().daemon_error.empty(); }));
  EXPECT_THAT(host.supervisor->state().daemon_error, HasSubstr("/nonexistent/bird"));
  EXPECT_EQ(host.supervisor->state().phase, Phase::down);
  const auto answer = host.supervisor->sessions();
  ASSERT_FALSE(answer.ok());
  EXPECT_TRUE(answer.error().is(Code::unavailable));
}

// An administrator's BIRD, as root here; it includes our file.
class ExistingBird : public testing::Test {
 protected:
  ExistingBird() { veth(host.netns, "h1", "1.1/24", router1, "r1", "1.2/24"); }
  ~ExistingBird() override { end_process(admin_); }
  void start_admin(const std::string& include) {
    const std::string file = host.directory / "admin.conf";
    // As tmpfiles.d does at boot: BIRD refuses to start on a pattern whose directory is not there.
    ASSERT_TRUE(make_directories(host.settings.run_directory).ok());
    ASSERT_TRUE(write_file_atomic(file, "router id 10.0.1.1;\nprotocol device {}\n" + include).ok());
    auto pid = host.netns.run([&] {
      return spawn_detached({"/usr/sbin/bird", "-f", "-c", file, "-s", host.settings.socket, "-P", host.directory / "admin.pid"},
                            host.directory / "admin.output");
    });
    ASSERT_TRUE(pid.ok());
    admin_ = *pid;
  }
  NetnsFixture router1{NetnsFixture::Kind::named};
  Host host{false};
  pid_t admin_ = 0;
};

TEST_F(ExistingBird, OurPartIsIncludedAndARefusedOneTakenBack) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1"));
  start_admin("include \"" + host.settings.run_directory + "/bird.con?\";\n");
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until_established("one")) << host.why();
  ASSERT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26"); }));
  EXPECT_EQ(host.supervisor->state().pid, admin_);
  const auto before = read_file(host.settings.config_path()).value();
  struct stat info {};
  ASSERT_EQ(::stat(host.settings.config_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);

  host.supervisor->want(Rendered{"protocol nonsense {\n", {}});
  ASSERT_TRUE(host.until([&] { return !host.supervisor->state().config_error.empty(); }));
  EXPECT_THAT(host.supervisor->state().config_error, HasSubstr("bird.conf:1:10 "));
  EXPECT_EQ(read_file(host.settings.config_path()).value(), before);
  EXPECT_TRUE(host.established("one"));
}

TEST_F(ExistingBird, AFileThatIsNotIncludedIsAnErrorNotASilence) {
  start_admin("");
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until([&] { return !host.supervisor->state().config_error.empty(); }));
  EXPECT_THAT(host.supervisor->state().config_error,
              HasSubstr("must contain: include \"" + host.settings.run_directory + "/bird.con?\";"));
  EXPECT_FALSE(host.supervisor->state().in_force);
}

TEST_F(ExistingBird, IsNeverStartedByUs) {
  host.want();
  ASSERT_TRUE(host.until([&] { return !host.supervisor->state().daemon_error.empty(); }));
  EXPECT_THAT(host.supervisor->state().daemon_error, HasSubstr("is BIRD running?"));
  EXPECT_EQ(host.supervisor->state().pid, 0);
}

}  // namespace
}  // namespace firn::routed::bird
