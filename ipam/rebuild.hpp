// The whole node store at once, and its repair: leases, free queues, available/ and port/ keys brought into agreement with the
// endpoints, which are the truth. Used at the first lease after a boot (strict) and by check.cpp's fix (tolerant).
// Owns nothing. Thread safety: as the Transaction.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

struct Snapshot {
  std::string boot;  // "" when there is none
  std::map<std::string, model::Pool> pools;
  std::map<std::string, model::Endpoint> endpoints;  // by handle
  std::map<Address, model::Lease> leases;
  std::vector<model::Block> blocks;              // by prefix, then use
  std::map<std::string, std::string> available;  // key behind "available/" -> hint
  std::map<std::string, std::string> ports;      // key -> handle
  std::map<std::string, Error> damaged;          // key -> why it cannot be used
};
Result<Snapshot> read_snapshot(kv::Transaction& tx);

struct RebuildOptions {
  std::string boot_id;  // written to `boot` and to the endpoints that are kept; "": both stay as they are
  int64_t now = 0;
  std::function<bool(const model::Endpoint&)> keep;  // false: the endpoint is dropped and its leases given back
  // Damaged records: an error (false), or set right from what the rest of the store says (true). A lease that a damaged
  // endpoint may hold is never given back.
  bool repair = false;
  std::set<std::string> drop_damaged;  // handles of damaged endpoints that nothing uses any more
};
Status rebuild(kv::Transaction& tx, const RebuildOptions& options);

// The lease of an address that another IPAM plugin gave out: of no pool and no block, whatever block may have the address.
model::Lease foreign_lease(const model::Endpoint& endpoint, const Address& address);

// Whether the network namespace an endpoint was attached to is still there: its path is a namespace of that kind, and of
// that inode when the record has one. Not being allowed to look counts as "there". Without a path: false.
bool namespace_alive(const model::Endpoint& endpoint);

}  // namespace firn::ipam
