#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "lib/base/file.hpp"
#include "lib/base/result.hpp"
#include "lib/base/rollback.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/reconcile/delta_map.hpp"

namespace firn {
namespace {

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/tmp/firn-t-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDirectory() {
    ::unlink((path_ + "/file").c_str());
    ::rmdir((path_ + "/a/b").c_str());
    ::rmdir((path_ + "/a").c_str());
    ::rmdir(path_.c_str());
  }
  std::string path_;
};

TEST(Result, CarriesAValueOrAReason) {
  const auto half = [](int n) -> Result<int> {
    if (n % 2 != 0) return make_error(Code::invalid, "odd");
    return n / 2;
  };
  EXPECT_EQ(*half(4), 2);
  auto bad = half(3);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(std::move(bad).error().context("halving 3").message, "halving 3: odd");
  EXPECT_TRUE(errno_error("open x", ENOENT).is(Code::not_found));
  EXPECT_TRUE(errno_error("open x", EPERM).is(Code::denied));
}

TEST(Rollback, UndoesInReverseUnlessCommitted) {
  std::string order;
  {
    Rollback rollback;
    rollback.add([&] { order += "a"; });
    rollback.add([&] { order += "b"; });
  }
  EXPECT_EQ(order, "ba");
  {
    Rollback rollback;
    rollback.add([&] { order += "c"; });
    rollback.commit();
  }
  EXPECT_EQ(order, "ba");
}

TEST(File, WritesAtomicallyWithTheModeAsked) {
  const TempDirectory temp;
  const std::string path = temp.path_ + "/file";
  ASSERT_TRUE(write_file_atomic(path, "one", 0600).ok());
  ASSERT_TRUE(write_file_atomic(path, "two", 0600).ok());
  EXPECT_EQ(*read_file(path), "two");
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE(read_file(path, 2).error().is(Code::invalid)) << "larger than the limit";
  EXPECT_TRUE(read_file(temp.path_ + "/none").error().is(Code::not_found));
  ASSERT_TRUE(make_directories(temp.path_ + "/a/b").ok());
  ASSERT_TRUE(make_directories(temp.path_ + "/a/b").ok());
  EXPECT_FALSE(make_directories(path).ok()) << "a file is no directory";
}

using Map = reconcile::DeltaMap<std::string, int>;

TEST(DeltaMap, NothingIsPendingBeforeTheFirstList) {
  Map map;
  map.want("a", 1);
  EXPECT_TRUE(map.pending().empty());
  map.set_actual({});
  EXPECT_EQ(map.pending().upserts.size(), 1u);
}

TEST(DeltaMap, PendingIsTheDifference) {
  Map map;
  map.set_actual({{"same", 1}, {"changed", 1}, {"extra", 1}});
  map.want_exactly({{"same", 1}, {"changed", 2}, {"missing", 3}});
  const auto pending = map.pending();
  EXPECT_EQ(pending.removals, std::vector<std::string>{"extra"});
  EXPECT_EQ(pending.upserts, (std::vector<std::pair<std::string, int>>{{"changed", 2}, {"missing", 3}}));
}

TEST(DeltaMap, EventsMoveTheActual) {
  Map map;
  map.set_actual({{"a", 1}});
  map.want_exactly({{"a", 1}});
  EXPECT_TRUE(map.pending().empty());
  map.observe_removed("a");
  EXPECT_EQ(map.pending().upserts.size(), 1u) << "deleted by somebody: drift";
  map.observe("a", 2);
  EXPECT_EQ(map.pending().upserts.size(), 1u) << "changed by somebody: drift";
  map.observe("a", 1);
  EXPECT_TRUE(map.pending().empty());
  map.unwant("a");
  EXPECT_EQ(map.pending().removals.size(), 1u);
  map.observe_removed("a");
  EXPECT_TRUE(map.pending().empty());
  map.observe("b", 5);
  EXPECT_EQ(map.pending().removals, std::vector<std::string>{"b"});
}

}  // namespace
}  // namespace firn
