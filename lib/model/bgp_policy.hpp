// Filters and communities of BGP as named objects, which peers use (docs/bgp.md), and their codecs.
// decode_* treats its input as hostile. Pure; thread safety: plain values.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

// A standard community (RFC 1997, a:b of 16 bits each) or a large one (RFC 8092, a:b:c of 32 bits each).
struct Community {
  bool large = false;
  uint32_t a = 0, b = 0, c = 0;
  auto operator<=>(const Community&) const = default;
};
inline constexpr Community graceful_shutdown{false, 65535, 0, 0};  // RFC 8326
std::string to_string(const Community& community);
// "64512:100", "64512:1:2" or a well-known name ("no-export").
Result<Community> parse_community(std::string_view text);
// What may stand in a list of communities: a value, or the name of a BgpCommunity.
Status check_community_text(std::string_view text);

// Prefixes inside `within` whose length is least..most.
struct PrefixMatch {
  Prefix within;
  int least = 0;
  int most = 0;
  bool operator==(const PrefixMatch&) const = default;
};

enum class FilterAction : uint8_t { accept, reject, next };  // next: change the route and look at the next rule
std::string_view to_string(FilterAction action);

struct FilterRule {
  FilterAction action = FilterAction::accept;
  std::vector<PrefixMatch> prefixes;     // one of them; empty: any prefix
  std::vector<std::string> communities;  // one of them; empty: whatever there is
  // Changes, of routes that are not rejected.
  std::vector<std::string> add_communities, remove_communities;
  int prepend = 0;  // 0..16
  std::optional<uint32_t> med, local_pref;
  bool operator==(const FilterRule&) const = default;
};

// Key: bgp/filter/NAME.
struct BgpFilter {
  std::string name;  // as a peer's
  std::vector<FilterRule> rules;
  std::string note;
  bool operator==(const BgpFilter&) const = default;
};

// Key: bgp/community/NAME.
struct BgpCommunity {
  std::string name;  // as a peer's, and none of the well-known ones
  std::vector<std::string> values;
  std::string note;
  bool operator==(const BgpCommunity&) const = default;
};

std::string encode(const BgpFilter&);
std::string encode(const BgpCommunity&);
Result<BgpFilter> decode_bgp_filter(Source);
Result<BgpCommunity> decode_bgp_community(Source);

}  // namespace firn::model
