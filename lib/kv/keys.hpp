// What every engine of the contract holds to: which keys and values it takes, and where a prefix ends. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn::kv {

inline constexpr size_t key_limit = 500;  // LMDB's is 511 bytes, of which an engine may want some
inline constexpr size_t value_limit = 1024 * 1024;

// Code::invalid unless the key has 1 to key_limit bytes, none of them NUL or newline. `store` names the place in the message.
Status check_key(std::string_view store, std::string_view key);
Status check_value(std::string_view store, std::string_view key, std::string_view value);

// The first key behind all that begin with `prefix`; nothing when there is none.
std::optional<std::string> prefix_end(std::string_view prefix);

}  // namespace firn::kv
