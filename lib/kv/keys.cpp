#include "lib/kv/keys.hpp"

namespace firn::kv {

Status check_key(std::string_view store, std::string_view key) {
  if (!key.empty() && key.size() <= key_limit && key.find('\0') == std::string_view::npos &&
      key.find('\n') == std::string_view::npos) {
    return {};
  }
  return make_error(Code::invalid, std::string(store) + ": key \"" + std::string(key.substr(0, 64)) + "\" of " +
                                       std::to_string(key.size()) + " bytes: a key has 1 to " + std::to_string(key_limit) +
                                       " bytes, none of them NUL or newline");
}

Status check_value(std::string_view store, std::string_view key, std::string_view value) {
  if (value.size() <= value_limit) return {};
  return make_error(Code::invalid, std::string(store) + ": value of key \"" + std::string(key) + "\" has " +
                                       std::to_string(value.size()) + " bytes; at most " + std::to_string(value_limit));
}

std::optional<std::string> prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::nullopt;
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

}  // namespace firn::kv
