// What every engine that keeps a store in files promises: files, modes, killed processes, many processes, a full disk.
// Children are forked while this process has no store open: SQLite's locks do not survive a fork.
#include "tests/support/file_store.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <random>
#include <thread>

namespace firn::kv {
namespace {

using std::chrono::milliseconds;

class FileStoreTest : public FileStoreFixture, public testing::WithParamInterface<FileEngine> {
 protected:
  FileStoreTest() : FileStoreFixture(GetParam()) {}
};

// Says why not, for it runs in children.
bool told(const Error& error) {
  std::fprintf(stderr, "child: %s\n", error.message.c_str());
  return false;
}

bool increment(Store& store, const std::string& own) {
  auto done = store.transact([&](Transaction& transaction) -> Status {
    auto total = transaction.get("total");
    if (!total) return std::move(total).error();
    const std::string next = std::to_string(*total ? std::stol(**total) + 1 : 1);
    transaction.put("total", next);
    transaction.put(own, next);
    transaction.put("copy", next);
    return {};
  });
  return done.ok() || told(done.error());
}

TEST_P(FileStoreTest, FilesAreForTheOwnerAlone) {
  const mode_t before = ::umask(0);
  auto store = open();
  ::umask(before);
  ASSERT_NE(store, nullptr);
  ASSERT_TRUE(put(*store, "a", "1").ok());
  for (const std::string& suffix : engine_.suffixes) {
    struct stat info {};
    ASSERT_EQ(::stat((options_.path + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 07777, 0600u) << suffix;
  }
}

TEST_P(FileStoreTest, ATightUmaskDoesNotMatter) {
  const mode_t before = ::umask(0777);
  fill(1);
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::stat(options_.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_P(FileStoreTest, MissingFileOrDirectory) {
  options_.create = false;
  EXPECT_EQ(refusal().code, Code::not_found);
  EXPECT_FALSE(std::filesystem::exists(options_.path));
  options_.create = true;
  options_.path = directory_ + "/absent/node.db";
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::not_found);
  EXPECT_NE(error.message.find(options_.path), std::string::npos);
  options_.path = directory_ + "/";
  EXPECT_EQ(refusal().code, Code::invalid);
  options_.path = directory_;
  EXPECT_EQ(refusal().code, Code::invalid);
}

TEST_P(FileStoreTest, ALinkIsRefused) {
  fill(1);
  const std::string target = options_.path;
  options_.path = directory_ + "/link.db";
  std::filesystem::create_symlink(target, options_.path);
  EXPECT_EQ(refusal().code, Code::denied);
  options_.path = directory_ + "/dangling.db";
  std::filesystem::create_symlink(directory_ + "/nowhere", options_.path);
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_NE(error.message.find("symbolic link"), std::string::npos) << error.message;
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/nowhere"));
}

TEST_P(FileStoreTest, AnotherProgramsFileIsRefusedAndLeftAlone) {
  fill(10);
  patch(options_.path, engine_.name == "lmdb" ? 0 : 68, "abcd");
  const std::string before = content(options_.path);
  const Error error = refusal();
  EXPECT_EQ(error.code, Code::invalid);
  EXPECT_NE(error.message.find(options_.path), std::string::npos);
  EXPECT_EQ(content(options_.path), before);
  for (const std::string& text : {std::string("short"), std::string(5000, 'x')}) {
    std::ofstream(options_.path, std::ios::trunc) << text;
    EXPECT_EQ(refusal().code, Code::invalid);
    EXPECT_EQ(content(options_.path), text);
  }
}

TEST_P(FileStoreTest, AUserWithoutPermissionIsDenied) {
  fill(1);
  ASSERT_EQ(::chmod(directory_.c_str(), 0755), 0);
  const auto as_nobody = [&](const std::function<bool()>& body) {
    return status_of(
        child([&] { return ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0 && body(); }));
  };
  const auto denied = [&] {
    auto store = try_open();
    if (store) return false;
    return store.error().code == Code::denied && store.error().message.find(options_.path) != std::string::npos;
  };
  EXPECT_EQ(as_nobody(denied), 0) << "mode 0600 of another user";
  ASSERT_EQ(::chmod(options_.path.c_str(), 0644), 0);
  EXPECT_EQ(as_nobody(denied), 0) << "readable, not writable";
  options_.path = directory_ + "/new.db";
  EXPECT_EQ(as_nobody(denied), 0) << "directory not writable";
}

TEST_P(FileStoreTest, AReadOnlyFileSystemIsDenied) {
  fill(1);
  EXPECT_EQ(status_of(child([&] {
              if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
              if (::mount(directory_.c_str(), directory_.c_str(), nullptr, MS_BIND, nullptr) != 0) return false;
              if (::mount(nullptr, directory_.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) return false;
              auto store = try_open();
              return !store && store.error().code == Code::denied;
            })),
            0);
}

TEST_P(FileStoreTest, ReadOnlyReadsAndRefusesToWrite) {
  fill(3);
  options_.read_only = true;
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto listing = store->range("key/");
  ASSERT_TRUE(listing.ok());
  EXPECT_EQ(listing->entries.size(), 3u);
  auto changes = store->changes(0, "");
  ASSERT_TRUE(changes.ok()) << changes.error().message;
  EXPECT_EQ(changes->keys.size(), 3u);
  auto refused = put(*store, "a", "1");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::denied);
}

TEST_P(FileStoreTest, AFullDiskIsSaidAndLosesNothing) {
  EXPECT_EQ(status_of(child([&] {
              if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
              if (::mount("tmpfs", directory_.c_str(), "tmpfs", 0, "size=1m") != 0) return false;
              int written = 0;
              {
                auto store = try_open();
                if (!store) return false;
                for (;; ++written) {
                  auto done = put(**store, "key/" + std::to_string(written), std::string(3000, 'x'));
                  if (done) continue;
                  if (done.error().code != Code::exhausted || done.error().message.find(options_.path) == std::string::npos)
                    return false;
                  break;
                }
                auto listing = (*store)->range("key/");
                if (!listing || listing->entries.size() != static_cast<size_t>(written)) return false;
              }
              if (written < 10 || ::mount(nullptr, directory_.c_str(), nullptr, MS_REMOUNT, "size=8m") != 0) return false;
              auto store = try_open();
              if (!store) return false;
              auto listing = (*store)->range("key/");
              return listing && listing->entries.size() == static_cast<size_t>(written) && put(**store, "more", "1").ok();
            })),
            0);
}

TEST_P(FileStoreTest, KilledProcessesLoseNoCommitAndLeaveNoHalf) {
  std::mt19937 random(42);
  int64_t acknowledged = 0;
  for (int round = 0; round < 60; ++round) {
    Pipe pipe;
    const pid_t pid = child([&] {
      auto store = try_open();
      if (!store) return false;
      for (int i = 0;; ++i) {
        if (!increment(**store, "own/" + std::to_string(i % 50))) return false;
        auto entry = (*store)->get("total");
        if (!entry || !*entry || !send(pipe, std::stol((*entry)->value))) return false;
      }
    });
    pipe.in.reset();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    ::kill(pid, SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(status_of(pid)));
    for (int64_t number = receive(pipe); number >= 0; number = receive(pipe)) acknowledged = number;
    auto store = open();
    ASSERT_NE(store, nullptr);
    if (acknowledged == 0) continue;
    auto total = store->get("total");
    auto copy = store->get("copy");
    ASSERT_TRUE(total.ok() && *total && copy.ok() && *copy);
    EXPECT_EQ((*total)->value, (*copy)->value);
    EXPECT_EQ((*total)->modified, std::stol((*total)->value)) << "one revision a commit";
    EXPECT_GE(std::stol((*total)->value), acknowledged);
    EXPECT_LE(std::stol((*total)->value), acknowledged + 1);
    acknowledged = std::stol((*total)->value);
  }
  EXPECT_GT(acknowledged, 0);
}

TEST_P(FileStoreTest, KilledWhileMakingTheFile) {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    const pid_t pid = child([&] { return try_open().ok(); });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    ::kill(pid, SIGKILL);
    status_of(pid);
    auto store = open();
    ASSERT_NE(store, nullptr);
    ASSERT_TRUE(put(*store, "a", "1").ok());
  }
}

TEST_P(FileStoreTest, ManyProcessesAtOnce) {
  options_.deadline = milliseconds(60000);
  constexpr int processes = 64;
  constexpr int rounds = 5;
  std::vector<pid_t> pids;
  for (int i = 0; i < processes; ++i) {
    pids.push_back(child([&] {
      for (int round = 0; round < rounds; ++round) {
        auto store = try_open();
        if (!store) return told(store.error());
        for (int k = 0; k < 4; ++k) {
          if (!increment(**store, "own/" + std::to_string(i))) return false;
        }
      }
      return true;
    }));
  }
  for (const pid_t pid : pids) EXPECT_EQ(status_of(pid), 0);
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto total = store->get("total");
  ASSERT_TRUE(total.ok() && *total);
  EXPECT_EQ((*total)->value, std::to_string(processes * rounds * 4));
  EXPECT_EQ((*total)->modified, processes * rounds * 4);
}

TEST_P(FileStoreTest, AHeldLockEndsAtTheDeadline) {
  fill(1);
  Pipe held, release;
  const pid_t pid = child([&] {
    auto store = try_open();
    return store && (*store)
                        ->transact([&](Transaction&) -> Status {
                          send(held, 1);
                          return receive(release) == 1 ? Status() : Status(make_error(Code::io, "pipe"));
                        })
                        .ok();
  });
  ASSERT_EQ(receive(held), 1);
  options_.deadline = milliseconds(30);
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto refused = put(*store, "a", "1");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_NE(refused.error().message.find("another process"), std::string::npos) << refused.error().message;
  EXPECT_EQ(store->get("key/0").ok(), !engine_.waits_for_writers);
  send(release, 1);
  EXPECT_EQ(status_of(pid), 0);
  EXPECT_TRUE(put(*store, "a", "1").ok());
}

// A wake-up that came between the write and its becoming visible would leave this hanging.
TEST_P(FileStoreTest, NoCommitOfAnotherProcessIsMissed) {
  fill(1);
  Pipe go, done;
  constexpr int rounds = 400;
  const pid_t pid = child([&] {
    std::unique_ptr<Store> kept;
    for (int i = 0; i < rounds; ++i) {
      if (receive(go) < 0) return false;
      if (!kept || i % 2 == 0) {
        auto store = try_open();
        if (!store) return false;
        kept = std::move(*store);
      }
      auto revision = put(*kept, "tick", std::to_string(i));
      if (!revision || !send(done, *revision)) return false;
      if (i % 4 == 3) kept.reset();
    }
    return true;
  });
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  auto start = store->changes(0, "");
  ASSERT_TRUE(start.ok());
  Revision seen = start->revision;
  for (int i = 0; i < rounds; ++i) {
    ASSERT_TRUE(send(go, i));
    bool told = false;
    for (Revision wanted = seen + 1; !told;) {
      struct pollfd waiting {
        *fd, POLLIN, 0
      };
      ASSERT_EQ(::poll(&waiting, 1, 20000), 1) << "a commit was missed in round " << i;
      auto changes = store->changes(seen, "tick");
      ASSERT_TRUE(changes.ok()) << changes.error().message;
      told = changes->revision == wanted;
      if (told) {
        EXPECT_EQ(changes->keys, std::vector<std::string>{"tick"});
        seen = changes->revision;
      }
    }
    EXPECT_EQ(receive(done), seen);
  }
  EXPECT_EQ(status_of(pid), 0);
}

TEST_P(FileStoreTest, AReplacedFileIsNoticed) {
  auto store = open();
  ASSERT_NE(store, nullptr);
  auto fd = store->watch_fd();
  ASSERT_TRUE(fd.ok());
  ASSERT_TRUE(store->changes(0, "").ok());
  std::filesystem::rename(options_.path, directory_ + "/aside.db");
  struct pollfd waiting {
    *fd, POLLIN, 0
  };
  EXPECT_EQ(::poll(&waiting, 1, 10000), 1);
  auto changes = store->changes(0, "");
  ASSERT_FALSE(changes.ok());
  EXPECT_EQ(changes.error().code, Code::unavailable);
}

TEST_P(FileStoreTest, HistoryIsTrimmedAndSaysSo) {
  auto store = open();
  ASSERT_NE(store, nullptr);
  Revision last = 0;
  for (int i = 0; i < 11 * 1024; ++i) {
    auto revision = put(*store, "a", std::to_string(i));
    ASSERT_TRUE(revision.ok());
    last = *revision;
  }
  auto old = store->changes(1, "");
  ASSERT_TRUE(old.ok());
  EXPECT_TRUE(old->compacted);
  EXPECT_EQ(old->revision, last);
  auto recent = store->changes(last - 9000, "");
  ASSERT_TRUE(recent.ok());
  EXPECT_FALSE(recent->compacted);
  EXPECT_EQ(recent->keys, std::vector<std::string>{"a"});
}

TEST_P(FileStoreTest, ACommitOfVeryManyKeysIsAGap) {
  auto store = open();
  ASSERT_NE(store, nullptr);
  ASSERT_TRUE(put(*store, "a", "1").ok());
  ASSERT_TRUE(store
                  ->transact([](Transaction& transaction) {
                    for (int i = 0; i < 20000; ++i) transaction.put("key/" + std::to_string(i), "x");
                    return Status();
                  })
                  .ok());
  auto changes = store->changes(1, "");
  ASSERT_TRUE(changes.ok());
  EXPECT_TRUE(changes->compacted);
  EXPECT_EQ(changes->revision, 2);
}

INSTANTIATE_TEST_SUITE_P(Engines, FileStoreTest, testing::Values(sqlite_engine(), lmdb_engine()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace firn::kv
