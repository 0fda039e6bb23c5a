#include "lib/json/tree.hpp"

#include <nlohmann/json.hpp>
#include <utility>

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

// Takes what nlohmann's parser reads, value by value, into the flat tree: the library does the grammar, the escapes and UTF-8;
// this keeps its own tree of many small allocations, and its exceptions, out of the way.
class Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(Tree& tree) : tree_(tree) { link_.reserve(most_depth); }

  bool null() override { return add(Kind::null) != nullptr; }
  bool boolean(bool truth) override {
    Node* node = add(Kind::boolean);
    if (node != nullptr) node->truth = truth;
    return node != nullptr;
  }
  bool number_integer(number_integer_t number) override { return add(Kind::integer, std::to_string(number)) != nullptr; }
  bool number_unsigned(number_unsigned_t number) override { return add(Kind::integer, std::to_string(number)) != nullptr; }
  bool number_float(number_float_t, const string_t& text) override {
    // An integer beyond 64 bits comes here too: it stays an integer, one that no reader accepts.
    return add(text.find_first_of(".eE") == std::string::npos ? Kind::integer : Kind::number, text) != nullptr;
  }
  bool string(string_t& text) override { return add(Kind::string, text) != nullptr; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Kind::object); }
  bool start_array(std::size_t) override { return open(Kind::array); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    name_ = keep(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_at_ = position;
    return false;
  }
  std::size_t error_at() const { return error_at_; }

 private:
  // An open array or object, and where its next child is linked in.
  struct Open {
    Node* node;
    const Node** link;
  };

  // No string is longer than its source text, so the copy never grows beyond its reservation and views of it stay good.
  std::string_view keep(std::string_view text) {
    const size_t at = tree_.text.size();
    tree_.text.append(text);
    return std::string_view(tree_.text).substr(at);
  }

  Node* add(Kind kind, std::string_view text = {}) {
    // Never so for a text that the survey counted right; growing would move the nodes.
    if (tree_.nodes.size() == tree_.nodes.capacity()) return nullptr;
    Node& node = tree_.nodes.emplace_back();
    node.kind = kind;
    node.text = keep(text);
    if (!link_.empty()) {
      Open& parent = link_.back();
      node.name = std::exchange(name_, {});
      *parent.link = &node;
      parent.link = &node.next;
      ++parent.node->size;
    }
    return &node;
  }
  bool open(Kind kind) {
    Node* node = add(kind);
    if (node != nullptr) link_.push_back({node, &node->first});
    return node != nullptr;
  }
  bool close() {
    link_.pop_back();
    return true;
  }

  Tree& tree_;
  std::vector<Open> link_;
  std::string_view name_;
  std::size_t error_at_ = 0;
};

}  // namespace

Status parse_tree(std::string_view text, Tree& tree) {
  size_t values = 0;
  if (auto surveyed = survey(text, values); !surveyed) return surveyed;
  tree.text.clear();
  tree.text.reserve(text.size() + 1);
  tree.nodes.clear();
  tree.nodes.reserve(values);
  Builder builder(tree);
  if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return {};
  return make_error(Code::invalid, "not valid JSON at byte " + std::to_string(builder.error_at()));
}

}  // namespace firn::json
