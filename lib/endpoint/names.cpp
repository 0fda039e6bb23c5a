// Names, MACs and gateways: everything about an endpoint that follows from its handle.
#include <cstdint>

#include "lib/endpoint/endpoint.hpp"

namespace firn::endpoint {

namespace {

constexpr size_t name_bytes = 15;
constexpr size_t alias_bytes = 255;  // IFALIASZ - 1
constexpr std::string_view alias_prefix = "firn:";

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace

Mac host_mac() { return Mac({0xee, 0xee, 0xee, 0xee, 0xee, 0xee}); }

Address gateway(Family family) { return family == Family::v4 ? Address::v4(0xa9fe0101) : host_mac().link_local(); }

std::string host_name(std::string_view prefix, std::string_view handle) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out(prefix);
  for (uint64_t hash = fnv1a(handle); out.size() < name_bytes; hash >>= 4) out += digits[hash & 15];
  return out;
}

Mac mac_for(std::string_view handle) {
  uint64_t hash = fnv1a(handle);
  std::array<uint8_t, 6> bytes{};
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(hash);
    hash >>= 8;
  }
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0xfc) | 0x02);  // unicast, locally administered
  // The host side's own address would be no neighbour.
  if (Mac mac(bytes); mac != host_mac()) return mac;
  bytes[5] = 0;
  return Mac(bytes);
}

std::string alias_for(std::string_view handle) {
  std::string out(alias_prefix);
  out.append(handle.substr(0, alias_bytes - alias_prefix.size()));
  return out;
}

std::optional<std::string> handle_of_link(const netlink::Link& link) {
  if (link.group == netlink::dead_group || link.kind != "veth" || !link.alias.starts_with(alias_prefix)) return std::nullopt;
  return link.alias.substr(alias_prefix.size());
}

bool Attached::in_table(Family family) const {
  for (const Family f : by_rule) {
    if (f == family) return true;
  }
  return false;
}

uint32_t policy_table(int container_index) { return 1000 + static_cast<uint32_t>(container_index); }

}  // namespace firn::endpoint
