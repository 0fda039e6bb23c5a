// One run of a transaction body on etcd: reads at one revision, remembers what it read and wrote, and makes the guarded etcd
// transaction of it. Inside this folder only. Thread safety: one thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/kv/etcd/gateway.hpp"
#include "lib/kv/etcd/wire.hpp"

namespace firn::kv {

// The keys of the engine itself, below the prefix. A NUL byte comes before every byte of a caller's key.
struct OwnKeys {
  explicit OwnKeys(const std::string& prefix);
  std::string commit;     // each transaction writes its number here: the last revision that wrote anything
  std::string fence;      // written to make sure that a transaction whose answer was lost cannot happen any more
  std::string erased;     // + first part of a key: written with every removal below it, because etcd keeps no trace of one
  std::string data, end;  // the callers' keys are in [data, end)
};
// "pool" of "pool/web".
std::string_view first_part(std::string_view key);

class EtcdTransaction final : public Transaction {
 public:
  EtcdTransaction(Gateway& gateway, const OwnKeys& own, http::Deadline until) : gateway_(gateway), own_(own), until_(until) {}

  Result<std::optional<std::string>> get(std::string_view key) override;
  Result<std::vector<Entry>> range(std::string_view prefix, size_t limit, std::string_view from) override;
  void put(std::string_view key, std::string_view value, LeaseId lease) override;
  void erase(std::string_view key) override;

  // All entries of [start, end), at most `limit`, keys without the prefix. Pages; the first one fixes the revision.
  Result<std::vector<wire::Stored>> read(std::string start, const std::string& end, size_t limit);
  // After the body: drops erasures of what is not there, and fixes the revision if nothing has yet.
  Status settle();
  bool writes() const { return !writes_.empty(); }
  // The guarded transaction, which also writes `number` to mark itself. Code::invalid when it is too large for etcd.
  Result<std::string> request(std::string_view number) const;

  Revision revision() const { return revision_; }
  const std::optional<Error>& failure() const { return failure_; }
  bool stale() const { return stale_; }  // the revision is compacted: the body must run again

 private:
  struct Write {
    std::optional<std::string> value;  // nothing: erased
    LeaseId lease = 0;
  };
  struct Seen {
    std::string start, end;                                // as read, without the prefix
    std::vector<std::pair<std::string, Revision>> leased;  // they may vanish without a transaction
  };
  Result<std::optional<wire::Stored>> look(std::string_view key);

  Gateway& gateway_;
  const OwnKeys& own_;
  http::Deadline until_;
  Revision revision_ = 0;
  bool stale_ = false;
  std::optional<Error> failure_;
  std::map<std::string, Write, std::less<>> writes_;
  std::map<std::string, std::optional<wire::Stored>, std::less<>> looked_;
  std::vector<Seen> seen_;
  std::set<std::pair<std::string, bool>> seen_parts_;  // first parts of the ranges; false: any that begins so
};

}  // namespace firn::kv
