// Leases of addresses on this host: every change is one transaction of the node store (block + lease + endpoint).
// Owns: the keys block/, available/, lease/, endpoint/, port/, boot and the node-only pools of the node store. All state is in the
// store: a killed process leaves the last committed transaction, and any number of processes may run this at once. The first change
// after a boot (key `boot` names another one) drops the endpoints whose namespace went with the old boot and rebuilds leases and
// free queues from the endpoints that are left: the store may have lost its last commits in a power cut. Thread safety: one
// Allocator belongs to one thread.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// One address is leased for each request, all or none.
struct AddressRequest {
  Family family = Family::v4;
  std::vector<std::string> pools;      // in order of preference, all of `family`
  std::optional<Address> address;      // this one and no other
  std::optional<Address> first, last;  // inclusive bounds inside the pool (CNI rangeStart, rangeEnd)
  std::vector<Address> excluded;       // never given out here, e.g. the gateway of a bridged network
};

// Where blocks of cluster pools come from when the host has none left (see single_host_blocks() in claims.hpp). Called outside
// any transaction; the allocator puts the block in the node store itself when it is not there, and looks again.
// `wanted`: the block must contain this address. Code::exhausted: the pool has no free block.
using BlockSource = std::function<Result<Prefix>(const model::Pool& pool, model::Use use, const std::optional<Address>& wanted)>;

struct Options {
  std::chrono::seconds cooldown{60};  // before an address is leased again; shorter when nothing else is free
  std::string boot_id;                // of this boot; see current_boot_id(). Without it nothing is leased or released.
  BlockSource more_blocks;            // empty: only what is in the store
  // Whether the namespace of an endpoint of an earlier boot is still there. Default: namespace_alive() of rebuild.hpp.
  std::function<bool(const model::Endpoint&)> namespace_alive;
};

struct PoolUse {
  model::Pool pool;
  uint64_t blocks = 0;    // blocks owned by this host
  uint64_t capacity = 0;  // addresses in them that may be leased
  uint64_t used = 0;
  uint64_t cooling = 0;  // released less than the cooldown ago
};

struct Tries;

class Allocator {
 public:
  Allocator(kv::Store& node, const Clock& clock, Options options);

  // Leases one address for each request and records the endpoint with them (endpoint.addresses is filled in, in order).
  // Pools are tried in order: an address past its cooldown in an owned block, then a new block; when no pool has either, the
  // address that has cooled longest. For Use::bridged the network and broadcast address of the pool are never given out.
  // Its published ports are held with them.
  // Errors: exists (the handle has an endpoint already: find() shows it), exhausted (names the pools), conflict (the asked
  // address, or a port, is held: the message names the holder), invalid (outside every pool, or reserved), not_found (no such
  // pool), denied (the pool of the asked address is disabled), unavailable (blocks could not be had now, or this host is fenced:
  // see keys::fence).
  Result<model::Endpoint> lease(model::Endpoint endpoint, model::Use use, const std::vector<AddressRequest>& requests);
  // Records an endpoint whose addresses another IPAM plugin owns (endpoint.leased == false): first without addresses, while that
  // plugin is asked, then with them. No lease() gives these out while it is recorded. Errors: exists, conflict (an address is
  // held: the message names the holder).
  Status record(const model::Endpoint& endpoint);
  // Drops the endpoint and its leases; returns what it was, or nothing when there was none (idempotent). Addresses that are
  // not leased by this handle stay with their holder.
  Result<std::optional<model::Endpoint>> release(const std::string& handle);
  Result<std::optional<model::Endpoint>> find(const std::string& handle);
  Result<std::optional<model::Lease>> holder(const Address& address);
  // The handle for which the port is held.
  Result<std::optional<std::string>> holder(const model::PortPlace& place);
  Result<std::vector<model::Endpoint>> endpoints(std::string_view network = {});
  // Makes, or finds, the node-only pool of a CIDR. Code::conflict, naming the other, when it overlaps with another pool.
  Result<model::Pool> subnet_pool(const Prefix& cidr, std::optional<int> block_size = std::nullopt);
  Result<std::vector<PoolUse>> usage();
  // Code::exhausted, with the reason, when a lease from these requests would fail now. Leases nothing; when the host's blocks
  // are full it may take a new block from options.more_blocks, which the next lease then uses.
  Status can_lease(model::Use use, const std::vector<AddressRequest>& requests);
  // What the first lease after a boot does by itself (see above): for a daemon's start.
  Status begin_boot();

 private:
  Status check_boot(kv::Transaction& tx);
  // Runs `attempt`, and again after a new block was had, until it succeeds or fails for another reason than a missing block.
  Status with_blocks(model::Use use, const std::function<Status(kv::Transaction&, Tries&)>& attempt);

  kv::Store& node_;
  const Clock& clock_;
  Options options_;
};

Result<std::string> current_boot_id();  // /proc/sys/kernel/random/boot_id

}  // namespace firn::ipam
