// The difference of two texts, in the unified form that diff(1), patch(1) and every reviewer know. Pure.
#pragma once

#include <string>
#include <string_view>

namespace firn::cli {

// "" when they are equal. Each text is empty or ends with a newline; an empty one stands for an object that is not there
// (/dev/null).
std::string unified_diff(std::string_view name, std::string_view before, std::string_view after);

}  // namespace firn::cli
