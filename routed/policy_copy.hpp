// The last known policy of the cluster, kept in the state directory for a start while the cluster store cannot be had: then the
// table goes by it, instead of by nothing. One file, written whole and by rename; one that cannot be read is as none. Text: "firn
// policy 1\n", then for each record "KEYBYTES VALUEBYTES\n", key, value, "\n". Pure; thread safety: no state.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn::routed {

using PolicyRecords = std::map<std::string, std::string, std::less<>>;

inline constexpr size_t longest_policy_copy = 256 * 1024 * 1024;

std::string encode_policy_copy(const PolicyRecords& records);
// Code::invalid: it is not such a text, or was cut.
Result<PolicyRecords> decode_policy_copy(std::string_view text);

}  // namespace firn::routed
