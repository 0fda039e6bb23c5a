// A short hash of text for names that follow from other names (interfaces, MACs): the same on every host and in every release.
// Not for tables, not against an adversary. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace firn {

// FNV-1a, 64 bits.
constexpr uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace firn
