// Pools of which this host has no spare block and can claim none: firn-routed, which wants to claim one, notes it in the node store, for
// the plugin looks nowhere else. Owns: low/ of the node store, which a kill leaves as it is until the next firn-routed has looked; a
// spare block here counts for more than the note. Thread safety: as the Store.
#pragma once

#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// A pool that is in use on this host, which has no wholly free block of it.
struct Shortage {
  std::string pool;
  model::Use use = model::Use::routed;
  bool operator==(const Shortage&) const = default;
};

// These can have no further block, and no others.
Status note_shortages(kv::Store& node, const std::vector<Shortage>& shortages);
// It is noted, and still no block of the pool is wholly free here.
Result<bool> is_low(kv::Store& node, const Shortage& pool);

}  // namespace firn::ipam
