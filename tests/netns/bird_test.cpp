// Real BIRD on both sides of a veth, in namespaces of the test's own: what the generated configuration does on the wire, and what
// the supervisor does when things die. The routers run a small configuration written here by hand.
#include "tests/netns/bird_host.hpp"

namespace firn::routed::bird {
namespace {

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
