#include "lib/yaml/scalar.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace firn::yaml {

namespace {

// Readers of JSON take an integer beyond 64 bits for a floating-point number, which ends at 10^308.
constexpr size_t max_digits = 300;

Error too_large(std::string_view text) {
  return make_error(Code::invalid,
                    "'" + std::string(text.substr(0, 64)) + "' is too large or too small a number; quote it if it is a text");
}

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

template <size_t N>
bool one_of(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// word, Word, WORD.
bool in_any_case(std::string_view text, std::string_view word) {
  if (text.size() != word.size()) return false;
  std::string upper(word), title(word);
  for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
  title[0] = upper[0];
  return text == word || text == title || text == upper;
}

bool all_digits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), digit); }

Result<Scalar> based(std::string_view text, int base) {
  uint64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data() + 2, text.data() + text.size(), number, base);
  if (ec != std::errc{} || end != text.data() + text.size()) return Scalar{json::Kind::string, std::string(text)};
  return Scalar{json::Kind::integer, std::to_string(number)};
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_float(std::string_view text) {
  size_t i = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  const auto run = [&] {
    const size_t from = i;
    while (i < text.size() && digit(text[i])) ++i;
    return i - from;
  };
  const size_t whole = run();
  size_t fraction = 0;
  if (i < text.size() && text[i] == '.') {
    ++i;
    fraction = run();
  }
  if (whole + fraction == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    if (run() == 0) return false;
  }
  return i == text.size();
}

}  // namespace

Result<Scalar> plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || in_any_case(text, "null")) return Scalar{json::Kind::null, "null"};
  if (in_any_case(text, "true")) return Scalar{json::Kind::boolean, "true"};
  if (in_any_case(text, "false")) return Scalar{json::Kind::boolean, "false"};
  if (text.starts_with("0x")) return based(text, 16);
  if (text.starts_with("0o")) return based(text, 8);
  const bool sign = text[0] == '-' || text[0] == '+';
  const std::string_view digits = text.substr(sign ? 1 : 0);
  if (in_any_case(digits, ".inf") || (!sign && one_of(text, std::array<std::string_view, 3>{".nan", ".NaN", ".NAN"}))) {
    return make_error(Code::invalid, "'" + std::string(text) + "' is no number that an object can hold; quote it if it is a text");
  }
  if (all_digits(digits)) {
    if (digits.size() > 1 && digits[0] == '0') {
      return make_error(Code::invalid, "'" + std::string(text.substr(0, 64)) +
                                           "' is octal to some readers and decimal to others; quote it if it is a text");
    }
    if (digits.size() > max_digits) return too_large(text);
    return Scalar{json::Kind::integer, (text[0] == '-' && digits != "0" ? "-" : "") + std::string(digits)};
  }
  if (!is_float(text)) return Scalar{json::Kind::string, std::string(text)};
  double number = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (ec != std::errc{}) return too_large(text);
  json::Writer w;
  w.value(text[0] == '-' ? -number : number);
  return Scalar{json::Kind::number, std::move(w).take()};
}

bool reads_as_itself(std::string_view text) {
  if (text.empty() || text.size() > 512) return false;
  if (!letter(text[0]) && !digit(text[0]) && text[0] != '/') return false;
  const auto harmless = [](char c) {
    return letter(c) || digit(c) || std::string_view(" ./_-:+@=").find(c) != std::string_view::npos;
  };
  if (!std::all_of(text.begin(), text.end(), harmless)) return false;
  if (text.back() == ' ' || text.back() == ':' || text.find(": ") != std::string_view::npos) return false;
  const auto scalar = plain_scalar(text);
  if (!scalar || scalar->kind != json::Kind::string) return false;
  for (const std::string_view word : {"y", "n", "yes", "no", "on", "off"}) {
    if (in_any_case(text, word)) return false;
  }
  // YAML 1.1 also knows times, numbers to the base of sixty, and _ inside of numbers.
  return !digit(text[0]) || text.find_first_not_of("0123456789_:.-+eE xobabcdefABCDEFTtZz") != std::string_view::npos ||
         (text.find('.') != text.rfind('.') && text.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace firn::yaml
