// The bash completion script, made from the list of commands. Pure; thread safety: plain values.
#pragma once

#include <string>
#include <vector>

namespace firn::cli {

struct CompletionOption {
  std::vector<std::string> names;  // "-o", "--output"
  bool takes_value = false;
};

struct CompletionCommand {
  std::string path;                // "firnctl pool create"
  std::vector<std::string> words;  // its sub-commands
  std::vector<CompletionOption> options;
  std::vector<std::string> positionals;  // "NAME", "CIDR"; POOL, PEER, NODE and HANDLE complete existing names
};

std::string bash_script(const std::vector<CompletionCommand>& commands);

}  // namespace firn::cli
