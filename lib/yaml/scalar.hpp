// What a plain scalar is: YAML 1.2's core schema, and where other readers of YAML see something else. Inside this folder only.
// Pure.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/result.hpp"
#include "lib/json/json.hpp"

namespace firn::yaml {

struct Scalar {
  json::Kind kind = json::Kind::string;
  std::string text;  // of a string the string; otherwise the JSON of it
};

// Code::invalid for one that JSON cannot hold (.inf) or that readers disagree about (0123).
Result<Scalar> plain_scalar(std::string_view text);
// Whether every reader of YAML, 1.1 or 1.2, takes the unquoted text for this very string.
bool reads_as_itself(std::string_view text);

}  // namespace firn::yaml
