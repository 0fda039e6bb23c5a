#include "lib/base/nearest.hpp"

#include <algorithm>

namespace firn {

namespace {

constexpr size_t longest_word = 64;
constexpr size_t most_listed = 30;

std::string plain(std::string_view word) {
  std::string out;
  for (const char c : word) {
    if (c == '_' || c == '-') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

// Insertions, deletions, replacements and swaps of neighbours that make one of the other (optimal string alignment).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > longest_word) return {};
  const std::string typed = plain(word);
  std::string best;
  // A third of the word may be wrong: more is another word.
  size_t least = std::max<size_t>(1, typed.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t changes = candidate.size() > longest_word ? longest_word : distance(typed, plain(candidate));
    if (changes >= least) continue;
    least = changes;
    best = candidate;
  }
  return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  if (const std::string best = nearest(word, candidates); !best.empty()) return "; did you mean '" + best + "'?";
  if (candidates.empty()) return "; none is known here";
  std::string out;
  for (size_t i = 0; i < candidates.size() && i < most_listed; ++i)
    out.append(i == 0 ? "; known here: " : ", ").append(candidates[i]);
  return out;
}

}  // namespace firn
