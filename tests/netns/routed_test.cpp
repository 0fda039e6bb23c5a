// The real firn-routed in a namespace of its own, beside attachments made as the CNI plugin makes them (ipam + endpoint).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "ipam/allocator.hpp"
#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "ipam/pools.hpp"
#include "ipam/reshape.hpp"
#include "ipam/node_store.hpp"
#include "lib/base/file.hpp"
#include "lib/control/control.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/json/json.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "routed/bird/control.hpp"
#include "routed/bird/process.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn {
namespace {

using namespace std::chrono_literals;
using netlink::Route;
using netlink::RouteType;
using test::NetnsFixture;

Prefix prefix(const std::string& text) { return Prefix::parse(text).value(); }

void pause_briefly() { ::usleep(5'000); }

bool eventually(const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    pause_briefly();
  }
  return true;
}

class RoutedTest : public testing::Test {
 protected:
  RoutedTest() {
    char name[] = "/tmp/firn-t-routed-XXXXXX";
    directory = ::mkdtemp(name);
    kernel = host.kernel();
  }
  ~RoutedTest() override {
    end(SIGKILL);
    end_bird();
    if (HasFailure()) std::fprintf(stderr, "%s\n", read_file(directory + "/log", 1 << 20).value().c_str());
    std::filesystem::remove_all(directory);
  }

  // Daemon --------------------------------------------------------------------------------------------------------------
  void start(const std::string& config = "{}") {
    ASSERT_TRUE(write_file_atomic(directory + "/routed.json", config).ok());
    const auto started = host.run([&] {
      return routed::bird::spawn_detached({FIRN_ROUTED_BINARY, "--state-dir", state_dir(), "--run-dir", directory + "/run", "--config",
                                           directory + "/routed.json", "--log-level", "debug"},
                                          directory + "/log");
    });
    ASSERT_TRUE(started.ok()) << started.error().message;
    daemon = *started;
    ASSERT_TRUE(eventually([&] { return ask("status").ok(); }));
  }
  void end(int signal) {
    if (daemon <= 0) return;
    ::kill(daemon, signal);
    ::waitpid(daemon, &exit_status, 0);
    daemon = 0;
  }
  void end_bird() {
    const auto control = routed::bird::Control::connect(directory + "/run/bird/bird.ctl");
    if (!control) return;
    const pid_t pid = control->daemon_pid();
    auto process = routed::bird::open_process(pid);
    ::kill(pid, SIGKILL);
    if (process) eventually([&] { return routed::bird::has_ended(*process); });
    ::waitpid(pid, nullptr, 0);
  }
  Result<std::string> ask(const std::string& op) const {
    return control::call(directory + "/run/routed.sock", R"({"op":")" + op + R"("})", 5s);
  }
  // A number of the status, by path: {"routes", "pending"}.
  int64_t status(const std::vector<std::string>& path) const {
    const auto reply = ask("status");
    if (!reply) return -1;
    const auto document = json::Document::parse(*reply).value();
    json::Value at = document.root();
    for (const std::string& name : path) at = at[name];
    if (at.present() && at.kind() == json::Kind::boolean) return at.boolean().value() ? 1 : 0;
    return at.integer_or(-1, INT64_MIN, INT64_MAX).value();
  }
  bool settled(int64_t routes) const {
    return status({"ready"}) == 1 && status({"routes", "desired"}) == routes && status({"routes", "actual"}) == routes &&
           status({"routes", "pending"}) == 0 && status({"neighbours", "pending"}) == 0;
  }
  std::string http(const std::string& path) const {
    return host.run([&] {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr to{};  // 127.0.0.1:9490
      to.sa_family = AF_INET;
      const std::array<uint8_t, 6> where{9490 >> 8, 9490 & 0xff, 127, 0, 0, 1};
      std::copy(where.begin(), where.end(), reinterpret_cast<uint8_t*>(to.sa_data));
      std::string out;
      const std::string request = "GET " + path + " HTTP/1.1\r\nHost: firn\r\n\r\n";
      if (::connect(fd, &to, sizeof to) == 0 && ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
        char buffer[4096];
        for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) out.append(buffer, static_cast<size_t>(got));
      }
      ::close(fd);
      return out;
    });
  }

  // Attachments -----------------------------------------------------------------------------------------------------------
  std::string state_dir() const { return directory + "/state"; }
  kv::Store& node() {
    if (!node_store) {
      EXPECT_TRUE(make_directories(state_dir(), 0700).ok());
      node_store = ipam::open_node_store({state_dir() + "/node.db"}).value();
    }
    return *node_store;
  }
  ipam::Allocator allocator() {
    ipam::Options options;
    options.boot_id = ipam::current_boot_id().value();
    return {node(), clock, options};
  }
  model::Endpoint attach(const NetnsFixture& container, const std::string& id, const std::vector<std::string>& pools) {
    model::Endpoint wanted;
    wanted.network = "net";
    wanted.container_id = id;
    wanted.ifname = "eth0";
    wanted.host_ifname = endpoint::host_name("firn", model::handle_of(wanted));
    wanted.mac = endpoint::mac_for(model::handle_of(wanted));
    wanted.boot_id = ipam::current_boot_id().value();
    wanted.netns = container.path();
    std::vector<ipam::AddressRequest> requests;
    for (const std::string& pool : pools) {
      ipam::AddressRequest request;
      request.pools = {pool};
      request.family = pool.find("fd") == std::string::npos ? Family::v4 : Family::v6;
      requests.push_back(request);
    }
    auto leased = allocator().lease(wanted, model::Use::routed, requests);
    EXPECT_TRUE(leased.ok()) << leased.error().message;
    endpoint::Spec spec;
    spec.handle = model::handle_of(*leased);
    spec.ifname = leased->ifname;
    spec.host_ifname = leased->host_ifname;
    spec.mac = leased->mac;
    spec.addresses = leased->addresses;
    const auto attached = host.run([&] { return endpoint::attach(*kernel, container.netns(), spec); });
    EXPECT_TRUE(attached.ok()) << attached.error().message;
    return *leased;
  }
  // One dual-stack container: two endpoint routes and two blackholes.
  model::Endpoint one_container(const NetnsFixture& container) {
    const auto four = allocator().subnet_pool(prefix("10.64.0.0/24"), 26), six = allocator().subnet_pool(prefix("fd64::/112"), 122);
    EXPECT_TRUE(four.ok() && six.ok());
    return attach(container, "c1", {four->name, six->name});
  }

  // The cluster store of a host h1 that announces as 192.0.2.1.
  std::unique_ptr<kv::Store> join_cluster() {
    EXPECT_TRUE(make_directories(state_dir(), 0700).ok());
    kv::SqliteOptions options;
    options.path = state_dir() + "/cluster.db";
    auto cluster = kv::open_sqlite(options).value();
    model::Node self;
    self.name = "h1";
    self.machine_id = "0123456789abcdef0123456789abcdef";
    self.addresses = {Address::parse("192.0.2.1").value()};
    EXPECT_TRUE(cluster->transact([&](kv::Transaction& tx) {
      tx.put(model::keys::node("h1"), model::encode(self));
      tx.put(model::keys::bgp_settings, model::encode(model::BgpSettings{}));
      return Status{};
    }).ok());
    EXPECT_TRUE(node().transact([&](kv::Transaction& tx) {
      tx.put(model::keys::node_identity, "h1");
      return Status{};
    }).ok());
    return cluster;
  }
  static void add_peer(kv::Store& cluster) {
    model::BgpPeer peer;
    peer.name = "tor-a";
    peer.address = Address::parse("192.0.2.2").value();
    peer.as_number = 64600;
    peer.connect_retry = 1;
    EXPECT_TRUE(cluster.transact([&](kv::Transaction& tx) {
      tx.put(model::keys::bgp_peer("tor-a"), model::encode(peer));
      return Status{};
    }).ok());
  }

  // Kernel ------------------------------------------------------------------------------------------------------------------
  std::vector<Route> routes(std::optional<uint8_t> protocol = netlink::route_protocol) {
    netlink::RouteFilter filter;
    filter.protocol = protocol;
    return kernel->routes(filter).value();
  }
  void change(const netlink::Request& request) {
    const auto done = netlink::all_done(kernel->apply({&request, 1}));
    EXPECT_TRUE(done.ok()) << done.error().message;
  }
  std::unique_ptr<netlink::Monitor> monitor() const {
    return host.run([] { return netlink::open_monitor({}); }).value();
  }
  static size_t changes_of_routes_and_neighbours(netlink::Monitor& monitor) {
    const auto seen = monitor.read().value();
    EXPECT_FALSE(seen.lost);
    return static_cast<size_t>(std::count_if(seen.events.begin(), seen.events.end(), [](const netlink::Event& event) {
      return event.what == netlink::Event::What::route || (event.what == netlink::Event::What::neighbour && event.neighbour.permanent);
    }));
  }

  NetnsFixture host{NetnsFixture::Kind::named};
  SystemClock clock;
  std::string directory;
  std::unique_ptr<netlink::Kernel> kernel;
  std::unique_ptr<kv::Store> node_store;
  pid_t daemon = 0;
  int exit_status = 0;
};

TEST_F(RoutedTest, WaitsForTheStoreAndThenKeepsRoutes) {
  start();
  EXPECT_EQ(status({"ready"}), 0);
  EXPECT_NE(http("/readyz").find(" 503 "), std::string::npos);
  EXPECT_NE(http("/healthz").find(" 200 "), std::string::npos);
  // Something of our protocol is there already: without the store nobody knows whether it is wanted.
  Route leftover;
  leftover.destination = prefix("10.99.0.0/26");
  leftover.type = RouteType::blackhole;
  change(netlink::AddRoute{leftover});
  ASSERT_TRUE(ask("resync").ok());
  EXPECT_EQ(routes().size(), 1U);

  const NetnsFixture container;
  one_container(container);
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  EXPECT_EQ(routes().size(), 4U);
  EXPECT_NE(http("/readyz").find(" 200 "), std::string::npos);
  const std::string metrics = http("/metrics");
  for (const char* line : {"firn_routes_desired 4", "firn_addresses{pool=\"net-10.64.0.0-24\",state=\"used\"} 1", "firn_blocks{", "firn_build_info{"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << "\n" << metrics;
  }
}

TEST_F(RoutedTest, ALostStoreRemovesNothing) {
  const NetnsFixture container;
  one_container(container);
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const auto lose = [&] {
    node_store.reset();
    for (const char* suffix : {"", "-data"}) std::filesystem::remove(state_dir() + "/node.db" + suffix);
  };
  const auto says = [&](const std::string& what) {
    return eventually([&] {
      const auto reply = ask("status");
      return reply && reply->find(what) != std::string::npos && reply->find("firnctl ipam reset") != std::string::npos;
    });
  };
  lose();
  ASSERT_TRUE(says("has vanished")) << ask("status").value();
  ASSERT_TRUE(ask("resync").ok());
  EXPECT_EQ(routes().size(), 4U);
  EXPECT_FALSE(std::filesystem::exists(state_dir() + "/node.db"));
  // Whoever makes an empty one does not make the containers go.
  node();
  ASSERT_TRUE(says("knows nothing of the one before")) << ask("status").value();
  ASSERT_TRUE(ask("resync").ok());
  EXPECT_EQ(routes().size(), 4U);
  // Nor does a daemon that starts on a host of a cluster whose node store is gone make one.
  end(SIGTERM);
  lose();
  kv::SqliteOptions options;
  options.path = state_dir() + "/cluster.db";
  ASSERT_TRUE(kv::open_sqlite(options).ok());
  start();
  ASSERT_TRUE(says("is not there, and containers are")) << ask("status").value();
  EXPECT_FALSE(std::filesystem::exists(state_dir() + "/node.db"));
  EXPECT_EQ(routes().size(), 4U);
}

TEST_F(RoutedTest, RestoresWhatIsDeletedOrReplacedAndLeavesForeignRoutes) {
  const NetnsFixture container;
  const model::Endpoint endpoint = one_container(container);
  const int link = kernel->index_of(endpoint.host_ifname).value();
  Route foreign;
  foreign.destination = prefix("10.64.0.128/26");
  foreign.type = RouteType::unreachable;
  foreign.protocol = 4;
  change(netlink::AddRoute{foreign});
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const auto before = routes();
  ASSERT_EQ(before.size(), 4U);
  const auto same = [&] {
    auto now = routes();
    return now.size() == before.size() && std::is_permutation(now.begin(), now.end(), before.begin());
  };
  for (const Route& route : before) change(netlink::RemoveRoute{route});
  ASSERT_TRUE(eventually(same)) << ask("status").value();
  EXPECT_TRUE(eventually([&] { return status({"driftRepaired"}) >= 4; })) << ask("status").value();

  for (const Route& route : before) {
    Route other = route;
    other.protocol = 4;
    change(netlink::ReplaceRoute{other});
  }
  ASSERT_TRUE(eventually(same)) << ask("status").value();

  const auto neighbours = kernel->neighbours(link).value();
  ASSERT_EQ(neighbours.size(), 2U);
  netlink::Neighbour wrong = neighbours[0];
  wrong.mac = Mac::parse("02:00:00:00:00:99").value();
  change(netlink::ReplaceNeighbour{wrong});
  change(netlink::RemoveNeighbour{neighbours[1]});
  ASSERT_TRUE(eventually([&] {
    const auto now = kernel->neighbours(link).value();
    return now.size() == 2 && std::is_permutation(now.begin(), now.end(), neighbours.begin());
  })) << ask("status").value();

  // Ours by number, but nobody's: goes. Foreign: stays.
  Route stray;
  stray.destination = prefix("10.99.0.0/26");
  stray.type = RouteType::blackhole;
  change(netlink::AddRoute{stray});
  ASSERT_TRUE(eventually(same)) << ask("status").value();
  EXPECT_EQ(routes(4).size(), 1U);
}

TEST_F(RoutedTest, AForeignRouteThatWasFirstStays) {
  Route foreign;
  foreign.destination = prefix("10.64.0.0/26");
  foreign.type = RouteType::unreachable;
  foreign.protocol = 4;
  change(netlink::AddRoute{foreign});
  const NetnsFixture container;
  one_container(container);
  start();
  const auto says = [&](const std::string& what) {
    return eventually([&] { return ask("status").value().find(what) != std::string::npos; });
  };
  ASSERT_TRUE(says("is in the way")) << ask("status").value();
  EXPECT_EQ(status({"routes", "pending"}), 1);
  EXPECT_EQ(routes().size(), 3U);
  EXPECT_EQ(routes(4).size(), 1U);
  change(netlink::RemoveRoute{foreign});
  EXPECT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
}

// `ip route prepend`: the same destination and metric, and the kernel prefers it to ours.
TEST_F(RoutedTest, AForeignRouteBeforeOursIsAConflictThatIsNamed) {
  const NetnsFixture container;
  const model::Endpoint endpoint = one_container(container);
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const std::string address = endpoint.addresses[0].to_string();
  ASSERT_EQ(test::run_program(&host, {"ip", "route", "prepend", "unreachable", address + "/32"}), 0);
  const auto says = [&](const std::string& what) { return ask("status").value().find(what) != std::string::npos; };
  ASSERT_TRUE(eventually([&] { return says("is in the way"); })) << ask("status").value();
  EXPECT_TRUE(says(address)) << ask("status").value();
  EXPECT_EQ(status({"routes", "pending"}), 1);
  EXPECT_EQ(routes().size(), 4U);
  EXPECT_EQ(routes(3).size(), 1U);  // ip's own, RTPROT_BOOT
  ASSERT_EQ(test::run_program(&host, {"ip", "route", "del", "unreachable", address + "/32"}), 0);
  EXPECT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  EXPECT_EQ(routes().size(), 4U);
}

TEST_F(RoutedTest, RoutesOfAnAttachmentOfAnotherStateDirectoryStay) {
  const NetnsFixture container;
  const model::Endpoint endpoint = one_container(container);
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  ASSERT_TRUE(node().transact([&](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::endpoint(model::handle_of(endpoint)));
    return {};
  }));
  ASSERT_TRUE(eventually([&] { return status({"routes", "unknownAttachment"}) == 2; })) << ask("status").value();
  EXPECT_EQ(status({"routes", "pending"}), 0);
  EXPECT_EQ(routes().size(), 4U);
  EXPECT_EQ(status({"neighbours", "unknownAttachment"}), 2);
  // Its link goes: so do they, and nobody waits for them.
  change(netlink::DeleteLink{kernel->index_of(endpoint.host_ifname).value()});
  ASSERT_TRUE(eventually([&] { return settled(2); })) << ask("status").value();
}

TEST_F(RoutedTest, EndLeavesEverythingAndARestartWritesNothing) {
  const NetnsFixture container;
  one_container(container);
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const auto watch = monitor();
  for (const int signal : {SIGKILL, SIGTERM}) {
    end(signal);
    EXPECT_EQ(WIFSIGNALED(exit_status), signal == SIGKILL);
    EXPECT_EQ(WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0, signal == SIGTERM);
    EXPECT_EQ(routes().size(), 4U);
    start();
    ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
    ASSERT_TRUE(ask("resync").ok());
    EXPECT_EQ(status({"routes", "writes"}), 0);
    EXPECT_EQ(status({"neighbours", "writes"}), 0);
    ::kill(daemon, SIGHUP);
    ASSERT_TRUE(eventually([&] { return settled(4); }));
  }
  EXPECT_EQ(changes_of_routes_and_neighbours(*watch), 0U);
}

TEST_F(RoutedTest, AttachAndDetachBesideTheDaemonNeedNoWriteOfItsOwn) {
  const NetnsFixture first, second;
  one_container(first);
  start();
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const auto writes = status({"routes", "writes"});
  const auto added = attach(second, "c2", {"net-10.64.0.0-24"});
  ASSERT_TRUE(eventually([&] { return settled(5); })) << ask("status").value();
  const auto detached = host.run([&] { return endpoint::detach(*kernel, &second.netns(), added); });
  ASSERT_TRUE(detached.ok()) << detached.error().message;
  ASSERT_TRUE(allocator().release(model::handle_of(added)).ok());
  ASSERT_TRUE(eventually([&] { return settled(4) && status({"deadLinksReaped"}) == 1; })) << ask("status").value();
  EXPECT_EQ(kernel->links().value().size(), 2U);  // lo and c1's
  EXPECT_EQ(status({"routes", "writes"}), writes);
}

TEST_F(RoutedTest, LostEventsEndInAListing) {
  const NetnsFixture container;
  one_container(container);
  start(R"({"receiveBuffer":4096,"resync":86400})");
  ASSERT_TRUE(eventually([&] { return settled(4); })) << ask("status").value();
  const auto before = routes();
  const auto resyncs = [&] {
    const std::string text = http("/metrics"), name = "firn_reconcile_total{kind=\"resync\",result=\"ok\"} ";
    const size_t at = text.find(name);
    return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + name.size());
  };
  const int listings = resyncs();
  std::vector<netlink::Request> flood;
  for (const Route& route : before) flood.emplace_back(netlink::RemoveRoute{route});
  for (int i = 0; i < 400; ++i) {
    Route foreign;
    foreign.destination = Prefix::of(prefix("10.70.0.0/16").at(static_cast<uint128>(i)), 32);
    foreign.type = RouteType::blackhole;
    foreign.protocol = 4;
    flood.emplace_back(netlink::AddRoute{foreign});
    flood.emplace_back(netlink::RemoveRoute{foreign});
  }
  const auto done = netlink::all_done(kernel->apply(flood));
  ASSERT_TRUE(done.ok()) << done.error().message;
  ASSERT_TRUE(eventually([&] { return routes().size() == before.size() && settled(4); })) << ask("status").value();
  EXPECT_TRUE(eventually([&] { return resyncs() > listings; }));
}

TEST_F(RoutedTest, SecondDaemonIsRefusedAndWrongOptionsEndWithTwo) {
  start();
  EXPECT_EQ(test::run_program(&host, {FIRN_ROUTED_BINARY, "--state-dir", state_dir(), "--run-dir", directory + "/run", "--config",
                                      directory + "/routed.json", "--metrics", "off"}),
            1);
  EXPECT_EQ(test::run_program(&host, {FIRN_ROUTED_BINARY, "--metrics", "nonsense"}), 2);
  EXPECT_EQ(test::run_program(&host, {FIRN_ROUTED_BINARY, "--help"}), 0);
  EXPECT_TRUE(ask("status").ok());
}

// The whole way: a pool and a peer in the cluster store; the block is claimed, is a blackhole here, and a route at the router.
TEST_F(RoutedTest, ClaimedBlocksReachARouterThroughBird) {
  const NetnsFixture router{NetnsFixture::Kind::named}, container;
  ASSERT_EQ(test::run_program(&host, {"ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", router.name()}), 0);
  const auto bring_up = [](const NetnsFixture& netns, const std::string& name, const std::string& own) {
    ASSERT_EQ(test::run_program(&netns, {"ip", "addr", "add", own, "dev", name}), 0);
    ASSERT_EQ(test::run_program(&netns, {"ip", "link", "set", name, "up"}), 0);
  };
  bring_up(host, "up0", "192.0.2.1/30");
  bring_up(router, "down0", "192.0.2.2/30");
  ASSERT_TRUE(make_directories(directory + "/router").ok());
  ASSERT_TRUE(write_file_atomic(directory + "/router/bird.conf",
                                "router id 192.0.2.2;\nprotocol device {}\nprotocol kernel { ipv4 { import none; export all; }; }\n"
                                "protocol bgp host { local as 64600; neighbor 192.0.2.1 as 64512; direct; connect delay time 1;\n"
                                "connect retry time 1; error wait time 1, 2; ipv4 { import all; export none; }; }\n")
                  .ok());
  const auto bird = router.run([&] {
    return routed::bird::spawn_detached({"/usr/sbin/bird", "-f", "-c", directory + "/router/bird.conf", "-s", directory + "/router/bird.ctl",
                                         "-P", directory + "/router/bird.pid"},
                                        directory + "/router/log");
  });
  ASSERT_TRUE(bird.ok()) << bird.error().message;

  const auto cluster = join_cluster();
  model::Pool pool;
  pool.name = "default";
  pool.cidr = prefix("10.80.0.0/24");
  pool.block_size = 26;
  ASSERT_TRUE(ipam::create_pool(*cluster, pool).ok());
  start();
  ASSERT_TRUE(eventually([&] { return ask("status").value().find("no BGP peers") != std::string::npos; })) << ask("status").value();
  EXPECT_NE(ask("status").value().find("\"state\":\"absent\""), std::string::npos);

  add_peer(*cluster);
  const auto claim = ipam::claim_block(*cluster, {"h1"}, "default", model::Use::routed, std::nullopt, clock.unix_seconds());
  ASSERT_TRUE(claim.ok()) << claim.error().message;
  const auto there = router.kernel();
  const auto learned = [&](const std::string& block) {
    const auto all = there->routes({}).value();
    return std::any_of(all.begin(), all.end(), [&](const Route& route) { return route.destination == prefix(block); });
  };
  ASSERT_TRUE(eventually([&] { return learned("10.80.0.0/26"); })) << ask("bgp").value();
  EXPECT_TRUE(eventually([&] { return ask("bgp").value().find("\"announced\":[\"10.80.0.0/26\"]") != std::string::npos; }))
      << ask("bgp").value();
  EXPECT_TRUE(eventually([&] { return http("/metrics").find("firn_bgp_session_up{peer=\"tor-a\"} 1") != std::string::npos; }));

  // In use now: a spare block is claimed ahead, and announced, without a word to BIRD.
  attach(container, "c1", {"default"});
  ASSERT_TRUE(eventually([&] { return learned("10.80.0.64/26"); })) << ask("status").value();
  EXPECT_EQ(status({"bird", "restarts"}), 0);

  // The data plane does not notice the daemon's end, and the next daemon adopts the BIRD that runs.
  const auto pid = status({"bird", "pid"});
  EXPECT_GT(pid, 0);
  end(SIGKILL);
  EXPECT_TRUE(learned("10.80.0.0/26"));
  start();
  ASSERT_TRUE(eventually([&] { return status({"bird", "inForce"}) == 1; })) << ask("status").value();
  EXPECT_EQ(status({"bird", "pid"}), pid);
  EXPECT_TRUE(learned("10.80.0.64/26"));
  end(SIGTERM);
  end_bird();
  ::kill(*bird, SIGKILL);
  ::waitpid(*bird, nullptr, 0);
}

// What other hosts see of this one, and what it makes of pools that others change, while its container runs.
TEST_F(RoutedTest, PublishesItsEndpointsAndFollowsPoolsThatChange) {
  auto cluster = join_cluster();
  model::Pool pool;
  pool.name = "web";
  pool.cidr = prefix("10.70.0.0/16");
  pool.block_size = 26;
  ASSERT_TRUE(ipam::create_pool(*cluster, pool).ok());
  for (const char* at : {"10.70.0.0", "10.70.200.0"}) {
    ASSERT_TRUE(ipam::claim_block(*cluster, {"h1"}, "web", model::Use::routed, Address::parse(at).value(), 1).ok());
  }
  ASSERT_TRUE(ipam::mirror(*cluster, node(), "h1").ok());
  start();
  const NetnsFixture container;
  const model::Endpoint endpoint = attach(container, "c1", {"web"});
  const std::string copy = model::keys::published_endpoint("h1", model::handle_of(endpoint));
  const auto published = [&] { return cluster->get(copy).value().has_value(); };
  ASSERT_TRUE(eventually(published)) << ask("status").value();
  ASSERT_TRUE(eventually([&] { return settled(3); })) << ask("status").value();

  // Two names for the same addresses: no route of theirs changes. (A spare block for the part that has none is another matter.)
  const auto watch = monitor();
  ASSERT_TRUE(ipam::split_pool(*cluster, "web", {{"low", {}}, {"high", {}}}).ok());
  const auto block_of = [&](const std::string& name, const char* block) {
    return node().get(model::keys::block(model::Use::routed, name, prefix(block))).value().has_value();
  };
  ASSERT_TRUE(eventually([&] { return block_of("low", "10.70.0.0/26") && block_of("high", "10.70.200.0/26"); }));
  const auto lease = node().get(model::keys::lease(endpoint.addresses.at(0))).value();
  ASSERT_TRUE(lease);
  EXPECT_EQ(model::decode_lease(lease->value).value().pool, "low");
  ASSERT_TRUE(ask("resync").ok());
  const auto seen = watch->read().value();
  EXPECT_FALSE(seen.lost);
  for (const netlink::Event& event : seen.events) {
    if (event.what != netlink::Event::What::route) continue;
    for (const Prefix& ours : {prefix("10.70.0.0/26"), prefix("10.70.200.0/26")}) {
      EXPECT_FALSE(event.route.destination.overlaps(ours)) << event.route.destination.to_string();
    }
  }

  // The block that nothing uses goes back, the one with the container stays, however small the pool shall be.
  ASSERT_TRUE(ipam::resize_pool(*cluster, "high", prefix("10.70.128.0/18")).ok());
  const auto cidr_of = [&](const std::string& name) {
    return model::decode_pool(cluster->get(model::keys::pool(name)).value()->value).value().cidr;
  };
  ASSERT_TRUE(eventually([&] { return cidr_of("high") == prefix("10.70.128.0/18"); })) << ask("status").value();
  ASSERT_TRUE(eventually([&] { return !block_of("high", "10.70.200.0/26"); }));
  ASSERT_TRUE(ipam::resize_pool(*cluster, "low", prefix("10.70.64.0/18")).ok());
  ASSERT_TRUE(eventually([&] {
    return model::decode_pool(node().get(model::keys::pool("low")).value()->value).value().shrinking_to.has_value();
  }));
  EXPECT_EQ(cidr_of("low"), prefix("10.70.0.0/17"));
  EXPECT_TRUE(block_of("low", "10.70.0.0/26"));

  // A copy that says otherwise, and one of a container that went while nobody looked, are found at the next start.
  end(SIGKILL);
  ASSERT_TRUE(allocator().release(model::handle_of(endpoint)).ok());
  start();
  EXPECT_TRUE(eventually([&] { return !published(); })) << ask("status").value();
}

// BIRD is stopped in the middle of its life: nothing waits for it but the question it was asked.
TEST_F(RoutedTest, AHungBirdHoldsUpNothingElse) {
  const NetnsFixture container;
  one_container(container);
  add_peer(*join_cluster());
  start();
  ASSERT_TRUE(eventually([&] { return settled(4) && status({"bird", "inForce"}) == 1; })) << ask("status").value();
  const auto before = routes();
  const auto bird_is = [&](const std::string& state) {
    // Shorter than any question to BIRD may take.
    const auto reply = control::call(directory + "/run/routed.sock", R"({"op":"status"})", 1500ms);
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    return reply && reply->find("\"state\":\"" + state + "\"") != std::string::npos;
  };
  const auto pid = static_cast<pid_t>(status({"bird", "pid"}));
  ASSERT_GT(pid, 0);
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  bool silent = false;
  for (int i = 0; i < 200 && !(silent && i >= 20); ++i) {
    for (const Route& route : before) change(netlink::RemoveRoute{route});
    ASSERT_TRUE(eventually([&] { return routes().size() == before.size(); })) << ask("status").value();
    silent = bird_is("silent");
    if (!silent) ::usleep(50'000);
  }
  EXPECT_TRUE(silent) << ask("status").value();
  EXPECT_NE(ask("status").value().find("does not answer"), std::string::npos) << ask("status").value();
  EXPECT_EQ(status({"bird", "running"}), 0);
  EXPECT_NE(http("/readyz").find("200 OK"), std::string::npos);
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  EXPECT_TRUE(eventually([&] { return bird_is("running") && status({"bird", "inForce"}) == 1; })) << ask("status").value();
  EXPECT_EQ(status({"bird", "pid"}), pid);
  EXPECT_EQ(status({"bird", "restarts"}), 0);
  EXPECT_TRUE(eventually([&] { return ask("status").value().find("\"peer\":\"tor-a\"") != std::string::npos; }));
}

}  // namespace
}  // namespace firn
