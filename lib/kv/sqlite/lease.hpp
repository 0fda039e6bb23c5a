// Leases of the SQLite engine. Two tables, made with the first lease: `lease` (its end, by the wall clock) and `leased` (which
// key was last written under which). A key under a lease has a negative `created` in its row, so that a store without leases
// reads no table more. Inside this folder only. What is here runs inside the caller's transaction, but for holds().
// Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kv/sqlite/connection.hpp"
#include "lib/kv/store.hpp"

namespace firn::kv {

class Leases {
 public:
  explicit Leases(Connection& connection) : connection_(connection) {}

  // The lease of a key whose row says that it has one has not ended.
  Result<bool> holds(std::string_view key);
  // REQUIRES for all below: make_tables() in this transaction.
  Status make_tables();
  Result<bool> alive(LeaseId lease);
  Result<LeaseId> add(std::chrono::seconds ttl);
  // Nothing: it has ended.
  Result<std::optional<std::chrono::seconds>> keep(LeaseId lease);
  Status forget(LeaseId lease);
  Result<std::vector<LeaseId>> ended();
  // Keys that were last written under it, as far as they are still under a lease.
  Result<std::vector<std::string>> keys_of(LeaseId lease);
  Status write(std::string_view key, std::string_view value, Revision revision, LeaseId lease);

 private:
  Connection& connection_;
};

}  // namespace firn::kv
