// The word that somebody most likely meant, for "did you mean". Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace firn {

// The nearest candidate, "" when none is near. Capitals and the separators _ and - do not count: blockSize is block_size.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);
// "; did you mean 'WORD'?", or the candidates when none is near: "; known here: A, B, C" (up to 30).
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace firn
