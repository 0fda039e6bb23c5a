// YAML in and out, by way of JSON: a document becomes the JSON text that the record codecs read, and every value keeps the place
// (line, column) where it stands, so that an error of a codec, which names a JSON pointer, can be told as a place in a file.
// YAML 1.2, core schema: `yes` is a text, `true` is a boolean. What two readers of YAML would take for different things (0123,
// duplicate keys, merge keys, tags) is refused. yaml-cpp parses, in reader.cpp alone; its exceptions stay there.
// Hostile input: bytes, depth, and the values and bytes that aliases expand to are limited. Pure. Thread safety: plain values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/json/json.hpp"

namespace firn::yaml {

struct Mark {
  int line = 1;
  int column = 1;
  std::string to_string() const { return std::to_string(line) + ":" + std::to_string(column); }
};

struct Limits {
  size_t bytes = 1 << 20;  // of the text, and again of what its aliases make of it
  size_t values = 65536;   // in all documents, aliases counted as often as they are used
  int depth = 32;
};

struct Node;  // reader.cpp

class Document {
 public:
  explicit Document(std::unique_ptr<Node> root);
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  ~Document();

  // Compact JSON, in the order of the text.
  std::string json() const;
  // Where what a JSON pointer names stands: its key, or the value itself when it has none; for one that is not there, the nearest
  // above it.
  Mark at(std::string_view pointer) const;

 private:
  std::unique_ptr<Node> root_;
};

// A text that cannot be read, and where.
struct Fault {
  Mark mark;
  std::string message;
};

// The documents of the text ('---' between them), in order; empty ones are left out. On a fault there are none.
struct Reading {
  std::vector<Document> documents;
  std::unique_ptr<Fault> fault;
};
Reading read(std::string_view text, const Limits& limits = {});

// Block form, members in the order that json::Value gives, strings quoted where any reader could take them for something else.
// Ends with a newline. read() gives the same value back.
std::string write(const json::Value& value);

}  // namespace firn::yaml
