#include "ipam/rebuild.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <optional>

#include "ipam/block.hpp"
#include "ipam/records.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

std::string block_name(const model::Block& block) {
  return keys::block(block.use, block.pool, block.prefix).substr(keys::blocks.size());
}

// One pass over a snapshot that works out the state that should be, then writes the difference.
class Rebuild {
 public:
  Rebuild(kv::Transaction& tx, const RebuildOptions& options, Snapshot snapshot)
      : tx_(tx), options_(options), now_(options.now), old_(std::move(snapshot)) {}

  Status run() {
    if (!options_.repair && !old_.damaged.empty()) return old_.damaged.begin()->second;
    keep_endpoints();
    sort_damaged();
    blocks_ = old_.blocks;
    blocks_.insert(blocks_.end(), remade_.begin(), remade_.end());
    assign_leases();
    drop_overlapping_blocks();
    write_blocks();
    write_leases();
    write_ports();
    if (!options_.boot_id.empty() && options_.boot_id != old_.boot) tx_.put(keys::boot, options_.boot_id);
    return {};
  }

 private:
  void keep_endpoints() {
    for (const auto& [handle, endpoint] : old_.endpoints) {
      if (!options_.keep(endpoint)) {
        tx_.erase(keys::endpoint(handle));
        continue;
      }
      model::Endpoint kept = endpoint;
      if (!options_.boot_id.empty() && kept.boot_id != options_.boot_id) {
        kept.boot_id = options_.boot_id;
        tx_.put(keys::endpoint(handle), model::encode(kept));
      }
      kept_.push_back(std::move(kept));
    }
    // An address that two endpoints claim belongs to the one that had it first.
    std::stable_sort(kept_.begin(), kept_.end(), [](const auto& a, const auto& b) { return a.created_at < b.created_at; });
  }

  void sort_damaged() {
    for (const auto& [key, why] : old_.damaged) {
      const std::string_view view = key;
      if (view.starts_with(keys::endpoints)) {
        const std::string handle(view.substr(keys::endpoints.size()));
        if (options_.drop_damaged.count(handle) != 0) tx_.erase(key);
        else unknown_.insert(handle);
      } else if (view.starts_with(keys::leases)) {
        if (const auto address = records::parse_address_key(view.substr(keys::leases.size()))) damaged_leases_.insert(*address);
        else tx_.erase(key);
      } else if (view.starts_with(keys::blocks)) {
        const auto name = records::parse_block_name(view.substr(keys::blocks.size()));
        if (name && name->prefix.count() <= 65536 && name->prefix.length() > 0) {
          // Everything that nobody holds counts as released now: the order of the queue is lost, the cooldown is not.
          remade_.push_back(model::Block{name->prefix, name->pool, name->use, {}});
        } else {
          tx_.erase(key);
        }
      }
    }
  }

  // Which block holds the address; made when it is missing but a pool has the address.
  std::optional<size_t> block_of(const Address& address, model::EndpointKind kind) {
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (blocks_[i].prefix.contains(address)) return i;
    }
    for (const auto& [name, pool] : old_.pools) {
      if (!pool.cidr.contains(address)) continue;
      const model::Use use = kind == model::EndpointKind::address ? model::Use::bridged : model::Use::routed;
      blocks_.push_back(fresh_block(Prefix::of(address, pool.block_size), name, use));
      return blocks_.size() - 1;
    }
    return std::nullopt;
  }

  void assign_leases() {
    for (const model::Endpoint& endpoint : kept_) {
      for (const Address& address : endpoint.addresses) {
        if (leases_.count(address) != 0) continue;
        if (!endpoint.leased) {
          leases_[address] = foreign_lease(endpoint, address);
          continue;
        }
        const auto old = old_.leases.find(address);
        if (const auto index = block_of(address, endpoint.kind)) {
          const model::Block& block = blocks_[*index];
          leases_[address] = model::Lease{address, model::handle_of(endpoint), block.pool, block.prefix};
        } else if (old != old_.leases.end()) {
          leases_[address] = old->second;
        }
      }
    }
    for (const auto& [address, lease] : old_.leases) {
      if (unknown_.count(lease.handle) != 0) leases_.emplace(address, lease);
    }
  }

  bool held(const Address& address) const {
    return leases_.count(address) != 0 || (!unknown_.empty() && damaged_leases_.count(address) != 0);
  }

  bool any_held(const Prefix& prefix) const {
    const auto lease = leases_.lower_bound(prefix.address());
    if (lease != leases_.end() && prefix.contains(lease->first)) return true;
    return std::any_of(damaged_leases_.begin(), damaged_leases_.end(),
                       [&](const Address& address) { return prefix.contains(address) && held(address); });
  }

  // Two blocks over the same addresses would give one address out twice: the one that nobody leases from goes. Of one prefix
  // under two uses that is the one whose queue is fuller: leases do not say the use.
  void drop_overlapping_blocks() {
    std::stable_sort(blocks_.begin(), blocks_.end(), [](const auto& a, const auto& b) {
      return a.prefix != b.prefix ? a.prefix < b.prefix : free_count(a) < free_count(b);
    });
    std::vector<model::Block> kept;
    const auto drop = [&](const model::Block& block) { tx_.erase(keys::block(block.use, block.pool, block.prefix)); };
    for (model::Block& block : blocks_) {
      if (kept.empty() || !kept.back().prefix.overlaps(block.prefix)) {
        kept.push_back(std::move(block));
      } else if (kept.back().prefix == block.prefix || !any_held(block.prefix)) {
        drop(block);
      } else if (!any_held(kept.back().prefix)) {
        drop(kept.back());
        kept.back() = std::move(block);
      } else {
        kept.push_back(std::move(block));
      }
    }
    const bool all = kept.size() == blocks_.size();
    blocks_ = std::move(kept);
    if (all) return;
    for (auto& [address, lease] : leases_) {
      if (lease.pool.empty()) continue;  // another IPAM plugin's
      const auto block =
          std::find_if(blocks_.begin(), blocks_.end(), [&a = address](const auto& b) { return b.prefix.contains(a); });
      if (block == blocks_.end()) continue;
      lease.pool = block->pool;
      lease.block = block->prefix;
    }
  }

  void write_blocks() {
    std::set<std::string> available;
    for (model::Block& block : blocks_) {
      const std::string key = keys::block(block.use, block.pool, block.prefix);
      std::vector<bool> flags(static_cast<size_t>(block.prefix.count()));
      for (size_t i = 0; i < flags.size(); ++i) flags[i] = held(block.prefix.at(i));
      model::Block rebuilt = block;
      rebuild_queue(rebuilt, flags, now_);
      const auto old = std::find_if(old_.blocks.begin(), old_.blocks.end(), [&](const model::Block& b) {
        return b.prefix == block.prefix && b.use == block.use && b.pool == block.pool;
      });
      if (old == old_.blocks.end() || *old != rebuilt) tx_.put(key, model::encode(rebuilt));
      if (!rebuilt.free.empty()) available.insert(block_name(rebuilt));
    }
    for (const auto& [name, hint] : old_.available) {
      if (available.count(name) == 0) tx_.erase(std::string(records::available) + name);
    }
    for (const std::string& name : available) {
      // Hints may be of a clock that has been set since.
      const auto old = old_.available.find(name);
      if (old == old_.available.end() || !old->second.empty()) tx_.put(std::string(records::available) + name, "");
    }
  }

  void write_leases() {
    for (const auto& [address, lease] : leases_) {
      const auto old = old_.leases.find(address);
      if (old == old_.leases.end() || old->second != lease) tx_.put(keys::lease(address), model::encode(lease));
    }
    for (const auto& [address, lease] : old_.leases) {
      if (leases_.count(address) == 0) tx_.erase(keys::lease(address));
    }
    for (const Address& address : damaged_leases_) {
      if (!held(address)) tx_.erase(keys::lease(address));
    }
  }

  // Of two endpoints with one port the first has it. Those of a damaged endpoint stay held.
  void write_ports() {
    std::map<std::string, std::string> wanted;
    for (const auto& [key, handle] : old_.ports) {
      if (unknown_.count(handle) != 0) wanted.emplace(key, handle);
    }
    for (const model::Endpoint& endpoint : kept_) {
      for (const model::PortPlace& place : model::places_of(endpoint)) {
        wanted.emplace(keys::port(place), model::handle_of(endpoint));
      }
    }
    for (const auto& [key, handle] : wanted) {
      const auto old = old_.ports.find(key);
      if (old == old_.ports.end() || old->second != handle) tx_.put(key, handle);
    }
    for (const auto& [key, handle] : old_.ports) {
      if (wanted.count(key) == 0) tx_.erase(key);
    }
  }

  kv::Transaction& tx_;
  const RebuildOptions& options_;
  int64_t now_;
  Snapshot old_;
  std::vector<model::Endpoint> kept_;
  std::set<std::string> unknown_;  // handles of damaged endpoints
  std::set<Address> damaged_leases_;
  std::vector<model::Block> remade_;  // of damaged records
  std::vector<model::Block> blocks_;
  std::map<Address, model::Lease> leases_;
};

}  // namespace

Result<Snapshot> read_snapshot(kv::Transaction& tx) {
  Snapshot out;
  auto boot = tx.get(keys::boot);
  if (!boot) return std::move(boot).error();
  out.boot = boot->value_or("");
  const auto each = [&](std::string_view prefix, const auto& take) -> Status {
    auto entries = tx.range(prefix);
    if (!entries) return std::move(entries).error();
    for (const kv::Entry& entry : *entries) take(entry);
    return {};
  };
  const auto keep = [&](const kv::Entry& entry, auto record, const auto& store) {
    if (record) store(std::move(*record));
    else out.damaged.emplace(entry.key, std::move(record).error());
  };
  Status done = each(keys::pools, [&](const kv::Entry& entry) {
    keep(entry, records::read_pool(entry.key, entry.value), [&](model::Pool pool) { out.pools[pool.name] = std::move(pool); });
  });
  if (done) {
    done = each(keys::reservations, [&](const kv::Entry& entry) {
      keep(entry, records::read_reservation(entry.key, entry.value), [](const model::Reservation&) {});
    });
  }
  if (done) {
    done = each(keys::endpoints, [&](const kv::Entry& entry) {
      keep(entry, records::read_endpoint(entry.key, entry.value),
           [&](model::Endpoint endpoint) { out.endpoints[model::handle_of(endpoint)] = std::move(endpoint); });
    });
  }
  if (done) {
    done = each(keys::leases, [&](const kv::Entry& entry) {
      keep(entry, records::read_lease(entry.key, entry.value),
           [&](model::Lease lease) { out.leases[lease.address] = std::move(lease); });
    });
  }
  if (done) {
    done = each(keys::blocks, [&](const kv::Entry& entry) {
      keep(entry, records::read_block(entry.key, entry.value), [&](model::Block block) { out.blocks.push_back(std::move(block)); });
    });
  }
  if (done) {
    done = each(records::available,
                [&](const kv::Entry& entry) { out.available[entry.key.substr(records::available.size())] = entry.value; });
  }
  if (done) done = each(keys::ports, [&](const kv::Entry& entry) { out.ports[entry.key] = entry.value; });
  if (!done) return std::move(done).error();
  std::stable_sort(out.blocks.begin(), out.blocks.end(), [](const auto& a, const auto& b) { return a.prefix < b.prefix; });
  return out;
}

Status rebuild(kv::Transaction& tx, const RebuildOptions& options) {
  auto snapshot = read_snapshot(tx);
  if (!snapshot) return std::move(snapshot).error();
  return Rebuild(tx, options, std::move(*snapshot)).run();
}

model::Lease foreign_lease(const model::Endpoint& endpoint, const Address& address) {
  return {address, model::handle_of(endpoint), "", Prefix::host(address)};
}

bool namespace_alive(const model::Endpoint& endpoint) {
  if (endpoint.netns.empty()) return false;
  const unique_fd fd(::open(endpoint.netns.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return errno != ENOENT && errno != ENOTDIR && errno != ESRCH;
  struct statfs filesystem {};
  struct stat file {};
  if (::fstatfs(fd.get(), &filesystem) != 0 || ::fstat(fd.get(), &file) != 0) return true;
  if (filesystem.f_type != NSFS_MAGIC) return false;
  return endpoint.netns_inode == 0 || endpoint.netns_inode == file.st_ino;
}

}  // namespace firn::ipam
