// Small files, whole: read with a limit, write so that a reader or a kill sees the old content or the new, never a mix.
// Owns nothing. A kill -9 in write_file_atomic leaves at most "PATH.tmp", which the next write replaces.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn {

// Reads at most `limit` bytes; a larger file is Code::invalid.
Result<std::string> read_file(const std::string& path, size_t limit = 64 * 1024);
// Reads a descriptor to its end (a pipe, stdin) with the same limit.
Result<std::string> read_descriptor(int fd, size_t limit);
// Temp file in the same directory, fsync, rename, fsync of the directory.
Status write_file_atomic(const std::string& path, std::string_view content, mode_t mode = 0640);
// One write(2), as sysctls want. `value` without newline.
Status write_sysctl(const std::string& path, std::string_view value);
// Creates the directory and its parents (mode for the last one); existing is fine.
Status make_directories(const std::string& path, mode_t mode = 0750);

}  // namespace firn
