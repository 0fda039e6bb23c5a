// Who is which node, on a real etcd: names that are taken, copies of a host, a host that was removed and comes back, and what all
// of them may lease. Then many hosts with random faults: no address ever has two owners.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>
#include <set>

#include "cni-plugin/commands/call.hpp"
#include "ipam/give_back.hpp"
#include "ipam/loans.hpp"
#include "lib/base/file.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/model/grace.hpp"
#include "lib/model/keys.hpp"
#include "tests/store/cluster_host.hpp"

namespace firn {
namespace {

using namespace std::chrono_literals;
using test::ClusterHost;
using testing::HasSubstr;
namespace keys = model::keys;

bool eventually(const std::function<bool()>& holds, std::chrono::seconds patience = 60s) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    ::usleep(50'000);
  }
  return true;
}

class NodesTest : public testing::Test {
 protected:
  NodesTest() : directory_(test::make_temporary_directory("firn-t-nodes")) {}
  ~NodesTest() override {
    for (auto& [name, host] : hosts_) {
      host->stop();
      if (HasFailure()) std::fprintf(stderr, "--- %s\n%s", name.c_str(), host->log().c_str());
    }
    hosts_.clear();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  ClusterHost& machine(const std::string& name, char digit) {
    return *(hosts_[name] = std::make_unique<ClusterHost>(directory_, name, digit));
  }
  static std::string good(const ClusterHost& host, const std::vector<std::string>& arguments) {
    const auto result = host.ctl(arguments);
    EXPECT_EQ(result.exit, 0) << arguments[0] << ": " << result.out << result.err;
    return result.out;
  }
  static std::string bad(const ClusterHost& host, const std::vector<std::string>& arguments) {
    const auto result = host.ctl(arguments);
    EXPECT_NE(result.exit, 0) << arguments[0] << ": " << result.out << result.err;
    return result.err;
  }
  std::vector<std::string> joining(const std::string& verb, const std::string& name, int number) const {
    std::vector<std::string> arguments{verb, "--name", name, "--address", "192.0.2." + std::to_string(number)};
    arguments.insert(arguments.end(), {"--etcd", etcd_.endpoint().to_string()});
    return arguments;
  }
  // The first host, with a pool of that many blocks of 8 addresses, and another.
  void make_two(const std::string& cidr = "10.44.0.0/24") {
    auto init = joining("init", "a", 1);
    init.insert(init.end(), {"--pool", "web=" + cidr + ",block-size=29"});
    good(machine("a", 'a'), init);
    good(machine("b", 'b'), joining("join", "b", 2));
    auto opened = cluster::open_cluster(hosts_["b"]->state());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = *std::move(opened);
  }
  bool is_alive(const std::string& name) {
    const auto beat = store_->get(keys::beat(name));
    return beat && beat->has_value();
  }
  std::string owner(const std::string& prefix) {
    const auto entry = store_->get(keys::claim("web", *Prefix::parse(prefix)));
    return entry && *entry ? model::decode_claim((*entry)->value).value().node : "";
  }
  // Claims that much for the host, as an operator may.
  void claim_static(ClusterHost& host, const std::string& address) {
    const auto prefix = Prefix::of(*Address::parse(address), 29);
    const auto done = store_->transact([&](kv::Transaction& tx) -> Status {
      tx.put(keys::claim("web", prefix), model::encode(model::Claim{prefix, "web", host.name(), model::Use::routed, 1}));
      return {};
    });
    ASSERT_TRUE(done.ok());
  }
  // Shorter than a person may set it.
  void set_grace(int64_t seconds) {
    const auto done = store_->transact([&](kv::Transaction& tx) -> Status {
      tx.put(keys::settings, model::encode(model::ClusterSettings{seconds}));
      return {};
    });
    ASSERT_TRUE(done.ok());
  }
  int64_t promised(const std::string& name) {
    const auto entry = store_->get(keys::promise(name));
    return entry && *entry ? model::decode_promise((*entry)->value).value().grace : 0;
  }
  static std::string fence(const ClusterHost& host) {
    auto node = ipam::open_node_store({host.state() + "/node.db", {}, false, 5000ms});
    const auto entry = node ? (*node)->get(keys::fence) : Result<std::optional<kv::Entry>>(node.error());
    return entry && *entry ? (*entry)->value : "";
  }
  bool refuses(ClusterHost& host, const std::string& why) {
    return eventually([&] {
      const auto leased = host.lease("probe", "web", 300ms);
      host.release("probe");
      return !leased && leased.error().message.find(why) != std::string::npos;
    });
  }
  bool leases(ClusterHost& host, const std::string& container) {
    return eventually([&] { return host.lease(container).ok(); });
  }

  test::EtcdFixture etcd_;
  std::string directory_;
  std::map<std::string, std::unique_ptr<ClusterHost>> hosts_;
  std::unique_ptr<kv::Store> store_;
};

TEST_F(NodesTest, ANameThatIsTakenIsRefusedUntilItsNodeIsRemoved) {
  make_two();
  ClusterHost& b = *hosts_["b"];
  b.start();
  ASSERT_TRUE(eventually([&] { return is_alive("b"); }));
  ClusterHost& c = machine("c", 'c');
  EXPECT_THAT(bad(c, joining("join", "b", 3)), HasSubstr("another machine of the cluster has the name b, and is alive"));
  EXPECT_THAT(bad(c, joining("join", "a", 3)), HasSubstr("give the name free with 'firnctl node remove a' on another host"));
  EXPECT_THAT(good(b, {"node", "list"}), HasSubstr("yes"));
  // Of a host that never was alive, nobody waits for anything.
  good(b, {"node", "remove", "a"});
  EXPECT_THAT(bad(b, {"node", "remove", "a"}), HasSubstr("there is no node a"));
  good(c, joining("join", "a", 3));
  EXPECT_THAT(good(c, {"node", "show"}), HasSubstr("192.0.2.3"));
}

TEST_F(NodesTest, AHostThatWasRemovedLeasesNothingUntilItJoinsAgain) {
  make_two();
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  a.start();
  ASSERT_TRUE(eventually([&] { return is_alive("a"); }));
  claim_static(a, "10.44.0.0");
  claim_static(a, "10.44.0.8");
  ASSERT_TRUE(eventually([&] { return a.blocks().size() == 2; }));
  ASSERT_TRUE(leases(a, "one"));
  EXPECT_THAT(bad(b, {"node", "remove", "a"}), HasSubstr("node a is alive"));
  a.stop();
  ASSERT_TRUE(eventually([&] { return !is_alive("a"); }));
  good(b, {"node", "remove", "a"});
  EXPECT_EQ(owner("10.44.0.0/29"), "");
  // One block is another's by now, one is nobody's.
  claim_static(b, "10.44.0.0");
  a.start();
  ASSERT_TRUE(eventually([&] {
    const bool leased = a.lease("probe").ok();
    a.release("probe");
    return !leased;
  }));
  const auto refused = a.lease("two");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("it was removed; 'firnctl join' makes it one again"));
  EXPECT_TRUE(eventually([&] { return !testing::Value(a.blocks(), testing::Contains("10.44.0.0/29")); }));
  EXPECT_THAT(a.log(), HasSubstr("addresses of lost blocks are still in use here: app/one/eth0 (10.44.0.0)"));
  good(a, joining("join", "a", 1));
  ASSERT_TRUE(leases(a, "two"));
  EXPECT_EQ(owner("10.44.0.8/29"), "a") << "what nobody took is its own again";
  EXPECT_EQ(owner("10.44.0.0/29"), "b");
  EXPECT_TRUE(eventually([&] { return is_alive("a"); }));
}

TEST_F(NodesTest, ACopyOfAHostIsFencedAndTheHostGoesOn) {
  make_two();
  ClusterHost& a = *hosts_["a"];
  a.start();
  ASSERT_TRUE(leases(a, "one"));
  ASSERT_TRUE(eventually([&] { return is_alive("a"); }));
  ClusterHost& copy = machine("copy", 'a');
  std::filesystem::copy(a.state(), copy.state(),
                        std::filesystem::copy_options::overwrite_existing | std::filesystem::copy_options::recursive);
  copy.start();
  ASSERT_TRUE(eventually([&] {
    const auto leased = copy.lease("probe");
    copy.release("probe");
    return !leased && leased.error().is(Code::unavailable);
  }));
  EXPECT_THAT(copy.lease("two").error().message, HasSubstr("another host is alive under this name and machine id"));
  EXPECT_THAT(bad(copy, joining("join", "a", 1)), HasSubstr("another host is alive under this name and machine id"));
  EXPECT_TRUE(leases(a, "two"));
  EXPECT_THAT(a.log(), testing::Not(HasSubstr("nothing is leased")));
}

TEST_F(NodesTest, AttachesGoOnWithoutEtcdAndClaimsAfterwards) {
  make_two();
  ClusterHost& a = *hosts_["a"];
  a.start();
  ASSERT_TRUE(leases(a, "c0"));
  ASSERT_TRUE(eventually([&] { return a.blocks().size() == 2; })) << "a spare block is claimed ahead";
  etcd_.kill();
  int leased = 1;
  while (a.lease("c" + std::to_string(leased)).ok()) ++leased;
  EXPECT_EQ(leased, 16) << "all of both blocks";
  // A daemon that starts now knows who it is, and says what it waits for.
  a.stop();
  a.start();
  EXPECT_TRUE(eventually([&] { return a.ctl({"bgp", "status"}).out.find("has not been read yet") != std::string::npos; }));
  etcd_.start();
  etcd_.wait_healthy();
  EXPECT_TRUE(leases(a, "more"));
}

TEST_F(NodesTest, AHostThatIsCutOffForTheGraceLosesItsBlocksAndHasStoppedLeasingBefore) {
  make_two();
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  a.start();
  b.start();
  ASSERT_TRUE(leases(a, "one"));
  set_grace(6);
  ASSERT_TRUE(eventually([&] { return promised("a") == 6 && promised("b") == 6; }));
  EXPECT_NE(fence(a), "");
  a.stop();
  const std::string file = a.state() + "/cluster.json";
  const std::string right = read_file(file, 1 << 16).value();
  std::string wrong = right;
  const std::string port = ":" + std::to_string(etcd_.endpoint().port);
  wrong.replace(wrong.find(port), port.size(), ":1");
  ASSERT_TRUE(write_file_atomic(file, wrong, 0600).ok());
  a.start();
  ASSERT_TRUE(eventually([&] { return owner("10.44.0.0/29").empty(); }));
  const auto late = a.lease("late", "web", 300ms);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::unavailable);
  EXPECT_THAT(late.error().message, HasSubstr("has not reached the cluster for 6 s, the grace of nodes"));
  EXPECT_THAT(a.blocks(), testing::Contains("10.44.0.0/29")) << "what runs there goes on";
  EXPECT_TRUE(eventually([&] { return b.log().find("node a was not alive for the grace of nodes and is removed") != std::string::npos; }));
  EXPECT_THAT(bad(b, {"node", "show", "a"}), HasSubstr("node a"));
  EXPECT_FALSE(store_->get(keys::loss("a")).value().has_value());
  EXPECT_EQ(promised("a"), 0);
  // It is back, and hears it before it leases anything.
  claim_static(b, "10.44.0.0");
  a.stop();
  ASSERT_TRUE(write_file_atomic(file, right, 0600).ok());
  a.start();
  EXPECT_TRUE(refuses(a, "it was removed; 'firnctl join' makes it one again"));
  EXPECT_TRUE(eventually([&] { return !testing::Value(a.blocks(), testing::Contains("10.44.0.0/29")); }));
  good(a, joining("join", "a", 1));
  EXPECT_TRUE(leases(a, "two"));
  EXPECT_TRUE(eventually([&] { return promised("a") == 6; }));
}

TEST_F(NodesTest, AHostThatWasCutOffForTheGraceGoesOnWhenNobodyTookItsBlocks) {
  make_two();
  ClusterHost& a = *hosts_["a"];
  a.start();
  set_grace(6);
  ASSERT_TRUE(leases(a, "one"));
  ASSERT_TRUE(eventually([&] { return promised("a") == 6; }));
  EXPECT_THAT(good(a, {"node", "show", "a"}), HasSubstr("leases nothing from 6 s after its last beat on"));
  EXPECT_THAT(good(a, {"node", "show", "a", "-o", "json"}), HasSubstr("\"promised_grace\": 6"));
  etcd_.kill();
  EXPECT_TRUE(refuses(a, "the grace of nodes"));
  EXPECT_THAT(a.blocks(), testing::Contains("10.44.0.0/29"));
  etcd_.start();
  etcd_.wait_healthy();
  EXPECT_TRUE(leases(a, "two"));
  EXPECT_EQ(owner("10.44.0.0/29"), "a");
  // Longer, shorter, off: each is promised, and the fence follows.
  for (const int64_t grace : {20, 8}) {
    set_grace(grace);
    EXPECT_TRUE(eventually([&] { return promised("a") == grace; }));
    EXPECT_TRUE(eventually([&] { return fence(a).find("for " + std::to_string(grace) + " s") != std::string::npos; }));
  }
  // A record that nobody can read changes nothing.
  const auto damaged = store_->transact([&](kv::Transaction& tx) -> Status {
    tx.put(keys::settings, "nonsense");
    return {};
  });
  ASSERT_TRUE(damaged.ok());
  EXPECT_TRUE(eventually([&] { return a.log().find("the settings of the cluster cannot be used") != std::string::npos; })) << a.log();
  EXPECT_TRUE(is_alive("a"));
  EXPECT_EQ(promised("a"), 8);
  EXPECT_TRUE(leases(a, "three"));
  EXPECT_THAT(bad(a, {"cluster", "set"}), HasSubstr("settings"));
  good(a, {"cluster", "set", "--node-grace", "0"});
  EXPECT_TRUE(eventually([&] { return promised("a") == 0 && fence(a).empty(); }));
}

TEST_F(NodesTest, AHostThatNeverHeardOfTheGraceKeepsItsBlocks) {
  make_two();
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  a.start();
  b.start();
  ASSERT_TRUE(leases(a, "one"));
  a.stop();
  ASSERT_TRUE(eventually([&] { return !is_alive("a"); }));
  set_grace(4);
  EXPECT_TRUE(eventually([&] { return b.log().find("node a stays: it has not promised to stop leasing") != std::string::npos; }));
  EXPECT_EQ(owner("10.44.0.0/29"), "a");
}

// The host that gave up a dead one was killed in the middle of it.
TEST_F(NodesTest, ARemovalThatWasBegunIsCompletedByAnother) {
  make_two();
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  claim_static(a, "10.44.0.0");
  const auto begun = store_->transact([&](kv::Transaction& tx) -> Status {
    tx.erase(keys::node("a"));
    tx.put(keys::loss("a"), model::encode(model::Lost{"a", 1}));
    return {};
  });
  ASSERT_TRUE(begun.ok());
  set_grace(4);
  b.start();
  EXPECT_TRUE(eventually([&] { return owner("10.44.0.0/29").empty(); }));
  EXPECT_TRUE(eventually([&] { return !store_->get(keys::loss("a")).value().has_value(); }));
}

TEST_F(NodesTest, TheGraceIsSetAndShown) {
  make_two();
  ClusterHost& b = *hosts_["b"];
  EXPECT_THAT(good(b, {"cluster", "set"}), HasSubstr("off"));
  EXPECT_THAT(good(b, {"cluster", "set", "--node-grace", "3600"}), HasSubstr("3600 s"));
  EXPECT_THAT(good(b, {"cluster", "status"}), HasSubstr("3600 s"));
  EXPECT_THAT(bad(b, {"cluster", "set", "--node-grace", "59"}), HasSubstr("--node-grace: must be 0 (off) or 60 to 2592000"));
  EXPECT_THAT(good(b, {"cluster", "set", "-o", "json"}), HasSubstr("\"node_grace\": 3600"));
}

// The first attach after the start may come before the cluster was read, and a pool that is not known then is no wrong name.
TEST_F(NodesTest, APoolIsUnknownOnlyOnceTheClusterWasRead) {
  make_two();
  ClusterHost& b = *hosts_["b"];
  const SystemClock clock;
  const auto attach = [&](const std::string& container, const std::string& pool) {
    cni::Call call{{}, {}, clock};
    call.environment.container_id = container;
    call.environment.ifname = "eth0";
    call.config.name = "app";
    call.config.state_dir = b.state();
    call.config.daemon_socket = b.socket();
    call.config.ipam.pools = {pool};
    return cni::ipam_add(call);
  };
  const auto forget = [&](const std::string& pool) {
    auto node = ipam::open_node_store({b.state() + "/node.db", {}, false, 5000ms});
    ASSERT_TRUE(node.ok());
    const auto done = (*node)->transact([&](kv::Transaction& tx) -> Status {
      tx.erase(keys::pool(pool));
      return {};
    });
    ASSERT_TRUE(done.ok());
  };
  forget("web");
  auto refused = attach("early", "web");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.fault().code, cni::FaultCode::try_again);
  EXPECT_THAT(refused.fault().message, HasSubstr("there is no pool 'web' on this host, whose copy of the cluster's pools may be old"));
  b.start();
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(b.socket()); }));
  auto waited = attach("first", "web");
  EXPECT_TRUE(waited.ok()) << waited.fault().message;
  auto wrong = attach("second", "wbe");
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.fault().code, cni::FaultCode::invalid_config);
  etcd_.kill();
  ASSERT_TRUE(eventually([&] {
    auto cut_off = attach("second", "wbe");
    return !cut_off && cut_off.fault().code == cni::FaultCode::try_again &&
           cut_off.fault().message.find("the cluster store cannot be read") != std::string::npos;
  }));
}

TEST_F(NodesTest, StatusFailsOnceNoSpareBlockIsToBeHadIfThePoolWantsThat) {
  make_two("10.44.0.0/28");
  ClusterHost& a = *hosts_["a"];
  const SystemClock clock;
  const auto code = [&] {
    cni::Call call{{}, {}, clock};
    call.config.name = "app";
    call.config.state_dir = a.state();
    call.config.daemon_socket = a.socket();
    const auto answer = cni::status(call);
    return answer.ok() ? 0 : static_cast<int>(answer.fault().code);
  };
  a.start();
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(leases(a, "c" + std::to_string(i)));
  EXPECT_EQ(code(), 0) << "nobody asked for it";
  good(a, {"pool", "set", "web", "--status-when-low"});
  EXPECT_TRUE(eventually([&] { return code() == 51; }));
  ASSERT_TRUE(a.release("c8"));
  EXPECT_TRUE(eventually([&] { return code() == 0; })) << "a block is free again";
  ASSERT_TRUE(leases(a, "c8"));
  EXPECT_TRUE(eventually([&] { return code() == 51; }));
  good(a, {"pool", "resize", "web", "10.44.0.0/27"});
  EXPECT_TRUE(eventually([&] { return code() == 0; })) << "there are blocks to claim";
}

// The first container of a pool on a host: nothing is claimed ahead, the plugin asks.
TEST_F(NodesTest, AnAttachGetsABlockWhenTheHostHasNone) {
  make_two("10.44.0.0/28");
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  const auto alone = a.lease("early");
  ASSERT_FALSE(alone.ok());
  EXPECT_THAT(alone.error().message, HasSubstr("and firn-routed, which claims another one, does not help"));
  a.start();
  ASSERT_TRUE(leases(a, "one"));
  ASSERT_TRUE(eventually([&] { return a.blocks().size() == 2; })) << "and one ahead";
  good(a, {"pool", "set", "web", "--strict"});
  b.start();
  EXPECT_TRUE(eventually([&] {
    const auto none = b.lease("two");
    return !none && none.error().message.find("every block of pool web (10.44.0.0/28) is claimed or reserved") != std::string::npos;
  }));
}

TEST_F(NodesTest, AnAddressIsBorrowedWhenNoBlockIsLeft) {
  make_two("10.44.0.0/28");
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  a.start();
  ASSERT_TRUE(leases(a, "a0"));
  ASSERT_TRUE(eventually([&] { return a.blocks().size() == 2; }));
  b.start();
  ASSERT_TRUE(eventually([&] { return is_alive("a") && is_alive("b"); }));
  std::set<Address> held{*a.lease("a1")};
  held.insert(*a.lease("a2"));
  std::optional<Address> borrowed;
  ASSERT_TRUE(eventually([&] {
    const auto leased = b.lease("b0");
    if (leased) borrowed = *leased;
    return leased.ok();
  }));
  EXPECT_TRUE(Prefix::parse("10.44.0.0/28")->contains(*borrowed));
  EXPECT_TRUE(held.insert(*borrowed).second);
  EXPECT_EQ(owner(Prefix::host(*borrowed).to_string()), "b");
  EXPECT_THAT(a.log(), HasSubstr("lent " + borrowed->to_string() + " of pool web to node b"));
  // The lender has everything but that address, and never that.
  int count = 3;
  for (int i = 3; i < 20; ++i) {
    const auto leased = a.lease("a" + std::to_string(i), "web", 300ms);
    if (!leased) continue;
    EXPECT_TRUE(held.insert(*leased).second) << leased->to_string();
    ++count;
  }
  EXPECT_EQ(count, 15);
  const auto none = b.lease("b1");
  ASSERT_FALSE(none.ok()) << none->to_string();
  // A node of which addresses are lent may go; its blocks are nobody's as long as one of them is used.
  EXPECT_THAT(good(b, {"node", "show"}), HasSubstr(Prefix::host(*borrowed).to_string()));
  // Back: the borrower has no use for it.
  ASSERT_TRUE(b.release("b0"));
  b.stop();
  {
    auto node = ipam::open_node_store({b.state() + "/node.db", {}, false, 5000ms});
    ASSERT_TRUE(node.ok());
    const auto loans = ipam::select_blocks(**node, true);
    ASSERT_EQ(loans->size(), 1U);
    const int64_t far = 1LL << 39;
    ASSERT_TRUE(ipam::mark_unused(**node, *loans, "b", far).ok());
    const auto given = ipam::give_up(*store_, *ipam::mark_closed(*store_, **node, "b", far));
    ASSERT_EQ(given.given.size(), 1U);
    ASSERT_TRUE(ipam::forget(**node, given.given).ok());
  }
  EXPECT_EQ(owner(Prefix::host(*borrowed).to_string()), "");
  ASSERT_TRUE(eventually([&] {
    const auto leased = a.lease("again", "web", 300ms);
    return leased && *leased == *borrowed;
  }));
}

TEST_F(NodesTest, AStrictPoolIsNotBorrowedFrom) {
  make_two("10.44.0.0/29");
  ClusterHost &a = *hosts_["a"], &b = *hosts_["b"];
  a.start();
  ASSERT_TRUE(leases(a, "a0"));
  good(a, {"pool", "set", "web", "--strict"});
  b.start();
  EXPECT_TRUE(eventually([&] {
    const auto none = b.lease("b0");
    return !none && none.error().message.find("pool web is strict: no address is borrowed") != std::string::npos;
  }));
}

// Hosts come and go, etcd too; containers attach and detach all the time.
TEST_F(NodesTest, NoAddressEverHasTwoOwners) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  make_two("10.44.0.0/23");
  good(machine("c", 'c'), joining("join", "c", 3));
  good(machine("d", 'd'), joining("join", "d", 4));
  std::map<Address, std::string> owner_of;
  std::map<std::string, std::map<std::string, Address>> held;  // host -> container -> address
  std::set<std::string> running, removed;
  int next = 0;
  for (auto& [name, host] : hosts_) {
    host->start();
    running.insert(name);
  }
  const auto detach_all = [&](const std::string& name) {
    for (const auto& [container, address] : held[name]) {
      EXPECT_TRUE(hosts_[name]->release(container));
      owner_of.erase(address);
    }
    held[name].clear();
  };
  bool up = true;
  for (int step = 0; step < 600; ++step) {
    const std::string name(1, static_cast<char>('a' + random() % 4));
    ClusterHost& host = *hosts_[name];
    const unsigned what = random() % 100;
    if (what < 60 && !removed.contains(name)) {
      const std::string container = "c" + std::to_string(next++);
      const auto leased = host.lease(container, "web", 300ms);
      if (!leased) continue;
      const auto [it, added] = owner_of.emplace(*leased, name + "/" + container);
      ASSERT_TRUE(added) << leased->to_string() << " has " << it->second << " and " << name;
      held[name][container] = *leased;
    } else if (what < 88) {
      if (held[name].empty()) continue;
      const auto victim = std::next(held[name].begin(), static_cast<long>(random() % held[name].size()));
      ASSERT_TRUE(host.release(victim->first));
      owner_of.erase(victim->second);
      held[name].erase(victim);
    } else if (what < 92) {
      if (running.erase(name) > 0) host.stop();
      else if (running.insert(name).second) host.start();
    } else if (what < 95) {
      if (up) etcd_.kill();
      else etcd_.start();
      up = !up;
      if (up) etcd_.wait_healthy();
    } else if (up && removed.empty()) {
      // As the documents say: stop everything there, wait, remove.
      detach_all(name);
      if (running.erase(name) > 0) host.stop();
      if (!eventually([&] { return !is_alive(name); })) continue;
      if (hosts_["a"]->ctl({"node", "remove", name}).exit == 0) removed.insert(name);
    } else if (up && !removed.empty()) {
      const std::string back = *removed.begin();
      if (hosts_[back]->ctl(joining("join", back, 9)).exit == 0) removed.erase(back);
    }
  }
  if (!up) {
    etcd_.start();
    etcd_.wait_healthy();
  }
  for (const std::string& back : removed) good(*hosts_[back], joining("join", back, 9));
  for (auto& [name, host] : hosts_) {
    detach_all(name);
    if (running.insert(name).second) host->start();
  }
  // All come to agree: what each host leases from is what the cluster says is its own.
  EXPECT_TRUE(eventually([&] {
    for (auto& [name, host] : hosts_) {
      std::set<std::string> claimed;
      const auto claims = store_->range(keys::claims);
      for (const kv::Entry& entry : claims ? claims->entries : std::vector<kv::Entry>()) {
        const auto claim = model::decode_claim(entry.value).value();
        if (claim.node == name) claimed.insert(claim.prefix.to_string());
      }
      const auto here = host->blocks();
      if (std::set<std::string>(here.begin(), here.end()) != claimed) return false;
    }
    return true;
  }));
}

}  // namespace
}  // namespace firn
