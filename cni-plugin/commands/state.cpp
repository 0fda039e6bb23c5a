#include "cni-plugin/commands/state.hpp"

#include <unistd.h>

#include "cni-plugin/commands/daemon_blocks.hpp"
#include "ipam/claims.hpp"
#include "ipam/node_store.hpp"
#include "ipam/shortage.hpp"
#include "lib/base/file.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"
#include "lib/model/keys.hpp"

namespace firn::cni {

namespace {

Result<std::unique_ptr<kv::Store>> open_node_store(const std::string& directory, const std::string& boot_id) {
  ipam::NodeStoreOptions options;
  options.path = directory + "/node.db";
  options.boot_id = boot_id;
  auto store = ipam::open_node_store(options);
  if (store || !store.error().is(Code::not_found)) return store;
  // The first call on this host.
  if (auto made = make_directories(directory, 0700); !made) return std::move(made).error();
  return ipam::open_node_store(options);
}

}  // namespace

Outcome<std::unique_ptr<State>> State::open(const Call& call) {
  std::unique_ptr<State> state(new State());
  auto boot_id = ipam::current_boot_id();
  if (!boot_id) return state_fault(boot_id.error());
  auto store = open_node_store(call.config.state_dir, *boot_id);
  if (!store) return state_fault(store.error());
  state->clock_ = &call.clock;
  state->directory_ = call.config.state_dir;
  state->daemon_socket_ = call.config.daemon_socket;
  state->boot_id_ = *std::move(boot_id);
  state->cooldown_ = std::chrono::seconds(call.config.ipam.cooldown);
  state->store_ = *std::move(store);
  ipam::Options options;
  options.boot_id = state->boot_id_;
  options.cooldown = state->cooldown_;
  options.more_blocks = [self = state.get()](const model::Pool& pool, model::Use use, const std::optional<Address>& wanted) {
    return self->claim(pool, use, wanted);
  };
  state->allocator_ = std::make_unique<ipam::Allocator>(*state->store_, call.clock, std::move(options));
  return state;
}

Result<Prefix> State::claim(const model::Pool& pool, model::Use use, const std::optional<Address>& wanted) {
  if (!source_) {
    kv::SqliteOptions options;
    options.path = directory_ + "/cluster.db";
    options.create = false;
    auto cluster = kv::open_sqlite(options);
    if (!cluster) {
      if (!cluster.error().is(Code::not_found)) return std::move(cluster).error();
      if (is_of_many()) {
        source_ = daemon_blocks(*store_, daemon_socket_);
        return source_(pool, use, wanted);
      }
      return make_error(Code::exhausted, "pool " + pool.name + " has no free address in this host's blocks, and " + options.path +
                                             " is not there to claim another block from");
    }
    auto self = store_->get(model::keys::node_identity);
    if (!self) return std::move(self).error();
    if (!*self) return make_error(Code::exhausted, "this host has no name yet; run 'firnctl init'");
    cluster_ = *std::move(cluster);
    source_ = ipam::single_host_blocks(*cluster_, *store_, (*self)->value, *clock_, cooldown_);
  }
  return source_(pool, use, wanted);
}

Result<bool> State::has_policy() {
  auto mark = store_->get(model::keys::policy_active);
  if (!mark) return std::move(mark).error();
  return mark->has_value();
}

bool State::is_of_many() const { return ::access((directory_ + "/cluster.json").c_str(), F_OK) == 0; }

Outcome<std::vector<model::Pool>> State::pools(const std::vector<std::string>& names) {
  auto found = pools_here(names);
  const bool missing = found ? found->empty() : found.fault().code == FaultCode::invalid_config;
  if (!missing || !is_of_many()) return found;
  // The copy may be older than the pool, as on a host that has just started: only who copies knows.
  if (const auto copied = await_pools(daemon_socket_); !copied) {
    const std::string what = found ? "/ipam: there is no pool" : found.fault().message;
    return fault(FaultCode::try_again,
                 what + " on this host, whose copy of the cluster's pools may be old: " + copied.error().message,
                 "see 'firnctl status', then try again");
  }
  return pools_here(names);
}

Outcome<std::vector<model::Pool>> State::pools_here(const std::vector<std::string>& names) {
  std::vector<model::Pool> out;
  if (names.empty()) {
    auto all = store_->range(model::keys::pools);
    if (!all) return state_fault(all.error());
    for (const kv::Entry& entry : all->entries) {
      auto pool = model::decode_pool(entry.value);
      if (!pool) return state_fault(std::move(pool).error().context(entry.key));
      if (!pool->node_only && !pool->disabled) out.push_back(*std::move(pool));
    }
    return out;
  }
  for (const std::string& name : names) {
    auto entry = store_->get(model::keys::pool(name));
    if (!entry) return state_fault(entry.error());
    if (!*entry) {
      return fault(FaultCode::invalid_config, "/ipam/pools: there is no pool '" + name + "'", "'firnctl pool list' shows them");
    }
    auto pool = model::decode_pool((*entry)->value);
    if (!pool) return state_fault(std::move(pool).error().context((*entry)->key));
    out.push_back(*std::move(pool));
  }
  return out;
}

Result<bool> State::is_low(const model::Pool& pool, model::Use use) { return ipam::is_low(*store_, {pool.name, use}); }

}  // namespace firn::cni
