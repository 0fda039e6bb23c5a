// Processes that lease and release on one node store while others of them are killed with SIGKILL at random moments: no address
// ever has two holders, and the store needs no repair afterwards.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "ipam/check.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

constexpr int workers = 20;
constexpr int addresses = 256;
constexpr int rounds = 200;  // kills

// Who holds each address, as the workers themselves see it: 0, or a worker's number. Shared memory, outlives every kill.
struct Board {
  std::atomic<int> holder[addresses];
  std::atomic<int> doubles;
  std::atomic<long> leases;
};

// One that waits for its turn however loaded the machine is.
std::unique_ptr<kv::Store> open_patient_store(const std::string& path) {
  kv::LmdbOptions options;
  options.path = path;
  options.deadline = std::chrono::milliseconds(60000);
  auto store = kv::open_lmdb(options);
  return store ? std::move(*store) : nullptr;
}

// A worker registers on the board after its lease committed and leaves it before it releases; so at any moment, whoever finds
// another living worker's number under its own address has been given an address in use.
void work(const std::string& path, Board& board, int number, unsigned seed) {
  auto store = open_patient_store(path);
  if (!store) _exit(3);
  SystemClock clock;
  Options options;
  options.boot_id = "boot";
  Allocator allocator(*store, clock, options);
  std::mt19937 random(seed);
  std::vector<std::pair<std::string, int>> held;
  const std::string pool = "net-10.5.0.0-24";
  for (unsigned i = 0;; ++i) {
    // Room for the others: SQLite's lock has no queue, and processes that never pause starve one another.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    if (held.size() < 8 && (held.empty() || random() % 2 == 0)) {
      const model::Endpoint endpoint =
          make_endpoint("w" + std::to_string(number) + "-" + std::to_string(seed) + "-" + std::to_string(i));
      const auto leased = allocator.lease(endpoint, model::Use::routed, {from_pool(pool)});
      if (!leased) {
        if (leased.error().is(Code::exhausted)) continue;
        _exit(4);
      }
      const int ordinal = static_cast<int>(net("10.5.0.0/24").offset_of(leased->addresses.at(0)));
      if (board.holder[ordinal].exchange(number) != 0) board.doubles.fetch_add(1);
      board.leases.fetch_add(1);
      held.emplace_back(model::handle_of(*leased), ordinal);
    } else {
      const size_t which = random() % held.size();
      board.holder[held[which].second].store(0);
      if (!allocator.release(held[which].first)) _exit(5);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }
}

pid_t start(const std::string& path, Board& board, int number, unsigned seed) {
  const pid_t pid = ::fork();
  if (pid == 0) work(path, board, number, seed);
  return pid;
}

TEST(AllocatorKill, NoAddressHasTwoHoldersAndTheStoreStaysWhole) {
  TemporaryDirectory directory;
  const std::string path = directory.file("node.db");
  void* memory = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Board& board = *new (memory) Board{};
  {
    auto store = open_store(path);
    ASSERT_NE(store, nullptr);
    SystemClock clock;
    Options options;
    options.boot_id = "boot";
    ASSERT_TRUE(Allocator(*store, clock, options).subnet_pool(net("10.5.0.0/24"), 28).ok());
  }
  std::random_device device;
  const unsigned seed = device();
  std::mt19937 random(seed);
  RecordProperty("seed", std::to_string(seed));
  unsigned generation = 0;
  std::vector<pid_t> pids;
  for (int number = 1; number <= workers; ++number) pids.push_back(start(path, board, number, ++generation));

  // What a killed worker held is released by its successor's manager, as a runtime's DEL or GC does: by the recorded handles.
  const auto clean_up_after = [&](int number) {
    auto store = open_patient_store(path);
    ASSERT_NE(store, nullptr);
    SystemClock clock;
    Options options;
    options.boot_id = "boot";
    Allocator allocator(*store, clock, options);
    auto endpoints = allocator.endpoints();
    ASSERT_TRUE(endpoints.ok()) << endpoints.error().message;
    const std::string mine = "w" + std::to_string(number) + "-";
    for (const model::Endpoint& endpoint : *endpoints) {
      if (!endpoint.container_id.starts_with(mine)) continue;
      const int ordinal = static_cast<int>(net("10.5.0.0/24").offset_of(endpoint.addresses.at(0)));
      int expected = number;
      board.holder[ordinal].compare_exchange_strong(expected, 0);
      const auto released = allocator.release(model::handle_of(endpoint));
      ASSERT_TRUE(released.ok()) << released.error().message;
    }
  };
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 10000));
    const size_t victim = random() % pids.size();
    ASSERT_EQ(::kill(pids[victim], SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(pids[victim], &status, 0), pids[victim]);
    ASSERT_TRUE(WIFSIGNALED(status)) << "a worker gave up with exit code " << WEXITSTATUS(status);
    clean_up_after(static_cast<int>(victim) + 1);
    pids[victim] = start(path, board, static_cast<int>(victim) + 1, ++generation);
  }
  for (const pid_t pid : pids) {
    int status = 0;
    EXPECT_EQ(::kill(pid, SIGKILL), 0);
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFSIGNALED(status)) << "a worker gave up with exit code " << WEXITSTATUS(status);
  }
  EXPECT_EQ(board.doubles.load(), 0);
  EXPECT_GT(board.leases.load(), rounds);

  auto store = open_store(path);
  Surroundings surroundings;
  surroundings.boot_id = "boot";
  const auto problems = check(*store, surroundings);
  ASSERT_TRUE(problems.ok()) << problems.error().message;
  for (const Problem& problem : *problems)
    ADD_FAILURE() << to_string(problem.kind) << " " << problem.object << ": " << problem.words;

  for (int number = 1; number <= workers; ++number) clean_up_after(number);
  EXPECT_TRUE(keys_below(*store, "lease/").empty());
  EXPECT_TRUE(keys_below(*store, "endpoint/").empty());
  EXPECT_TRUE(check(*store, surroundings)->empty());
  ::munmap(memory, sizeof(Board));
}

}  // namespace
}  // namespace firn::ipam
