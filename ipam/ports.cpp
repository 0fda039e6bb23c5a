#include "ipam/ports.hpp"

#include "ipam/records.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// A record that cannot be read, or is gone, still has its handle to show.
std::string holder_text(kv::Transaction& tx, const std::string& handle) {
  auto endpoint = records::endpoint(tx, handle);
  if (!endpoint || !endpoint->has_value()) return handle;
  const model::Endpoint& e = **endpoint;
  std::string out = "container " + e.container_id;
  if (!e.pod_name.empty()) out += " (pod " + e.pod_namespace + "/" + e.pod_name + ")";
  return out + " of network " + e.network;
}

Status hold(kv::Transaction& tx, const model::PortPlace& place, const std::string& handle) {
  auto like = tx.range(keys::ports_like(place));
  if (!like) return std::move(like).error();
  for (const kv::Entry& entry : *like) {
    const auto address = records::parse_address_key(std::string_view(entry.key).substr(entry.key.rfind('/') + 1));
    if (!address) return records::unreadable(entry.key, make_error(Code::invalid, "it names no address"));
    const model::PortPlace other{place.protocol, place.port, *address};
    if (entry.value == handle || !place.overlaps(other)) continue;
    return make_error(Code::conflict, "port " + to_string(place) + " for " + handle + " is in use: " + to_string(other) +
                                          " is published by " + holder_text(tx, entry.value));
  }
  tx.put(keys::port(place), handle);
  return {};
}

}  // namespace

Status hold_ports(kv::Transaction& tx, const model::Endpoint& endpoint) {
  if (endpoint.ports.empty()) return {};
  const std::string handle = model::handle_of(endpoint);
  for (const model::PortPlace& place : model::places_of(endpoint)) {
    if (auto held = hold(tx, place, handle); !held) return held;
  }
  return {};
}

Status free_ports(kv::Transaction& tx, const model::Endpoint& endpoint) {
  if (endpoint.ports.empty()) return {};
  const std::string handle = model::handle_of(endpoint);
  for (const model::PortPlace& place : model::places_of(endpoint)) {
    const std::string key = keys::port(place);
    auto holder = tx.get(key);
    if (!holder) return std::move(holder).error();
    if (*holder == handle) tx.erase(key);
  }
  return {};
}

}  // namespace firn::ipam
