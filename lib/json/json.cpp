#include "lib/json/json.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

namespace firn::json {

using Node = nlohmann::json;

namespace {

constexpr int max_depth = 64;

const Node& as_node(const void* node) { return *static_cast<const Node*>(node); }

// Counts brackets outside strings. Runs before the parser so that no input can make it, or a destructor, recurse deeply.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > max_depth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

void append_step(std::string& pointer, std::string_view key) {
  pointer += '/';
  for (const char c : key) {
    if (c == '~') pointer += "~0";
    else if (c == '/') pointer += "~1";
    else pointer += c;
  }
}

// Appends the steps from `from` to `target`; false when it is not there. Errors alone come here.
bool find_steps(const Node& from, const Node* target, std::string& pointer) {
  if (&from == target) return true;
  const size_t length = pointer.size();
  if (from.is_object()) {
    for (const auto& [name, node] : from.items()) {
      append_step(pointer, name);
      if (find_steps(node, target, pointer)) return true;
      pointer.resize(length);
    }
  } else if (from.is_array()) {
    for (size_t i = 0; i < from.size(); ++i) {
      append_step(pointer, std::to_string(i));
      if (find_steps(from[i], target, pointer)) return true;
      pointer.resize(length);
    }
  }
  return false;
}

bool same_any_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::null: return "null";
    case Kind::boolean: return "a boolean";
    case Kind::integer: return "an integer";
    case Kind::number: return "a number";
    case Kind::string: return "a string";
    case Kind::array: return "an array";
    case Kind::object: return "an object";
  }
  return "?";
}

}  // namespace

struct Document::Impl {
  Node root;
};

Document::Document(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::parse(std::string_view text) {
  if (too_deep(text)) return make_error(Code::invalid, "JSON is nested deeper than " + std::to_string(max_depth) + " levels");
  auto impl = std::make_unique<Impl>();
  try {
    impl->root = Node::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& e) {
    return make_error(Code::invalid, "not valid JSON at byte " + std::to_string(e.byte));
  } catch (const std::exception&) {
    return make_error(Code::invalid, "not valid JSON");
  }
  return Document(std::move(impl));
}

Value Document::root() const { return Value(&impl_->root, &impl_->root); }

std::string Value::pointer() const {
  std::string out;
  const void* target = present() ? node_ : above_;
  if (target != nullptr) find_steps(as_node(root_), static_cast<const Node*>(target), out);
  return out + below_;
}

Kind Value::kind() const {
  switch (as_node(node_).type()) {
    case Node::value_t::boolean: return Kind::boolean;
    case Node::value_t::number_integer:
    case Node::value_t::number_unsigned: return Kind::integer;
    case Node::value_t::number_float: return Kind::number;
    case Node::value_t::string: return Kind::string;
    case Node::value_t::array: return Kind::array;
    case Node::value_t::object: return Kind::object;
    default: return Kind::null;
  }
}

Value Value::operator[](std::string_view key) const {
  if (present() && as_node(node_).is_object()) {
    const auto& node = as_node(node_);
    const auto it = node.find(key);
    if (it != node.end()) return Value(root_, &*it);
  }
  Value out(root_, nullptr);
  out.above_ = present() ? node_ : above_;
  out.below_ = below_;
  append_step(out.below_, key);
  return out;
}

Value Value::find_any_case(std::string_view key) const {
  Value exact = (*this)[key];
  if (exact.present() || !present() || !as_node(node_).is_object()) return exact;
  for (const auto& [name, node] : as_node(node_).items()) {
    if (same_any_case(name, key)) return Value(root_, &node);
  }
  return exact;
}

Error Value::error(std::string_view text) const {
  const std::string at = pointer();
  return make_error(Code::invalid, (at.empty() ? std::string("the document") : at) + ": " + std::string(text));
}

namespace {

Error wrong_kind(const Value& value, std::string_view wanted) {
  if (!value.present()) return make_error(Code::not_found, value.pointer() + ": missing");
  return value.error("must be " + std::string(wanted) + ", not " + std::string(name_of(value.kind())));
}

}  // namespace

Result<std::string> Value::string() const {
  if (!present() || kind() != Kind::string) return wrong_kind(*this, "a string");
  return as_node(node_).get_ref<const std::string&>();
}

Result<int64_t> Value::integer() const {
  if (!present() || kind() != Kind::integer) return wrong_kind(*this, "an integer");
  const auto& node = as_node(node_);
  if (node.is_number_unsigned() && node.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return error("is too large");
  return node.get<int64_t>();
}

Result<int64_t> Value::integer(int64_t least, int64_t most) const {
  auto out = integer();
  if (out && (*out < least || *out > most)) return error("must be " + std::to_string(least) + " to " + std::to_string(most));
  return out;
}

Result<bool> Value::boolean() const {
  if (!present() || kind() != Kind::boolean) return wrong_kind(*this, "true or false");
  return as_node(node_).get<bool>();
}

Result<std::vector<Value>> Value::array() const {
  if (!present() || kind() != Kind::array) return wrong_kind(*this, "an array");
  std::vector<Value> out;
  out.reserve(as_node(node_).size());
  for (const auto& node : as_node(node_)) out.push_back(Value(root_, &node));
  return out;
}

Result<std::vector<std::pair<std::string, Value>>> Value::object() const {
  if (!present() || kind() != Kind::object) return wrong_kind(*this, "an object");
  std::vector<std::pair<std::string, Value>> out;
  for (const auto& [name, node] : as_node(node_).items()) out.emplace_back(name, Value(root_, &node));
  return out;
}

Result<std::string> Value::string_or(std::string fallback) const {
  if (!present() || is_null()) return fallback;
  return string();
}

Result<int64_t> Value::integer_or(int64_t fallback, int64_t least, int64_t most) const {
  if (!present() || is_null()) return fallback;
  return integer(least, most);
}

Result<bool> Value::boolean_or(bool fallback) const {
  if (!present() || is_null()) return fallback;
  return boolean();
}

Result<std::vector<std::string>> Value::strings_or_empty() const {
  std::vector<std::string> out;
  if (!present() || is_null()) return out;
  auto items = array();
  if (!items) return std::move(items).error();
  for (const Value& item : *items) {
    auto text = item.string();
    if (!text) return std::move(text).error();
    out.push_back(*std::move(text));
  }
  return out;
}

std::string Value::dump() const {
  return present() ? as_node(node_).dump(-1, ' ', false, Node::error_handler_t::replace) : "null";
}

void Writer::separate() {
  if (need_comma_) out_ += ',';
  need_comma_ = true;
}

Writer& Writer::begin_object() {
  separate();
  out_ += '{';
  need_comma_ = false;
  return *this;
}

Writer& Writer::end_object() {
  out_ += '}';
  need_comma_ = true;
  return *this;
}

Writer& Writer::begin_array() {
  separate();
  out_ += '[';
  need_comma_ = false;
  return *this;
}

Writer& Writer::end_array() {
  out_ += ']';
  need_comma_ = true;
  return *this;
}

namespace {

// Length of the well-formed UTF-8 sequence (RFC 3629) at the start of `s`, 0 when there is none.
size_t utf8_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const auto tail = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) { return i < s.size() && byte(i) >= low && byte(i) <= high; };
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

void append_quoted(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < text.size();) {
    size_t plain = i;  // as long as nothing needs care: nearly always to the end
    while (plain < text.size() && text[plain] >= 0x20 && text[plain] != 0x7f && text[plain] != '"' && text[plain] != '\\') ++plain;
    out += text.substr(i, plain - i);
    i = plain;
    if (i == text.size()) break;
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
      ++i;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += "\\u00";
      out += digits[c >> 4];
      out += digits[c & 15];
      ++i;
    } else if (const size_t n = utf8_length(text.substr(i)); n > 0) {
      out += text.substr(i, n);
      i += n;
    } else {
      out += "\xef\xbf\xbd";
      ++i;
    }
  }
  out += '"';
}

}  // namespace

Writer& Writer::key(std::string_view name) {
  separate();
  append_quoted(out_, name);
  out_ += ':';
  need_comma_ = false;
  return *this;
}

Writer& Writer::value(std::string_view text) {
  separate();
  append_quoted(out_, text);
  return *this;
}

Writer& Writer::value(bool flag) { return raw(flag ? "true" : "false"); }
Writer& Writer::value(int64_t number) { return raw(std::to_string(number)); }
Writer& Writer::value(uint64_t number) { return raw(std::to_string(number)); }

Writer& Writer::value(double number) {
  char buffer[32];
  const auto [end, ec] = std::to_chars(buffer, buffer + sizeof buffer, number);
  return raw(ec == std::errc{} ? std::string_view(buffer, static_cast<size_t>(end - buffer)) : "0");
}

Writer& Writer::null() { return raw("null"); }

Writer& Writer::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

std::string pretty(std::string_view compact) {
  auto node = nlohmann::ordered_json::parse(compact, nullptr, false);
  return node.is_discarded() ? std::string(compact) : node.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace firn::json
