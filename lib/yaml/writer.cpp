#include "lib/yaml/scalar.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::yaml {

namespace {

std::string quoted(std::string_view text) {
  if (reads_as_itself(text)) return std::string(text);
  // A JSON string is a YAML double-quoted one.
  json::Writer w;
  w.value(text);
  return std::move(w).take();
}

std::string scalar_text(const json::Value& value) {
  return value.kind() == json::Kind::string ? quoted(*value.string()) : value.dump();
}

bool is_block(const json::Value& value) {
  if (value.kind() == json::Kind::array) return !value.array()->empty();
  return value.kind() == json::Kind::object && !value.object()->empty();
}

// The lines of a value that is not empty, each with its indentation. `first`: the first line's place is already there ("- ").
void write_block(std::string& out, const json::Value& value, size_t depth, bool first) {
  const auto indent = [&] {
    if (!first) out.append(depth * 2, ' ');
    first = false;
  };
  if (value.kind() == json::Kind::object) {
    for (const auto& [name, member] : *value.object()) {
      indent();
      out.append(quoted(name)).append(":");
      if (is_block(member)) {
        out += '\n';
        write_block(out, member, depth + 1, false);
      } else {
        out.append(" ").append(scalar_text(member)).append("\n");
      }
    }
    return;
  }
  for (const json::Value& item : *value.array()) {
    indent();
    out += "- ";
    if (is_block(item)) {
      write_block(out, item, depth + 1, true);
    } else {
      out.append(scalar_text(item)).append("\n");
    }
  }
}

}  // namespace

std::string write(const json::Value& value) {
  if (!value.present()) return "null\n";
  if (!is_block(value)) return scalar_text(value) + "\n";
  std::string out;
  write_block(out, value, 0, false);
  return out;
}

}  // namespace firn::yaml
