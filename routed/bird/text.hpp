// Building blocks of the text of bird.conf. Private to routed/bird. Thread safety: plain values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "routed/bird/config.hpp"

namespace firn::routed::bird {

struct FamilyWords {
  std::string_view channel, kernel, digit;
};

inline FamilyWords words(Family family) {
  return family == Family::v4 ? FamilyWords{"ipv4", "firn_kernel4", "4"} : FamilyWords{"ipv6", "firn_kernel6", "6"};
}

class Text {
 public:
  Text& line(std::string_view text) {
    out_.append(text).append("\n");
    return *this;
  }
  Text& option(std::string_view name, std::string_view value) {
    out_.append("  ").append(name).append(" ").append(value).append(";\n");
    return *this;
  }
  Text& open_protocol(std::string_view kind, std::string name) {
    // A node's name may have characters that a bare symbol may not.
    const bool bare = name.find_first_of(".-") == std::string::npos;
    out_.append("\nprotocol ").append(kind).append(bare ? " " : " '").append(name).append(bare ? " {\n" : "' {\n");
    protocols_.push_back(std::move(name));
    return *this;
  }
  Rendered take() && { return Rendered{std::move(out_), std::move(protocols_)}; }

 private:
  std::string out_;
  std::vector<std::string> protocols_;
};

inline std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace firn::routed::bird
