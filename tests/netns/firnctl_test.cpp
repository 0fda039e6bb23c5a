// The real firnctl, in namespaces of its own, on state directories of its own, beside attachments made as the plugin makes them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <regex>
#include <thread>

#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "ipam/pools.hpp"
#include "ipam/node_store.hpp"
#include "lib/base/file.hpp"
#include "lib/control/control.hpp"
#include "lib/json/json.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Outcome {
  int exit = -1;
  std::string out, err;
};

std::string drain(int fd) { return read_descriptor(fd, 8 << 20).value(); }

// Both outputs go to files, so that neither can block the other.
Outcome run(const std::vector<std::string>& arguments, const std::string& directory, const std::string& input = "/dev/null") {
  const unique_fd out(::open((directory + "/out").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const unique_fd err(::open((directory + "/err").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.get(), 2);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  Outcome outcome;
  if (failed != 0) return outcome;
  int status = 0;
  ::waitpid(pid, &status, 0);
  outcome.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  ::lseek(out.get(), 0, SEEK_SET);
  ::lseek(err.get(), 0, SEEK_SET);
  outcome.out = drain(out.get());
  outcome.err = drain(err.get());
  return outcome;
}

// firn-routed's place on the socket: answers what it is told to.
class Answering {
 public:
  Answering(const std::string& path, std::string reply)
      : server_(control::listen(path, "", [reply](const control::Peer&, std::string_view) { return reply; }).value()),
        thread_([this] { serve(); }) {}
  ~Answering() {
    stop_ = true;
    thread_.join();
  }

 private:
  void serve() {
    while (!stop_) {
      pollfd wait{server_->fd(), POLLIN, 0};
      if (::poll(&wait, 1, 20) > 0) server_->serve();
    }
  }
  std::unique_ptr<control::Server> server_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class FirnctlTest : public testing::Test {
 protected:
  FirnctlTest() {
    char name[] = "/tmp/firn-t-firnctl-XXXXXX";
    directory = ::mkdtemp(name);
    state = directory + "/state";
    socket = directory + "/routed.sock";
  }
  ~FirnctlTest() override { std::filesystem::remove_all(directory); }

  Outcome ctl(std::vector<std::string> arguments, const std::string& input = "/dev/null") {
    arguments.insert(arguments.begin(), FIRNCTL);
    arguments.insert(arguments.end(), {"--state-dir", state, "--socket", socket});
    return host.run([&] { return run(arguments, directory, input); });
  }
  // The output of a command that must succeed, times replaced.
  std::string good(std::vector<std::string> arguments) {
    const Outcome outcome = ctl(std::move(arguments));
    EXPECT_EQ(outcome.exit, 0) << outcome.out << outcome.err;
    return masked(outcome.out);
  }
  // Standard error of a command that must fail like this.
  std::string bad(int exit, std::vector<std::string> arguments) {
    const std::string what = arguments.empty() ? "" : arguments.front();
    const Outcome outcome = ctl(std::move(arguments));
    EXPECT_EQ(outcome.exit, exit) << what << ": " << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("firnctl"));
    return outcome.err;
  }
  static std::string masked(const std::string& text) {
    return std::regex_replace(text, std::regex(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)"), "TIME");
  }

  void init() { good({"init", "--name", "node-a", "--address", "192.0.2.11", "--as", "65001", "--pool", "web=10.44.0.0/16"}); }

  std::unique_ptr<kv::Store> open(const std::string& file) {
    if (file == "node.db") return ipam::open_node_store({state + "/node.db", {}, false}).value();
    kv::SqliteOptions options;
    options.path = state + "/" + file;
    options.create = false;
    return std::move(kv::open_sqlite(options)).value();
  }
  ipam::Allocator allocator(kv::Store& node, kv::Store* cluster) {
    ipam::Options options;
    options.boot_id = ipam::current_boot_id().value();
    if (cluster != nullptr) options.more_blocks = ipam::single_host_blocks(*cluster, node, "node-a", clock, options.cooldown);
    return ipam::Allocator(node, clock, options);
  }
  // An attachment of the container to `network`, as the plugin records it.
  model::Endpoint lease(const std::string& container, const std::string& netns = {}, model::Use use = model::Use::routed) {
    auto node = open("node.db");
    auto cluster = open("cluster.db");
    model::Endpoint endpoint;
    endpoint.network = "web";
    endpoint.container_id = container;
    endpoint.ifname = "eth0";
    endpoint.netns = netns;
    endpoint.host_ifname = "firn-" + container.substr(0, 6);
    endpoint.mac = Mac::parse("02:00:00:00:00:01").value();
    endpoint.mtu = 1500;
    endpoint.boot_id = ipam::current_boot_id().value();
    endpoint.created_at = clock.unix_seconds();
    ipam::AddressRequest request;
    request.pools = {"web"};
    return allocator(*node, cluster.get()).lease(endpoint, use, {request}).value();
  }
  // The host side of it: a veth with firn's alias and the route to the address.
  int link(const model::Endpoint& endpoint) {
    auto kernel = host.kernel();
    EXPECT_TRUE(netlink::all_done(kernel->apply(std::vector<netlink::Request>{
        netlink::CreateVeth{endpoint.host_ifname, Mac::parse("ee:ee:ee:ee:ee:ee").value(), "peer0", endpoint.mac, -1, 1500}})));
    const int index = kernel->index_of(endpoint.host_ifname).value();
    netlink::SetLink set;
    set.index = index;
    set.up = true;
    set.alias = "firn:" + model::handle_of(endpoint);
    EXPECT_TRUE(netlink::all_done(kernel->apply(std::vector<netlink::Request>{set})));
    return index;
  }
  void route(const model::Endpoint& endpoint, int index) {
    auto kernel = host.kernel();
    netlink::Route route;
    route.destination = Prefix::host(endpoint.addresses.front());
    route.oif = index;
    route.scope = 253;
    EXPECT_TRUE(netlink::all_done(kernel->apply(std::vector<netlink::Request>{netlink::ReplaceRoute{route}})));
  }

  test::NetnsFixture host;
  SystemClock clock;
  std::string directory, state, socket;
};

TEST_F(FirnctlTest, InitMakesAHostOnce) {
  const std::vector<std::string> command = {"init",         "--name", "node-a", "--address", "192.0.2.11",       "--address",
                                            "2001:db8::11", "--as",   "65001",  "--pool",    "web=10.44.0.0/16", "--label",
                                            "rack=r1"};
  EXPECT_THAT(good(command), StartsWith("node-a is initialised"));
  struct stat info {};
  ASSERT_EQ(::stat(state.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  for (const char* file : {"/node.db", "/cluster.db"}) {
    ASSERT_EQ(::stat((state + file).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  EXPECT_EQ(good({"node", "list"}),
            "NAME     ADDRESSES                 AS        LABELS    JOINED                 ALIVE   BLOCKS\n"
            "node-a   192.0.2.11,2001:db8::11   default   rack=r1   TIME   -       0\n");
  EXPECT_THAT(good(command), HasSubstr("initialised already"));
  EXPECT_THAT(good({"init"}), HasSubstr("initialised already"));

  const std::string differs = bad(6, {"init", "--name", "node-b", "--as", "65002", "--pool", "web=10.45.0.0/16"});
  EXPECT_THAT(differs, HasSubstr("name: node-a, asked for node-b; AS number: 65001, asked for 65002; "
                                 "pool web: 10.44.0.0/16 with blocks of /26, asked for 10.45.0.0/16 with blocks of /26"));
  EXPECT_THAT(good({"bgp", "settings"}), HasSubstr("65001"));
}

TEST_F(FirnctlTest, InitWithBadInputChangesNothing) {
  const std::vector<std::vector<std::string>> wrong = {
      {"--name", "Node A"},
      {"--pool", "web=10.44.0.1/16"},
      {"--pool", "web=10.44.0.0/16,block-size=8"},
      {"--pool", "net-x=10.44.0.0/16"},
      {"--as", "0"},
      {"--router-id", "fd00::1"},
      {"--address", "300.1.1.1"},
      {"--label", "x"},
      {"--name", "a"}};  // this namespace has no default route to take an address from
  for (std::vector<std::string> arguments : wrong) {
    arguments.insert(arguments.begin(), "init");
    bad(2, arguments);
    EXPECT_FALSE(std::filesystem::exists(state)) << arguments[1] << " " << arguments[2];
  }
  bad(6, {"init", "--address", "192.0.2.11", "--pool", "a=10.0.0.0/8", "--pool", "b=10.1.0.0/16"});
  EXPECT_FALSE(std::filesystem::exists(state));
}

TEST_F(FirnctlTest, InitCompletesOneThatWasKilled) {
  init();
  auto erased = open("node.db")->transact([](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::node_identity);
    return {};
  });
  ASSERT_TRUE(erased);
  EXPECT_THAT(bad(1, {"pool", "create", "x", "10.9.0.0/16"}), HasSubstr("was not finished"));
  init();
  EXPECT_THAT(good({"pool", "list"}), HasSubstr("10.44.0.0/16"));
}

TEST_F(FirnctlTest, WithoutStateTheWayOutIsNamed) {
  for (const char* noun : {"pool", "node", "endpoint", "reservation"})
    EXPECT_THAT(bad(1, {noun, "list"}), HasSubstr("run 'firnctl init'"));
  EXPECT_THAT(bad(4, {"bgp", "status"}), HasSubstr("not running"));
  const Outcome routes = ctl({"route", "list"});
  EXPECT_EQ(routes.exit, 0);
  EXPECT_EQ(routes.err, "no routes of firn in this network namespace\n");
}

TEST_F(FirnctlTest, Pools) {
  init();
  good({"pool", "create", "web6", "fd00:44::/64", "--node-selector", "rack=r1,zone=a"});
  good({"pool", "create", "list", "10.60.0.0/24", "--block-size", "28", "--disabled"});
  EXPECT_EQ(good({"pool", "list"}),
            "NAME   CIDR           BLOCK   MODE   SCOPE     STATE      SELECTOR\n"
            "list   10.60.0.0/24   /28     bgp    cluster   disabled   -\n"
            "web    10.44.0.0/16   /26     bgp    cluster   enabled    -\n"
            "web6   fd00:44::/64   /122    bgp    cluster   enabled    rack=r1,zone=a\n");
  EXPECT_THAT(bad(6, {"pool", "create", "clash", "10.44.128.0/24"}), HasSubstr("overlaps with pool web"));
  EXPECT_THAT(bad(6, {"pool", "create", "web", "10.99.0.0/16"}), HasSubstr("exists already"));
  EXPECT_THAT(bad(2, {"pool", "create", "x", "10.99.0.0/16", "--block-size", "8"}), HasSubstr("--block-size: must be 20 to 32"));
  EXPECT_THAT(bad(2, {"pool", "set", "web"}), HasSubstr("nothing to set"));
  EXPECT_THAT(bad(2, {"pool", "set", "web", "--enabled", "--disabled"}), HasSubstr("exclude each other"));
  EXPECT_THAT(bad(5, {"pool", "show", "nope"}), HasSubstr("there is no pool nope"));
  good({"pool", "set", "list", "--enabled"});
  good({"pool", "set", "web6", "--node-selector", ""});
  EXPECT_THAT(bad(2, {"pool", "set", "list", "--mode", "ipip"}), HasSubstr("must be bgp, direct or vxlan"));
  EXPECT_THAT(bad(2, {"pool", "set", "list", "--cross-subnet"}), HasSubstr("cross_subnet: belongs to mode vxlan"));
  good({"pool", "set", "list", "--mode", "vxlan", "--cross-subnet", "--no-advertise", "--strict", "--status-when-low"});
  EXPECT_THAT(good({"pool", "show", "list"}), HasSubstr("vxlan cross-subnet no-advertise strict status-when-low"));
  good({"pool", "set", "list", "--mode", "direct", "--no-cross-subnet", "--advertise", "--no-strict", "--no-status-when-low"});
  EXPECT_THAT(good({"pool", "list"}), HasSubstr("/28     direct"));
  EXPECT_THAT(good({"pool", "show", "list"}), HasSubstr("State:           enabled\n"));
  // The plugin's copy follows at once.
  auto copy = open("node.db")->get(model::keys::pool("web6")).value();
  ASSERT_TRUE(copy);
  EXPECT_TRUE(model::decode_pool(copy->value).value().node_selector.empty());
  good({"pool", "delete", "list"});
  bad(5, {"pool", "delete", "list"});
}

TEST_F(FirnctlTest, APoolInUseIsNotDeleted) {
  init();
  lease("c1");
  const std::string refused = bad(6, {"pool", "delete", "web"});
  EXPECT_THAT(refused, HasSubstr("web/c1/eth0 (10.44.0.0)"));
  EXPECT_THAT(good({"pool", "show", "web"}), HasSubstr("State:           enabled"));
  EXPECT_THAT(good({"pool", "show", "web"}),
              HasSubstr("BLOCK          NODE     USE      CLAIMED\n10.44.0.0/26   node-a   routed   TIME\n"));
  good({"ipam", "release", "10.44.0.0"});
  good({"pool", "delete", "web"});
  EXPECT_EQ(ctl({"pool", "list"}).err, "no pools; make one with: firnctl pool create NAME CIDR\n");
}

TEST_F(FirnctlTest, PoolsChangeWhileContainersRun) {
  init();
  lease("c1");
  EXPECT_EQ(good({"pool", "resize", "web", "10.44.0.0/15"}), "pool web is 10.44.0.0/15 now\n");
  EXPECT_EQ(good({"pool", "resize", "web", "10.44.0.0/16"}), "pool web is 10.44.0.0/16 now\n");
  EXPECT_THAT(bad(2, {"pool", "resize", "web", "10.50.0.0/16"}), HasSubstr("neither contains 10.44.0.0/16"));
  EXPECT_THAT(bad(6, {"pool", "resize", "web", "10.44.128.0/17"}),
              HasSubstr("pool web stays 10.44.0.0/16: outside of 10.44.128.0/17 are addresses of web/c1/eth0 (10.44.0.0)"));
  EXPECT_THAT(good({"pool", "resize", "web", "10.44.128.0/17", "--drain", "--wait", "0"}),
              HasSubstr("blocks are in use, or cool: 10.44.0.0/26 (node node-a); their addresses are those of web/c1/eth0 (10.44.0.0)"));
  EXPECT_THAT(good({"pool", "list"}), HasSubstr("enabled, shrinking to 10.44.128.0/17"));
  EXPECT_THAT(good({"pool", "resume"}), HasSubstr("pool web (10.44.0.0/16) goes on shrinking"));
  EXPECT_EQ(good({"pool", "resize", "web", "10.44.0.0/16"}), "pool web is 10.44.0.0/16 now\n");

  EXPECT_THAT(bad(2, {"pool", "split", "web", "--into", "a"}), HasSubstr("2 to 32 parts"));
  EXPECT_THAT(bad(2, {"pool", "split", "web", "--into", "a=10.44.0.0/33,b"}), HasSubstr("--into"));
  EXPECT_EQ(good({"pool", "split", "web", "--into", "web=10.44.0.0/17,edge=10.44.128.0/17"}),
            "pool web is web (10.44.0.0/17), edge (10.44.128.0/17) now\n");
  EXPECT_THAT(good({"pool", "split", "web", "--into", "one,two"}),
              HasSubstr("CNI configurations that name web must name one of these"));
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.0"}), HasSubstr("Holder:   web/c1/eth0"));
  EXPECT_THAT(good({"ipam", "show"}), HasSubstr("10.44.0.0/26   one"));
  EXPECT_EQ(good({"ipam", "check"}), "no problems\n");
  EXPECT_THAT(bad(2, {"pool", "merge", "one", "edge", "--into", "all"}), HasSubstr("are together no CIDR"));
  EXPECT_EQ(good({"pool", "merge", "one", "two", "edge", "--into", "web"}), "the pools one, two, edge are pool web (10.44.0.0/16) now\n");
  EXPECT_EQ(good({"pool", "resume"}), "nothing was left half-way\n");
  EXPECT_EQ(good({"ipam", "check"}), "no problems\n");
}

TEST_F(FirnctlTest, Reservations) {
  init();
  lease("c1");
  const Outcome added = ctl({"reservation", "add", "10.44.0.0/30", "--note", "routers"});
  EXPECT_EQ(added.exit, 0);
  EXPECT_THAT(added.err, HasSubstr("10.44.0.0 stays with web/c1/eth0"));
  EXPECT_EQ(lease("c2").addresses.front().to_string(), "10.44.0.4");
  EXPECT_EQ(good({"reservation", "list"}), "CIDR           NOTE\n10.44.0.0/30   routers\n");
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.1"}), HasSubstr("State:        reserved"));
  bad(5, {"reservation", "remove", "10.44.0.0/29"});
  good({"reservation", "remove", "10.44.0.0/30"});
  EXPECT_EQ(lease("c3").addresses.front().to_string(), "10.44.0.1");
}

TEST_F(FirnctlTest, AddressesOnTheScreen) {
  init();
  lease("c1");
  lease("c2");
  good({"ipam", "release", "--handle", "web/c1/eth0"});
  EXPECT_EQ(good({"ipam", "show"}),
            "POOL   CIDR           BLOCKS   ADDRESSES   USED   FREE   COOLING\n"
            "web    10.44.0.0/16   1        64          1      63     1\n"
            "\n"
            "BLOCK          POOL   USE      ADDRESSES   USED   FREE   COOLING\n"
            "10.44.0.0/26   web    routed   64          1      63     1\n");
  EXPECT_EQ(good({"ipam", "show", "--address", "10.44.0.1"}),
            "Address:  10.44.0.1\nPool:     web (10.44.0.0/16)\nBlock:    10.44.0.0/26 (routed)\nHolder:   web/c2/eth0\nState:    "
            "leased\n");
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.0"}), HasSubstr("free, released TIME"));
  bad(5, {"ipam", "release", "10.44.0.0"});
  bad(5, {"ipam", "release", "--handle", "web/none/eth0"});
  bad(2, {"ipam", "release"});
}

TEST_F(FirnctlTest, ALivingContainerKeepsItsAddressUnlessForced) {
  init();
  const test::NetnsFixture container;
  lease("c1", container.path());
  EXPECT_THAT(bad(6, {"ipam", "release", "10.44.0.0"}), HasSubstr("is alive"));
  EXPECT_THAT(good({"endpoint", "list"}), HasSubstr("10.44.0.0"));
  EXPECT_EQ(good({"ipam", "release", "10.44.0.0", "--force"}), "web/c1/eth0 released (10.44.0.0)\n");
  EXPECT_EQ(ctl({"endpoint", "list"}).err, "no endpoints on this host\n");
}

TEST_F(FirnctlTest, Endpoints) {
  init();
  const std::string id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  lease(id);
  lease("c2");
  EXPECT_EQ(good({"endpoint", "list", "--network", "web"}),
            "CONTAINER      INTERFACE   NETWORK   ADDRESSES   HOST-INTERFACE   POD   CREATED\n"
            "0123456789ab   eth0        web       10.44.0.0   firn-012345      -     TIME\n"
            "c2             eth0        web       10.44.0.1   firn-c2          -     TIME\n");
  for (const char* what : {"0123456789ab", "10.44.0.0"})
    EXPECT_THAT(good({"endpoint", "show", what}), HasSubstr("Container:          " + id)) << what;
  EXPECT_THAT(good({"endpoint", "show", "web/" + id + "/eth0"}), HasSubstr("Addresses:          10.44.0.0\n"));
  bad(5, {"endpoint", "show", "012"});
  bad(5, {"endpoint", "show", "10.44.0.9"});
  const std::string listed = good({"endpoint", "list", "-o", "json"});
  const auto json = json::Document::parse(listed);
  ASSERT_TRUE(json);
  EXPECT_EQ(json->root().array()->size(), 2u);
}

TEST_F(FirnctlTest, LabelsOfContainersChange) {
  init();
  lease("c1");
  lease("c2");
  EXPECT_EQ(good({"endpoint", "label", "web/c1/eth0", "app=web", "tier=front"}), "endpoint web/c1/eth0 changed\n");
  EXPECT_EQ(good({"endpoint", "label", "web/c1/eth0", "app=web"}), "endpoint web/c1/eth0 is so already\n");
  EXPECT_EQ(good({"endpoint", "label", "10.44.0.0", "tier-"}), "endpoint 10.44.0.0 changed\n");
  EXPECT_THAT(good({"endpoint", "show", "web/c1/eth0"}), HasSubstr("Labels:             app=web\n"));
  EXPECT_THAT(good({"endpoint", "label", "web/c1/eth0", "--annotation", "firn.io/ports=http=8080/tcp,dns=53/udp"}), HasSubstr("changed"));
  EXPECT_THAT(good({"endpoint", "show", "web/c1/eth0"}), HasSubstr("firn.io/ports=http=8080/tcp,dns=53/udp"));
  EXPECT_THAT(bad(5, {"endpoint", "label", "web/c1/eth0", "app=db", "tier-"}), HasSubstr("endpoint web/c1/eth0: there is no label tier"));
  EXPECT_THAT(bad(2, {"endpoint", "label", "web/c1/eth0", "app"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(bad(2, {"endpoint", "label", "web/c1/eth0", "--annotation", "firn.io/ports=http"}), HasSubstr("'http' is no named port, as http=8080/tcp"));
  bad(5, {"endpoint", "label", "web/c9/eth0", "a=b"});
  EXPECT_THAT(good({"endpoint", "show", "web/c1/eth0"}), HasSubstr("Labels:             app=web\n"));
  EXPECT_THAT(good({"endpoint", "show", "web/c2/eth0"}), Not(HasSubstr("Labels:")));
}

TEST_F(FirnctlTest, PoliciesAreExplained) {
  init();
  lease("c1");
  lease("c2");
  EXPECT_EQ(ctl({"policy", "list"}).err, "no policies; make one with: firnctl apply -f FILE\n");
  good({"endpoint", "label", "web/c1/eth0", "app=web"});
  good({"endpoint", "label", "web/c2/eth0", "app=db"});
  const std::string file = directory + "/policies.yaml";
  ASSERT_TRUE(write_file_atomic(file, R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {app: web}}
    ports: [{port: 5432}]
---
apiVersion: firn/v1
kind: GlobalNetworkPolicy
metadata: {name: base}
spec:
  order: 10
  types: [ingress, egress]
  ingress: [{action: log, protocol: udp}, {action: deny, protocol: udp}, {action: pass}]
  egress: [{action: pass}]
---
apiVersion: firn/v1
kind: HostEndpoint
metadata: {name: up, node: node-a, labels: {role: edge}}
spec: {interface: eth0}
)"));
  good({"apply", "-f", file});
  EXPECT_EQ(good({"policy", "list"}),
            "NAME         KIND                  ORDER   SELECTS       TYPES             IN   OUT\n"
            "base         GlobalNetworkPolicy   10      all()         ingress, egress   3    1\n"
            "default/db   NetworkPolicy         1000    app == 'db'   ingress           1    0\n");
  EXPECT_THAT(good({"policy", "list", "--endpoint", "web/c1/eth0"}), Not(HasSubstr("default/db")));
  EXPECT_THAT(good({"policy", "list", "--endpoint", "10.44.0.1"}), HasSubstr("default/db"));
  EXPECT_THAT(good({"policy", "show", "db"}), HasSubstr("Ingress 1:  allow tcp from app == 'web' to port 5432\n"));
  EXPECT_EQ(good({"policy", "show", "default/db", "-o", "yaml"}), good({"get", "networkpolicy", "db", "-o", "yaml"}));
  bad(5, {"policy", "show", "other/db"});

  EXPECT_EQ(good({"policy", "explain", "--from", "web/c1/eth0", "--to", "web/c2/eth0", "--port", "5432"}),
            "web/c1/eth0 (10.44.0.0) to web/c2/eth0 (10.44.0.1), tcp 5432\n"
            "\n"
            "DIRECTION   POLICY                     RULE   WHAT\n"
            "egress      GlobalNetworkPolicy base   1      pass\n"
            "ingress     GlobalNetworkPolicy base   3      pass\n"
            "ingress     NetworkPolicy default/db   1      allow tcp from app == 'web' to port 5432\n"
            "\n"
            "egress of web/c1/eth0: allowed: the last policy passed, and that is the default\n"
            "ingress of web/c2/eth0: allowed by ingress rule 1 of NetworkPolicy default/db\n"
            "allowed\n");
  const auto denied = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"policy", "explain"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = ctl(words);
    EXPECT_EQ(outcome.exit, 3) << outcome.out << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(denied({"--from", "192.0.2.77", "--to", "10.44.0.1", "--port", "5432/tcp"}),
              HasSubstr("egress of 192.0.2.77: allowed: no policy is about it\n"
                        "ingress of web/c2/eth0: denied: policies select it, and none of their rules allows this\ndenied\n"));
  EXPECT_THAT(denied({"--from", "web/c1/eth0", "--to", "10.44.0.1", "--port", "53/udp"}),
              HasSubstr("ingress     GlobalNetworkPolicy base   1      log udp\n"
                        "ingress     GlobalNetworkPolicy base   2      deny udp\n"));
  const std::string text = denied({"--from", "198.51.100.1", "--to", "10.44.0.1", "--icmp", "8", "-o", "json"});
  const auto json = json::Document::parse(text);
  ASSERT_TRUE(json) << text;
  EXPECT_EQ(json->root().array()->at(0)["ingress"]["ground"].string().value(), "no_rule");
  EXPECT_EQ(json->root().array()->at(0)["packet"].string().value(), "icmp type 8 code 0");
  EXPECT_THAT(good({"policy", "explain", "--from", "198.51.100.1", "--to", "192.0.2.11", "--port", "22"}), HasSubstr("failsafe port"));

  EXPECT_THAT(bad(5, {"policy", "explain", "--from", "nobody", "--to", "10.44.0.1", "--port", "1"}), HasSubstr("--from: there is no pod"));
  EXPECT_THAT(bad(2, {"policy", "explain", "--from", "10.44.0.0", "--to", "fd00::1", "--port", "1"}), HasSubstr("no addresses of one family"));
  EXPECT_THAT(bad(2, {"policy", "explain", "--from", "10.44.0.0", "--to", "10.44.0.1"}), HasSubstr("--port, --icmp and --protocol"));
  EXPECT_THAT(bad(2, {"policy", "explain", "--from", "10.44.0.0", "--to", "10.44.0.1", "--port", "1/icmp"}), HasSubstr("only tcp, udp and sctp have ports"));
  EXPECT_THAT(bad(2, {"policy", "explain", "--from", "10.44.0.0", "--to", "10.44.0.1", "--protocol", "icmp"}), HasSubstr("--icmp"));
}

TEST_F(FirnctlTest, WhatAllHostsHave) {
  init();
  lease("c1", "/proc/self/ns/net");
  EXPECT_EQ(ctl({"endpoint", "list", "--all"}).err, "no endpoints are published\n");
  const Outcome found = ctl({"ipam", "check", "--all"});
  EXPECT_EQ(found.exit, 3);
  EXPECT_THAT(found.out, HasSubstr("publication-missing   web/c1/eth0"));
  EXPECT_THAT(found.err, HasSubstr("'firnctl ipam check --all --fix' repairs"));
  EXPECT_THAT(good({"ipam", "check", "--all", "--fix"}), StartsWith("fixed:\n"));
  EXPECT_EQ(good({"ipam", "check", "--all"}), "no problems\n");
  model::Endpoint other;
  other.network = "web";
  other.container_id = "far";
  other.ifname = "eth0";
  other.boot_id = "b";
  other.created_at = 1;
  other.addresses = {Address::parse("10.44.200.1").value()};
  const auto put = open("cluster.db")->transact([&](kv::Transaction& tx) -> Status {
    tx.put(model::keys::node("node-b"), model::encode(model::Node{.name = "node-b", .machine_id = "m", .addresses = {}, .labels = {}, .as_number = {}, .joined_at = 1}));
    const Prefix block = Prefix::parse("10.44.200.0/26").value();
    tx.put(model::keys::claim("web", block), model::encode(model::Claim{block, "web", "node-b", model::Use::routed, 1}));
    tx.put(model::keys::published_endpoint("node-b", model::handle_of(other)), model::encode(other));
    return {};
  });
  ASSERT_TRUE(put);
  EXPECT_EQ(good({"endpoint", "list", "--all"}),
            "HOST     CONTAINER   INTERFACE   NETWORK   ADDRESSES     POD   CREATED\n"
            "node-a   c1          eth0        web       10.44.0.0     -     TIME\n"
            "node-b   far         eth0        web       10.44.200.1   -     TIME\n");
  EXPECT_EQ(good({"ipam", "show", "--all"}),
            "POOL   CIDR           BLOCKS   CLAIMED   USED   BORROWED\n"
            "web    10.44.0.0/16   1024     2         2      0\n"
            "\n"
            "NODE     POOL   BLOCKS   ADDRESSES   USED   FREE   BORROWED   LENT\n"
            "node-a   web    1        64          1      63     0          0\n"
            "node-b   web    1        64          1      63     0          0\n");
  EXPECT_TRUE(json::Document::parse(good({"ipam", "show", "--all", "-o", "json"})).ok());

  // The way from one to the other, as far as the cluster and this host's kernel know it.
  EXPECT_THAT(bad(5, {"trace", "c1", "nobody"}), HasSubstr("no host has published an endpoint nobody"));
  const Outcome unnamed = ctl({"trace", "far", "c1"});
  EXPECT_EQ(unnamed.exit, 3);
  EXPECT_THAT(unnamed.out, HasSubstr("ok       block 10.44.0.0/26 of pool web, node node-a (192.0.2.11), as node-b learns it by BGP"));
  EXPECT_THAT(unnamed.out, HasSubstr("breaks at back: route: node node-b has no address in the cluster; 'firnctl node set node-b --address A'"));
  good({"node", "set", "node-b", "--address", "192.0.2.12"});
  const Outcome unrouted = ctl({"trace", "c1", "10.44.200.1"});
  EXPECT_EQ(unrouted.exit, 3);
  EXPECT_THAT(unrouted.out, HasSubstr("breaks at kernel: "));
  EXPECT_THAT(ctl({"trace", "c1", "10.44.200.9"}).out, HasSubstr("10.44.0.0 to 10.44.200.9: the chain breaks at kernel"));
  EXPECT_THAT(ctl({"trace", "far", "10.44.9.9"}).out, HasSubstr("no node has claimed the block of 10.44.9.9 in pool web"));
  EXPECT_THAT(bad(6, {"pool", "resize", "web", "10.44.0.0/17"}), HasSubstr("addresses of web/far/eth0 (10.44.200.1) on node-b"));
  bad(2, {"ipam", "show", "--all", "--address", "10.44.0.0"});
}

TEST_F(FirnctlTest, CheckFindsALeakAndRepairsIt) {
  init();
  lease("c1", directory + "/gone");
  const Outcome leak = ctl({"ipam", "check"});
  EXPECT_EQ(leak.exit, 3);
  EXPECT_THAT(leak.out, HasSubstr("web/c1/eth0"));
  EXPECT_EQ(leak.err, "1 problem found; 'firnctl ipam check --fix' repairs the fixable ones\n");
  EXPECT_THAT(good({"ipam", "check", "--fix"}), StartsWith("fixed:\n"));
  EXPECT_EQ(good({"ipam", "check"}), "no problems\n");

  const test::NetnsFixture container;
  const model::Endpoint endpoint = lease("c2", container.path());
  link(endpoint);
  EXPECT_EQ(good({"ipam", "check"}), "no problems\n");
  auto erased = open("node.db")->transact([](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::lease(Address::parse("10.44.0.1").value()));
    return {};
  });
  ASSERT_TRUE(erased);
  const Outcome found = ctl({"ipam", "check"});
  EXPECT_EQ(found.exit, 3);
  EXPECT_THAT(found.out, HasSubstr("10.44.0.1"));
  EXPECT_THAT(good({"ipam", "check", "--fix"}), StartsWith("fixed:\n"));
  EXPECT_EQ(good({"ipam", "check"}), "no problems\n");
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.1"}), HasSubstr("Holder:   web/c2/eth0"));
}

TEST_F(FirnctlTest, Peers) {
  init();
  good({"bgp", "peer", "add", "tor-a", "--address", "192.0.2.1", "--as", "65000", "--hold-time", "30", "--bfd", "--export",
        "accept 10.44.0.0/16 le 26", "--export", "reject 10.0.0.0/8 ge 9"});
  good(
      {"bgp", "peer", "add", "ll", "--address", "fe80::1", "--as", "1.10", "--interface", "eth1", "--node", "node-a", "--passive"});
  EXPECT_EQ(good({"bgp", "peer", "list"}),
            "NAME    ADDRESS     AS      NODE     OPTIONS\n"
            "ll      fe80::1     65546   node-a   passive\n"
            "tor-a   192.0.2.1   65000   every    bfd\n");
  EXPECT_THAT(good({"bgp", "peer", "show", "tor-a"}),
              HasSubstr("Export:            accept 10.44.0.0/16 le 26, reject 10.0.0.0/8 ge 9, reject the rest\n"));

  const std::string before = good({"bgp", "peer", "list", "-o", "json"});
  const std::vector<std::pair<int, std::vector<std::string>>> wrong = {
      {2, {"x", "--as", "65000"}},
      {2, {"x", "--address", "192.0.2.2"}},
      {2, {"X", "--address", "192.0.2.2", "--as", "65000"}},
      {2, {"x", "--address", "127.0.0.1", "--as", "65000"}},
      {2, {"x", "--address", "fe80::2", "--as", "65000"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--hold-time", "2"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--hold-time", "9", "--keepalive-time", "10"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--multihop", "256"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--bfd", "--multihop", "2"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--import", "accept fd00::/8"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--import", "accept everything"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--password-file", "secret"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--interface", "e*"}},
      {2, {"x", "--address", "192.0.2.2", "--as", "65000", "--bfd", "--no-bfd"}},
      {5, {"x", "--address", "192.0.2.2", "--as", "65000", "--node", "node-z"}},
      {6, {"x", "--address", "192.0.2.1", "--as", "65000"}},
      {6, {"tor-a", "--address", "192.0.2.1", "--as", "65009"}},
  };
  for (const auto& [exit, rest] : wrong) {
    std::vector<std::string> arguments = {"bgp", "peer", "add"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    EXPECT_NE(bad(exit, arguments), "");
  }
  EXPECT_EQ(good({"bgp", "peer", "list", "-o", "json"}), before);

  good({"bgp", "peer", "set", "tor-a", "--no-bfd", "--export", "", "--multihop", "3"});
  EXPECT_THAT(good({"bgp", "peer", "show", "tor-a"}), HasSubstr("Export:            accept everything\n"));
  bad(2, {"bgp", "peer", "set", "tor-a"});
  good({"bgp", "peer", "remove", "tor-a"});
  bad(5, {"bgp", "peer", "remove", "tor-a"});
}

TEST_F(FirnctlTest, FiltersCommunitiesAndPrefixes) {
  init();
  good({"bgp", "community", "add", "mine", "--value", "64512:1", "--value", "64512:1:2"});
  good({"bgp", "filter", "add", "out", "--rule", "next community 64512:9 prepend 2", "--rule",
        "accept 10.44.0.0/16 le 26 fd00::/8 ge 64 add mine remove no-export med 5 local-pref 7", "--note", "why"});
  const std::string shown = good({"bgp", "filter", "show", "out"});
  EXPECT_THAT(shown, HasSubstr("next community 64512:9 prepend 2\n"));
  EXPECT_THAT(shown, HasSubstr("accept 10.44.0.0/16 le 26 fd00::/8 ge 64 add mine remove no-export med 5 local-pref 7\n"));
  EXPECT_THAT(good({"bgp", "community", "list"}), HasSubstr("mine   64512:1,64512:1:2"));
  good({"bgp", "prefix", "add", "198.51.100.53/32", "--selector", "role=dns", "--community", "mine"});
  EXPECT_THAT(good({"bgp", "prefix", "list"}), HasSubstr("198.51.100.53/32   role=dns   mine"));
  good({"bgp", "peer", "add", "tor", "--address", "192.0.2.1", "--as", "65000", "--export-filter", "out", "--community", "mine", "--prepend", "3",
        "--max-prefixes", "10", "--max-prefixes-action", "warn", "--selector", "rack=r1", "--local-as", "65009", "--med", "9"});
  const std::string peer = good({"bgp", "peer", "show", "tor"});
  EXPECT_THAT(peer, HasSubstr("10, then warn"));
  EXPECT_THAT(peer, HasSubstr("rack=r1"));
  good({"bgp", "peer", "add", "rack", "--range", "192.0.2.0/25", "--as", "65000"});

  // What is used stays, and nothing that is not there can be used.
  EXPECT_THAT(bad(6, {"bgp", "filter", "remove", "out"}), HasSubstr("is used by peer tor"));
  EXPECT_THAT(bad(6, {"bgp", "community", "remove", "mine"}), HasSubstr("is used by peer tor"));
  EXPECT_THAT(bad(5, {"bgp", "peer", "set", "tor", "--import-filter", "none"}), HasSubstr("--import-filter: there is no filter none"));
  EXPECT_THAT(bad(5, {"bgp", "prefix", "set", "198.51.100.53/32", "--community", "none"}), HasSubstr("--community: there is no community none"));
  EXPECT_THAT(bad(2, {"bgp", "filter", "add", "x", "--rule", "reject med 5"}), HasSubstr("rejects"));
  EXPECT_THAT(bad(2, {"bgp", "filter", "add", "x", "--rule", "accept 10.0.0.0/8 colour red"}), HasSubstr("colour: 'red' is not a number"));
  EXPECT_THAT(bad(2, {"bgp", "community", "add", "x", "--value", "1:70000"}), HasSubstr("is no community"));
  EXPECT_THAT(bad(2, {"bgp", "peer", "add", "y", "--address", "192.0.2.9", "--range", "192.0.2.0/24", "--as", "1"}), HasSubstr("--range"));
  bad(6, {"bgp", "filter", "add", "out", "--rule", "accept"});
  bad(5, {"bgp", "filter", "set", "none", "--rule", "accept"});
  good({"bgp", "peer", "set", "tor", "--export-filter", "", "--community", "", "--local-as", "", "--med", ""});
  good({"bgp", "filter", "remove", "out"});
  EXPECT_THAT(bad(6, {"bgp", "community", "remove", "mine"}), HasSubstr("is used by prefix 198.51.100.53/32"));
  good({"bgp", "prefix", "remove", "198.51.100.53/32"});
  good({"bgp", "community", "remove", "mine"});
}

TEST_F(FirnctlTest, TopologyAndAsByLabel) {
  init();
  const std::string shown = good({"bgp", "settings", "--topology", "auto", "--reflectors", "role=rr", "--mesh-limit", "50", "--as-of",
                                  "rack=r1=65101", "--as-of", "rack=r2=65102", "--cluster-id", "192.0.2.100", "--node-bfd", "--ecmp", "8"});
  EXPECT_THAT(shown, HasSubstr("auto, mesh up to 50 hosts"));
  EXPECT_THAT(shown, HasSubstr("rack=r1=65101; rack=r2=65102"));
  EXPECT_THAT(bad(2, {"bgp", "settings", "--topology", "ring"}), HasSubstr("peers, mesh, reflectors, auto"));
  EXPECT_THAT(bad(2, {"bgp", "settings", "--router-id", "192.0.2.1"}), HasSubstr("--router-id"));
  EXPECT_THAT(bad(2, {"bgp", "settings", "--topology", "reflectors", "--reflectors", ""}), HasSubstr("--reflectors"));
  EXPECT_THAT(bad(2, {"bgp", "settings", "--as-of", "rack=65101"}), HasSubstr("--as-of"));
  EXPECT_THAT(good({"bgp", "settings", "--as-of", "", "--topology", "peers"}), Not(HasSubstr("65101")));
}

TEST_F(FirnctlTest, ADrainIsKeptInTheNodeRecord) {
  init();
  EXPECT_THAT(good({"node", "drain-bgp", "--grace", "5"}), HasSubstr("withdraws when they do, in 5 s at the latest"));
  EXPECT_THAT(good({"node", "show"}), HasSubstr("grace 5 s"));
  EXPECT_THAT(good({"node", "drain-bgp"}), HasSubstr("is drained already"));
  bad(6, {"node", "drain-bgp", "--grace", "6"});
  EXPECT_THAT(bad(1, {"node", "drain-bgp", "--wait", "--timeout", "1"}), HasSubstr("is firn-routed running there?"));
  EXPECT_THAT(good({"node", "undrain"}), HasSubstr("announces its blocks again"));
  EXPECT_THAT(good({"node", "undrain", "--wait"}), HasSubstr("is not drained"));
  bad(5, {"node", "drain-bgp", "nobody"});
}

constexpr const char* one_session =
    R"({"ok":true,"state":"running","running":true,"supervised":true,"version":"2.0.12","inForce":true,"restarts":0,"pid":77,"sessions":[
    {"peer":"tor-a","kind":"peer","address":"192.0.2.1","as":65000,"state":"Established","established":true,"since":"2026-01-31 12:00:00",
     "channels":[{"family":"ipv4","state":"UP","imported":2,"filtered":3,"exported":1}],"announced":["10.44.0.0/26"]},
    {"peer":"tor-b","kind":"peer","address":"192.0.2.2","as":65000,"state":"Active","established":false,"since":"2026-01-31 12:00:01",
     "lastError":"cannot connect: No route to host","channels":[]}]})";

TEST_F(FirnctlTest, BgpStatus) {
  {
    const Answering daemon(socket, one_session);
    EXPECT_EQ(good({"bgp", "status"}),
              "BIRD: running (2.0.12, pid 77), configuration in force\n"
              "\n"
              "PEER    KIND   ADDRESS     AS      STATE         SINCE                 IN   FILTERED   OUT   LAST-ERROR\n"
              "tor-a   peer   192.0.2.1   65000   Established   2026-01-31 12:00:00   2    3          1     -\n"
              "tor-b   peer   192.0.2.2   65000   Active        2026-01-31 12:00:01   0    0          0     cannot connect: No route to host\n");
    const std::string shown = good({"bgp", "status", "-o", "json"});
    EXPECT_TRUE(json::Document::parse(shown));
  }
  {
    const Answering daemon(socket, R"({"ok":true,"state":"silent","running":false,"reason":"it does not answer","sessions":[]})");
    const Outcome shown = ctl({"bgp", "status"});
    EXPECT_EQ(shown.out, "BIRD: silent: it does not answer\n");
    EXPECT_EQ(shown.err, "the sessions are not known until BIRD answers\n");
  }
  bad(4, {"bgp", "status"});
  const Answering daemon(socket, R"({"ok":false,"error":"unknown op","code":"invalid"})");
  EXPECT_THAT(bad(1, {"bgp", "status"}), HasSubstr("unknown op"));
}

TEST_F(FirnctlTest, RouteWhyNamesTheBrokenLink) {
  init();
  const auto why = [&](int exit, const std::string& address) {
    const Outcome outcome = ctl({"route", "why", address});
    EXPECT_EQ(outcome.exit, exit) << outcome.out << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(why(5, "203.0.113.1"), HasSubstr("breaks at pool"));
  EXPECT_THAT(why(3, "10.44.0.0"), HasSubstr("breaks at block: no node has claimed 10.44.0.0/26"));

  const test::NetnsFixture container;
  const model::Endpoint endpoint = lease("c1", container.path());
  EXPECT_THAT(why(3, "10.44.0.9"), HasSubstr("breaks at endpoint: nobody holds 10.44.0.9: it is free"));
  EXPECT_THAT(why(3, "10.44.0.0"), HasSubstr("breaks at kernel: interface firn-c1 is not in this network namespace"));
  const int index = link(endpoint);
  EXPECT_THAT(why(3, "10.44.0.0"), HasSubstr("breaks at kernel: route to 10.44.0.0"));
  route(endpoint, index);
  EXPECT_EQ(why(0, "10.44.0.0"),
            "STEP       STATE   REASON\n"
            "pool       ok      web (10.44.0.0/16, blocks of /26)\n"
            "block      ok      10.44.0.0/26, owned by node-a\n"
            "endpoint   ok      web/c1/eth0, interface firn-c1\n"
            "kernel     ok      10.44.0.0/32 dev firn-c1 proto firn\n"
            "bgp        none    this host has no peers: the address is known here alone\n"
            "\n"
            "10.44.0.0: the chain is whole\n");
  EXPECT_EQ(good({"route", "list"}),
            "DESTINATION    TYPE      DEVICE    METRIC   OWNER\n"
            "10.44.0.0/32   unicast   firn-c1   -        web/c1/eth0\n");

  good({"bgp", "peer", "add", "tor-a", "--address", "192.0.2.1", "--as", "65000"});
  EXPECT_THAT(why(3, "10.44.0.0"), HasSubstr("breaks at bgp: "));
  const Answering daemon(socket, one_session);
  EXPECT_THAT(why(0, "10.44.0.0"), HasSubstr("bgp        ok      announced as 10.44.0.0/26 to tor-a (192.0.2.1 AS 65000); "
                                             "not to tor-b (192.0.2.2 AS 65000): Active, cannot connect: No route to host\n"));
}

TEST_F(FirnctlTest, RouteWhyFollowsAnotherNodesBlock) {
  init();
  auto claimed = open("cluster.db")->transact([](kv::Transaction& tx) -> Status {
    const model::Claim claim{Prefix::parse("10.44.0.64/26").value(), "web", "node-b", model::Use::routed, 1};
    tx.put(model::keys::claim(claim.pool, claim.prefix), model::encode(claim));
    return {};
  });
  ASSERT_TRUE(claimed);
  const Outcome outcome = ctl({"route", "why", "10.44.0.70"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_THAT(outcome.out, HasSubstr("owned by node node-b"));
  EXPECT_THAT(outcome.out, HasSubstr("breaks at kernel"));
}

TEST_F(FirnctlTest, StatusOnOneScreen) {
  init();
  lease("c1");
  const Outcome without = ctl({"status"});
  EXPECT_EQ(without.exit, 4);
  EXPECT_THAT(without.out, HasSubstr("Node:       node-a, 192.0.2.11, AS 65001\n"));
  EXPECT_THAT(without.out, HasSubstr("not running"));
  EXPECT_THAT(without.out, HasSubstr("Addresses:  1 used of 64, 0 cooling\n"));
  const Answering daemon(
      socket, R"({"ok":true,"version":"0.1.0","ready":true,"routes":{"desired":3,"actual":3,"pending":0},"driftRepaired":1,
      "bird":{"state":"running","running":true,"version":"2.0.12","inForce":true,"sessions":[{"peer":"a","established":true}]}})");
  const std::string with = good({"status"});
  EXPECT_THAT(with, HasSubstr("Daemon:        firn-routed 0.1.0, ready\n"));
  EXPECT_THAT(with, HasSubstr("Routes:        3 of 3 in the kernel, 1 repaired\n"));
  EXPECT_THAT(with, HasSubstr("BGP sessions:  1 of 1 established\n"));
  EXPECT_TRUE(json::Document::parse(good({"status", "-o", "json"})));
}

TEST_F(FirnctlTest, ADamagedStoreIsReplacedFromWhatIsAlive) {
  init();
  const test::NetnsFixture container;
  const model::Endpoint endpoint = lease("c1", container.path());
  route(endpoint, link(endpoint));
  EXPECT_THAT(bad(6, {"ipam", "reset"}), HasSubstr("can be read"));
  ASSERT_TRUE(write_file_atomic(state + "/node.db", std::string(8192, 'x'), 0600));
  EXPECT_THAT(bad(1, {"endpoint", "list"}), testing::AllOf(HasSubstr("not a firn store"), HasSubstr("firnctl ipam reset")));
  EXPECT_THAT(bad(1, {"ipam", "check"}), HasSubstr("node.db"));
  {
    const Answering daemon(socket, R"({"ok":true})");
    EXPECT_THAT(bad(6, {"ipam", "reset"}), HasSubstr("stop it first"));
  }
  EXPECT_THAT(good({"ipam", "reset"}), HasSubstr("holds 1 endpoints"));
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.0"}), HasSubstr("Holder:   web/c1/eth0"));
  EXPECT_THAT(good({"node", "show"}), HasSubstr("This host:   yes"));
  EXPECT_EQ(lease("c2").addresses.front().to_string(), "10.44.0.1");
}

TEST_F(FirnctlTest, ALostStoreIsNotReplacedByAnEmptyOne) {
  init();
  const test::NetnsFixture container;
  const model::Endpoint endpoint = lease("c1", container.path());
  route(endpoint, link(endpoint));
  const auto lose = [&] {
    for (const char* suffix : {"", "-data"}) std::filesystem::remove(state + "/node.db" + suffix);
  };
  lose();
  EXPECT_THAT(bad(6, {"init"}), HasSubstr("firnctl ipam reset"));
  EXPECT_FALSE(std::filesystem::exists(state + "/node.db"));
  EXPECT_THAT(good({"ipam", "reset"}), HasSubstr("there was no store; the new one holds 1 endpoints"));
  EXPECT_THAT(good({"ipam", "show", "--address", "10.44.0.0"}), HasSubstr("Holder:   web/c1/eth0"));
  EXPECT_EQ(lease("c2").addresses.front().to_string(), "10.44.0.1");
  // An empty one that somebody made in its place is no better than none.
  lose();
  ASSERT_TRUE(ipam::open_node_store({state + "/node.db"}));
  EXPECT_THAT(bad(6, {"init"}), HasSubstr("firnctl ipam reset"));
  EXPECT_THAT(good({"ipam", "reset"}), HasSubstr("holds 1 endpoints"));
  EXPECT_THAT(good({"node", "show"}), HasSubstr("This host:   yes"));
  // A directory that was never firn's is more likely a slip of the pen.
  const test::NetnsFixture elsewhere;
  const Outcome outcome = elsewhere.run([&] { return run({FIRNCTL, "ipam", "reset", "--state-dir", directory + "/none"}, directory); });
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("there is no firn state"));
}

TEST_F(FirnctlTest, InitKeepsWhatTheClusterHas) {
  init();
  for (const char* suffix : {"", "-data"}) std::filesystem::remove(state + "/node.db" + suffix);
  EXPECT_THAT(bad(6, {"init", "--as", "65002"}), HasSubstr("AS number: 65001, asked for 65002"));
  EXPECT_THAT(good({"init"}), HasSubstr("node-a is initialised"));
  EXPECT_THAT(good({"bgp", "settings"}), HasSubstr("65001"));
  EXPECT_THAT(good({"node", "list"}), HasSubstr("node-a   192.0.2.11"));
  EXPECT_THAT(good({"node", "list"}), Not(HasSubstr("\n\n")));
  EXPECT_THAT(good({"pool", "list"}), HasSubstr("10.44.0.0/16"));
}

TEST_F(FirnctlTest, AnotherUserIsToldToBeRoot) {
  init();
  ASSERT_EQ(::chmod(directory.c_str(), 0755), 0);
  const std::string copy = directory + "/firnctl";
  std::filesystem::copy_file(FIRNCTL, copy);
  ASSERT_EQ(::chmod(copy.c_str(), 0755), 0);
  const Outcome outcome =
      run({"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "pool", "list", "--state-dir", state},
          directory);
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("run as root"));
}

TEST_F(FirnctlTest, AFullDeviceIsAFailure) {
  init();
  const Outcome outcome =
      run({"/bin/sh", "-c", "exec \"$0\" \"$@\" > /dev/full", FIRNCTL, "pool", "list", "--state-dir", state}, directory);
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_THAT(outcome.err, HasSubstr("could not be written"));
}

// Objects ----------------------------------------------------------------------------------------------------------------

TEST_F(FirnctlTest, ObjectsAreAppliedComparedAndDeleted) {
  init();
  const std::string file = directory + "/web.yaml";
  const std::string text =
      "apiVersion: firn/v1\nkind: Pool\nmetadata: {name: db}\nspec:\n  cidr: 10.60.0.0/24\n  node_selector: {rack: r1}\n---\n"
      "apiVersion: firn/v1\nkind: Reservation\nmetadata: {name: 10.44.0.0/28}\n---\n"
      "apiVersion: firn/v1\nkind: BgpPeer\nmetadata: {name: tor-a}\nspec:\n"
      "  {address: 192.0.2.1, as_number: 65000, password_file: /nowhere/x}\n";
  ASSERT_TRUE(write_file_atomic(file, text));
  const auto leased = lease("c1");  // 10.44.0.0: inside of the reservation to come
  Outcome outcome = ctl({"diff", "-f", file});
  EXPECT_EQ(outcome.exit, 1) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("--- /dev/null\n+++ applied/pool/db\n@@ -0,0 +1,9 @@\n+apiVersion: firn/v1\n"));
  EXPECT_EQ(good({"apply", "-f", file, "--dry-run"}),
            "pool/db created (dry run)\nreservation/10.44.0.0/28 created (dry run)\nbgppeer/tor-a created (dry run)\n");
  EXPECT_THAT(good({"pool", "list"}), Not(HasSubstr("db")));
  outcome = ctl({"apply", "-f", "-"}, file);
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "pool/db created\nreservation/10.44.0.0/28 created\nbgppeer/tor-a created\n");
  EXPECT_THAT(outcome.err, HasSubstr("note: " + leased.addresses.front().to_string() + " stays with web/c1/eth0"));
  EXPECT_THAT(outcome.err, HasSubstr("note: /nowhere/x is not there yet"));
  // The next container sees it: the node store has its copies.
  EXPECT_TRUE(open("node.db")->get(model::keys::pool("db")).value());
  EXPECT_TRUE(open("node.db")->get(model::keys::reservation(Prefix::parse("10.44.0.0/28").value())).value());
  EXPECT_EQ(good({"apply", "-f", file}), "pool/db unchanged\nreservation/10.44.0.0/28 unchanged\nbgppeer/tor-a unchanged\n");
  EXPECT_EQ(good({"diff", "-f", file}), "");

  // The commands of the noun and the documents see the same objects.
  good({"pool", "set", "db", "--disabled"});
  outcome = ctl({"diff", "-f", file});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.out,
            "--- stored/pool/db\n+++ applied/pool/db\n@@ -5,6 +5,5 @@\n spec:\n   block_size: 26\n   cidr: 10.60.0.0/24\n-  disabled: "
            "true\n   node_selector:\n     rack: r1\n");
  EXPECT_THAT(good({"apply", "-f", file, "-o", "json"}), HasSubstr("\"name\": \"db\",\n    \"result\": \"configured\""));
  EXPECT_EQ(good({"pool", "show", "db", "-o", "yaml"}),
            "apiVersion: firn/v1\nkind: Pool\nmetadata:\n  name: db\nspec:\n  block_size: 26\n  cidr: 10.60.0.0/24\n"
            "  node_selector:\n    rack: r1\n");

  // In use: nothing is deleted.
  const std::string all = directory + "/all.yaml";
  const std::string reservations = good({"get", "reservation", "-o", "yaml"});
  ASSERT_TRUE(write_file_atomic(all, reservations + "---\n" + good({"get", "pool", "web", "-o", "yaml"})));
  EXPECT_THAT(bad(6, {"delete", "-f", all}), HasSubstr("all.yaml:7:1: Pool web: "));
  EXPECT_THAT(good({"get", "reservations"}), HasSubstr("10.44.0.0/28"));
  EXPECT_EQ(good({"delete", "-f", file}), "pool/db deleted\nreservation/10.44.0.0/28 deleted\nbgppeer/tor-a deleted\n");
  EXPECT_FALSE(open("node.db")->get(model::keys::pool("db")).value());
  EXPECT_THAT(bad(5, {"delete", "-f", file}), HasSubstr("web.yaml:8:1: Reservation 10.44.0.0/28: is not there"));
  EXPECT_THAT(bad(5, {"get", "pool", "db"}), HasSubstr("there is no pool db"));
}

TEST_F(FirnctlTest, ABadFileChangesNothing) {
  init();
  const std::string file = directory + "/bad.yaml";
  ASSERT_TRUE(write_file_atomic(file,
                                "apiVersion: firn/v1\nkind: Pool\nmetadata: {name: db}\nspec: {cidr: 10.60.0.0/24}\n---\n"
                                "apiVersion: firn/v1\nkind: Pool\nmetadata: {name: clash}\nspec: {cidr: 10.44.1.0/24}\n"));
  const std::string before = good({"pool", "list", "-o", "json"});
  for (const char* verb : {"apply", "diff"}) {
    EXPECT_EQ(bad(6, {verb, "-f", file}),
              std::string("firnctl ") + verb + ": " + file +
                  ":6:1: Pool clash: pool clash (10.44.1.0/24) overlaps with pool web (10.44.0.0/16)\n");
  }
  EXPECT_EQ(good({"pool", "list", "-o", "json"}), before);
  EXPECT_THAT(bad(2, {"apply"}), HasSubstr("-f: is required"));
  EXPECT_THAT(bad(2, {"apply", "-f", directory + "/none.yaml"}), HasSubstr("none.yaml"));
  EXPECT_THAT(bad(2, {"apply", "-f", "-"}), HasSubstr("standard input: holds no object"));
  EXPECT_THAT(bad(2, {"get", "pol"}), HasSubstr("did you mean 'pool'?"));
  // 1 is what diff says of differences; a host without state is something else.
  state += "/none";
  EXPECT_THAT(bad(7, {"diff", "-f", file}), HasSubstr("run 'firnctl init'"));
  EXPECT_THAT(bad(1, {"apply", "-f", file}), HasSubstr("run 'firnctl init'"));
}

TEST_F(FirnctlTest, EveryExampleOfTheDocumentationIsApplied) {
  // Each alone; they stay in the folder. Returns how many.
  const auto apply_examples = [&](const std::string& document) {
    std::filesystem::remove_all(directory + "/objects");
    std::filesystem::create_directory(directory + "/objects");
    const std::string opening = "```yaml\n";
    int count = 0;
    for (size_t at = document.find(opening); at != std::string::npos; at = document.find(opening, at)) {
      at += opening.size();
      const size_t end = std::min(document.find("```", at), document.size());
      const std::string file = directory + "/objects/" + std::to_string(count++) + ".yaml";
      EXPECT_TRUE(write_file_atomic(file, document.substr(at, end - at)));
      const Outcome outcome = ctl({"apply", "-f", file});
      EXPECT_EQ(outcome.exit, 0) << outcome.err << document.substr(at, end - at);
      at = end;
    }
    return count;
  };
  init();
  const std::string document = read_file(FIRN_SOURCE "/docs/objects.md", 1 << 20).value();
  apply_examples(read_file(FIRN_SOURCE "/docs/policy.md", 1 << 20).value());
  const int examples = apply_examples(document);
  // All of them together, as a folder; and every kind comes back as it was.
  EXPECT_THAT(good({"apply", "-f", directory + "/objects"}), Not(HasSubstr("created")));
  EXPECT_EQ(good({"diff", "-f", directory + "/objects"}), "");
  int kinds = 0;
  for (const char* kind : {"pool", "reservation", "node", "bgpsettings", "bgppeer", "bgpfilter", "bgpcommunity", "bgpprefix",
                           "networkpolicy", "globalnetworkpolicy", "namespace", "hostendpoint", "policysettings"}) {
    for (const char* form : {"yaml", "json"}) {
      const std::string file = directory + "/back";
      const std::string text = ctl({"get", kind, "-o", form}).out;
      ASSERT_TRUE(write_file_atomic(file, text));
      const std::string said = good({"apply", "-f", file});
      EXPECT_THAT(said, StartsWith(std::string(kind) + "/")) << text;
      EXPECT_THAT(said, Not(testing::AnyOf(HasSubstr("created"), HasSubstr("configured")))) << text;
    }
    ++kinds;
  }
  // A kind without an example is one that nobody will find.
  const std::string help = ctl({"get", "--help"}).out;
  EXPECT_GE(examples, kinds);
  EXPECT_THAT(help, HasSubstr("bgpprefix, networkpolicy, globalnetworkpolicy, namespace, hostendpoint, policysettings\n"))
      << "a new kind: give it an example, and a place in the list above";
}

// Completion -------------------------------------------------------------------------------------------------------------

TEST_F(FirnctlTest, EveryCommandHasHelpAndDocumentWithAnExample) {
  const std::string script = good({"completion", "bash"});
  const std::regex path_line("\n      \"firnctl ?([^\"]*)\"\\)\n        words=\"([^\"]*)\"");
  const std::string document = read_file(FIRN_SOURCE "/docs/firnctl.md", 1 << 20).value();
  size_t commands = 0;
  for (std::sregex_iterator at(script.begin(), script.end(), path_line), end; at != end; ++at) {
    std::vector<std::string> arguments = {FIRNCTL};
    std::istringstream words((*at)[1].str());
    for (std::string word; words >> word;) arguments.push_back(word);
    arguments.emplace_back("--help");
    const Outcome help = run(arguments, directory);
    EXPECT_EQ(help.exit, 0) << (*at)[1];
    EXPECT_THAT(help.out, HasSubstr((*at)[2].length() == 0 ? "Examples:\n  " : "--help")) << (*at)[1];
    if ((*at)[2].length() == 0) {
      EXPECT_THAT(document, HasSubstr("firnctl " + (*at)[1].str())) << "docs/firnctl.md has no example";
    }
    ++commands;
  }
  EXPECT_GT(commands, 35u);
}

TEST_F(FirnctlTest, TheInstalledCompletionIsTheOneOfTheProgram) {
  EXPECT_EQ(read_file(FIRN_SOURCE "/packaging/completion/firnctl.bash", 1 << 20).value(), good({"completion", "bash"}))
      << "run: firnctl completion bash > packaging/completion/firnctl.bash";
}

TEST_F(FirnctlTest, BashCompletes) {
  init();
  const auto complete = [&](const std::string& words, int position) {
    const std::string bash = "firnctl() { '" FIRNCTL "' \"$@\" --state-dir '" + state +
                             "'; }; source '" FIRN_SOURCE "/packaging/completion/firnctl.bash'; COMP_WORDS=(" + words +
                             "); COMP_CWORD=" + std::to_string(position) + "; _firnctl; echo \"${COMPREPLY[*]}\"";
    const Outcome outcome = run({"/bin/bash", "-c", bash}, directory);
    EXPECT_EQ(outcome.err, "");
    return outcome.out;
  };
  EXPECT_EQ(complete("firnctl po", 1), "pool policy\n");
  EXPECT_EQ(complete("firnctl pool ''", 2), "create list show set delete resize split merge resume\n");
  EXPECT_EQ(complete("firnctl -o json bgp peer s", 5), "show set\n");
  EXPECT_EQ(complete("firnctl bgp peer set --no-bf", 4), "--no-bfd\n");
  EXPECT_EQ(complete("firnctl pool list -o ''", 4), "table json yaml\n");
  EXPECT_EQ(complete("firnctl pool show ''", 3), "web\n");
  EXPECT_EQ(complete("firnctl pool set web ''", 4), "\n");
  EXPECT_EQ(complete("firnctl init --name ''", 3), "\n");
}

}  // namespace
}  // namespace firn
