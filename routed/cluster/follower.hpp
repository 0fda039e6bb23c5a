// Follower: the cluster store as a stream of updates. A watch is a hint: after a gap, a lost history or a new store everything is
// listed and handed on whole. Follows what this host needs of the cluster and nothing else of what may be there.
// A store that does not have the record of this node (another one, an empty one, or it was removed) concludes nothing: no update
// comes of it, and the error says so. Owns: the open store. Nothing survives the process. Thread safety: one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/kv/store.hpp"

namespace firn::routed {

struct ClusterUpdate {
  bool whole = false;                                                       // all there is: what is not in it is gone
  kv::Revision revision = 0;                                                // with this the view is at least of that revision
  std::vector<std::pair<std::string, std::optional<std::string>>> records;  // nothing: gone
  bool empty() const { return !whole && records.empty(); }
};

class Follower {
 public:
  Follower(std::unique_ptr<kv::Store> store, std::string self);

  kv::Store& store() { return *store_; }
  // Readable when poll() may have news; -1: the store has none.
  Result<int> fd() { return store_->watch_fd(); }
  // What changed since the last call; the first one is whole. An error: the store does not know this node, or is of no use now.
  Result<ClusterUpdate> poll();
  // The last poll() failed because the store does not have the record of this node.
  bool is_stranger() const { return stranger_; }

 private:
  bool is_followed(std::string_view key) const;
  Result<ClusterUpdate> list();
  Result<ClusterUpdate> read(const std::vector<std::string>& keys);

  std::unique_ptr<kv::Store> store_;
  std::string self_;
  std::vector<std::string> followed_;  // prefixes of keys
  kv::Revision revision_ = 0;
  bool listed_ = false;
  bool stranger_ = false;
};

}  // namespace firn::routed
