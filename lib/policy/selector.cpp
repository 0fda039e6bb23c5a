// Selectors: a parser by recursive descent, a spelling that is the same for the same tree, and the matching.
#include "lib/policy/selector.hpp"

#include <algorithm>
#include <vector>

namespace firn::policy {

struct Selector::Node {
  enum class Kind { all, has, in, not_in, starts, ends, contains, no, both, either };
  Kind kind = Kind::all;
  std::string key;
  std::vector<std::string> values;  // of in and not_in sorted, each once
  std::vector<Node> below;          // of no: one; of both and either: two and more, none of them of the same kind
};

namespace {

using Node = Selector::Node;
using Kind = Selector::Node::Kind;

constexpr size_t max_text = 4096, max_terms = 256;
constexpr int max_levels = 64;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' || c == '/';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Node> whole() {
    auto node = either(0);
    if (node && peek() != 0) return expected("&&, || or the end");
    return node;
  }

 private:
  // The next character that is no blank; 0 at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(std::string_view symbol) {
    peek();
    if (!text_.substr(at_).starts_with(symbol)) return false;
    at_ += symbol.size();
    return true;
  }
  // The word that comes next, without taking it; "" when none does.
  std::string_view word() {
    peek();
    size_t end = at_;
    while (end < text_.size() && is_word(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }
  bool take_word(std::string_view wanted) {
    if (word() != wanted) return false;
    at_ += wanted.size();
    return true;
  }
  Error fail(const std::string& what) const { return make_error(Code::invalid, "column " + std::to_string(at_ + 1) + ": " + what); }
  Error expected(const std::string& what) {
    const char next = peek();
    std::string found = "the end";
    if (const auto w = word(); !w.empty()) found = "'" + std::string(w.substr(0, 64)) + "'";
    else if (next > ' ' && next < 0x7f) found = "'" + std::string(1, next) + "'";
    else if (at_ < text_.size()) found = "a character that means nothing here";
    return fail("expected " + what + ", found " + found);
  }

  static Node joined(Kind kind, std::vector<Node> parts) {
    if (parts.size() == 1) return std::move(parts.front());
    Node out{.kind = kind, .key = {}, .values = {}, .below = {}};
    for (Node& part : parts) {
      if (part.kind != kind) out.below.push_back(std::move(part));
      else std::move(part.below.begin(), part.below.end(), std::back_inserter(out.below));
    }
    return out;
  }
  static Node opposite(Node node) {
    switch (node.kind) {
      case Kind::in: node.kind = Kind::not_in; return node;
      case Kind::not_in: node.kind = Kind::in; return node;
      case Kind::no: {
        Node inner = std::move(node.below.front());
        return inner;
      }
      default: {
        Node out{.kind = Kind::no, .key = {}, .values = {}, .below = {}};
        out.below.push_back(std::move(node));
        return out;
      }
    }
  }

  Result<Node> either(int level) {
    std::vector<Node> parts;
    do {
      auto part = both(level);
      if (!part) return part;
      parts.push_back(*std::move(part));
    } while (take("||"));
    return joined(Kind::either, std::move(parts));
  }
  Result<Node> both(int level) {
    std::vector<Node> parts;
    do {
      auto part = single(level);
      if (!part) return part;
      parts.push_back(*std::move(part));
    } while (take("&&"));
    return joined(Kind::both, std::move(parts));
  }
  Result<Node> single(int level) {
    if (level > max_levels) return fail("more than " + std::to_string(max_levels) + " levels of ! and parentheses");
    if (take("!")) {
      auto node = single(level + 1);
      if (!node) return node;
      return opposite(*std::move(node));
    }
    if (take("(")) {
      auto node = either(level + 1);
      if (node && !take(")")) return expected("&&, || or )");
      return node;
    }
    if (terms_++ == max_terms) return fail("more than " + std::to_string(max_terms) + " terms");
    return term();
  }

  // A label's key: of Kubernetes' characters, so that no quotes are needed.
  Result<std::string> key() {
    const std::string_view name = word();
    if (name.empty()) return expected("a label");
    at_ += name.size();
    return std::string(name);
  }
  Result<std::string> value() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return expected("a value in quotes, as 'web'");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return fail("the quote that begins here has no end");
    const std::string_view inner = text_.substr(at_ + 1, end - at_ - 1);
    if (std::any_of(inner.begin(), inner.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
      return fail("a value has no control characters");
    at_ = end + 1;
    return std::string(inner);
  }
  Result<Node> with_value(Kind kind, std::string key) {
    auto text = value();
    if (!text) return std::move(text).error();
    return Node{.kind = kind, .key = std::move(key), .values = {*std::move(text)}, .below = {}};
  }
  Result<Node> with_values(Kind kind, std::string key) {
    Node out{.kind = kind, .key = std::move(key), .values = {}, .below = {}};
    if (!take("{")) return expected("{ and values, as {'a', 'b'}");
    do {
      auto text = value();
      if (!text) return std::move(text).error();
      out.values.push_back(*std::move(text));
    } while (take(","));
    if (!take("}")) return expected(", or }");
    std::sort(out.values.begin(), out.values.end());
    out.values.erase(std::unique(out.values.begin(), out.values.end()), out.values.end());
    return out;
  }

  Result<Node> term() {
    auto name = key();
    if (!name) return expected("a label, has(LABEL), all(), ! or (");
    if (*name == "all" && take("(")) {
      if (!take(")")) return expected(")");
      return Node{};
    }
    if (*name == "has" && take("(")) {
      auto label = key();
      if (!label) return std::move(label).error();
      if (!take(")")) return expected(")");
      return Node{.kind = Kind::has, .key = *std::move(label), .values = {}, .below = {}};
    }
    if (take("==")) return with_value(Kind::in, *std::move(name));
    if (take("!=")) return with_value(Kind::not_in, *std::move(name));
    if (take_word("in")) return with_values(Kind::in, *std::move(name));
    if (take_word("not")) {
      if (!take_word("in")) return expected("in");
      return with_values(Kind::not_in, *std::move(name));
    }
    if (take_word("contains")) return with_value(Kind::contains, *std::move(name));
    for (const auto& [first, kind] : {std::pair("starts", Kind::starts), {"ends", Kind::ends}}) {
      if (!take_word(first)) continue;
      if (!take_word("with")) return expected("with");
      return with_value(kind, *std::move(name));
    }
    return expected("==, !=, in, not in, starts with, ends with or contains");
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t terms_ = 0;
};

// There are no escapes, so a value never holds both kinds of quotes.
void write_value(std::string& out, const std::string& value) {
  const char quote = value.find('\'') == std::string::npos ? '\'' : '"';
  out.append(1, quote).append(value).append(1, quote);
}

void write(std::string& out, const Node& node) {
  const auto operation = [&](const char* text) {
    out.append(node.key).append(text);
    write_value(out, node.values.front());
  };
  const auto list = [&](const char* text) {
    out.append(node.key).append(text);
    for (size_t i = 0; i < node.values.size(); ++i) {
      out += i == 0 ? "{" : ", ";
      write_value(out, node.values[i]);
    }
    out += "}";
  };
  // && binds closer than ||, and ! closer than both.
  const auto inner = [&](const Node& below) {
    const bool parentheses = below.kind == Kind::either || (below.kind == Kind::both && node.kind == Kind::no);
    if (parentheses) out += "(";
    write(out, below);
    if (parentheses) out += ")";
  };
  switch (node.kind) {
    case Kind::all: out += "all()"; break;
    case Kind::has: out.append("has(").append(node.key).append(")"); break;
    case Kind::in: node.values.size() == 1 ? operation(" == ") : list(" in "); break;
    case Kind::not_in: node.values.size() == 1 ? operation(" != ") : list(" not in "); break;
    case Kind::starts: operation(" starts with "); break;
    case Kind::ends: operation(" ends with "); break;
    case Kind::contains: operation(" contains "); break;
    case Kind::no:
      out += "!";
      inner(node.below.front());
      break;
    case Kind::both:
    case Kind::either:
      for (size_t i = 0; i < node.below.size(); ++i) {
        if (i != 0) out += node.kind == Kind::both ? " && " : " || ";
        inner(node.below[i]);
      }
      break;
  }
}

bool matches(const Node& node, const Labels& labels) {
  const auto each = [&](const Node& below) { return matches(below, labels); };
  switch (node.kind) {
    case Kind::all: return true;
    case Kind::no: return !each(node.below.front());
    case Kind::both: return std::all_of(node.below.begin(), node.below.end(), each);
    case Kind::either: return std::any_of(node.below.begin(), node.below.end(), each);
    default: break;
  }
  const auto label = labels.find(node.key);
  if (label == labels.end()) return node.kind == Kind::not_in;
  const std::string& value = label->second;
  switch (node.kind) {
    case Kind::has: return true;
    case Kind::in: return std::binary_search(node.values.begin(), node.values.end(), value);
    case Kind::not_in: return !std::binary_search(node.values.begin(), node.values.end(), value);
    case Kind::starts: return value.starts_with(node.values.front());
    case Kind::ends: return value.ends_with(node.values.front());
    default: return value.find(node.values.front()) != std::string::npos;
  }
}

}  // namespace

Selector::Selector() = default;

Result<Selector> Selector::parse(std::string_view text) {
  const Error too_long = make_error(Code::invalid, "a selector has at most " + std::to_string(max_text) + " bytes");
  if (text.size() > max_text) return too_long;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return Selector();
  auto node = Parser(text).whole();
  if (!node) return std::move(node).error();
  Selector out;
  if (node->kind == Kind::all) return out;
  out.text_.clear();
  write(out.text_, *node);
  // It is stored and read again in this spelling.
  if (out.text_.size() > max_text) return too_long;
  out.root_ = std::make_shared<const Node>(*std::move(node));
  return out;
}

bool Selector::matches(const Labels& labels) const { return !root_ || policy::matches(*root_, labels); }

}  // namespace firn::policy
