#include "routed/policy/extra_sources.hpp"

#include <algorithm>
#include <string_view>

namespace firn::routed::policy {

namespace {

constexpr size_t most = 32;

bool inside(const Prefix& inner, const Prefix& outer) {
  return inner.family() == outer.family() && inner.length() >= outer.length() && outer.contains(inner.address());
}

bool is_permitted(const Prefix& wanted, const model::Endpoint& endpoint, const std::map<std::string, model::Pool>& pools) {
  return std::ranges::any_of(pools, [&](const auto& entry) {
    const model::Pool& pool = entry.second;
    const bool own = std::ranges::any_of(endpoint.addresses, [&](const Address& address) { return pool.cidr.contains(address); });
    return own && std::ranges::any_of(pool.extra_sources, [&](const Prefix& range) { return inside(wanted, range); });
  });
}

}  // namespace

ExtraSources extra_sources_of(const model::Endpoint& endpoint, const std::map<std::string, model::Pool>& pools) {
  ExtraSources out;
  const auto annotation = endpoint.annotations.find(extra_sources_annotation);
  if (annotation == endpoint.annotations.end()) return out;
  std::string_view rest = annotation->second;
  for (size_t count = 0; !rest.empty(); ++count) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    const auto prefix = Prefix::parse(one);
    if (count < most && prefix && is_permitted(*prefix, endpoint, pools)) out.granted.push_back(*prefix);
    else out.refused.emplace_back(one.substr(0, 64));
    if (count >= most) break;
  }
  // The kernel takes no range inside another.
  std::ranges::sort(out.granted, {}, [](const Prefix& prefix) { return prefix.length(); });
  std::vector<Prefix> outermost;
  for (const Prefix& prefix : out.granted) {
    if (std::ranges::none_of(outermost, [&](const Prefix& wider) { return inside(prefix, wider); })) outermost.push_back(prefix);
  }
  out.granted = std::move(outermost);
  return out;
}

}  // namespace firn::routed::policy
