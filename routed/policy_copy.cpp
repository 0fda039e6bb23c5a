#include "routed/policy_copy.hpp"

#include <charconv>
#include <optional>

namespace firn::routed {
namespace {

constexpr std::string_view head = "firn policy 1\n";

// Takes a number and the byte behind it off the front.
std::optional<size_t> take_number(std::string_view& text, char end) {
  size_t out = 0;
  const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  const auto used = static_cast<size_t>(at - text.data());
  if (failed != std::errc() || used >= text.size() || text[used] != end) return std::nullopt;
  text.remove_prefix(used + 1);
  return out;
}

}  // namespace

std::string encode_policy_copy(const PolicyRecords& records) {
  std::string out(head);
  for (const auto& [key, value] : records) {
    out += std::to_string(key.size()) + " " + std::to_string(value.size()) + "\n" + key + value + "\n";
  }
  return out;
}

Result<PolicyRecords> decode_policy_copy(std::string_view text) {
  if (!text.starts_with(head)) return make_error(Code::invalid, "it does not begin with \"firn policy 1\"");
  text.remove_prefix(head.size());
  PolicyRecords out;
  while (!text.empty()) {
    const auto key = take_number(text, ' ');
    const auto value = key ? take_number(text, '\n') : std::nullopt;
    if (!value || *key >= text.size() || *value >= text.size() - *key || text[*key + *value] != '\n') {
      return make_error(Code::invalid, "record " + std::to_string(out.size() + 1) + " is cut or has wrong lengths");
    }
    out[std::string(text.substr(0, *key))] = text.substr(*key, *value);
    text.remove_prefix(*key + *value + 1);
  }
  return out;
}

}  // namespace firn::routed
