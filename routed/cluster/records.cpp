#include "routed/cluster/records.hpp"

namespace firn::routed {
namespace {

Error read_only() { return make_error(Code::unsupported, "the copy of the cluster store in firn-routed is only read"); }

}  // namespace

class ClusterRecords::Reader final : public kv::Transaction {
 public:
  explicit Reader(const std::map<std::string, std::string, std::less<>>& records) : records_(records) {}

  Result<std::optional<std::string>> get(std::string_view key) override {
    const auto found = records_.find(key);
    return found == records_.end() ? std::optional<std::string>() : std::optional(found->second);
  }
  Result<std::vector<kv::Entry>> range(std::string_view prefix, size_t limit, std::string_view from) override {
    std::vector<kv::Entry> out;
    for (auto at = records_.lower_bound(std::max(prefix, from)); at != records_.end() && at->first.starts_with(prefix); ++at) {
      if (limit != 0 && out.size() == limit) break;
      out.push_back({at->first, at->second, 0, 0});
    }
    return out;
  }
  void put(std::string_view, std::string_view, kv::LeaseId) override { wrote_ = true; }
  void erase(std::string_view) override { wrote_ = true; }
  bool wrote() const { return wrote_; }

 private:
  const std::map<std::string, std::string, std::less<>>& records_;
  bool wrote_ = false;
};

Result<kv::Revision> ClusterRecords::transact(const Body& body) {
  Reader reader(records_);
  if (auto done = body(reader); !done) return std::move(done).error();
  if (reader.wrote()) return read_only();
  return revision_;
}

std::vector<std::string> ClusterRecords::keys(std::string_view prefix) const {
  std::vector<std::string> out;
  for (auto at = records_.lower_bound(prefix); at != records_.end() && at->first.starts_with(prefix); ++at)
    out.push_back(at->first);
  return out;
}

Result<std::optional<kv::Entry>> ClusterRecords::get(std::string_view key) {
  const auto found = records_.find(key);
  if (found == records_.end()) return std::optional<kv::Entry>();
  return std::optional(kv::Entry{found->first, found->second, 0, 0});
}

Result<kv::Listing> ClusterRecords::range(std::string_view prefix) {
  auto entries = Reader(records_).range(prefix, 0, {});
  if (!entries) return std::move(entries).error();
  return kv::Listing{*std::move(entries), revision_};
}

Result<kv::Changes> ClusterRecords::changes(kv::Revision, std::string_view) { return read_only(); }
Result<kv::LeaseId> ClusterRecords::grant(std::chrono::seconds) { return read_only(); }
Result<std::chrono::seconds> ClusterRecords::keep_alive(kv::LeaseId) { return read_only(); }
Status ClusterRecords::revoke(kv::LeaseId) { return read_only(); }

}  // namespace firn::routed
