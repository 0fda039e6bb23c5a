// What only the SQLite engine promises: that damage of its file is said and never crashes.
#include <random>

#include "tests/support/file_store.hpp"

namespace firn::kv {
namespace {

class SqliteStoreTest : public FileStoreFixture {
 protected:
  SqliteStoreTest() : FileStoreFixture(sqlite_engine()) {}
};

TEST_F(SqliteStoreTest, ANewerFormatIsRefused) {
  fill(1);
  patch(options_.path, 60, std::string("\0\0\0\7", 4));
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::invalid);
  EXPECT_NE(error.message.find("format 7"), std::string::npos) << error.message;
}

TEST_F(SqliteStoreTest, DamageIsSaid) {
  fill(2000);
  const auto size = std::filesystem::file_size(options_.path);
  patch(options_.path, 4096, std::string(size - 4096, '\x5a'));
  auto store = try_open();
  Error error;
  if (!store) {
    error = store.error();
  } else {
    auto listing = (*store)->range("");
    ASSERT_FALSE(listing.ok());
    error = listing.error();
    EXPECT_FALSE(put(**store, "a", "1").ok());
  }
  EXPECT_EQ(error.code, Code::io);
  EXPECT_NE(error.message.find(options_.path + " is damaged"), std::string::npos) << error.message;
}

TEST_F(SqliteStoreTest, RandomDamageNeverCrashes) {
  fill(300);
  const std::string good = content(options_.path);
  std::mt19937 random(7);
  for (int round = 0; round < 150; ++round) {
    std::string bad = good;
    for (int i = 0; i < 20; ++i) bad[100 + random() % (bad.size() - 100)] = static_cast<char>(random());
    if (round % 5 == 0) bad.resize(random() % bad.size());
    std::filesystem::remove(options_.path + "-wal");
    std::filesystem::remove(options_.path + "-shm");
    std::ofstream(options_.path, std::ios::trunc | std::ios::binary) << bad;
    auto store = try_open();
    if (!store) continue;
    static_cast<void>((*store)->range(""));
    static_cast<void>((*store)->changes(0, ""));
    static_cast<void>(put(**store, "key/77", "new"));
  }
}

}  // namespace
}  // namespace firn::kv
