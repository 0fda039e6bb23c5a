// Well-formed UTF-8, RFC 3629. Inside this folder only. Pure.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace firn::json {

// Length of the well-formed sequence at the start of `s`, which is not empty; 0 when there is none.
inline size_t utf8_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const auto tail = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
    return i < s.size() && byte(i) >= low && byte(i) <= high;
  };
  const uint8_t b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return tail(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    const uint8_t low = b == 0xe0 ? 0xa0 : 0x80;
    const uint8_t high = b == 0xed ? 0x9f : 0xbf;
    return tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    const uint8_t low = b == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = b == 0xf4 ? 0x8f : 0xbf;
    return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// How many bytes of `s` are ASCII that a JSON string holds as it is: nearly always all of them. Eight at a time.
inline size_t plain_length(std::string_view s) {
  constexpr uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
  const auto has_zero = [](uint64_t word) { return (word - ones) & ~word & tops; };
  size_t n = 0;
  for (; n + 8 <= s.size(); n += 8) {
    uint64_t word = 0;
    std::memcpy(&word, s.data() + n, sizeof word);
    const uint64_t control = (word - ones * 0x20) & ~word;
    if (((word | control) & tops) != 0 || has_zero(word ^ (ones * '"')) != 0 || has_zero(word ^ (ones * '\\')) != 0) break;
  }
  while (n < s.size() && s[n] >= 0x20 && s[n] != '"' && s[n] != '\\') ++n;
  return n;
}

}  // namespace firn::json
