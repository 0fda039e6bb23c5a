// What the tests of engines that keep a store in files share: an engine as a value, a directory that goes with the test, children.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/file.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/kv/lmdb/lmdb_store.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"

namespace firn::kv {

// The options that every such engine has.
struct FileOptions {
  std::string path;
  bool create = true;
  bool read_only = false;
  std::chrono::milliseconds deadline{5000};
  std::string boot_id;  // LMDB alone looks at it
};

struct FileEngine {
  std::string name;
  std::vector<std::string> suffixes;  // of the files it makes
  bool waits_for_writers = false;     // reading does
  std::function<Result<std::unique_ptr<Store>>(const FileOptions&)> open;
};

inline FileEngine sqlite_engine() {
  return {"sqlite", {"", "-wal", "-shm"}, false, [](const FileOptions& wanted) {
            SqliteOptions options;
            options.path = wanted.path;
            options.create = wanted.create;
            options.read_only = wanted.read_only;
            options.deadline = wanted.deadline;
            return open_sqlite(options);
          }};
}

inline FileEngine lmdb_engine() {
  return {"lmdb", {"", "-data"}, true, [](const FileOptions& wanted) {
            LmdbOptions options;
            options.path = wanted.path;
            options.boot_id = wanted.boot_id;
            options.create = wanted.create;
            options.read_only = wanted.read_only;
            options.deadline = wanted.deadline;
            return open_lmdb(options);
          }};
}

class FileStoreFixture : public testing::Test {
 protected:
  explicit FileStoreFixture(FileEngine engine) : engine_(std::move(engine)) {
    // In memory: of thousands of durable commits, and none of these tests cuts the power.
    std::string pattern = "/dev/shm/firn-store-XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) directory_ = pattern;
    options_.path = directory_ + "/node.db";
  }
  ~FileStoreFixture() override { std::filesystem::remove_all(directory_); }

  Result<std::unique_ptr<Store>> try_open() const { return engine_.open(options_); }
  std::unique_ptr<Store> open() const {
    auto store = try_open();
    EXPECT_TRUE(store.ok()) << store.error().message;
    return store ? std::move(*store) : nullptr;
  }
  Error refusal() const {
    auto store = try_open();
    EXPECT_FALSE(store.ok());
    return store ? Error{} : store.error();
  }
  void fill(int count) const {
    auto store = open();
    ASSERT_NE(store, nullptr);
    for (int i = 0; i < count; ++i) ASSERT_TRUE(put(*store, "key/" + std::to_string(i), std::string(500, 'v')).ok());
  }
  static Result<Revision> put(Store& store, std::string_view key, std::string_view value) {
    return store.transact([&](Transaction& transaction) {
      transaction.put(key, value);
      return Status();
    });
  }
  static void patch(const std::string& path, std::streamoff offset, const std::string& bytes) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }
  static std::string content(const std::string& path) {
    auto text = read_file(path, 64 * 1024 * 1024);
    return text ? *text : "";
  }

  FileEngine engine_;
  std::string directory_;
  FileOptions options_;
};

// The body returns true for success. A child ends with this process, also when a test has failed half-way.
inline pid_t child(const std::function<bool()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && body() ? 0 : 1);
  return pid;
}
inline int status_of(pid_t pid) {
  int status = -1;
  ::waitpid(pid, &status, 0);
  return status;
}
struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe(ends) == 0) {
      out.reset(ends[0]);
      in.reset(ends[1]);
    }
  }
  unique_fd out, in;
};
inline bool send(const Pipe& pipe, int64_t number) { return ::write(pipe.in.get(), &number, sizeof number) == sizeof number; }
inline int64_t receive(const Pipe& pipe) {
  int64_t number = -1;
  return ::read(pipe.out.get(), &number, sizeof number) == sizeof number ? number : -1;
}

}  // namespace firn::kv
