#include "cli/unified_diff.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace firn::cli {

namespace {

constexpr size_t context_lines = 3;
// Cells of the table of common subsequences; beyond that the middle is told as replaced, which is longer and as true.
constexpr size_t most_cells = 4'000'000;

struct Line {
  char mark;  // ' ', '-' or '+'
  std::string_view text;
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    out.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

using Lines = std::vector<std::string_view>;

// Between equal heads and tails: the longest common subsequence, by its table.
void compare_middle(const Lines& a, const Lines& b, std::vector<Line>& out) {
  if ((a.size() + 1) * (b.size() + 1) > most_cells) {
    for (const auto line : a) out.push_back({'-', line});
    for (const auto line : b) out.push_back({'+', line});
    return;
  }
  const size_t width = b.size() + 1;
  std::vector<uint32_t> common((a.size() + 1) * width, 0);  // of a[i..] and b[j..]
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) {
      common[i * width + j] =
          a[i] == b[j] ? common[(i + 1) * width + j + 1] + 1 : std::max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && a[i] == b[j]) {
      out.push_back({' ', a[i++]});
      ++j;
    } else if (i < a.size() && (j == b.size() || common[(i + 1) * width + j] >= common[i * width + j + 1])) {
      out.push_back({'-', a[i++]});
    } else {
      out.push_back({'+', b[j++]});
    }
  }
}

std::vector<Line> compare(const Lines& a, const Lines& b) {
  size_t head = 0, tail = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) ++head;
  while (tail < a.size() - head && tail < b.size() - head && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) ++tail;
  std::vector<Line> out;
  for (size_t i = 0; i < head; ++i) out.push_back({' ', a[i]});
  const auto middle = [&](const Lines& of) {
    return Lines(of.begin() + static_cast<std::ptrdiff_t>(head), of.end() - static_cast<std::ptrdiff_t>(tail));
  };
  compare_middle(middle(a), middle(b), out);
  for (size_t i = a.size() - tail; i < a.size(); ++i) out.push_back({' ', a[i]});
  return out;
}

// "12,3": the first line, from 1, and how many; the line before when there are none.
std::string range_text(size_t first, size_t count) {
  const std::string start = std::to_string(count == 0 ? first : first + 1);
  return count == 1 ? start : start + "," + std::to_string(count);
}

}  // namespace

std::string unified_diff(std::string_view name, std::string_view before, std::string_view after) {
  if (before == after) return {};
  const auto title = [&](std::string_view side, std::string_view text) {
    return text.empty() ? std::string("/dev/null") : std::string(side) + "/" + std::string(name);
  };
  std::string out = "--- " + title("stored", before) + "\n+++ " + title("applied", after) + "\n";
  const std::vector<Line> lines = compare(lines_of(before), lines_of(after));
  size_t old_line = 0, new_line = 0;  // of lines[at]
  for (size_t at = 0; at < lines.size();) {
    const auto next =
        std::find_if(lines.begin() + static_cast<std::ptrdiff_t>(at), lines.end(), [](const Line& l) { return l.mark != ' '; });
    const auto change = static_cast<size_t>(next - lines.begin());
    if (change == lines.size()) break;
    const size_t first = change - std::min(change - at, context_lines);
    old_line += first - at;
    new_line += first - at;
    // The hunk goes on while the next change is no farther than two contexts.
    size_t end = change + 1;
    for (size_t i = change; i < lines.size() && i <= end + 2 * context_lines; ++i) {
      if (lines[i].mark != ' ') end = i + 1;
    }
    end = std::min(end + context_lines, lines.size());
    const auto count = [&](char other) {
      return static_cast<size_t>(std::count_if(lines.begin() + static_cast<std::ptrdiff_t>(first),
                                               lines.begin() + static_cast<std::ptrdiff_t>(end),
                                               [&](const Line& line) { return line.mark != other; }));
    };
    const size_t old_count = count('+'), new_count = count('-');
    out += "@@ -" + range_text(old_line, old_count) + " +" + range_text(new_line, new_count) + " @@\n";
    for (size_t i = first; i < end; ++i) out.append(1, lines[i].mark).append(lines[i].text);
    old_line += old_count;
    new_line += new_count;
    at = end;
  }
  return out;
}

}  // namespace firn::cli
