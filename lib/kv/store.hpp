// The store contract: ordered keys, compare-and-write transactions over several keys, watch from a revision, leases.
// Engines: lmdb/ (node state), sqlite/ (cluster state of a single host), etcd/ (cluster state of many hosts).
// One contract test suite (tests/store/kv_contract_test.cpp) runs against every engine.
// Thread safety: one Store belongs to one thread. Several processes may open the same one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"

namespace firn::kv {

// Revisions rise with every writing transaction; all writes of one transaction share one.
using Revision = int64_t;

struct Entry {
  std::string key;
  std::string value;
  Revision created = 0;
  Revision modified = 0;
};

// A promise to be alive: keys written under it vanish when it is not kept. Never 0, which stands for none.
using LeaseId = int64_t;

struct Listing {
  std::vector<Entry> entries;  // in byte order of keys
  Revision revision = 0;       // the listing is the state at this revision: watch from it
};

// What a transaction body sees: its reads are of one consistent state and include its own writes.
// If the state it read has changed at commit, an optimistic engine runs the body again; so a body has no other effects.
class Transaction {
 public:
  virtual ~Transaction() = default;
  virtual Result<std::optional<std::string>> get(std::string_view key) = 0;
  // Entries whose key begins with `prefix`, at most `limit` (0: all), from `from` on when it is not empty.
  virtual Result<std::vector<Entry>> range(std::string_view prefix, size_t limit = 0, std::string_view from = {}) = 0;
  // With a lease the key vanishes when that ends, and a later put without one sets it free. A lease that has ended fails the
  // transaction with Code::not_found.
  virtual void put(std::string_view key, std::string_view value, LeaseId lease = 0) = 0;
  virtual void erase(std::string_view key) = 0;
};

// Which keys changed after a revision. `compacted`: the history is gone, list again (a watch is a hint).
struct Changes {
  std::vector<std::string> keys;
  Revision revision = 0;  // ask from here next time
  bool compacted = false;
};

class Store {
 public:
  using Body = std::function<Status(Transaction&)>;
  virtual ~Store() = default;

  // Runs the body and commits its writes in one piece, or none when it returns an error (which is handed on).
  // Returns the revision of the commit, or the current one when nothing was written.
  // Errors: Code::unavailable when the store cannot be had within its deadline, Code::exhausted when it is full, Code::io,
  // Code::interrupted when the store was lost while committing: the writes may have been made, so look before doing it again.
  virtual Result<Revision> transact(const Body& body) = 0;

  virtual Result<std::optional<Entry>> get(std::string_view key) = 0;
  virtual Result<Listing> range(std::string_view prefix) = 0;

  // Readable when something may have changed since the last call of changes(); -1 when the engine has none.
  virtual Result<int> watch_fd() = 0;
  virtual Result<Changes> changes(Revision after, std::string_view prefix) = 0;

  // The engine of node stores, LMDB, has no leases: Code::unsupported.
  // A new lease of at least `ttl`, counted from now and from each keep_alive(). Its keys vanish some time after its end.
  virtual Result<LeaseId> grant(std::chrono::seconds ttl) = 0;
  // What there is now until its end. Code::not_found: it has ended, and its keys with it.
  virtual Result<std::chrono::seconds> keep_alive(LeaseId lease) = 0;
  // Ends it: its keys are gone when this returns. Code::not_found as above.
  virtual Status revoke(LeaseId lease) = 0;
};

}  // namespace firn::kv
