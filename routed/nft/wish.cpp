#include "routed/nft/wish.hpp"

#include <algorithm>

namespace firn::routed::nft {

std::string quoted(std::string_view text) {
  constexpr size_t longest = 120;  // a comment of nftables has at most 128 bytes, a log prefix 127
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._:/,=+@-";
  std::string out(text.substr(0, longest));
  std::replace_if(
      out.begin(), out.end(), [&](char c) { return allowed.find(c) == std::string_view::npos; }, '?');
  return "\"" + out + "\"";
}

}  // namespace firn::routed::nft
