// Nodes as the cluster sees them: which are alive, since when one is not, and giving up one that does not come back.
// Owns: node/ (with `firnctl init`, which writes it), lost/; the claims of a node that is removed. Thread safety: as the Store.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/kv/store.hpp"
#include "lib/model/grace.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

struct NodeState {
  std::optional<model::Beat> beat;  // it is alive
  std::optional<int64_t> lost_at;   // when others noticed that it is not
  std::optional<model::Promise> promise;
  std::vector<model::Claim> claims;
};
Result<std::map<std::string, NodeState>> node_states(kv::Store& cluster);

// Notes that these nodes have no beat any more; one that has one, or has no record, is left out.
Status note_lost(kv::Store& cluster, const std::vector<std::string>& nodes, int64_t now);

// Removes the node: first its record, so that it claims nothing more, then its claims, in batches, and what it has published; how
// many claims those were. A kill leaves claims without a node, and removing it again takes them. Code::conflict while it is alive, unless forced; Code::not_found.
Result<size_t> remove_node(kv::Store& cluster, const std::string& name, bool force);

// The same by a program, for a node that is lost as in `seen`, which somebody alive has known without a change for `waited` seconds.
// `life`: of a beat. Code::conflict: not yet, not any more, or it never promised to stop leasing (grace.hpp). What was begun by another
// host is completed.
Result<size_t> remove_overdue(kv::Store& cluster, const model::Lost& seen, int64_t waited, int64_t life);

}  // namespace firn::ipam
