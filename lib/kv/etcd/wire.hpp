// etcd's messages as JSON: the requests this engine makes and the answers it reads. Inside this folder only. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json/json.hpp"
#include "lib/kv/store.hpp"

namespace firn::kv::wire {

// etcd writes 64-bit numbers as strings and leaves zeros out.
Result<int64_t> number(json::Value value);
Result<uint64_t> id(json::Value value);
Result<std::string> bytes(json::Value value);  // absent: ""

struct Stored {
  Entry entry;  // its key is etcd's
  LeaseId lease = 0;
};

struct Range {
  std::string key, end;  // end "": the key alone
  size_t limit = 0;
  Revision revision = 0;  // 0: now
  bool keys_only = false;
};
std::string range(const Range& query);

struct Page {
  std::vector<Stored> entries;
  bool more = false;
  Revision revision = 0;  // of the store, when it was read
};
Result<Page> read_page(json::Value answer);

// Guards and writes of one transaction, in the order of calls.
class Txn {
 public:
  void if_unchanged(std::string_view key, Revision modified);  // there, and last written at this revision
  void if_absent(std::string_view key);
  // Nothing in [key, end) was written later; end "": the key alone. Says nothing of what was removed.
  void if_not_after(std::string_view key, std::string_view end, Revision revision);
  void put(std::string_view key, std::string_view value, LeaseId lease);
  void erase(std::string_view key);
  size_t guards() const { return guards_; }
  size_t writes() const { return writes_; }
  std::string take() &&;

 private:
  json::Writer& guard(std::string_view key, std::string_view target, std::string_view result);
  json::Writer compare_, success_;
  size_t guards_ = 0, writes_ = 0;
};

std::string watch(std::string_view key, std::string_view end, Revision from);

}  // namespace firn::kv::wire
