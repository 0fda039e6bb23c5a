#include "lib/model/keys.hpp"

namespace firn::model::keys {

namespace {

void append_hex(std::string& out, uint8_t byte) {
  static constexpr char digits[] = "0123456789abcdef";
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

std::string join(std::string_view a, std::string_view b) {
  std::string out;
  out.reserve(a.size() + b.size());
  return out.append(a).append(b);
}

std::string block_key(std::string_view root, Use use, std::string_view pool) {
  std::string out(root);
  return out.append(to_string(use)).append("/").append(pool).append("/");
}

}  // namespace

std::string address_key(const Address& address) {
  std::string out(address.is_v4() ? "4-" : "6-");
  for (size_t i = 0; i < address.size(); ++i) append_hex(out, address.bytes()[i]);
  return out;
}

std::string prefix_key(const Prefix& prefix) {
  std::string out = address_key(prefix.address());
  out += '-';
  append_hex(out, static_cast<uint8_t>(prefix.length()));
  return out;
}

std::string pool(std::string_view name) { return join(pools, name); }
std::string reservation(const Prefix& cidr) { return join(reservations, prefix_key(cidr)); }
std::string claims_of(std::string_view pool) { return join(claims, pool) + "/"; }
std::string claim(std::string_view pool, const Prefix& prefix) { return claims_of(pool) + prefix_key(prefix); }
std::string beat(std::string_view node) { return join(beats, node); }
std::string loss(std::string_view node) { return join(losses, node); }
std::string node(std::string_view name) { return join(nodes, name); }
std::string published_by(std::string_view node) { return join(published, node) + "/"; }
std::string published_endpoint(std::string_view node, std::string_view handle) { return join(published_by(node), handle); }
std::string bgp_peer(std::string_view name) { return join(bgp_peers, name); }
std::string bgp_filter(std::string_view name) { return join(bgp_filters, name); }
std::string bgp_community(std::string_view name) { return join(bgp_communities, name); }
std::string bgp_prefix(const Prefix& cidr) { return join(bgp_prefixes, prefix_key(cidr)); }
std::string bgp_ready(std::string_view node) { return join(bgp_readies, node); }
std::string bgp_status(std::string_view node) { return join(bgp_statuses, node); }
std::string drain_report(std::string_view node) { return join(drain_reports, node); }

std::string blocks_of(Use use, std::string_view pool) { return block_key(blocks, use, pool); }
std::string block(Use use, std::string_view pool, const Prefix& prefix) { return blocks_of(use, pool) + prefix_key(prefix); }
std::string available_of(Use use, std::string_view pool) { return block_key("available/", use, pool); }
std::string available(Use use, std::string_view pool, const Prefix& prefix) { return available_of(use, pool) + prefix_key(prefix); }
std::string low(Use use, std::string_view pool) { return std::string(lows).append(to_string(use)).append("/").append(pool); }
std::string returned_block(const Prefix& prefix) { return join(returned, prefix_key(prefix)); }
std::string lease(const Address& address) { return join(leases, address_key(address)); }
std::string endpoint(std::string_view handle) { return join(endpoints, handle); }

}  // namespace firn::model::keys
