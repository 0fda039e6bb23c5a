// Words that look like another word: an unknown field that is nearly a known one is a slip of the pen. Pure.
#pragma once

#include <span>
#include <string_view>

namespace firn::cni {

// The known word that `word` resembles (two slips at most, one in a word of up to five letters, letter case apart); "" when there
// is none.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace firn::cni
