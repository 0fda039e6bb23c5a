// The allocator in process, on a real file: one lease + one release is one iteration.
// fresh: the queue of the block is short, as on a host whose containers live for a while (no cooldown, so that it stays so).
// worn: a pool that is all cooling, its runs as short as they get: each address went out and came back in any order.
// churn: nothing but leases and releases with the default cooldown, so that block after block cools and new ones are taken.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "ipam/allocator.hpp"
#include "lib/kv/lmdb/lmdb_store.hpp"

namespace {

using namespace firn;

struct Bench {
  std::string directory;
  std::unique_ptr<kv::Store> store;
  SystemClock clock;
  std::unique_ptr<ipam::Allocator> allocator;

  explicit Bench(benchmark::State& state, std::chrono::seconds cooldown = std::chrono::seconds(0)) {
    char path[] = "/tmp/firn-allocator-bench-XXXXXX";
    if (::mkdtemp(path) == nullptr) {
      state.SkipWithError("no temporary directory");
      return;
    }
    directory = path;
    kv::LmdbOptions options;
    options.path = directory + "/node.db";
    auto opened = kv::open_lmdb(options);
    if (!opened) {
      state.SkipWithError(opened.error().message.c_str());
      return;
    }
    store = std::move(*opened);
    ipam::Options allocating;
    allocating.boot_id = "bench";
    allocating.cooldown = cooldown;
    allocator = std::make_unique<ipam::Allocator>(*store, clock, allocating);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    store.reset();
    std::error_code ignored;
    if (!directory.empty()) std::filesystem::remove_all(directory, ignored);
  }
};

model::Endpoint endpoint_named(const std::string& container) {
  model::Endpoint endpoint;
  endpoint.network = "bench";
  endpoint.container_id = container;
  endpoint.ifname = "eth0";
  endpoint.netns = "/run/netns/cni-0b0e5f9a-2f4b-4d6c-8d40-bd9a5a3a1c11";
  endpoint.host_ifname = "firn0123456789";
  return endpoint;
}

ipam::AddressRequest request_of(ipam::Allocator& allocator, const char* cidr) {
  ipam::AddressRequest request;
  const Prefix prefix = *Prefix::parse(cidr);
  request.family = prefix.family();
  if (const auto pool = allocator.subnet_pool(prefix)) request.pools = {pool->name};
  return request;
}

bool fill(benchmark::State& state, Bench& bench, const std::vector<ipam::AddressRequest>& requests, int count) {
  for (int i = 0; i < count; ++i) {
    const auto done = bench.allocator->lease(endpoint_named("before" + std::to_string(i)), model::Use::routed, requests);
    if (done) continue;
    state.SkipWithError(done.error().message.c_str());
    return false;
  }
  return true;
}

void lease_and_release(benchmark::State& state, Bench& bench, const std::vector<ipam::AddressRequest>& requests) {
  const model::Endpoint endpoint = endpoint_named("4b825dc642cb6eb9a060e54bf8d69288fbee4904");
  const std::string handle = model::handle_of(endpoint);
  for (auto _ : state) {
    const auto leased = bench.allocator->lease(endpoint, model::Use::routed, requests);
    if (!leased) return state.SkipWithError(leased.error().message.c_str());
    const auto released = bench.allocator->release(handle);
    if (!released) return state.SkipWithError(released.error().message.c_str());
  }
  state.SetItemsProcessed(state.iterations());
}

void fresh(benchmark::State& state) {
  Bench bench(state);
  if (!bench.allocator) return;
  lease_and_release(state, bench, {request_of(*bench.allocator, "10.1.0.0/16")});
}
BENCHMARK(fresh);

void churn(benchmark::State& state) {
  Bench bench(state, std::chrono::seconds(60));
  if (!bench.allocator) return;
  lease_and_release(state, bench, {request_of(*bench.allocator, "10.0.0.0/10")});
}
BENCHMARK(churn);

void worn(benchmark::State& state) {
  Bench bench(state, std::chrono::seconds(60));
  if (!bench.allocator) return;
  const std::vector<ipam::AddressRequest> requests{request_of(*bench.allocator, "10.1.0.0/26")};
  if (!fill(state, bench, requests, 64)) return;
  for (int i = 0; i < 64; ++i) static_cast<void>(bench.allocator->release("bench/before" + std::to_string(i * 37 % 64) + "/eth0"));
  lease_and_release(state, bench, requests);
}
BENCHMARK(worn);

void dual_stack(benchmark::State& state) {
  Bench bench(state);
  if (!bench.allocator) return;
  lease_and_release(state, bench, {request_of(*bench.allocator, "10.1.0.0/16"), request_of(*bench.allocator, "fd00:1::/64")});
}
BENCHMARK(dual_stack);

// Beside this many attached containers.
void among_others(benchmark::State& state) {
  Bench bench(state);
  if (!bench.allocator) return;
  const std::vector<ipam::AddressRequest> requests{request_of(*bench.allocator, "10.1.0.0/16")};
  if (fill(state, bench, requests, static_cast<int>(state.range(0)))) lease_and_release(state, bench, requests);
}
BENCHMARK(among_others)->Arg(100)->Arg(5000);

}  // namespace
