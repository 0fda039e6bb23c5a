#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "lib/yaml/scalar.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::yaml {

struct Member {
  std::string key;  // of an object
  Mark key_mark;
  std::unique_ptr<Node> value;
};

struct Node {
  json::Kind kind = json::Kind::null;
  std::string text;  // of a string the string, of another scalar its JSON
  Mark mark;
  std::vector<Member> members;
};

namespace {

constexpr size_t longest_key = 256;

Mark mark_of(const YAML::Mark& mark) { return mark.is_null() ? Mark{} : Mark{mark.line + 1, mark.column + 1}; }

// Builds the tree of one document out of yaml-cpp's events. After the first fault the rest of the events is let pass: the parser
// cannot be stopped but by an exception.
class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(const Limits& limits) : limits_(limits) {}

  std::unique_ptr<Node> take() { return std::move(root_); }
  std::optional<Fault>& fault() { return fault_; }
  const Mark& start() const { return start_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    start_ = mark_of(mark);
    open_.clear();
    anchors_.clear();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    scalar(mark_of(mark), anchor, {json::Kind::null, "null"}, "");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    const Mark at = mark_of(mark);
    if (fault_) return;
    if (wants_key()) return key(at, text, tag == "?" && text == "<<");
    if (tag == "?") {
      auto plain = plain_scalar(text);
      if (!plain) return fail(at, plain.error().message);
      return scalar(at, anchor, *std::move(plain), text);
    }
    if (!check_tag(at, tag, "str")) return;
    scalar(at, anchor, {json::Kind::string, text}, text);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const Mark at = mark_of(mark);
    if (fault_) return;
    if (wants_key()) return fail(at, "an alias cannot be a key");
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) return fail(at, "the alias stands inside of what it refers to");
    auto copy = copied(*found->second, at);
    if (!fault_) place(std::move(copy));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    start(mark_of(mark), tag, "seq", anchor, json::Kind::array);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    start(mark_of(mark), tag, "map", anchor, json::Kind::object);
  }
  void OnMapEnd() override { end(); }

  void fail(const Mark& at, std::string message) {
    if (!fault_) fault_ = Fault{at, std::move(message)};
  }

 private:
  // An array or object whose end has not come.
  struct Open {
    Node* node;
    YAML::anchor_t anchor;
    std::optional<Member> pending;  // of an object: a key that waits for its value
    std::set<std::string> keys;
  };

  bool wants_key() const { return !open_.empty() && open_.back().node->kind == json::Kind::object && !open_.back().pending; }

  bool check_tag(const Mark& at, const std::string& tag, const std::string& expected) {
    if (tag.empty() || tag == "?" || tag == "!" || tag == "tag:yaml.org,2002:" + expected) return true;
    fail(at, "the tag " + tag.substr(0, 64) + " is not read here; quote what is a text, and leave the rest plain");
    return false;
  }

  bool count(const Mark& at, size_t bytes) {
    bytes_ += bytes;
    if (++values_ > limits_.values)
      fail(at, "more than " + std::to_string(limits_.values) + " values, aliases counted as often as they are used");
    // An escape can be shorter than what it stands for, never by more than half.
    if (bytes_ > 2 * limits_.bytes) fail(at, "the aliases make more than " + std::to_string(2 * limits_.bytes) + " bytes of this");
    return !fault_;
  }

  void key(const Mark& at, const std::string& text, bool merge) {
    Open& object = open_.back();
    if (merge) return fail(at, "merge keys (<<) are not read; write the fields out");
    if (text.size() > longest_key) return fail(at, "the key is longer than " + std::to_string(longest_key) + " bytes");
    if (!object.keys.insert(text).second) {
      for (const Member& member : object.node->members) {
        if (member.key == text)
          return fail(at, "'" + text + "' is here twice, first at line " + std::to_string(member.key_mark.line));
      }
    }
    bytes_ += text.size();
    object.pending = Member{text, at, nullptr};
  }

  // Puts a value where the parser is.
  Node* place(std::unique_ptr<Node> node) {
    Node* placed = node.get();
    if (open_.empty()) {
      root_ = std::move(node);
      return placed;
    }
    Open& parent = open_.back();
    Member member = parent.pending ? *std::exchange(parent.pending, std::nullopt) : Member{"", node->mark, nullptr};
    member.value = std::move(node);
    parent.node->members.push_back(std::move(member));
    return placed;
  }

  void scalar(const Mark& at, YAML::anchor_t anchor, Scalar value, const std::string& source) {
    if (fault_) return;
    if (wants_key()) return key(at, source, false);
    if (!count(at, value.text.size())) return;
    auto node = std::make_unique<Node>();
    node->kind = value.kind;
    node->text = std::move(value.text);
    node->mark = at;
    Node* placed = place(std::move(node));
    if (anchor != YAML::NullAnchor) anchors_[anchor] = placed;
  }

  void start(const Mark& at, const std::string& tag, const char* expected, YAML::anchor_t anchor, json::Kind kind) {
    if (fault_) return;
    if (wants_key()) return fail(at, "a key must be one word");
    if (!check_tag(at, tag, expected) || !count(at, 0)) return;
    if (static_cast<int>(open_.size()) >= limits_.depth)
      return fail(at, "nested deeper than " + std::to_string(limits_.depth) + " levels");
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->mark = at;
    open_.push_back(Open{place(std::move(node)), anchor, std::nullopt, {}});
  }

  void end() {
    if (fault_ || open_.empty()) return;
    if (open_.back().anchor != YAML::NullAnchor) anchors_[open_.back().anchor] = open_.back().node;
    open_.pop_back();
  }

  // What an alias stands for, counted again.
  std::unique_ptr<Node> copied(const Node& node, const Mark& at) { return copied(node, at, static_cast<int>(open_.size())); }
  std::unique_ptr<Node> copied(const Node& node, const Mark& at, int depth) {
    auto copy = std::make_unique<Node>();
    copy->kind = node.kind;
    copy->mark = node.mark;
    if (!count(at, node.text.size())) return copy;
    if (!node.members.empty() && depth >= limits_.depth)
      fail(at, "nested deeper than " + std::to_string(limits_.depth) + " levels");
    copy->text = node.text;
    for (const Member& member : node.members) {
      if (fault_) break;
      bytes_ += member.key.size();
      copy->members.push_back(Member{member.key, member.key_mark, copied(*member.value, at, depth + 1)});
    }
    return copy;
  }

  const Limits& limits_;
  size_t values_ = 0, bytes_ = 0;
  std::unique_ptr<Node> root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, const Node*> anchors_;
  std::optional<Fault> fault_;
  Mark start_;
};

// The parser's words for what people do most often, in ours.
std::string explained(const std::string& message) {
  static const std::pair<std::string_view, std::string_view> words[] = {
      {"illegal map value", "a ':' with a blank behind it stands inside of a value; quote the value, or look at the indentation"},
      {"end of map not found", "the indentation fits no line above"},
      {"end of sequence not found", "the indentation fits no line above"},
      {"end of map flow not found", "a '{' has no '}'"},
      {"end of sequence flow not found", "a '[' has no ']'"},
      {"illegal EOF in scalar", "a quote is not closed"},
      {"unknown token", "this is no YAML; quote a text that begins with @ or `"},
  };
  for (const auto& [theirs, ours] : words) {
    if (message == theirs) return std::string(ours);
  }
  return message;
}

std::string_view line_at(std::string_view text, int line) {
  size_t from = 0;
  for (int i = 1; i < line; ++i) {
    const size_t end = text.find('\n', from);
    if (end == std::string_view::npos) return {};
    from = end + 1;
  }
  return text.substr(from, text.find('\n', from) - from);
}

// What no YAML may hold, and what yaml-cpp would read as something else: bytes that are no UTF-8 or no text (it takes 0x04 for the
// end), and tabs as indentation of a block (it takes them for blanks sometimes). In the brackets of JSON a tab is a blank.
std::optional<Fault> survey(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) return Fault{{}, "is larger than " + std::to_string(limits.bytes) + " bytes"};
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool brackets = first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
  int line = 1;
  for (size_t from = 0; from < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string_view here = text.substr(from, end - from);
    if (!json::is_utf8(here)) return Fault{{line, 1}, "the line is no UTF-8"};
    for (size_t i = 0; i < here.size(); ++i) {
      const auto byte = static_cast<unsigned char>(here[i]);
      if (byte < 0x20 && byte != '\t' && byte != '\r')
        return Fault{{line, static_cast<int>(i) + 1}, "a control character stands here"};
    }
    if (!brackets && here.starts_with('\t') && here.find_first_not_of(" \t\r") != std::string_view::npos) {
      return Fault{{line, 1}, "the line is indented with a tab; YAML wants blanks"};
    }
    from = end + 1;
  }
  return std::nullopt;
}

void append_json(json::Writer& w, const Node& node) {
  switch (node.kind) {
    case json::Kind::string: w.value(node.text); return;
    case json::Kind::object:
      w.begin_object();
      for (const Member& member : node.members) {
        w.key(member.key);
        append_json(w, *member.value);
      }
      w.end_object();
      return;
    case json::Kind::array:
      w.begin_array();
      for (const Member& member : node.members) append_json(w, *member.value);
      w.end_array();
      return;
    default: w.raw(node.text); return;
  }
}

struct Found {
  const Node* node;
  const Member* member;  // that holds it; null for the root
};

// As far down the pointer as there is something.
Found find(const Node& root, std::string_view pointer) {
  Found at{&root, nullptr};
  while (pointer.starts_with('/')) {
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    std::string step;
    for (size_t i = 0; i < end; ++i) {
      const bool escape = pointer[i] == '~' && i + 1 < end;
      step += escape ? (pointer[++i] == '1' ? '/' : '~') : pointer[i];
    }
    pointer.remove_prefix(end);
    const Member* next = nullptr;
    for (size_t i = 0; i < at.node->members.size(); ++i) {
      const Member& member = at.node->members[i];
      if (at.node->kind == json::Kind::array ? std::to_string(i) == step : member.key == step) next = &member;
    }
    if (next == nullptr) return at;
    at = {next->value.get(), next};
  }
  return at;
}

}  // namespace

Document::Document(std::unique_ptr<Node> root) : root_(std::move(root)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

std::string Document::json() const {
  json::Writer w;
  append_json(w, *root_);
  return std::move(w).take();
}

Mark Document::at(std::string_view pointer) const {
  const Found found = find(*root_, pointer);
  return found.member != nullptr ? found.member->key_mark : found.node->mark;
}

Reading read(std::string_view text, const Limits& limits) {
  Reading out;
  const auto fail = [&](Fault fault) {
    out.documents.clear();
    out.fault = std::make_unique<Fault>(std::move(fault));
  };
  if (auto fault = survey(text, limits)) {
    fail(*std::move(fault));
    return out;
  }
  Builder builder(limits);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    for (bool first = true; parser.HandleNextDocument(builder); first = false) {
      if (builder.fault()) break;
      // yaml-cpp takes what it cannot fit into a document for the next one.
      if (!first && !line_at(text, builder.start().line).starts_with("---")) {
        builder.fail(builder.start(), "this belongs to nothing above; look at the indentation, or begin a document with '---'");
        break;
      }
      auto root = builder.take();
      if (root && root->kind != json::Kind::null) out.documents.emplace_back(std::move(root));
    }
  } catch (const YAML::Exception& error) {
    builder.fail(mark_of(error.mark), explained(error.msg));
  }
  if (builder.fault()) fail(*std::move(builder.fault()));
  return out;
}

}  // namespace firn::yaml
