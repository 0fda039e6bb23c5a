// What the tests of ipam/ share: a directory that goes with the test, stores on real files, short spellings of records.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "ipam/allocator.hpp"
#include "lib/kv/lmdb/lmdb_store.hpp"
#include "lib/model/keys.hpp"
#include "tests/support/manual_clock.hpp"

namespace firn::ipam {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char path[] = "/tmp/firn-ipam-XXXXXX";
    if (::mkdtemp(path) != nullptr) path_ = path;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::unique_ptr<kv::Store> open_store(const std::string& path) {
  kv::LmdbOptions options;
  options.path = path;
  auto store = kv::open_lmdb(options);
  if (!store) {
    ADD_FAILURE() << store.error().message;
    return nullptr;
  }
  return std::move(*store);
}

inline Address ip(const std::string& text) { return *Address::parse(text); }
inline Prefix net(const std::string& text) { return *Prefix::parse(text); }

inline model::Pool make_pool(const std::string& name, const std::string& cidr, int block_size) {
  model::Pool pool;
  pool.name = name;
  pool.cidr = net(cidr);
  pool.block_size = block_size;
  return pool;
}

inline model::Endpoint make_endpoint(const std::string& container, const std::string& network = "app") {
  model::Endpoint endpoint;
  endpoint.network = network;
  endpoint.container_id = container;
  endpoint.ifname = "eth0";
  return endpoint;
}

inline AddressRequest from_pool(const std::string& pool, Family family = Family::v4) {
  AddressRequest request;
  request.family = family;
  request.pools = {pool};
  return request;
}

inline AddressRequest the_address(const std::string& pool, const std::string& address) {
  AddressRequest request = from_pool(pool, ip(address).family());
  request.address = ip(address);
  return request;
}

inline void put(kv::Store& store, const std::string& key, const std::string& value) {
  const auto done = store.transact([&](kv::Transaction& tx) -> Status {
    tx.put(key, value);
    return {};
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
}

inline void erase(kv::Store& store, const std::string& key) {
  const auto done = store.transact([&](kv::Transaction& tx) -> Status {
    tx.erase(key);
    return {};
  });
  ASSERT_TRUE(done.ok()) << done.error().message;
}

inline std::vector<std::string> keys_below(kv::Store& store, const std::string& prefix) {
  std::vector<std::string> out;
  const auto listing = store.range(prefix);
  if (!listing) {
    ADD_FAILURE() << listing.error().message;
    return out;
  }
  for (const kv::Entry& entry : listing->entries) out.push_back(entry.key);
  return out;
}

}  // namespace firn::ipam
