#include "routed/nft/wish.hpp"

namespace firn::routed::nft {

namespace {

constexpr size_t longest = 120;  // nft's own limits: 128 bytes of a comment, 127 of a log prefix

bool plain(char c) {
  if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
  return std::string_view(" ._:/,=+@-()!&|{}'<>").find(c) != std::string_view::npos;
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, longest)) out.push_back(plain(c) ? c : '?');
  return out + "\"";
}

}  // namespace firn::routed::nft
