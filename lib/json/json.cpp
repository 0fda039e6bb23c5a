#include "lib/json/json.hpp"

#include <charconv>
#include <map>

#include "lib/json/tree.hpp"
#include "lib/json/utf8.hpp"

namespace firn::json {

namespace {

// Of members with one name the last counts.
const Node* member(const Node& object, std::string_view name) {
  const Node* found = nullptr;
  for (const Node* child = object.first; child != nullptr; child = child->next) {
    if (child->name == name) found = child;
  }
  return found;
}

std::map<std::string_view, const Node*> members(const Node& object) {
  std::map<std::string_view, const Node*> out;
  for (const Node* child = object.first; child != nullptr; child = child->next) out[child->name] = child;
  return out;
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
  size_t index = 0;
  for (const Node* child = from.first; child != nullptr; child = child->next, ++index) {
    append_step(pointer, from.kind == Kind::object ? child->name : std::string_view(std::to_string(index)));
    if (find_steps(*child, target, pointer)) return true;
    pointer.resize(length);
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

void note_whole(const Tree& tree, const Node& node) {
  if (tree.lookups) tree.lookups->whole.insert(&node);
}

// The first member below `node` that no reader knows, and the object it is a member of.
struct Found {
  const Node* object = nullptr;
  const Node* member = nullptr;
};
Found first_unread(const Lookups& lookups, const Node& node) {
  const auto asked = lookups.asked.find(&node);
  const bool whole = lookups.whole.count(&node) != 0;
  for (const Node* child = node.first; child != nullptr; child = child->next) {
    if (node.kind == Kind::object && !whole) {
      // An object that nobody looked into: somebody reads it another way, or it is refused for its kind.
      if (asked == lookups.asked.end()) return {};
      if (asked->second.count(child->name) == 0) return {&node, child};
    }
    if (const Found below = first_unread(lookups, *child); below.member != nullptr) return below;
  }
  return {};
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
  Tree tree;
};

Document::Document(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::parse(std::string_view text) {
  auto impl = std::make_unique<Impl>();
  if (auto parsed = parse_tree(text, impl->tree); !parsed) return std::move(parsed).error();
  return Document(std::move(impl));
}

Value Document::root() const { return Value(&impl_->tree, impl_->tree.nodes.data()); }

void Document::note_lookups() { impl_->tree.lookups = std::make_unique<Lookups>(); }

std::optional<Unread> Document::unread() const {
  const Tree& tree = impl_->tree;
  if (!tree.lookups) return std::nullopt;
  const Found found = first_unread(*tree.lookups, tree.nodes.front());
  if (found.member == nullptr) return std::nullopt;
  const auto& asked = tree.lookups->asked.at(found.object);
  return Unread{Value(&tree, found.member), std::string(found.member->name), {asked.begin(), asked.end()}};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Value::pointer() const {
  std::string out;
  const Node* target = present() ? node_ : above_;
  if (target != nullptr) find_steps(tree_->nodes.front(), target, out);
  return out + below_;
}

Kind Value::kind() const { return node_->kind; }

Value Value::operator[](std::string_view key) const {
  if (present() && kind() == Kind::object) {
    if (tree_->lookups) tree_->lookups->asked[node_].emplace(key);
    if (const Node* found = member(*node_, key)) return Value(tree_, found);
  }
  Value out(tree_, nullptr);
  out.above_ = present() ? node_ : above_;
  out.below_ = below_;
  append_step(out.below_, key);
  return out;
}

Value Value::find_any_case(std::string_view key) const {
  Value exact = (*this)[key];
  if (exact.present() || !present() || kind() != Kind::object) return exact;
  note_whole(*tree_, *node_);
  for (const auto& [name, node] : members(*node_)) {
    if (same_any_case(name, key)) return Value(tree_, node);
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
  return std::string(node_->text);
}

Result<int64_t> Value::integer() const {
  if (!present() || kind() != Kind::integer) return wrong_kind(*this, "an integer");
  const std::string_view text = node_->text;
  int64_t out = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), out).ec != std::errc{}) return error("is too large");
  return out;
}

Result<int64_t> Value::integer(int64_t least, int64_t most) const {
  auto out = integer();
  if (out && (*out < least || *out > most)) return error("must be " + std::to_string(least) + " to " + std::to_string(most));
  return out;
}

Result<bool> Value::boolean() const {
  if (!present() || kind() != Kind::boolean) return wrong_kind(*this, "true or false");
  return node_->truth;
}

Result<std::vector<Value>> Value::array() const {
  if (!present() || kind() != Kind::array) return wrong_kind(*this, "an array");
  std::vector<Value> out;
  out.reserve(node_->size);
  for (const Node* child = node_->first; child != nullptr; child = child->next) out.push_back(Value(tree_, child));
  return out;
}

Result<std::vector<std::pair<std::string, Value>>> Value::object() const {
  if (!present() || kind() != Kind::object) return wrong_kind(*this, "an object");
  note_whole(*tree_, *node_);
  std::vector<std::pair<std::string, Value>> out;
  for (const auto& [name, node] : members(*node_)) out.emplace_back(name, Value(tree_, node));
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

namespace {

void write(Writer& w, const Node& node) {
  switch (node.kind) {
    case Kind::null: w.null(); break;
    case Kind::boolean: w.value(node.truth); break;
    case Kind::integer:
    case Kind::number: w.raw(node.text); break;
    case Kind::string: w.value(node.text); break;
    case Kind::array:
      w.begin_array();
      for (const Node* child = node.first; child != nullptr; child = child->next) write(w, *child);
      w.end_array();
      break;
    case Kind::object:
      w.begin_object();
      for (const auto& [name, child] : members(node)) {
        w.key(name);
        write(w, *child);
      }
      w.end_object();
      break;
  }
}

}  // namespace

std::string Value::dump() const {
  if (!present()) return "null";
  note_whole(*tree_, *node_);
  Writer w;
  write(w, *node_);
  return std::move(w).take();
}

}  // namespace firn::json
