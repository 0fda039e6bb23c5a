// A store that holds to what an etcd takes in one transaction (docs/cluster.md), on top of any engine, and that can be made to
// break off: before its Nth commit from now nothing is written any more, or right after it the caller is not told. Thread safety:
// as the store below.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "lib/kv/store.hpp"

namespace firn::test {

class LimitedStore final : public kv::Store {
 public:
  explicit LimitedStore(kv::Store& below) : below_(below) {}

  // The commit with this number from now on (1: the next) is the last one: with `written` it is made, and its answer lost.
  void break_at(int commit, bool written) {
    left_ = commit;
    written_ = written;
  }
  void mend() { left_ = 0; }
  int commits() const { return commits_; }

  Result<kv::Revision> transact(const Body& body) override {
    if (broken_) return lost();
    bool writes = false;
    auto done = below_.transact([&](kv::Transaction& tx) -> Status {
      Limited limited(tx);
      if (auto good = body(limited); !good) return good;
      if (limited.conditions.size() > most || limited.written.size() > most) {
        return make_error(Code::invalid, "the transaction has " + std::to_string(limited.conditions.size()) + " conditions and " +
                                             std::to_string(limited.written.size()) + " writes; an etcd takes 126");
      }
      writes = !limited.written.empty();
      if (!writes || left_ != 1 || written_) return {};
      return lost();
    });
    if (writes) ++commits_;
    if (!writes || left_ == 0) return done;
    if (left_-- != 1) return done;
    broken_ = true;
    return lost();
  }
  Result<std::optional<kv::Entry>> get(std::string_view key) override {
    if (broken_) return lost();
    return below_.get(key);
  }
  Result<kv::Listing> range(std::string_view prefix) override {
    if (broken_) return lost();
    return below_.range(prefix);
  }
  Result<int> watch_fd() override { return below_.watch_fd(); }
  Result<kv::Changes> changes(kv::Revision after, std::string_view prefix) override { return below_.changes(after, prefix); }
  Result<kv::LeaseId> grant(std::chrono::seconds ttl) override { return below_.grant(ttl); }
  Result<std::chrono::seconds> keep_alive(kv::LeaseId lease) override { return below_.keep_alive(lease); }
  Status revoke(kv::LeaseId lease) override { return below_.revoke(lease); }

 private:
  static constexpr size_t most = 126;  // 128, and two keys of the engine's own

  class Limited final : public kv::Transaction {
   public:
    explicit Limited(kv::Transaction& below) : below_(below) {}
    Result<std::optional<std::string>> get(std::string_view key) override {
      if (!written.contains(key)) conditions.insert("key " + std::string(key));
      return below_.get(key);
    }
    Result<std::vector<kv::Entry>> range(std::string_view prefix, size_t limit, std::string_view from) override {
      conditions.insert("range " + std::to_string(conditions.size()));
      return below_.range(prefix, limit, from);
    }
    void put(std::string_view key, std::string_view value, kv::LeaseId lease) override {
      written.insert(std::string(key));
      below_.put(key, value, lease);
    }
    void erase(std::string_view key) override {
      conditions.insert("key " + std::string(key));
      written.insert(std::string(key));
      below_.erase(key);
    }
    std::set<std::string, std::less<>> conditions, written;

   private:
    kv::Transaction& below_;
  };

  static Error lost() { return make_error(Code::interrupted, "the store was lost"); }

  kv::Store& below_;
  int left_ = 0, commits_ = 0;
  bool written_ = false, broken_ = false;
};

}  // namespace firn::test
