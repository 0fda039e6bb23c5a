// ClusterRecords: the cluster as it was last read, for whoever on the loop reads it: a store that is only read and never waits.
// Of claims only those of this node are kept: there may be a hundred thousand, and the rest is told to Overlay as it comes.
// Owns: copies of records. Nothing survives the process. Thread safety: one thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "lib/kv/store.hpp"
#include "routed/cluster/follower.hpp"

namespace firn::routed {

class ClusterRecords final : public kv::Store {
 public:
  // A body that writes fails with Code::unsupported: jobs of the ClusterThread write. Returns set_revision()'s.
  Result<kv::Revision> transact(const Body& body) override;
  Result<std::optional<kv::Entry>> get(std::string_view key) override;
  Result<kv::Listing> range(std::string_view prefix) override;
  Result<int> watch_fd() override { return -1; }
  Result<kv::Changes> changes(kv::Revision after, std::string_view prefix) override;
  Result<kv::LeaseId> grant(std::chrono::seconds ttl) override;
  Result<std::chrono::seconds> keep_alive(kv::LeaseId lease) override;
  Status revoke(kv::LeaseId lease) override;

  // REQUIRES: has(key).
  const std::string& at(std::string_view key) const { return records_.find(key)->second; }
  bool has(std::string_view key) const { return records_.find(key) != records_.end(); }
  std::vector<std::string> keys(std::string_view prefix) const;
  void clear() { records_.clear(); }
  void put(const std::string& key, const std::string& value) { records_[key] = value; }
  void erase(const std::string& key) { records_.erase(key); }
  void set_revision(kv::Revision revision) { revision_ = revision; }

 private:
  class Reader;
  std::map<std::string, std::string, std::less<>> records_;
  kv::Revision revision_ = 0;
};

}  // namespace firn::routed
