// Names, MACs and gateways: everything about an endpoint that follows from its handle.
#include "lib/base/hash.hpp"
#include "lib/endpoint/endpoint.hpp"

namespace firn::endpoint {

namespace {

constexpr size_t name_bytes = 15;
constexpr size_t alias_bytes = 255;  // IFALIASZ - 1
constexpr std::string_view alias_prefix = "firn:";

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
  const Mac mac = Mac::derived(handle);
  // The host side's own address would be no neighbour.
  return mac == host_mac() ? Mac({0xee, 0xee, 0xee, 0xee, 0xee, 0x00}) : mac;
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
