// Who this host is to the cluster, and whether the cluster still says so. Every claim is fenced by it: a cloned host, a name that
// was taken twice and a host that was removed meanwhile claim nothing. Owns: `self`, `generation` and `fence` of the node store;
// `generation` of the cluster store. Thread safety: as the Store.
#pragma once

#include <optional>
#include <string>

#include "lib/base/clock.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// The id of this machine: of the state directory if that has one of its own (cloned machines, several hosts on one), else of the
// system; "" when neither has one.
std::string known_machine_id(const std::string& state_dir);
std::string own_machine_id_path(const std::string& state_dir);
// Of this state directory in this boot of the machine. A copy of the directory has another one, whatever is in it.
Result<std::string> instance_of(const std::string& state_dir);

// As the node store and the machine say; nothing before `firnctl init`. `shared`: the cluster store is one of many hosts.
Result<std::optional<model::Identity>> host_identity(kv::Store& node, const std::string& state_dir, bool shared);
// Puts name and generation, and opens the host's pools again: it has just been given them.
void put_identity(kv::Transaction& node, const model::Identity& self);

// Inside a transaction of the cluster store. Code::denied: the node's record is another one or not there, or another host is alive
// under it. Nothing is compared for an identity without a machine id.
Status check_identity(kv::Transaction& cluster, const model::Identity& self);
// The next generation, never given before.
Result<uint64_t> next_generation(kv::Transaction& cluster);

// A time of this host by both of its clocks: the wall clock goes on over a reboot, and the other cannot be set.
struct Moment {
  int64_t wall = 0, boot = 0;
  std::string boot_id = {};
};
Moment moment(const Clock& clock, std::string boot_id);
// The fence of the node store that is in force at that time; nothing when there is none. One that has a time is so as soon as
// either clock says it; after a reboot also when the wall clock says less than it did before.
Result<std::optional<model::Fence>> fence(kv::Transaction& node, const Moment& now);
// False: it was there already.
Result<bool> put_fence(kv::Store& node, const std::optional<model::Fence>& fence);

}  // namespace firn::ipam
