#include "cni-plugin/proto/spelling.hpp"

#include <algorithm>
#include <array>

namespace firn::cni {

namespace {

constexpr size_t longest = 32;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Levenshtein distance, letter case apart. REQUIRES: both at most `longest` bytes.
size_t distance(std::string_view a, std::string_view b) {
  std::array<size_t, longest + 1> row{};
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      const size_t changed = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      row[j] = std::min({above + 1, row[j - 1] + 1, changed});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  if (word.empty() || word.size() > longest) return {};
  for (const std::string_view candidate : known) {
    const size_t allowed = candidate.size() <= 5 ? 1 : 2;
    if (distance(word, candidate) <= allowed) return candidate;
  }
  return {};
}

}  // namespace firn::cni
