#include "cli/table.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace firn::cli {

std::string printable(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    }
  }
  return out;
}

namespace {

// Columns a terminal gives the text: bytes, less those that continue a UTF-8 sequence.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string shown(std::string_view value) { return value.empty() ? "-" : printable(value); }

}  // namespace

void Table::add(std::vector<std::string> cells) {
  cells.resize(rows_.front().size());
  for (std::string& cell : cells) cell = shown(cell);
  rows_.push_back(std::move(cells));
}

void Table::add(std::string name, const std::vector<std::string>& cells) {
  std::vector<std::string> row{std::move(name)};
  row.insert(row.end(), cells.begin(), cells.end());
  add(std::move(row));
}

std::string Table::text() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - width(row[i]) + 3, ' ');
    }
    out += '\n';
  }
  return out;
}

Sheet& Sheet::line(std::string name, std::string_view value) {
  lines_.emplace_back(std::move(name) + ":", shown(value));
  return *this;
}

std::string Sheet::text() const {
  size_t widest = 0;
  for (const auto& [name, value] : lines_) widest = std::max(widest, width(name));
  std::string out;
  for (const auto& [name, value] : lines_) out.append(name).append(widest - width(name) + 2, ' ').append(value).append("\n");
  return out;
}

std::string time_text(int64_t unix_seconds) {
  if (unix_seconds <= 0) return "-";
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "-";
  char buffer[40];
  const size_t length = std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%SZ", &parts);
  return std::string(buffer, length);
}

}  // namespace firn::cli
