// Starting BIRD as a process of its own, and telling one BIRD from the next. Owns nothing: a started BIRD has its own session
// and no descriptor of ours, so it lives on when this program ends, however it ends.
// Thread safety: plain functions; the child gets the calling thread's network namespace.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::routed::bird {

// Runs arguments[0] (a path, no search) with standard output and error in `output` (emptied first, 0600), default signals,
// environment PATH only. No shell.
Result<pid_t> spawn_detached(const std::vector<std::string>& arguments, const std::string& output);

// `bird -p -c FILE`: Code::invalid with BIRD's own words when it refuses the file. Takes at most `deadline`.
Status check_with_binary(const std::string& binary, const std::string& file, const std::string& output,
                         std::chrono::milliseconds deadline);

// Readable once the process has ended.
Result<unique_fd> open_process(pid_t pid);
bool has_ended(const unique_fd& process);

// "PID STARTTIME" (/proc/PID/stat, field 22): the same only for the same process. "" when it cannot be told.
std::string instance_of(pid_t pid);

// The last lines of a small text file, in one line; "" when there is none.
std::string last_words(const std::string& file);

}  // namespace firn::routed::bird
