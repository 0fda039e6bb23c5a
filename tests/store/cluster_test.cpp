// firnctl and lib/cluster on a real etcd: the first host, the next, a host that moves onto etcd, a cluster that went back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "lib/base/file.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/control/control.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/keys.hpp"
#include "tests/support/etcd_fixture.hpp"

namespace firn {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Records = std::map<std::string, std::string>;

class ClusterTest : public testing::Test {
 protected:
  ClusterTest() : directory(test::make_temporary_directory("firn-t-cluster")) {}
  ~ClusterTest() override { std::filesystem::remove_all(directory); }

  std::string state(const std::string& host) const { return directory + "/" + host; }
  // A host of its own on this machine: its state directory has a machine id.
  void make_machine(const std::string& host, char digit) {
    std::filesystem::create_directories(state(host));
    ASSERT_TRUE(write_file_atomic(state(host) + "/machine-id", std::string(32, digit) + "\n", 0600).ok());
  }
  test::ProgramResult ctl(const std::string& host, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), FIRNCTL);
    arguments.insert(arguments.end(), {"--state-dir", state(host), "--socket", directory + "/routed.sock"});
    return test::run_and_read(arguments, directory);
  }
  std::string good(const std::string& host, const std::vector<std::string>& arguments) {
    const auto result = ctl(host, arguments);
    EXPECT_EQ(result.exit, 0) << arguments[0] << ": " << result.out << result.err;
    return result.out;
  }
  std::string bad(int exit, const std::string& host, const std::vector<std::string>& arguments) {
    const auto result = ctl(host, arguments);
    EXPECT_EQ(result.exit, exit) << arguments[0] << ": " << result.out << result.err;
    return result.err;
  }
  std::vector<std::string> with_etcd(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--etcd", etcd.endpoint().to_string()});
    return arguments;
  }
  static Records records_of(kv::Store& store) {
    Records records;
    auto listing = store.range("");
    EXPECT_TRUE(listing.ok());
    if (listing) {
      for (const kv::Entry& entry : listing->entries) records[entry.key] = entry.value;
    }
    return records;
  }
  Records records_of(const std::string& host) {
    auto store = cluster::open_cluster(state(host));
    if (store) return records_of(**store);
    ADD_FAILURE() << store.error().message;
    return {};
  }
  std::unique_ptr<kv::Store> database(const std::string& path) {
    kv::SqliteOptions options;
    options.path = path;
    return std::move(kv::open_sqlite(options)).value();
  }
  // A single host with some of everything that is kept in the cluster store.
  void make_single_host(const std::string& host) {
    make_machine(host, '1');
    good(host, {"init", "--name", "node-a", "--address", "192.0.2.11", "--as", "65001", "--pool", "web=10.44.0.0/16", "--pool", "v6=fd00:44::/64"});
    good(host, {"reservation", "add", "10.44.0.0/28"});
    good(host, {"bgp", "peer", "add", "tor-a", "--address", "192.0.2.1", "--as", "65000"});
    auto store = cluster::open_cluster(state(host));
    ASSERT_TRUE(store.ok());
    // As many records as do not fit into one transaction of etcd.
    ASSERT_TRUE((*store)->transact([](kv::Transaction& tx) -> Status {
      for (int i = 0; i < 300; ++i) tx.put("other/" + std::to_string(1000 + i), "record " + std::to_string(i));
      return {};
    }).ok());
  }

  test::EtcdFixture etcd;
  std::string directory;
};

// Pools that change while another host has blocks of them.
TEST_F(ClusterTest, PoolsChangeOnEtcd) {
  make_machine("a", '1');
  make_machine("b", '2');
  good("a", with_etcd({"init", "--name", "node-a", "--address", "192.0.2.11", "--pool", "web=10.44.0.0/16"}));
  good("b", with_etcd({"join", "--name", "node-b", "--address", "192.0.2.12"}));
  const Prefix block = Prefix::parse("10.44.200.0/26").value();
  const std::string claim = model::encode(model::Claim{block, "web", "node-b", model::Use::routed, 1});
  {
    auto store = cluster::open_cluster(state("a"));
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->transact([&](kv::Transaction& tx) -> Status {
      tx.put(model::keys::claim("web", block), claim);
      return {};
    }).ok());
  }
  EXPECT_THAT(bad(6, "a", {"pool", "resize", "web", "10.44.0.0/17", "--wait", "1"}),
              HasSubstr("pool web stays 10.44.0.0/16: outside of 10.44.0.0/17 these blocks are in use, or cool: 10.44.200.0/26 (node node-b)"));
  EXPECT_THAT(good("a", {"pool", "list"}), testing::Not(HasSubstr("shrinking")));
  EXPECT_THAT(good("a", {"pool", "resize", "web", "10.44.0.0/17", "--drain", "--wait", "0"}), HasSubstr("pool web shrinks to 10.44.0.0/17"));
  EXPECT_THAT(bad(6, "a", {"pool", "split", "web", "--into", "low,high"}), HasSubstr("pool web shrinks to 10.44.0.0/17; let that end"));
  // node-b has no container there: it gives the block back, and the pool is smaller.
  EXPECT_EQ(good("b", {"pool", "resume"}), "pool web (10.44.0.0/17) is complete\n");
  EXPECT_EQ(good("a", {"pool", "resize", "web", "10.44.0.0/16"}), "pool web is 10.44.0.0/16 now\n");
  EXPECT_THAT(good("b", {"pool", "split", "web", "--into", "web,high"}), StartsWith("pool web is web (10.44.0.0/17), high (10.44.128.0/17)"));
  EXPECT_THAT(good("a", {"ipam", "show", "--all"}), HasSubstr("high   10.44.128.0/17   512      0         0      0"));
  EXPECT_EQ(good("a", {"pool", "merge", "web", "high", "--into", "web"}), "the pools web, high are pool web (10.44.0.0/16) now\n");
  good("a", {"pool", "delete", "web"});
  EXPECT_EQ(good("b", {"ipam", "check", "--all"}), "no problems\n");
}

TEST_F(ClusterTest, TheFirstHostAndTheNext) {
  make_machine("a", '1');
  make_machine("b", '2');
  EXPECT_THAT(bad(2, "b", {"join", "--address", "192.0.2.12"}), HasSubstr("--etcd: is required"));
  EXPECT_THAT(bad(6, "b", with_etcd({"join", "--address", "192.0.2.12"})), HasSubstr("is not initialised"));
  EXPECT_THAT(bad(2, "a", {"init", "--etcd-user", "x"}), HasSubstr("--etcd: is required with"));
  EXPECT_THAT(bad(2, "a", {"init", "--etcd", "10.0.0.1"}), HasSubstr("is no endpoint"));
  EXPECT_FALSE(std::filesystem::exists(state("b") + "/cluster.db"));

  const auto init = with_etcd({"init", "--name", "node-a", "--address", "192.0.2.11", "--as", "65001", "--pool", "web=10.44.0.0/16"});
  EXPECT_THAT(good("a", init), StartsWith("node-a is initialised"));
  EXPECT_THAT(good("a", init), HasSubstr("initialised already"));
  EXPECT_THAT(good("a", {"init"}), HasSubstr("initialised already"));
  EXPECT_FALSE(std::filesystem::exists(state("a") + "/cluster.db"));
  for (const char* file : {"/cluster.json", "/cluster.seen", "/node.db"}) {
    struct stat info {};
    ASSERT_EQ(::stat((state("a") + file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 07777, 0600u) << file;
  }

  EXPECT_THAT(bad(6, "b", with_etcd({"init", "--name", "node-b", "--address", "192.0.2.12"})), HasSubstr("initialised already (by node-a)"));
  EXPECT_THAT(bad(6, "b", with_etcd({"join", "--name", "node-a", "--address", "192.0.2.12"})), HasSubstr("has the name node-a"));
  EXPECT_THAT(good("b", with_etcd({"join", "--name", "node-b", "--address", "192.0.2.12", "--label", "rack=r2"})), StartsWith("node-b has joined"));
  EXPECT_THAT(good("b", with_etcd({"join", "--name", "node-b"})), HasSubstr("initialised already"));
  const std::string nodes = good("a", {"node", "list", "-o", "json"});
  EXPECT_THAT(nodes, HasSubstr("192.0.2.11"));
  EXPECT_THAT(nodes, HasSubstr("192.0.2.12"));
  EXPECT_THAT(good("b", {"pool", "list"}), HasSubstr("10.44.0.0/16"));
  good("b", {"pool", "create", "edge", "192.0.2.128/25"});
  EXPECT_THAT(good("a", {"pool", "list"}), HasSubstr("192.0.2.128/25"));
  EXPECT_THAT(good("b", {"bgp", "settings"}), HasSubstr("65001"));

  const std::string status = good("a", {"cluster", "status"});
  EXPECT_THAT(status, HasSubstr("leader"));
  EXPECT_THAT(status, HasSubstr("m0"));
  EXPECT_THAT(status, HasSubstr(etcd.endpoint().to_string()));
  // Another prefix is another cluster.
  make_machine("c", '3');
  auto apart = with_etcd({"init", "--name", "node-a", "--address", "192.0.2.13", "--etcd-prefix", "/other/"});
  EXPECT_THAT(good("c", apart), StartsWith("node-a is initialised"));

  etcd.kill();
  EXPECT_THAT(bad(1, "a", {"pool", "list"}), HasSubstr("Connection refused"));
  EXPECT_EQ(ctl("a", {"cluster", "status"}).exit, 3);
  // Not reaching etcd must never look like a host without a cluster.
  EXPECT_EQ(ctl("a", {"init", "--address", "192.0.2.11"}).exit, 1);
  EXPECT_FALSE(std::filesystem::exists(state("a") + "/cluster.db"));
}

TEST_F(ClusterTest, AHostMovesOntoEtcdWithEveryRecord) {
  make_single_host("a");
  const Records before = records_of("a");
  EXPECT_THAT(bad(6, "a", with_etcd({"init"})), HasSubstr("firnctl cluster migrate"));
  const auto migrate = with_etcd({"cluster", "migrate"});
  EXPECT_THAT(good("a", migrate), HasSubstr("this host is on etcd now, with " + std::to_string(before.size()) + " records"));
  EXPECT_EQ(records_of("a"), before);
  EXPECT_FALSE(std::filesystem::exists(state("a") + "/cluster.db"));
  EXPECT_EQ(records_of(*database(state("a") + "/cluster.db.migrated")), before);
  EXPECT_THAT(good("a", migrate), HasSubstr("nothing is left to do"));
  EXPECT_THAT(good("a", {"init"}), HasSubstr("initialised already"));
  make_machine("b", '2');
  good("b", with_etcd({"join", "--name", "node-b", "--address", "192.0.2.12"}));
  // A prefix that is in use takes no second host's records.
  make_machine("c", '3');
  good("c", {"init", "--name", "node-c", "--address", "192.0.2.13"});
  EXPECT_THAT(bad(6, "c", migrate), HasSubstr("into an empty prefix only"));
  EXPECT_TRUE(std::filesystem::exists(state("c") + "/cluster.db"));
}

TEST_F(ClusterTest, AMoveThatWasInterruptedGoesOn) {
  make_single_host("a");
  const Records before = records_of("a");
  const std::string machine(32, '1');
  cluster::Config config;
  config.endpoints = {etcd.endpoint().to_string()};
  auto connected = cluster::connect(config);
  ASSERT_TRUE(connected.ok());
  kv::Store& there = *connected->store;
  const auto write = [](kv::Store& store, const Records& records) {
    for (auto next = records.begin(); next != records.end();) {
      ASSERT_TRUE(store.transact([&](kv::Transaction& tx) -> Status {
        auto last = next;
        for (int i = 0; i < 50 && last != records.end(); ++i, ++last) tx.put(last->first, last->second);
        return {};
      }).ok());
      for (int i = 0; i < 50 && next != records.end(); ++i) ++next;
    }
  };
  // Killed while it copied, before the host gave one more block up.
  write(there, {{"migration", machine}, *before.begin(), {"other/gone", "x"}});
  EXPECT_THAT(bad(6, "b", with_etcd({"join", "--name", "node-b", "--address", "192.0.2.12"})), HasSubstr("is not initialised"));
  const auto migrate = with_etcd({"cluster", "migrate"});
  good("a", migrate);
  EXPECT_EQ(records_of("a"), before);

  // Killed between the removal from cluster.db and cluster.json.
  std::filesystem::remove(state("a") + "/cluster.json");
  database(state("a") + "/cluster.db");
  write(there, {{"migration", machine}});
  make_machine("b", '2');
  EXPECT_THAT(bad(6, "b", with_etcd({"join", "--name", "node-b", "--address", "192.0.2.12"})), HasSubstr("run 'firnctl cluster migrate' there again"));
  good("a", migrate);
  EXPECT_EQ(records_of("a"), before);

  // Killed before the last step.
  database(state("a") + "/cluster.db");
  write(there, {{"migration", machine}});
  good("a", migrate);
  EXPECT_EQ(records_of("a"), before);
  EXPECT_FALSE(std::filesystem::exists(state("a") + "/cluster.db"));

  // Both with records: nobody can know which is right.
  write(*database(state("a") + "/cluster.db"), before);
  EXPECT_THAT(bad(6, "a", migrate), HasSubstr("move the wrong one of the two away"));
}

TEST_F(ClusterTest, AMoveWaitsForTheDaemonToBeStopped) {
  make_single_host("a");
  std::atomic<bool> stop{false};
  auto server = control::listen(directory + "/routed.sock", "", [](const control::Peer&, std::string_view) { return R"({"ok":true})"; });
  ASSERT_TRUE(server.ok());
  std::thread daemon([&] {
    while (!stop) {
      pollfd wait{(*server)->fd(), POLLIN, 0};
      if (::poll(&wait, 1, 20) > 0) (*server)->serve();
    }
  });
  const Records before = records_of("a");
  EXPECT_THAT(bad(6, "a", with_etcd({"cluster", "migrate"})), HasSubstr("systemctl stop firn-routed"));
  stop = true;
  daemon.join();
  EXPECT_EQ(records_of("a"), before);
}

TEST_F(ClusterTest, AClusterThatWentBackMustBeAccepted) {
  make_machine("a", '1');
  good("a", with_etcd({"init", "--name", "node-a", "--address", "192.0.2.11", "--pool", "web=10.44.0.0/16"}));
  const std::string snapshot = etcd.directory() + "/backup.db";
  etcd.ctl({"snapshot", "save", snapshot});
  good("a", {"pool", "create", "late", "10.45.0.0/16"});
  etcd.kill();
  etcd.restore(snapshot, "");
  etcd.start();
  etcd.wait_healthy();
  const std::string refused = bad(6, "a", {"pool", "list"});
  EXPECT_THAT(refused, HasSubstr("restored from an older backup"));
  EXPECT_THAT(refused, HasSubstr("firnctl cluster accept"));
  EXPECT_EQ(ctl("a", {"cluster", "status"}).exit, 3);
  EXPECT_THAT(good("a", {"cluster", "accept"}), HasSubstr("this host goes on with cluster"));
  EXPECT_THAT(good("a", {"pool", "list"}), HasSubstr("10.44.0.0/16"));
  good("a", {"cluster", "status"});

  etcd.kill();
  etcd.restore(snapshot, "made-anew");
  etcd.start();
  etcd.wait_healthy();
  EXPECT_THAT(bad(6, "a", {"pool", "list"}), HasSubstr("another cluster"));
  good("a", {"cluster", "accept"});
  good("a", {"pool", "list"});
  ASSERT_TRUE(write_file_atomic(state("a") + "/cluster.seen", "nonsense\n", 0600).ok());
  EXPECT_THAT(bad(1, "a", {"pool", "list"}), HasSubstr("cluster.seen is damaged"));
  ASSERT_TRUE(write_file_atomic(state("a") + "/cluster.json", "{\"v\":1}", 0600).ok());
  EXPECT_THAT(bad(1, "a", {"pool", "list"}), HasSubstr("cluster.json: /cluster_id"));
}

}  // namespace
}  // namespace firn
