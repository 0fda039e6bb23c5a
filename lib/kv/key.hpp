// What a key may be, and where the keys with a prefix end; the same for every engine. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn::kv {

inline constexpr size_t key_limit = 512;
inline constexpr size_t value_limit = 1024 * 1024;

inline Status check_key(std::string_view key) {
  if (key.empty() || key.size() > key_limit || key.find('\0') != std::string_view::npos ||
      key.find('\n') != std::string_view::npos) {
    return make_error(Code::invalid, "key \"" + std::string(key.substr(0, 64)) + "\" of " + std::to_string(key.size()) +
                                         " bytes: a key has 1 to 512 bytes, none of them NUL or newline");
  }
  return {};
}

// The first key behind all that begin with `prefix`; nothing when there is none.
inline std::optional<std::string> prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::nullopt;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace firn::kv
