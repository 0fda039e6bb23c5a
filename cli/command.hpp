// Command: the tree of firnctl's commands with their arguments, help and completion. The only part that knows CLI11, so that no
// other source pays for its headers. Owns nothing in the world. Thread safety: one thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"

namespace firn::cli {

// What firnctl ends with; docs/firnctl.md.
enum class Exit : int {
  ok = 0,
  failure = 1,
  differences = 1,
  usage = 2,
  problems = 3,
  no_daemon = 4,
  not_found = 5,
  refused = 6,
  trouble = 7
};
Exit exit_of(const Error& error);

using Run = std::function<Result<Exit>()>;
// Takes one value of an argument; an error becomes a usage error that names the argument.
using Take = std::function<Status(const std::string&)>;

enum class Need { optional, required };

// A handle on one node of the tree; the Program must outlive it.
class Command {
 public:
  // A noun: holds verbs, does nothing itself.
  Command group(const std::string& name, const std::string& summary);
  // A command that runs. `examples`: one a line, without the program's prompt.
  Command verb(const std::string& name, const std::string& summary, const std::string& examples, Run run);

  // `value`: what the help calls it ("CIDR"); for POOL, PEER, NODE, POLICY and HANDLE the shell completes names that exist.
  Command& positional(const std::string& value, const std::string& help, Take take, Need need = Need::required);
  // One or more; each value is taken on its own.
  Command& positionals(const std::string& value, const std::string& help, Take take);
  // `names`: "-o,--output" or "--as".
  Command& option(const std::string& names, const std::string& value, const std::string& help, Take take);
  // May be given several times; each value is taken on its own.
  Command& list(const std::string& names, const std::string& value, const std::string& help, Take take);
  Command& flag(const std::string& names, const std::string& help, bool& set);
  // "--NAME" and "--no-NAME".
  Command& toggle(const std::string& name, const std::string& help, std::optional<bool>& target);

  // A positional or an option that is kept as it was typed.
  static Take text(std::string& target);
  static Take number(std::optional<int>& target, int least, int most);

 private:
  friend class Program;
  struct Node;
  explicit Command(Node* node) : node_(node) {}
  Node* node_;
};

class Program {
 public:
  Program(const std::string& description, const std::string& footer, const std::string& version);
  ~Program();
  Command root();
  // Options that every command takes, before or after its own arguments. Call before the first verb is made.
  void everywhere(std::function<void(Command&)> add);
  // Parses, runs, reports: the exit code of the process. Errors go to `err` as "firnctl: WHAT: WHY".
  int run(int argc, const char* const* argv, std::ostream& out, std::ostream& err);
  // A bash completion script that knows every command and option.
  std::string bash_completion() const;

 private:
  std::unique_ptr<Command::Node> root_;
};

}  // namespace firn::cli
