// Consistency of the node store: with itself, with the claims of the cluster store, with what is alive on this host.
// check() reads and says; fix() repairs in transactions and never frees an address that something alive may use.
// Owns nothing; a kill in the middle of fix() leaves a store that a second run repairs. Thread safety: as the Store.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

enum class ProblemKind {
  damaged,                     // a record that cannot be decoded, or belongs to another key
  lease_without_endpoint,      // leaked: nobody will release it
  endpoint_without_lease,      // in use, and could be leased to somebody else
  address_conflict,            // two endpoints have one address
  free_and_leased,             // would be leased twice
  neither_free_nor_leased,     // lost to the block
  address_outside_block,       // a lease whose block is not here
  block_outside_pool,          // its pool is gone, or of other addresses
  blocks_overlap,              // two blocks have the same addresses
  block_without_claim,         // the cluster does not know that this node has it
  claim_without_block,         // this node has it and does not use it
  available_missing,           // a block with free addresses that leases do not look at
  available_stale,             // a full or missing block that leases look at
  port_without_endpoint,       // published for nobody, or for one that does not ask for it
  endpoint_without_port,       // publishes a port that another could take
  port_conflict,               // two endpoints publish one port
  namespace_gone,              // the endpoint's container is gone, and was not detached
  interface_without_endpoint,  // an interface of firn's that no record tells of
  // Between hosts (across.hpp).
  address_in_two_places,    // two hosts use it
  claim_without_node,       // its owner is not a node of the cluster
  published_outside_block,  // in use on a host that has not claimed its block
  published_without_node,   // copies of a host that is none
  publication_missing,      // other hosts do not know an endpoint of this one
  publication_stale,        // they know it otherwise, or one that is gone
  pool_incomplete,          // a split or a merge that was interrupted
};
std::string_view to_string(ProblemKind kind);

struct Problem {
  ProblemKind kind = ProblemKind::damaged;
  std::string object;  // a key, a handle, an address
  std::string words;   // what is wrong, and for what fix() leaves alone what a person can do
  bool fixable = false;
};

struct Surroundings {
  kv::Store* cluster = nullptr;  // none: claims are not looked at
  model::Identity self;
  std::string boot_id;  // of this boot
  // Default: namespace_alive() of rebuild.hpp.
  std::function<bool(const model::Endpoint&)> namespace_alive;
  // Handles of the interfaces on this host (link alias "firn:HANDLE", outside the dead group); nothing: not looked at. List
  // the links before the call. What is in it is never dropped.
  std::optional<std::set<std::string>> live;
};

Result<std::vector<Problem>> check(kv::Store& node, const Surroundings& surroundings);

struct FixReport {
  std::vector<Problem> fixed;
  std::vector<Problem> left;  // as a check afterwards finds it
};
// What was found before and is not found any more is fixed.
FixReport fix_report(std::vector<Problem> before, std::vector<Problem> after);
Result<FixReport> fix(kv::Store& node, const Surroundings& surroundings, const Clock& clock);

// For a store file that itself is damaged (opening or reading it says so): moves its files to
// PATH.damaged-N, makes a new store and adopts the claims of this node again (`cluster` may be null). `live` are the endpoints
// that the caller still sees on this host (aliases and routes): they are recorded and their addresses held. Nothing may use
// the old file meanwhile. Containers on bridges of other plugins cannot be seen: stop them first, unless the host has just
// booted. Returns where the file went.
Result<std::string> reset_node_store(const std::string& path, kv::Store* cluster, const std::string& node_name,
                                     const std::string& boot_id, const std::vector<model::Endpoint>& live, const Clock& clock);

}  // namespace firn::ipam
