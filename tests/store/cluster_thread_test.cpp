// routed/cluster against a real etcd and against a file: what the thread tells, in what order, whatever happens to the store.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <map>
#include <mutex>

#include "lib/cluster/cluster.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/keys.hpp"
#include "routed/cluster/records.hpp"
#include "routed/cluster/thread.hpp"
#include "tests/support/etcd_fixture.hpp"

namespace firn::routed {
namespace {

using namespace std::chrono_literals;
namespace keys = model::keys;

std::string node_record(const std::string& name) {
  return model::encode(
      model::Node{.name = name, .machine_id = "m", .addresses = {}, .labels = {}, .as_number = {}, .joined_at = 1});
}

// The loop of a test: what is delivered waits here until the test takes it.
class Deliveries {
 public:
  void add(ClusterThread::Function fn) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(fn));
    came_.notify_all();
  }
  bool run_one(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, patience, [&] { return !waiting_.empty(); })) return false;
    const auto fn = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    fn();
    return true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<ClusterThread::Function> waiting_;
};

class ClusterThreadTest : public testing::Test {
 protected:
  ClusterThreadTest() : directory_(test::make_temporary_directory("firn-t-thread")) {}
  ~ClusterThreadTest() override {
    thread_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start(const std::string& self) {
    auto made = ClusterThread::start(directory_, 30s, [this](ClusterThread::Function fn) { deliveries_.add(std::move(fn)); },
                                     {[this](const ClusterUpdate& update) { take(update); }, [] {}});
    ASSERT_TRUE(made.ok()) << made.error().message;
    thread_ = *std::move(made);
    thread_->set_self({self});
  }
  void take(const ClusterUpdate& update) {
    ++updates_;
    whole_ += update.whole ? 1 : 0;
    if (update.whole) known_.clear();
    for (const auto& [key, value] : update.records) {
      if (value) known_[key] = *value;
      else known_.erase(key);
    }
  }
  bool eventually(const std::function<bool()>& holds, std::chrono::seconds patience = 30s) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > until) return false;
      deliveries_.run_one(50ms);
    }
    return true;
  }
  bool knows(const std::string& key) const { return known_.contains(key); }
  static void put(kv::Store& store, const std::string& key, const std::string& value) {
    const auto done = store.transact([&](kv::Transaction& tx) -> Status {
      tx.put(key, value);
      return {};
    });
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  void configure(const test::EtcdFixture& etcd) {
    cluster::Config config;
    for (const http::Endpoint& endpoint : etcd.endpoints())
      config.endpoints.push_back("http://" + endpoint.host + ":" + std::to_string(endpoint.port));
    auto connected = cluster::connect(config);
    ASSERT_TRUE(connected.ok()) << connected.error().message;
    ASSERT_TRUE(cluster::write_config(directory_, config, connected->position).ok());
    store_ = std::move(connected->store);
  }

  const std::string directory_;
  Deliveries deliveries_;
  std::unique_ptr<ClusterThread> thread_;
  std::unique_ptr<kv::Store> store_;
  std::map<std::string, std::string> known_;
  int updates_ = 0, whole_ = 0;
};

TEST_F(ClusterThreadTest, AFileThatAppearsIsReadAndFollowed) {
  start("a");
  EXPECT_FALSE(deliveries_.run_one(300ms));
  kv::SqliteOptions options;
  options.path = cluster::database_path(directory_);
  auto opened = kv::open_sqlite(options);
  ASSERT_TRUE(opened.ok());
  put(**opened, keys::pool("web"), "{}");
  thread_->look();
  // A store that does not know this node concludes nothing, and says so.
  EXPECT_TRUE(eventually([&] { return thread_->present() && !thread_->trouble().empty(); }));
  EXPECT_EQ(updates_, 0);
  put(**opened, keys::node("a"), node_record("a"));
  EXPECT_TRUE(eventually([&] { return knows(keys::pool("web")) && knows(keys::node("a")); }));
  EXPECT_EQ(thread_->trouble(), "");
  EXPECT_EQ(whole_, 1);
  put(**opened, keys::pool("db"), "{}");
  put(**opened, keys::bgp_status("elsewhere"), "nobody follows it");
  EXPECT_TRUE(eventually([&] { return knows(keys::pool("db")); }));
  EXPECT_EQ(whole_, 1);
  EXPECT_FALSE(knows(keys::bgp_status("elsewhere")));
}

TEST_F(ClusterThreadTest, AnEtcdThatStopsHoldsUpNobodyAndIsReadAgain) {
  test::EtcdFixture etcd;
  configure(etcd);
  put(*store_, keys::node("a"), node_record("a"));
  start("a");
  ASSERT_TRUE(eventually([&] { return knows(keys::node("a")); }));
  etcd.kill();
  // Jobs are run all the same; the store that they get does not answer, or there is none.
  bool failed = false;
  thread_->post([&](kv::Store* cluster) -> ClusterThread::Function {
    const bool none = cluster == nullptr || !cluster->get("pool/x").ok();
    return [&failed, none] { failed = none; };
  });
  EXPECT_TRUE(eventually([&] { return failed; }));
  EXPECT_TRUE(eventually([&] { return !thread_->present() && !thread_->trouble().empty(); }));
  EXPECT_TRUE(knows(keys::node("a"))) << "what was known stays";
  etcd.start();
  etcd.wait_healthy();
  put(*store_, keys::pool("web"), "{}");
  EXPECT_TRUE(eventually([&] { return thread_->present() && knows(keys::pool("web")); }));
}

TEST_F(ClusterThreadTest, ANodeThatIsRemovedHearsNoMoreUntilItIsBack) {
  test::EtcdFixture etcd;
  configure(etcd);
  put(*store_, keys::node("a"), node_record("a"));
  put(*store_, keys::pool("web"), "{}");
  start("a");
  ASSERT_TRUE(eventually([&] { return knows(keys::pool("web")); }));
  ASSERT_TRUE(store_
                  ->transact([&](kv::Transaction& tx) -> Status {
                    tx.erase(keys::node("a"));
                    tx.erase(keys::pool("web"));
                    return {};
                  })
                  .ok());
  EXPECT_TRUE(eventually([&] { return !thread_->trouble().empty(); }));
  EXPECT_TRUE(knows(keys::pool("web")));
  put(*store_, keys::node("a"), node_record("a"));
  EXPECT_TRUE(eventually([&] { return whole_ == 2 && !knows(keys::pool("web")); }));
}

TEST_F(ClusterThreadTest, ABusyLoopHoldsBackUpdatesAndLosesNone) {
  test::EtcdFixture etcd;
  configure(etcd);
  put(*store_, keys::node("a"), node_record("a"));
  start("a");
  for (int i = 0; i < 300; ++i) put(*store_, keys::pool("p" + std::to_string(i)), "{}");
  EXPECT_TRUE(eventually([&] { return knows(keys::pool("p299")); }));
  EXPECT_EQ(known_.size(), 301U);
  EXPECT_LT(updates_, 300);
}

TEST(ClusterRecords, AreReadLikeAStoreAndNeverWritten) {
  ClusterRecords records;
  for (const std::string key : {"a/1", "a/2", "a/3", "b/1"}) records.put(key, "of " + key);
  ASSERT_EQ(records.range("a/")->entries.size(), 3U);
  EXPECT_EQ((*records.get("b/1"))->value, "of b/1");
  EXPECT_FALSE(records.get("c")->has_value());
  size_t found = 0;
  const auto read = records.transact([&](kv::Transaction& tx) -> Status {
    found = tx.range("a/", 1, "a/2").value().size();
    return {};
  });
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(found, 1U);
  const auto written = records.transact([&](kv::Transaction& tx) -> Status {
    tx.put("a/1", "else");
    return {};
  });
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::unsupported);
}

}  // namespace
}  // namespace firn::routed
