// Selectors over labels: `app == 'web' && has(tier) && env in {'prod', 'stage'}`. Grammar and meaning: docs/policy.md.
//   ||  &&  !  ( )   KEY == 'V'   KEY != 'V'   KEY in {'A', 'B'}   KEY not in {...}   has(KEY)   all()
//   KEY starts with 'V'   KEY ends with 'V'   KEY contains 'V'
// A label that is not there: != and `not in` are true, everything else about it is false (as in Kubernetes).
// The text is hostile: at most 4 KiB, 64 levels and 256 terms. Pure; thread safety: immutable value.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn::policy {

using Labels = std::map<std::string, std::string>;

class Selector {
 public:
  Selector();  // all()
  // "" is all(). Code::invalid: the message has the column and what was expected there.
  static Result<Selector> parse(std::string_view text);

  bool matches(const Labels& labels) const;
  // Two selectors with the same text here select the same: one spelling, values of `in` sorted, no needless parentheses.
  const std::string& text() const { return text_; }
  bool operator==(const Selector& other) const { return text_ == other.text_; }

  struct Node;

 private:
  std::shared_ptr<const Node> root_;  // null: all()
  std::string text_ = "all()";
};

}  // namespace firn::policy
