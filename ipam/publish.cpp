#include "ipam/publish.hpp"

#include "ipam/identity.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// An etcd takes 128 writes and conditions in a transaction, and 1.5 MB in a request.
constexpr size_t records_at_once = 100;
constexpr size_t bytes_at_once = 512 * 1024;

Status check_member(kv::Transaction& tx, const model::Identity& self) {
  auto record = tx.get(keys::node(self.name));
  if (!record) return std::move(record).error();
  if (record->has_value()) return check_identity(tx, self);
  return make_error(Code::not_found, "the cluster store has no node \"" + self.name + "\"; its endpoints are not published");
}

}  // namespace

Result<std::string> published_text(const std::string& record) {
  auto endpoint = model::decode_endpoint(record);
  if (!endpoint) return std::move(endpoint).error();
  endpoint->netns.clear();
  endpoint->netns_inode = 0;
  endpoint->ports.clear();
  endpoint->bandwidth = {};
  return model::encode(*endpoint);
}

Result<Published> publish(kv::Store& cluster, const model::Identity& self, const EndpointChanges& changes) {
  Published out;
  for (auto next = changes.begin(); next != changes.end();) {
    const auto first = next;
    Published batch;
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      if (auto member = check_member(tx, self); !member) return member;
      batch = {};
      next = first;
      for (size_t count = 0, bytes = 0; next != changes.end() && count < records_at_once && bytes < bytes_at_once;
           ++next, ++count) {
        const std::string key = keys::published_endpoint(self.name, next->first);
        if (next->second) {
          tx.put(key, *next->second);
          bytes += key.size() + next->second->size();
          ++batch.written;
        } else {
          tx.erase(key);
          ++batch.erased;
        }
      }
      return {};
    });
    if (!done) return std::move(done).error();
    out.written += batch.written;
    out.erased += batch.erased;
  }
  return out;
}

Result<Published> publish_all(kv::Store& cluster, const model::Identity& self,
                              const std::map<std::string, std::string>& endpoints) {
  const std::string prefix = keys::published_by(self.name);
  auto listing = cluster.range(prefix);
  if (!listing) return std::move(listing).error();
  EndpointChanges changes;
  for (const auto& [handle, text] : endpoints) changes[handle] = text;
  for (const kv::Entry& entry : listing->entries) {
    const std::string handle = entry.key.substr(prefix.size());
    const auto wanted = endpoints.find(handle);
    if (wanted == endpoints.end()) changes[handle] = std::nullopt;
    else if (wanted->second == entry.value) changes.erase(handle);
  }
  return publish(cluster, self, changes);
}

Result<uint64_t> unpublish_node(kv::Store& cluster, const std::string& node) {
  uint64_t erased = 0;
  for (bool more = true; more;) {
    size_t batch = 0;
    auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
      auto entries = tx.range(keys::published_by(node), records_at_once);
      if (!entries) return std::move(entries).error();
      for (const kv::Entry& entry : *entries) tx.erase(entry.key);
      batch = entries->size();
      return {};
    });
    if (!done) return std::move(done).error();
    erased += batch;
    more = batch == records_at_once;
  }
  return erased;
}

Result<std::map<std::string, std::string>> endpoints_to_publish(kv::Store& node) {
  auto listing = node.range(keys::endpoints);
  if (!listing) return std::move(listing).error();
  std::map<std::string, std::string> out;
  for (const kv::Entry& entry : listing->entries) {
    if (auto text = published_text(entry.value)) out[entry.key.substr(keys::endpoints.size())] = *std::move(text);
  }
  return out;
}

}  // namespace firn::ipam
