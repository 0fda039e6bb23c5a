// The stores alone, in one process: what a lease and its release cost before any of ipam's own work.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "lib/kv/lmdb/lmdb_store.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"

namespace {

using namespace firn;

enum Engine : int64_t { lmdb, sqlite };

class TemporaryStore {
 public:
  explicit TemporaryStore(int64_t engine) : engine_(engine) {
    std::string pattern = std::filesystem::temp_directory_path() / "firn-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) directory_ = pattern;
  }
  ~TemporaryStore() { std::filesystem::remove_all(directory_); }
  std::unique_ptr<kv::Store> open(benchmark::State& state) {
    auto store = engine_ == lmdb ? open_as(&kv::open_lmdb, "/node.db") : open_as(&kv::open_sqlite, "/cluster.db");
    if (store) return std::move(*store);
    state.SkipWithError(store.error().message.c_str());
    return nullptr;
  }

 private:
  template <class Options>
  Result<std::unique_ptr<kv::Store>> open_as(Result<std::unique_ptr<kv::Store>> (*engine)(const Options&), const char* name) {
    Options options;
    options.path = directory_ + name;
    return engine(options);
  }
  int64_t engine_;
  std::string directory_;
};

const std::string block_key = "block/routed/net/4-0a000000-1a";
const std::string block_value(300, 'b');
const std::string lease_value(120, 'l');
const std::string endpoint_value(450, 'e');

Status lease(kv::Transaction& transaction, const std::string& id) {
  for (const std::string& key : {block_key, "lease/" + id, "endpoint/net/" + id + "/eth0"}) {
    if (auto value = transaction.get(key); !value) return std::move(value).error();
  }
  transaction.put(block_key, block_value);
  transaction.put("lease/" + id, lease_value);
  transaction.put("endpoint/net/" + id + "/eth0", endpoint_value);
  return {};
}

Status release(kv::Transaction& transaction, const std::string& id) {
  transaction.erase("lease/" + id);
  transaction.erase("endpoint/net/" + id + "/eth0");
  transaction.put(block_key, block_value);
  return {};
}

// Arguments: engine, endpoints present beside the one that comes and goes.
void lease_and_release(benchmark::State& state) {
  TemporaryStore data(state.range(0));
  auto store = data.open(state);
  if (!store) return;
  auto filled = store->transact([&](kv::Transaction& transaction) -> Status {
    for (int64_t i = 0; i < state.range(1); ++i) {
      if (auto status = lease(transaction, "present-" + std::to_string(i)); !status) return status;
    }
    return {};
  });
  if (!filled) state.SkipWithError(filled.error().message.c_str());
  int64_t count = 0;
  for (auto _ : state) {
    const std::string id = "container-" + std::to_string(count++ % 200);
    auto leased = store->transact([&](kv::Transaction& transaction) { return lease(transaction, id); });
    auto released = store->transact([&](kv::Transaction& transaction) { return release(transaction, id); });
    if (!leased || !released) state.SkipWithError("a transaction failed");
  }
  state.SetItemsProcessed(count);
}
BENCHMARK(lease_and_release)->ArgNames({"engine", "present"})->Args({lmdb, 100})->Args({lmdb, 10000});
BENCHMARK(lease_and_release)->ArgNames({"engine", "present"})->Args({sqlite, 100})->UseRealTime();

// What a CNI plugin does: open, one transaction, close. Argument: whether a daemon holds the store open meanwhile.
void open_lease_close(benchmark::State& state) {
  TemporaryStore data(lmdb);
  std::unique_ptr<kv::Store> held;
  if (state.range(0) != 0) held = data.open(state);
  int64_t count = 0;
  for (auto _ : state) {
    auto store = data.open(state);
    if (!store) return;
    const std::string id = "container-" + std::to_string(count++ % 200);
    auto leased = store->transact([&](kv::Transaction& transaction) { return lease(transaction, id); });
    if (!leased) state.SkipWithError(leased.error().message.c_str());
  }
}
BENCHMARK(open_lease_close)->ArgName("held")->Arg(0)->Arg(1);

void get(benchmark::State& state) {
  TemporaryStore data(lmdb);
  auto store = data.open(state);
  if (!store) return;
  auto leased = store->transact([&](kv::Transaction& transaction) { return lease(transaction, "one"); });
  if (!leased) state.SkipWithError(leased.error().message.c_str());
  for (auto _ : state) benchmark::DoNotOptimize(store->get("lease/one"));
}
BENCHMARK(get);

}  // namespace
