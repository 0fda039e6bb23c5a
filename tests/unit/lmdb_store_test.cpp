// What only the LMDB engine promises: that a store is carried over a boot, or said to be damaged, and never half of either.
#include <random>
#include <thread>

#include "tests/support/file_store.hpp"

namespace firn::kv {
namespace {

class LmdbStoreTest : public FileStoreFixture {
 protected:
  LmdbStoreTest() : FileStoreFixture(lmdb_engine()) { options_.boot_id = "boot-1"; }
  std::string data() const { return options_.path + "-data"; }
};

TEST_F(LmdbStoreTest, ANewerFormatIsRefused) {
  fill(1);
  patch(options_.path, 16, "7");
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::invalid);
  EXPECT_NE(error.message.find("format 7"), std::string::npos) << error.message;
}

TEST_F(LmdbStoreTest, ABootCarriesEveryRecordOver) {
  fill(300);
  Revision before = 0;
  {
    auto listing = open()->range("");
    ASSERT_TRUE(listing.ok());
    before = listing->revision;
  }
  options_.boot_id = "boot-2";
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto listing = store->range("key/");
  ASSERT_TRUE(listing.ok());
  EXPECT_EQ(listing->entries.size(), 300u);
  EXPECT_EQ(listing->revision, before);
  EXPECT_EQ(*put(*store, "key/0", "new"), before + 1);
  EXPECT_NE(content(options_.path).find(" boot-2\n"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".new-data"));
}

TEST_F(LmdbStoreTest, WithoutABootTheFileIsTakenAsItIs) {
  fill(3);
  options_.boot_id.clear();
  auto store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->range("key/")->entries.size(), 3u);
  EXPECT_NE(content(options_.path).find(" boot-1\n"), std::string::npos);
}

TEST_F(LmdbStoreTest, ReadingOnlyDoesNotCarryOver) {
  fill(3);
  options_.boot_id = "boot-2";
  options_.read_only = true;
  EXPECT_EQ(refusal().code, Code::unavailable);
}

// A power cut leaves pages of several times. Whatever it left, the store opens with records that were written, or is refused with
// words; the process that finds out may crash, this one does not.
TEST_F(LmdbStoreTest, RandomDamageIsFoundAtTheNextBoot) {
  fill(300);
  const std::string header = content(options_.path), good = content(data());
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 100; ++round) {
    std::string bad = good;
    for (int i = 0; i < 5; ++i) {
      const size_t page = random() % (bad.size() / 4096) * 4096;
      switch (round % 3) {
        case 0: bad.replace(page, 4096, std::string(4096, '\0')); break;
        case 1: bad.replace(page, 4096, good.substr(random() % (good.size() / 4096) * 4096, 4096)); break;
        default:
          for (int k = 0; k < 40; ++k) bad[page + random() % 64] = static_cast<char>(random());
      }
    }
    if (round % 7 == 0) bad.resize(random() % bad.size());
    std::ofstream(data(), std::ios::trunc | std::ios::binary) << bad;
    std::ofstream(options_.path, std::ios::trunc | std::ios::binary) << header;
    options_.boot_id = "boot-2";
    auto store = try_open();
    if (!store) {
      ++refused;
      EXPECT_EQ(store.error().code, Code::io) << store.error().message;
      EXPECT_EQ(content(options_.path), header) << "a refused store stays as it was";
      continue;
    }
    auto listing = (*store)->range("");
    ASSERT_TRUE(listing.ok());
    EXPECT_TRUE(put(**store, "key/77", "new").ok());
  }
  EXPECT_GT(refused, 0);
}

TEST_F(LmdbStoreTest, KilledWhileCarryingOver) {
  fill(300);
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    options_.boot_id = "boot-" + std::to_string(round + 2);
    const pid_t pid = child([&] { return try_open().ok(); });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6000));
    ::kill(pid, SIGKILL);
    status_of(pid);
    auto store = open();
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->range("key/")->entries.size(), 300u);
  }
}

TEST_F(LmdbStoreTest, AStoreWithoutItsDataIsDamaged) {
  fill(1);
  std::filesystem::remove(data());
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::io);
  EXPECT_NE(error.message.find("is damaged"), std::string::npos) << error.message;
}

TEST_F(LmdbStoreTest, ALinkInThePlaceOfTheDataIsRefused) {
  fill(1);
  std::filesystem::rename(data(), directory_ + "/elsewhere");
  std::filesystem::create_symlink(directory_ + "/elsewhere", data());
  EXPECT_FALSE(try_open().ok());
}

}  // namespace
}  // namespace firn::kv
