// The parsed form of a JSON text: nodes in one array, strings as views of one copy. A record is parsed in a few
// allocations, which is what a lease of an address, and a plugin that lives for a millisecond, are made of.
// Inside this folder only. Thread safety: read-only after parse_tree().
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/json/json.hpp"

namespace firn::json {

struct Node {
  Kind kind = Kind::null;
  bool truth = false;           // of a boolean
  size_t size = 0;              // children of an array or object
  std::string_view name;        // as a member of an object, without escapes
  std::string_view text;        // a string without its escapes; a number as it was written
  const Node* first = nullptr;  // child
  const Node* next = nullptr;   // sibling
};

// Which members were asked for, by object. An object read as a whole knows all of its members.
struct Lookups {
  std::map<const Node*, std::set<std::string, std::less<>>> asked;
  std::set<const Node*> whole;
};

struct Tree {
  std::string text;                  // every string and number, one behind the other; never grows beyond its reservation
  std::vector<Node> nodes;           // the root first; never grows after its first reservation, so nodes may point at each other
  std::unique_ptr<Lookups> lookups;  // null: nobody wants to know
};

// RFC 8259, at most `most_depth` levels of brackets.
inline constexpr int most_depth = 64;
Status parse_tree(std::string_view text, Tree& tree);

}  // namespace firn::json
