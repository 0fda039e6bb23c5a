#include "lib/json/tree.hpp"

#include <cstring>

#include "lib/json/utf8.hpp"

namespace firn::json {
namespace {

// One look at the text before anything is built: how deep it goes, so that no input makes the parser recurse far, and how many
// values it can hold at most. Every value but the root follows a bracket or a comma.
Status survey(std::string_view text, size_t& values) {
  int depth = 0;
  values = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        for (++i;; ++i) {
          i += plain_length(text.substr(i));
          if (i >= text.size() || text[i] == '"') break;
          if (text[i] == '\\' && ++i >= text.size()) break;
        }
        break;
      case '[':
      case '{':
        if (++depth > most_depth) {
          return make_error(Code::invalid, "JSON is nested deeper than " + std::to_string(most_depth) + " levels");
        }
        ++values;
        break;
      case ',': ++values; break;
      case ']':
      case '}': --depth; break;
      default: break;
    }
  }
  return {};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Recursive descent. Every function returns false at the first byte that cannot be; at_ is there.
class Parser {
 public:
  explicit Parser(Tree& tree) : tree_(tree), data_(tree.text.data()), end_(tree.text.size()) {}

  bool run() {
    if (!value(add())) return false;
    skip_blanks();
    return at_ == end_;
  }
  size_t at() const { return at_; }

 private:
  Node& add() { return tree_.nodes.emplace_back(); }
  char peek() const { return at_ < end_ ? data_[at_] : '\0'; }
  bool accept(char c) {
    if (at_ == end_ || data_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip_blanks() {
    while (at_ < end_ && (data_[at_] == ' ' || data_[at_] == '\n' || data_[at_] == '\r' || data_[at_] == '\t')) ++at_;
  }
  bool word(std::string_view text) {
    for (const char c : text) {
      if (!accept(c)) return false;
    }
    return true;
  }

  bool value(Node& node) {
    skip_blanks();
    switch (peek()) {
      case '{': return members(node, Kind::object, '}');
      case '[': return members(node, Kind::array, ']');
      case '"': node.kind = Kind::string; return string(node.text);
      case 't':
        node.kind = Kind::boolean;
        node.truth = true;
        return word("true");
      case 'f': node.kind = Kind::boolean; return word("false");
      case 'n': return word("null");
      default: return number(node);
    }
  }

  bool members(Node& node, Kind kind, char close) {
    node.kind = kind;
    ++at_;
    skip_blanks();
    if (accept(close)) return true;
    const Node** link = &node.first;
    for (;;) {
      // More values than the survey counted would move the nodes; text that has them is no JSON.
      if (tree_.nodes.size() == tree_.nodes.capacity()) return false;
      Node& child = add();
      if (kind == Kind::object) {
        skip_blanks();
        if (peek() != '"' || !string(child.name)) return false;
        skip_blanks();
        if (!accept(':')) return false;
      }
      if (!value(child)) return false;
      *link = &child;
      link = &child.next;
      ++node.size;
      skip_blanks();
      if (accept(close)) return true;
      if (!accept(',')) return false;
    }
  }

  bool digits() {
    if (!is_digit(peek())) return false;
    while (is_digit(peek())) ++at_;
    return true;
  }

  bool number(Node& node) {
    const size_t start = at_;
    node.kind = Kind::integer;
    accept('-');
    if (!accept('0') && !digits()) return false;
    if (accept('.')) {
      node.kind = Kind::number;
      if (!digits()) return false;
    }
    if (accept('e') || accept('E')) {
      node.kind = Kind::number;
      if (!accept('+')) accept('-');
      if (!digits()) return false;
    }
    node.text = std::string_view(data_ + start, at_ - start);
    return true;
  }

  bool string(std::string_view& out) {
    const size_t start = ++at_;
    size_t to = start;  // where the next byte of the string without escapes goes; behind or at at_
    for (;;) {
      const std::string_view rest(data_ + at_, end_ - at_);
      const size_t plain = plain_length(rest);
      move(to, plain);
      if (at_ == end_) return false;
      const char c = data_[at_];
      if (c == '"') {
        ++at_;
        out = std::string_view(data_ + start, to - start);
        return true;
      }
      if (c == '\\') {
        if (!escape(to)) return false;
      } else if (const size_t n = static_cast<uint8_t>(c) < 0x20 ? 0 : utf8_length(rest.substr(plain)); n > 0) {
        move(to, n);
      } else {
        return false;
      }
    }
  }

  void move(size_t& to, size_t count) {
    if (to != at_) std::memmove(data_ + to, data_ + at_, count);
    to += count;
    at_ += count;
  }

  bool hex(uint32_t& out) {
    out = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const char lower = static_cast<char>(c | 0x20);
      if (is_digit(c)) out = out * 16 + static_cast<uint32_t>(c - '0');
      else if (lower >= 'a' && lower <= 'f') out = out * 16 + static_cast<uint32_t>(lower - 'a') + 10;
      else return false;
    }
    return true;
  }

  bool escape(size_t& to) {
    ++at_;
    const char c = peek();
    static constexpr std::string_view from = "\"\\/bfnrt";
    static constexpr std::string_view into = "\"\\/\b\f\n\r\t";
    if (const size_t which = from.find(c); c != '\0' && which != std::string_view::npos) {
      ++at_;
      data_[to++] = into[which];
      return true;
    }
    uint32_t code = 0;
    if (!accept('u') || !hex(code)) return false;
    if (code >= 0xdc00 && code <= 0xdfff) return false;
    if (code >= 0xd800 && code <= 0xdbff) {
      uint32_t low = 0;
      if (!accept('\\') || !accept('u') || !hex(low) || low < 0xdc00 || low > 0xdfff) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(to, code);
    return true;
  }

  // Never longer than the escape it comes from.
  void put_utf8(size_t& to, uint32_t code) {
    const auto put = [&](uint32_t byte) { data_[to++] = static_cast<char>(byte); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
      put(0xc0 | (code >> 6));
    } else {
      if (code < 0x10000) {
        put(0xe0 | (code >> 12));
      } else {
        put(0xf0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3f));
      }
      put(0x80 | ((code >> 6) & 0x3f));
    }
    put(0x80 | (code & 0x3f));
  }

  Tree& tree_;
  char* data_;
  size_t end_;
  size_t at_ = 0;
};

}  // namespace

Status parse_tree(std::string_view text, Tree& tree) {
  size_t values = 0;
  if (auto surveyed = survey(text, values); !surveyed) return surveyed;
  tree.text = text;
  tree.nodes.clear();
  tree.nodes.reserve(values);
  Parser parser(tree);
  if (parser.run()) return {};
  return make_error(Code::invalid, "not valid JSON at byte " + std::to_string(parser.at() + 1));
}

}  // namespace firn::json
