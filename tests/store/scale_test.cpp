// Many hosts lease from one pool on a real etcd, by the code that hosts run: claim_block(), fenced by their records, and the
// allocator on a node store in a file for each. No address is given out twice, and etcd sees at most one write for 64 addresses.
// FIRN_LONG=yes: 5,000 hosts and 1,000,000 addresses (goal: 60 s) instead of 100 and 20,000. Prints what it took.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <thread>

#include "ipam/claims.hpp"
#include "ipam/pools.hpp"
#include "lib/base/file.hpp"
#include "lib/kv/etcd/etcd_store.hpp"
#include "tests/support/etcd_fixture.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr int workers = 16;    // hosts that are at it at the same time
constexpr int block_bits = 6;  // /26, as by default
const std::string pool_name = "web";
const Prefix cidr = *Prefix::parse("10.0.0.0/8");

// Hosts fill their blocks: every eighth four of them, the others three, 200 addresses on average.
int addresses_of(int host) { return (host % 8 == 0 ? 4 : 3) << block_bits; }
std::string name_of(int host) { return "host-" + std::to_string(host); }
model::Identity identity_of(int host) {
  return {name_of(host), "machine-" + std::to_string(host), static_cast<uint64_t>(host) + 1};
}

// As `firnctl join` leaves them.
Status join_all(kv::Store& cluster, int hosts) {
  constexpr int at_once = 100;
  for (int first = 0; first < hosts; first += at_once) {
    const auto joined = cluster.transact([&](kv::Transaction& tx) -> Status {
      for (int host = first; host < std::min(hosts, first + at_once); ++host) {
        const model::Identity self = identity_of(host);
        model::Node node;
        node.name = self.name;
        node.machine_id = self.machine_id;
        node.generation = self.generation;
        tx.put(model::keys::node(node.name), model::encode(node));
      }
      return {};
    });
    if (!joined) return joined.error();
  }
  return {};
}

struct Totals {
  std::atomic<int> next_host{0};
  std::atomic<long> leased{0}, claimed{0}, twice{0};
  std::vector<std::atomic<bool>> taken = std::vector<std::atomic<bool>>(static_cast<size_t>(cidr.count()));
  std::mutex mutex;
  std::vector<double> claim_times;  // milliseconds
  std::string trouble;

  void note(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (trouble.empty()) trouble = what;
  }
};

// Processor time of a process so far, in seconds: what a loaded machine does not falsify.
double processor_seconds(pid_t pid) {
  const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
  if (!stat) return 0;
  std::istringstream fields(stat->substr(stat->rfind(')') + 1));
  std::string skipped;
  double user = 0, system = 0;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::unique_ptr<kv::Store> open_cluster(const test::EtcdFixture& etcd) {
  kv::EtcdOptions options;
  options.endpoints = etcd.endpoints();
  options.deadline = std::chrono::seconds(60);  // a loaded machine is slow
  auto store = kv::open_etcd(options);
  return store ? std::move(*store) : nullptr;
}

// One host: a fresh node store with its copy of the pool, then leases until it has as many as it wants.
Status run_host(kv::Store& cluster, const model::Pool& pool, int host, const std::string& path, Totals& totals) {
  kv::LmdbOptions node_options;
  node_options.path = path;
  auto node = kv::open_lmdb(node_options);
  if (!node) return std::move(node).error();
  const auto copied = (*node)->transact([&](kv::Transaction& tx) -> Status {
    tx.put(model::keys::pool(pool.name), model::encode(pool));
    return {};
  });
  if (!copied) return copied.error();
  const SystemClock clock;
  Options options;
  options.boot_id = "boot";
  options.more_blocks = [&](const model::Pool& of, model::Use use, const std::optional<Address>& wanted) -> Result<Prefix> {
    const auto began = std::chrono::steady_clock::now();
    auto claim = claim_block(cluster, identity_of(host), of.name, use, wanted, clock.unix_seconds());
    if (!claim) return std::move(claim).error();
    ++totals.claimed;
    const std::lock_guard lock(totals.mutex);
    totals.claim_times.push_back(Seconds(std::chrono::steady_clock::now() - began).count() * 1000);
    return claim->prefix;
  };
  Allocator allocator(**node, clock, options);
  for (int number = 0; number < addresses_of(host); ++number) {
    const auto leased =
        allocator.lease(make_endpoint(name_of(host) + "-" + std::to_string(number)), model::Use::routed, {from_pool(pool_name)});
    if (!leased) return leased.error();
    ++totals.leased;
    const auto index = static_cast<size_t>(cidr.offset_of(leased->addresses.front()));
    if (totals.taken[index].exchange(true)) ++totals.twice;
  }
  return {};
}

TEST(Scale, ManyHostsLeaseFromOnePool) {
  const char* asked = std::getenv("FIRN_LONG");
  const bool is_long = asked != nullptr && std::string(asked) == "yes";
  const int hosts = is_long ? 5000 : 100;
  long wanted = 0;
  for (int host = 0; host < hosts; ++host) wanted += addresses_of(host);
  const test::EtcdFixture etcd;
  auto cluster = open_cluster(etcd);
  ASSERT_NE(cluster, nullptr);
  const model::Pool pool = make_pool(pool_name, cidr.to_string(), 32 - block_bits);
  ASSERT_TRUE(create_pool(*cluster, pool));
  ASSERT_TRUE(join_all(*cluster, hosts));
  const auto before = cluster->range(model::keys::pools);
  ASSERT_TRUE(before.ok());

  const TemporaryDirectory directory;
  Totals totals;
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (int worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&, worker] {
      auto store = open_cluster(etcd);
      if (!store) return totals.note("etcd does not answer");
      for (int host = totals.next_host++; host < hosts; host = totals.next_host++) {
        const std::string path = directory.file("node-" + std::to_string(worker));
        if (auto done = run_host(*store, pool, host, path, totals); !done)
          return totals.note(name_of(host) + ": " + done.error().message);
        for (const char* suffix : kv::lmdb_suffixes) std::filesystem::remove(path + suffix);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = Seconds(std::chrono::steady_clock::now() - began).count();
  EXPECT_EQ(totals.trouble, "");

  const auto after = cluster->range(model::keys::claims);
  ASSERT_TRUE(after.ok()) << after.error().message;
  const long writes = after->revision - before->revision;
  EXPECT_EQ(totals.leased, wanted);
  EXPECT_EQ(totals.twice, 0);
  EXPECT_EQ(after->entries.size(), static_cast<size_t>(totals.claimed));
  // Each claim is one write. What is beyond that made sure of claims whose answer a stalled disk had held back.
  EXPECT_LE(totals.claimed * (1 << block_bits), wanted);
  std::sort(totals.claim_times.begin(), totals.claim_times.end());
  const auto percentile = [&](double share) {
    return totals.claim_times.empty()
               ? 0.0
               : totals.claim_times[static_cast<size_t>(share * static_cast<double>(totals.claim_times.size() - 1))];
  };
  std::printf(
      "  %d hosts leased %ld addresses in %.1f s: %ld given out twice, %ld writes of etcd (one for %.0f addresses), a claim took "
      "%.1f ms (median), %.1f ms (p99); %.0f s of processor, of which etcd %.0f s\n",
      hosts, totals.leased.load(), seconds, totals.twice.load(), writes, static_cast<double>(wanted) / static_cast<double>(writes),
      percentile(0.5), percentile(0.99), processor_seconds(::getpid()) + processor_seconds(etcd.pid()),
      processor_seconds(etcd.pid()));
}

}  // namespace
}  // namespace firn::ipam
