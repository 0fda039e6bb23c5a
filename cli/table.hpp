// Tables as kubectl and ip users read them: upper-case heads, columns padded with blanks, nothing else. Pure.
// Text that came from elsewhere (labels, pod names, a daemon's error) cannot move the cursor: control bytes are shown as \xNN.
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn::cli {

std::string printable(std::string_view text);

class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  // As many cells as heads; an empty one is shown as "-".
  void add(std::vector<std::string> cells);
  void add(std::string name, const std::vector<std::string>& cells);
  bool empty() const { return rows_.size() == 1; }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "NAME:    value" lines of a `show` command, in the order given; an empty value is shown as "-".
class Sheet {
 public:
  Sheet& line(std::string name, std::string_view value);
  std::string text() const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

// "2026-01-31 12:00:00Z", "-" for 0.
std::string time_text(int64_t unix_seconds);

}  // namespace firn::cli
