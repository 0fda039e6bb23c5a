// The node store of a call, opened once, with the allocator on it. The cluster store of a single host is opened only when this
// host's blocks are full. Owns the open store. A kill -9 leaves the last committed transaction. Thread safety: one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cni-plugin/commands/call.hpp"
#include "ipam/allocator.hpp"
#include "lib/kv/store.hpp"

namespace firn::cni {

class State {
 public:
  // Makes the state directory (0700) when it is not there.
  static Outcome<std::unique_ptr<State>> open(const Call& call);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  ipam::Allocator& allocator() { return *allocator_; }
  const std::string& boot_id() const { return boot_id_; }
  // Pools with these names, in this order; without names all that a network may use by default. On a host of many one that is
  // not in the node store is waited for while firn-routed still copies pools there.
  Outcome<std::vector<model::Pool>> pools(const std::vector<std::string>& names);
  // As ipam::is_low().
  Result<bool> is_low(const model::Pool& pool, model::Use use);
  // firn-routed keeps policy in this host's kernel, or did when it last ran.
  Result<bool> has_policy();

 private:
  State() = default;
  bool is_of_many() const;
  Outcome<std::vector<model::Pool>> pools_here(const std::vector<std::string>& names);
  Result<Prefix> claim(const model::Pool& pool, model::Use use, const std::optional<Address>& wanted);

  const Clock* clock_ = nullptr;
  std::string directory_, boot_id_, daemon_socket_;
  std::chrono::seconds cooldown_{60};
  std::unique_ptr<kv::Store> store_, cluster_;
  std::unique_ptr<ipam::Allocator> allocator_;
  ipam::BlockSource source_;
};

}  // namespace firn::cni
