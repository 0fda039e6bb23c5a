// reset_node_store() of check.hpp: a new store in the place of a damaged file.
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

#include "ipam/check.hpp"
#include "ipam/claims.hpp"
#include "ipam/rebuild.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// The first PATH.damaged-N that no file has.
Result<std::string> place_beside(const std::string& path) {
  for (int n = 1; n < 1000; ++n) {
    std::string candidate = path + ".damaged-" + std::to_string(n);
    struct stat info {};
    if (::lstat(candidate.c_str(), &info) != 0 && errno == ENOENT) return candidate;
  }
  return make_error(Code::exists, "there are 999 damaged stores beside " + path + " already; remove them");
}

}  // namespace

Result<std::string> reset_node_store(const std::string& path, const OpenStore& open, kv::Store* cluster,
                                     const std::string& node_name, const std::string& boot_id,
                                     const std::vector<model::Endpoint>& live, const Clock& clock) {
  auto aside = place_beside(path);
  if (!aside) return aside;
  // SQLite's own files first: a kill in between leaves the damaged store, and a second run finishes.
  for (const char* suffix : {"-wal", "-shm", ""}) {
    if (::rename((path + suffix).c_str(), (*aside + suffix).c_str()) != 0 && errno != ENOENT) {
      return errno_error("move the damaged store " + path + suffix + " to " + *aside + suffix);
    }
  }
  auto store = open(path);
  if (!store) return std::move(store).error();
  auto written = (*store)->transact([&](kv::Transaction& tx) -> Status {
    if (!node_name.empty()) tx.put(keys::node_identity, node_name);
    // Before the first block: adopting one leaves out the addresses that the leases of these hold.
    for (model::Endpoint endpoint : live) {
      endpoint.boot_id = boot_id;
      tx.put(keys::endpoint(model::handle_of(endpoint)), model::encode(endpoint));
      for (const Address& address : endpoint.addresses) {
        tx.put(keys::lease(address),
               model::encode(model::Lease{address, model::handle_of(endpoint), "unknown", Prefix::host(address)}));
      }
    }
    tx.put(keys::boot, boot_id);
    return {};
  });
  if (!written) return std::move(written).error();
  if (cluster != nullptr) {
    if (auto copied = mirror(*cluster, **store, node_name); !copied) return std::move(copied).error();
  }
  // Now that the blocks are there, the leases can name theirs.
  auto settled = (*store)->transact([&](kv::Transaction& tx) {
    RebuildOptions rebuilding;
    rebuilding.boot_id = boot_id;
    rebuilding.now = clock.unix_seconds();
    rebuilding.keep = [](const model::Endpoint&) { return true; };
    return rebuild(tx, rebuilding);
  });
  if (!settled) return std::move(settled).error();
  return aside;
}

}  // namespace firn::ipam
