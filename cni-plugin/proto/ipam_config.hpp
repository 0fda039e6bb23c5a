// The "ipam" object of a network configuration, as firn-ipam understands it. Pure; hostile input: errors name the place.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cni-plugin/proto/fault.hpp"
#include "cni-plugin/proto/result.hpp"
#include "lib/addr/addr.hpp"
#include "lib/json/json.hpp"

namespace firn::cni {

inline constexpr std::string_view own_ipam = "firn-ipam";
inline constexpr std::string_view default_state_dir = "/var/lib/firn";

// A subnet or a part of it: what host-local calls a range.
struct Range {
  Prefix subnet;
  std::optional<Address> first, last;
  std::optional<Address> gateway;
  bool operator==(const Range&) const = default;
};
using RangeSet = std::vector<Range>;  // alternatives of one family, in order of preference: one address is leased from a set

struct IpamConfig {
  std::string type{own_ipam};
  std::vector<RangeSet> sets;
  std::vector<std::string> pools;
  std::vector<ResultRoute> routes;
  Dns dns;
  std::string state_dir;  // "" when not said
  int cooldown = 60;      // seconds
};

// Only the type, for the verbs that must go through a configuration that has become wrong otherwise.
Outcome<std::string> parse_ipam_type(const json::Value& ipam);
// REQUIRES: it is firn-ipam's object, whatever the type: firn-ipam is asked under its file name, which may be another.
Outcome<IpamConfig> parse_ipam(const json::Value& ipam);
// [[{"subnet": ...}]], of "ranges" or of the capability "ipRanges", whose writers use any letter case and add members.
enum class RangeWriter { administrator, runtime };
Result<std::vector<RangeSet>> parse_range_sets(const json::Value& value, RangeWriter writer);
// An absolute path without "..", or "".
Result<std::string> parse_state_dir(const json::Value& value);
// Code::invalid for an unknown field; `strict`: also for one that resembles no known field.
Status check_fields(const json::Value& object, std::span<const std::string_view> known, bool strict);

}  // namespace firn::cni
