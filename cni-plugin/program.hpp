// The frame of both programs: environment and stdin in, one verb, its answer on stdout, an exit code. Thread safety: one thread.
#pragma once

#include <string_view>

#include "cni-plugin/commands/call.hpp"

namespace firn::cni {

struct Verbs {
  Outcome<Added> (*add)(const Call&);
  Reply (*del)(const Call&);
  Reply (*check)(const Call&);
  Reply (*gc)(const Call&);
  Reply (*status)(const Call&);
};

// Returns the exit code. Without CNI_COMMAND it tells who it is.
int run_program(std::string_view name, Reader reader, const Verbs& verbs, int argc, char** argv);

}  // namespace firn::cni
