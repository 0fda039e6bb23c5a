// JSON in and out. Reading: typed field readers whose errors carry a JSON pointer (RFC 6901) to the place.
// Writing: an append-only writer that needs no tree. nlohmann/json reads, in tree.cpp alone.
// Hostile input: size, depth (64) and UTF-8 are checked by parse(). Thread safety: a Document is read-only after parse.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"

namespace firn::json {

enum class Kind { null, boolean, integer, number, string, array, object };
struct Node;
struct Tree;
struct Unread;

// A view of one node of a Document, which must outlive it. A default Value is "absent".
class Value {
 public:
  Value() = default;
  bool present() const { return node_ != nullptr; }
  Kind kind() const;  // REQUIRES: present()
  bool is_null() const { return present() && kind() == Kind::null; }
  // "" for the root, "/ipam/subnet" below. Worked out when asked for, by a search: reading a good document builds none.
  std::string pointer() const;

  // Member of an object; absent when there is none, when this is absent, or when this is not an object.
  Value operator[](std::string_view key) const;
  // As above, matching ASCII case-insensitively when there is no exact match (containerd emits capitalised runtimeConfig keys).
  Value find_any_case(std::string_view key) const;
  // Code::invalid naming the pointer when the kind is another. An absent value is Code::not_found, "POINTER: missing".
  Result<std::string> string() const;
  Result<int64_t> integer() const;
  Result<int64_t> integer(int64_t least, int64_t most) const;
  Result<bool> boolean() const;
  Result<std::vector<Value>> array() const;
  Result<std::vector<std::pair<std::string, Value>>> object() const;
  // Optional forms: absent or null gives the fallback; a wrong kind is still an error.
  Result<std::string> string_or(std::string fallback) const;
  Result<int64_t> integer_or(int64_t fallback, int64_t least, int64_t most) const;
  Result<bool> boolean_or(bool fallback) const;
  Result<std::vector<std::string>> strings_or_empty() const;
  // Compact JSON text of this node.
  std::string dump() const;
  // An Error at this place: "POINTER: text".
  Error error(std::string_view text) const;

 private:
  friend class Document;
  Value(const Tree* tree, const Node* node) : tree_(tree), node_(node) {}
  const Tree* tree_ = nullptr;
  const Node* node_ = nullptr;   // nullptr: absent, and this is where it would be:
  const Node* above_ = nullptr;  // the nearest node there is above it
  std::string below_;            // the pointer from there
};

class Document {
 public:
  // Code::invalid with the byte offset when the text is no JSON, is too deep or is not UTF-8.
  static Result<Document> parse(std::string_view text);
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();
  Value root() const;
  // From here on the document notes which members its readers ask for; no longer read-only.
  void note_lookups();
  // The first member, in the order of the text, that no reader asked for in an object that readers did look into.
  std::optional<Unread> unread() const;

 private:
  struct Impl;
  explicit Document(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A member that the readers of a document do not know.
struct Unread {
  Value value;
  std::string name;
  std::vector<std::string> asked;  // the members they did ask the same object for
};

// Builds compact JSON text in order of calls. Commas and quotes are its business; balance is the caller's.
//   Writer w; w.begin_object().key("name").value("a").key("ips").begin_array().value("10.0.0.1").end_array().end_object();
class Writer {
 public:
  Writer& begin_object();
  Writer& end_object();
  Writer& begin_array();
  Writer& end_array();
  Writer& key(std::string_view name);
  Writer& value(std::string_view text);  // invalid UTF-8 bytes are written as U+FFFD
  Writer& value(const char* text) { return value(std::string_view(text)); }
  Writer& value(const std::string& text) { return value(std::string_view(text)); }
  Writer& value(bool flag);
  Writer& value(int64_t number);
  Writer& value(uint64_t number);
  Writer& value(int number) { return value(static_cast<int64_t>(number)); }
  Writer& value(unsigned number) { return value(static_cast<uint64_t>(number)); }
  Writer& value(double number);
  Writer& null();
  Writer& raw(std::string_view json);  // text that is JSON already
  template <class T>
  Writer& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  // Writes the field only when the text is not empty.
  Writer& field_if(std::string_view name, std::string_view text) { return text.empty() ? *this : key(name).value(text); }
  const std::string& text() const& { return out_; }
  std::string take() && { return std::move(out_); }

 private:
  void separate();
  std::string out_;
  bool need_comma_ = false;
};

// Well-formed UTF-8, RFC 3629.
bool is_utf8(std::string_view text);

// Re-indents compact JSON for people (two blanks a level).
std::string pretty(std::string_view compact);

}  // namespace firn::json
