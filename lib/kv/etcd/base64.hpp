// Base64 with padding (RFC 4648, section 4), as JSON carries bytes for etcd. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace firn::kv {

std::string to_base64(std::string_view bytes);
// Nothing when the text is no canonical base64.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace firn::kv
