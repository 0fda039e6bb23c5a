// The cluster as a whole: who owns which block, who uses which address, and what of that cannot be. Reads the cluster store in one
// transaction; the rest is pure. What hosts use is known as far as they have published it (publish.hpp), a second ago or when they
// were last seen.
// Owns nothing. Thread safety: plain values.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ipam/check.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

struct PublishedEndpoint {
  std::string node;
  model::Endpoint endpoint;
};

struct Across {
  std::vector<model::Pool> pools;
  std::vector<model::Claim> claims;  // under the pools' names of now
  std::set<std::string> nodes;
  std::vector<PublishedEndpoint> endpoints;  // by node, then handle
  std::map<std::string, Error> damaged;      // key -> why it cannot be used
};
Result<Across> read_across(kv::Store& cluster);

// The node whose block has the address; nullptr: nobody's.
const model::Claim* claim_with(const Across& across, const Address& address);

struct NodeUse {
  uint64_t blocks = 0;
  uint64_t capacity = 0;  // addresses in them
  uint64_t used = 0;      // of its own blocks, by itself
  uint64_t borrowed = 0;  // of blocks of others
  uint64_t lent = 0;      // of its blocks, by others
  uint64_t free() const { return capacity - std::min(capacity, used + lent); }
};
struct PoolAcross {
  model::Pool pool;
  uint128 blocks = 0;  // that fit in it
  uint64_t claimed = 0;
  uint64_t used = 0;  // addresses
  uint64_t borrowed = 0;
  std::map<std::string, NodeUse> nodes;
};
std::vector<PoolAcross> use_of(const Across& across);

// What contradicts each other between hosts. `self` and its endpoints: of this host, whose own records are at hand; "" when it is
// none.
std::vector<Problem> problems_across(const Across& across, const std::string& self, const std::map<std::string, std::string>& own);

Result<std::vector<Problem>> check_across(kv::Store& cluster, kv::Store& node, const std::string& self);
// What is safe: copies of endpoints (this host's anew, those of nodes that are none removed), pools that were left half-way.
Result<FixReport> fix_across(kv::Store& cluster, kv::Store& node, const model::Identity& self);

}  // namespace firn::ipam
