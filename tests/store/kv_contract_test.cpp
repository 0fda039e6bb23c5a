// The contract of lib/kv/store.hpp, run against every engine. An engine is a way to open one more Store of the same data.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "lib/kv/etcd/etcd_store.hpp"
#include "lib/kv/keys.hpp"
#include "lib/kv/store.hpp"
#include "tests/support/etcd_fixture.hpp"
#include "tests/support/file_store.hpp"

namespace firn::kv {
namespace {

class Data {
 public:
  virtual ~Data() = default;
  virtual std::unique_ptr<Store> open() = 0;
};

struct Engine {
  std::string name;
  std::function<std::unique_ptr<Data>()> fresh;
};

class FileData final : public Data {
 public:
  explicit FileData(FileEngine engine) : engine_(std::move(engine)) {
    std::string pattern = std::filesystem::temp_directory_path() / "firn-kv-XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) directory_ = pattern;
  }
  ~FileData() override { std::filesystem::remove_all(directory_); }
  std::unique_ptr<Store> open() override {
    FileOptions options;
    options.path = directory_ + "/test.db";
    auto store = engine_.open(options);
    if (store) return std::move(*store);
    ADD_FAILURE() << store.error().message;
    return nullptr;
  }

 private:
  FileEngine engine_;
  std::string directory_;
};

Engine in_files(const FileEngine& engine) {
  return {engine.name, [engine] { return std::make_unique<FileData>(engine); }};
}

// One etcd for all tests of the program, from the first one that wants it to the end of the suite; each has a prefix of its own.
class EtcdData final : public Data {
 public:
  static inline std::unique_ptr<test::EtcdFixture> server;

  EtcdData() {
    static int count = 0;
    if (server == nullptr) server = std::make_unique<test::EtcdFixture>();
    options_.endpoints = server->endpoints();
    options_.prefix = "/test/" + std::to_string(++count) + "/";
    // A loaded machine is slow; no test here waits for this.
    options_.deadline = std::chrono::seconds(30);
  }
  std::unique_ptr<Store> open() override {
    auto store = open_etcd(options_);
    if (store) return std::move(*store);
    ADD_FAILURE() << store.error().message;
    return nullptr;
  }

 private:
  EtcdOptions options_;
};

class StoreContract : public testing::TestWithParam<Engine> {
 protected:
  static void TearDownTestSuite() { EtcdData::server.reset(); }
  void SetUp() override {
    data_ = GetParam().fresh();
    store_ = data_->open();
    ASSERT_NE(store_, nullptr);
  }

  Revision put(std::string_view key, std::string_view value) {
    auto revision = store_->transact([&](Transaction& transaction) {
      transaction.put(key, value);
      return Status();
    });
    EXPECT_TRUE(revision.ok()) << revision.error().message;
    return revision ? *revision : -1;
  }
  Revision put_leased(std::string_view key, std::string_view value, LeaseId lease) {
    auto revision = store_->transact([&](Transaction& transaction) {
      transaction.put(key, value, lease);
      return Status();
    });
    EXPECT_TRUE(revision.ok()) << revision.error().message;
    return revision ? *revision : -1;
  }
  std::string value(std::string_view key) {
    auto entry = store_->get(key);
    if (!entry) return "error: " + entry.error().message;
    return *entry ? (*entry)->value : "(none)";
  }
  std::vector<std::string> keys(std::string_view prefix) {
    std::vector<std::string> found;
    auto listing = store_->range(prefix);
    EXPECT_TRUE(listing.ok());
    if (listing) {
      for (const Entry& entry : listing->entries) found.push_back(entry.key);
    }
    return found;
  }

  std::unique_ptr<Data> data_;
  std::unique_ptr<Store> store_;
};

class LeaseContract : public StoreContract {};

using Strings = std::vector<std::string>;

TEST_P(StoreContract, EmptyStore) {
  EXPECT_EQ(value("a"), "(none)");
  auto listing = store_->range("");
  ASSERT_TRUE(listing.ok());
  EXPECT_TRUE(listing->entries.empty());
  auto revision = store_->transact([](Transaction&) { return Status(); });
  ASSERT_TRUE(revision.ok());
  EXPECT_EQ(*revision, listing->revision);
}

TEST_P(StoreContract, WritesOfOneTransactionShareARevision) {
  const Revision first = put("a", "1");
  auto second = store_->transact([](Transaction& transaction) {
    transaction.put("a", "2");
    transaction.put("b", std::string("\0\xff\n", 3));
    return Status();
  });
  ASSERT_TRUE(second.ok());
  EXPECT_GT(*second, first);
  auto a = store_->get("a");
  auto b = store_->get("b");
  ASSERT_TRUE(a.ok() && *a && b.ok() && *b);
  EXPECT_EQ((*a)->created, first);
  EXPECT_EQ((*a)->modified, *second);
  EXPECT_EQ((*b)->created, *second);
  EXPECT_EQ((*b)->value, std::string("\0\xff\n", 3));
}

TEST_P(StoreContract, BodySeesItsOwnWrites) {
  put("a/1", "old");
  auto done = store_->transact([](Transaction& transaction) -> Status {
    transaction.put("a/1", "new");
    transaction.put("a/2", "two");
    transaction.erase("a/2");
    transaction.put("a/3", "");
    auto first = transaction.get("a/1");
    auto second = transaction.get("a/2");
    auto all = transaction.range("a/");
    if (!first || !second || !all) return make_error(Code::io, "read");
    EXPECT_EQ(*first, "new");
    EXPECT_EQ(*second, std::nullopt);
    EXPECT_EQ(all->size(), 2u);
    return {};
  });
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(keys("a/"), (Strings{"a/1", "a/3"}));
  EXPECT_EQ(value("a/3"), "");
}

TEST_P(StoreContract, AFailedBodyChangesNothing) {
  const Revision before = put("a", "1");
  auto failed = store_->transact([](Transaction& transaction) -> Status {
    transaction.put("a", "2");
    transaction.put("b", "2");
    return make_error(Code::conflict, "mine");
  });
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::conflict);
  EXPECT_EQ(failed.error().message, "mine");
  EXPECT_EQ(value("a"), "1");
  EXPECT_EQ(value("b"), "(none)");
  auto current = store_->transact([](Transaction&) { return Status(); });
  ASSERT_TRUE(current.ok());
  EXPECT_EQ(*current, before);
  EXPECT_EQ(put("a", "3"), before + 1);
}

TEST_P(StoreContract, ErasingNothingIsNoWrite) {
  const Revision before = put("a", "1");
  auto same = store_->transact([](Transaction& transaction) {
    transaction.erase("b");
    return Status();
  });
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(*same, before);
}

TEST_P(StoreContract, RangeIsByBytes) {
  for (const char* key : {"a", "a/", "a/b", "a/b/c", "a0", "b", "A/b", "a/\xff", "a/\xff\xff", "a/\xc3\xa9", "\xff", "\xff\xff"})
    put(key, "");
  EXPECT_EQ(keys("a/"), (Strings{"a/", "a/b", "a/b/c", "a/\xc3\xa9", "a/\xff", "a/\xff\xff"}));
  EXPECT_EQ(keys("a/\xff"), (Strings{"a/\xff", "a/\xff\xff"}));
  EXPECT_EQ(keys("\xff"), (Strings{"\xff", "\xff\xff"}));
  EXPECT_EQ(keys("").size(), 12u);
  EXPECT_EQ(keys("c"), Strings());
}

TEST_P(StoreContract, RangeLimitAndFrom) {
  for (const char* key : {"p/1", "p/2", "p/3", "q/1"}) put(key, key);
  auto done = store_->transact([](Transaction& transaction) -> Status {
    auto names = [&](size_t limit, std::string_view from) {
      Strings found;
      auto entries = transaction.range("p/", limit, from);
      EXPECT_TRUE(entries.ok());
      if (entries) {
        for (const Entry& entry : *entries) found.push_back(entry.key);
      }
      return found;
    };
    EXPECT_EQ(names(2, ""), (Strings{"p/1", "p/2"}));
    EXPECT_EQ(names(0, "p/2"), (Strings{"p/2", "p/3"}));
    EXPECT_EQ(names(1, "p/20"), (Strings{"p/3"}));
    EXPECT_EQ(names(0, "a"), (Strings{"p/1", "p/2", "p/3"}));
    EXPECT_EQ(names(0, "q"), Strings());
    return {};
  });
  EXPECT_TRUE(done.ok());
}

TEST_P(StoreContract, RefusesBadKeysAndLargeValues) {
  const Revision before = put("good", "1");
  const std::string nul("a\0b", 3);
  for (const std::string& key : {std::string(), std::string(key_limit + 1, 'k'), nul, std::string("a\nb")}) {
    auto refused = store_->transact([&](Transaction& transaction) {
      transaction.put("good", "2");
      transaction.put(key, "x");
      transaction.put("good", "3");
      return Status();
    });
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::invalid);
    EXPECT_FALSE(store_->get(key).ok());
  }
  auto large = store_->transact([&](Transaction& transaction) {
    transaction.put("large", std::string(1024 * 1024 + 1, 'x'));
    transaction.put("good", "4");
    return Status();
  });
  ASSERT_FALSE(large.ok());
  EXPECT_EQ(large.error().code, Code::invalid);
  EXPECT_NE(large.error().message.find("large"), std::string::npos);
  EXPECT_EQ(value("good"), "1");
  EXPECT_EQ(put("large", std::string(1024 * 1024, 'x')), before + 1);
  EXPECT_EQ(put(std::string(key_limit, 'k'), ""), before + 2);
  EXPECT_EQ(value("large").size(), 1024u * 1024u);
}

TEST_P(StoreContract, NoTransactionInsideATransaction) {
  auto done = store_->transact([&](Transaction& transaction) {
    transaction.put("a", "1");
    EXPECT_FALSE(store_->transact([](Transaction&) { return Status(); }).ok());
    return Status();
  });
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(value("a"), "1");
}

TEST_P(StoreContract, AnotherStoreSeesCommits) {
  auto other = data_->open();
  ASSERT_NE(other, nullptr);
  for (int i = 0; i < 20; ++i) {
    const Revision mine = put("a", std::to_string(i));
    auto seen = other->get("a");
    ASSERT_TRUE(seen.ok() && *seen);
    EXPECT_EQ((*seen)->value, std::to_string(i));
    auto theirs = other->transact([](Transaction& transaction) {
      transaction.put("b", "x");
      return Status();
    });
    ASSERT_TRUE(theirs.ok());
    EXPECT_EQ(*theirs, mine + 1);
  }
}

TEST_P(StoreContract, Changes) {
  const Revision start = put("a/1", "1");
  put("a/2", "1");
  put("b/1", "1");
  put("a/1", "2");
  auto last = store_->transact([](Transaction& transaction) {
    transaction.erase("a/2");
    transaction.put("a/3", "1");
    return Status();
  });
  ASSERT_TRUE(last.ok());
  auto changes = store_->changes(start, "a/");
  ASSERT_TRUE(changes.ok());
  EXPECT_FALSE(changes->compacted);
  EXPECT_EQ(changes->keys, (Strings{"a/1", "a/2", "a/3"}));
  EXPECT_EQ(changes->revision, *last);
  auto nothing = store_->changes(changes->revision, "");
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->keys.empty());
  EXPECT_FALSE(nothing->compacted);
  auto future = store_->changes(*last + 100, "");
  ASSERT_TRUE(future.ok());
  EXPECT_TRUE(future->compacted);
  EXPECT_EQ(future->revision, *last);
}

TEST_P(StoreContract, AListingIsWhereAWatchBegins) {
  put("a", "1");
  auto listing = store_->range("");
  ASSERT_TRUE(listing.ok());
  put("b", "1");
  auto changes = store_->changes(listing->revision, "");
  ASSERT_TRUE(changes.ok());
  EXPECT_EQ(changes->keys, (Strings{"b"}));
}

TEST_P(StoreContract, WatchWakes) {
  auto fd = store_->watch_fd();
  ASSERT_TRUE(fd.ok());
  if (*fd < 0) return;  // the contract lets an engine have none
  auto other = data_->open();
  ASSERT_NE(other, nullptr);
  Revision seen = 0;
  for (int i = 0; i < 50; ++i) {
    auto written = other->transact([&](Transaction& transaction) {
      transaction.put("a", std::to_string(i));
      return Status();
    });
    ASSERT_TRUE(written.ok());
    struct pollfd waiting {
      *fd, POLLIN, 0
    };
    ASSERT_EQ(::poll(&waiting, 1, 10000), 1);
    auto changes = store_->changes(seen, "");
    ASSERT_TRUE(changes.ok());
    EXPECT_EQ(changes->revision, *written);
    seen = changes->revision;
  }
  auto drained = store_->changes(seen, "");
  ASSERT_TRUE(drained.ok());
  struct pollfd waiting {
    *fd, POLLIN, 0
  };
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
}

TEST_P(LeaseContract, ALeaseKeepsItsKeys) {
  auto lease = store_->grant(std::chrono::seconds(60));
  ASSERT_TRUE(lease.ok()) << lease.error().message;
  EXPECT_NE(*lease, 0);
  auto other = data_->open();
  ASSERT_NE(other, nullptr);
  const auto written = put_leased("a/mine", "1", *lease);
  put("a/free", "1");
  EXPECT_EQ(keys("a/"), (Strings{"a/free", "a/mine"}));
  auto seen = other->get("a/mine");
  ASSERT_TRUE(seen.ok() && *seen);
  EXPECT_EQ((*seen)->created, written);
  EXPECT_EQ((*seen)->modified, written);
  auto left = other->keep_alive(*lease);
  ASSERT_TRUE(left.ok()) << left.error().message;
  EXPECT_GE(left->count(), 59);
  EXPECT_EQ(value("a/mine"), "1");
}

TEST_P(LeaseContract, ARevokedLeaseTakesItsKeysAlong) {
  auto lease = store_->grant(std::chrono::seconds(60));
  ASSERT_TRUE(lease.ok());
  put_leased("mine", "1", *lease);
  put_leased("released", "1", *lease);
  put_leased("changed", "1", *lease);
  const Revision before = put("released", "2");
  put_leased("changed", "2", *lease);
  auto other = data_->open();
  ASSERT_TRUE(other->revoke(*lease).ok());
  EXPECT_EQ(keys(""), (Strings{"released"}));
  EXPECT_EQ(value("released"), "2");
  auto changes = store_->changes(before, "");
  ASSERT_TRUE(changes.ok());
  // The end of a lease is no transaction: a watch may hear of it a little later.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  Strings heard = changes->keys;
  while (std::find(heard.begin(), heard.end(), "mine") == heard.end() && std::chrono::steady_clock::now() < until) {
    changes = store_->changes(before, "");
    ASSERT_TRUE(changes.ok());
    heard = changes->keys;
  }
  EXPECT_EQ(heard, (Strings{"changed", "mine"}));

  auto again = store_->revoke(*lease);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::not_found);
  auto kept = store_->keep_alive(*lease);
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code, Code::not_found);
  auto refused = store_->transact([&](Transaction& transaction) {
    transaction.put("late", "1", *lease);
    transaction.put("with it", "1");
    return Status();
  });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::not_found);
  EXPECT_EQ(keys(""), (Strings{"released"}));
}

TEST_P(LeaseContract, ALeaseEnds) {
  auto lease = store_->grant(std::chrono::seconds(1));
  ASSERT_TRUE(lease.ok());
  const Revision first = put_leased("mine", "1", *lease);
  put("free", "1");
  auto other = data_->open();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const auto gone = [&] {
    auto entry = other->get("mine");
    return entry.ok() && !*entry;
  };
  // Polls because a lease that ends between two processes wakes nobody for sure.
  while (!gone() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(gone());
  EXPECT_EQ(keys(""), (Strings{"free"}));
  auto kept = store_->keep_alive(*lease);
  ASSERT_FALSE(kept.ok());
  EXPECT_EQ(kept.error().code, Code::not_found);
  auto body = store_->transact([&](Transaction& transaction) -> Status {
    auto mine = transaction.get("mine");
    auto all = transaction.range("", 1);
    EXPECT_TRUE(mine.ok() && !*mine);
    EXPECT_TRUE(all.ok() && all->size() == 1 && all->front().key == "free");
    return {};
  });
  ASSERT_TRUE(body.ok());
  // The name is free again, and a key of that name is a new one.
  auto next = store_->grant(std::chrono::seconds(60));
  ASSERT_TRUE(next.ok());
  const Revision second = put_leased("mine", "2", *next);
  auto entry = store_->get("mine");
  ASSERT_TRUE(entry.ok() && *entry);
  EXPECT_EQ((*entry)->created, second);
  EXPECT_GT(second, first);
}

TEST_P(LeaseContract, LeasesAreRefusedWithoutATime) {
  for (const int seconds : {0, -1}) {
    auto refused = store_->grant(std::chrono::seconds(seconds));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::invalid);
  }
}

// Two writers that each add one to the same number, and to keys of their own listing: none is lost.
TEST_P(StoreContract, WritersContend) {
  constexpr int rounds = 20;
  const auto work = [&](const std::string& name, std::unique_ptr<Store> store, int& failures) {
    for (int i = 0; i < rounds; ++i) {
      auto done = store->transact([&](Transaction& transaction) -> Status {
        auto number = transaction.get("count");
        auto listed = transaction.range("item/");
        if (!number) return std::move(number).error();
        if (!listed) return std::move(listed).error();
        transaction.put("count", std::to_string((*number ? std::stoi(**number) : 0) + 1));
        char item[32];
        std::snprintf(item, sizeof item, "item/%04zu", listed->size());
        transaction.put(item, name);
        return {};
      });
      if (!done) ++failures;
    }
  };
  int failures[2] = {0, 0};
  std::thread first(work, "a", data_->open(), std::ref(failures[0]));
  std::thread second(work, "b", data_->open(), std::ref(failures[1]));
  first.join();
  second.join();
  EXPECT_EQ(failures[0] + failures[1], 0);
  EXPECT_EQ(value("count"), std::to_string(2 * rounds));
  EXPECT_EQ(keys("item/").size(), 2u * rounds);
}

// The node store promises no leases: its engine says so.
TEST(LmdbLeases, AreRefused) {
  FileData data(lmdb_engine());
  auto store = data.open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->grant(std::chrono::seconds(5)).error().code, Code::unsupported);
  EXPECT_EQ(store->keep_alive(1).error().code, Code::unsupported);
  EXPECT_EQ(store->revoke(1).error().code, Code::unsupported);
  auto put = store->transact([](Transaction& transaction) {
    transaction.put("a", "1", 7);
    return Status();
  });
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, Code::unsupported);
}

Engine etcd() {
  return {"etcd", [] { return std::make_unique<EtcdData>(); }};
}
std::string name_of(const testing::TestParamInfo<Engine>& instance) { return instance.param.name; }

INSTANTIATE_TEST_SUITE_P(Engines, StoreContract, testing::Values(in_files(sqlite_engine()), in_files(lmdb_engine()), etcd()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Engines, LeaseContract, testing::Values(in_files(sqlite_engine()), etcd()), name_of);

}  // namespace
}  // namespace firn::kv
