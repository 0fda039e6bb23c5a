#include "cli/command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>
#include <ostream>

#include "cli/completion.hpp"
#include "cli/table.hpp"

namespace firn::cli {

struct Command::Node {
  CLI::App* app = nullptr;
  std::unique_ptr<CLI::App> owned;  // of the root alone
  Node* parent = nullptr;
  std::vector<std::unique_ptr<Node>> children;
  std::vector<std::string> positionals;
  std::vector<CompletionOption> options;
  Run run;
  std::function<void(Command&)> everywhere;  // of the root alone
  std::string refusal;                       // of the root alone: what a Take said; CLI11 itself has no words for it

  Node& root() { return parent == nullptr ? *this : parent->root(); }
  std::string path() const { return parent == nullptr ? app->get_name() : parent->path() + " " + app->get_name(); }
  Node& deepest() {
    for (const auto& child : children) {
      if (child->app->parsed()) return child->deepest();
    }
    return *this;
  }
  Node& add(const std::string& name, const std::string& summary);
  CLI::callback_t callback_of(Take take, const std::string& name);
  void list(std::vector<CompletionCommand>& out) const;
};

namespace {

std::vector<std::string> split_names(const std::string& names) {
  std::vector<std::string> out;
  for (size_t from = 0; from <= names.size();) {
    const size_t comma = std::min(names.find(',', from), names.size());
    out.push_back(names.substr(from, comma - from));
    from = comma + 1;
  }
  return out;
}

std::string indented(const std::string& lines) {
  std::string out = "  ";
  for (const char c : lines) out.append(1, c).append(c == '\n' ? "  " : "");
  return out;
}

// CLI11's sentences begin with a capital letter; ours stand behind a colon.
std::string lowered(std::string text) {
  if (text.size() > 1 && text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z') {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

}  // namespace

CLI::callback_t Command::Node::callback_of(Take take, const std::string& name) {
  return [take = std::move(take), name, &refusal = root().refusal](const CLI::results_t& values) {
    for (const std::string& value : values) {
      auto taken = take(value);
      if (taken) continue;
      refusal = name + ": " + taken.error().message;
      return false;
    }
    return true;
  };
}

Command::Node& Command::Node::add(const std::string& name, const std::string& summary) {
  auto child = std::make_unique<Node>();
  child->app = app->add_subcommand(name, summary);
  child->app->group("Commands");
  child->parent = this;
  child->options.push_back({{"-h", "--help"}, false});
  children.push_back(std::move(child));
  return *children.back();
}

void Command::Node::list(std::vector<CompletionCommand>& out) const {
  CompletionCommand self{path(), {}, options, positionals};
  for (const auto& child : children) self.words.push_back(child->app->get_name());
  out.push_back(std::move(self));
  for (const auto& child : children) child->list(out);
}

Exit exit_of(const Error& error) {
  switch (error.code) {
    case Code::invalid: return Exit::usage;
    case Code::not_found: return Exit::not_found;
    case Code::exists:
    case Code::conflict: return Exit::refused;
    default: return Exit::failure;
  }
}

Command Command::group(const std::string& name, const std::string& summary) {
  Node& child = node_->add(name, summary);
  // At most one sub-command, here and above: a pool may be called "list".
  child.app->require_subcommand(1);
  child.app->footer("Each command has a --help with examples: " + child.path() + " COMMAND --help");
  return Command(&child);
}

Command Command::verb(const std::string& name, const std::string& summary, const std::string& examples, Run run) {
  Node& child = node_->add(name, summary);
  child.run = std::move(run);
  child.app->footer("Examples:\n" + indented(examples));
  Command command(&child);
  if (node_->root().everywhere) node_->root().everywhere(command);
  return command;
}

Command& Command::positional(const std::string& value, const std::string& help, Take take, Need need) {
  CLI::Option* option = node_->app->add_option(value, node_->callback_of(std::move(take), value), help);
  option->type_name("")->required(need == Need::required);
  node_->positionals.push_back(value);
  return *this;
}

Command& Command::positionals(const std::string& value, const std::string& help, Take take) {
  CLI::Option* option = node_->app->add_option(value, node_->callback_of(std::move(take), value), help);
  option->type_name("")->required()->expected(-1)->take_all();
  node_->positionals.push_back(value);
  return *this;
}

Command& Command::option(const std::string& names, const std::string& value, const std::string& help, Take take) {
  const auto all = split_names(names);
  node_->app->add_option(names, node_->callback_of(std::move(take), all.back()), help)->type_name(value);
  node_->options.push_back({all, true});
  return *this;
}

Command& Command::list(const std::string& names, const std::string& value, const std::string& help, Take take) {
  const auto all = split_names(names);
  node_->app->add_option(names, node_->callback_of(std::move(take), all.back()), help)->type_name(value + " ...")->take_all();
  node_->options.push_back({all, true});
  return *this;
}

Command& Command::flag(const std::string& names, const std::string& help, bool& set) {
  node_->app->add_flag(names, set, help);
  node_->options.push_back({split_names(names), false});
  return *this;
}

Command& Command::toggle(const std::string& name, const std::string& help, std::optional<bool>& target) {
  const auto set = [&target](bool value) { return [&target, value] { target = value; }; };
  CLI::Option* yes = node_->app->add_flag_callback("--" + name, set(true), help);
  node_->app->add_flag_callback("--no-" + name, set(false), "Not so")->excludes(yes);
  node_->options.push_back({{"--" + name, "--no-" + name}, false});
  return *this;
}

Take Command::text(std::string& target) {
  return [&target](const std::string& value) -> Status {
    target = value;
    return {};
  };
}

Take Command::number(std::optional<int>& target, int least, int most) {
  return [&target, least, most](const std::string& value) -> Status {
    int number = 0;
    const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (ec != std::errc{} || end != value.data() + value.size() || number < least || number > most) {
      return make_error(Code::invalid,
                        "'" + value + "' is not a number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    target = number;
    return {};
  };
}

Program::Program(const std::string& description, const std::string& footer, const std::string& version)
    : root_(std::make_unique<Command::Node>()) {
  root_->owned = std::make_unique<CLI::App>(description, "firnctl");
  root_->app = root_->owned.get();
  root_->app->require_subcommand(1);
  root_->app->footer(footer);
  root_->app->set_version_flag("--version", version, "Show the version");
  root_->app->get_formatter()->column_width(34);
  root_->options.push_back({{"-h", "--help"}, false});
  root_->options.push_back({{"--version"}, false});
}

Program::~Program() = default;

Command Program::root() { return Command(root_.get()); }

void Program::everywhere(std::function<void(Command&)> add) {
  root_->everywhere = std::move(add);
  Command command(root_.get());
  root_->everywhere(command);
}

std::string Program::bash_completion() const {
  std::vector<CompletionCommand> commands;
  root_->list(commands);
  return bash_script(commands);
}

int Program::run(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  root_->refusal.clear();
  try {
    root_->app->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return root_->app->exit(error, out, err);  // --help, --version
    const Command::Node& place = root_->deepest();
    std::string what = lowered(error.what());
    if (!root_->refusal.empty()) {
      what = root_->refusal;
    } else if (!place.children.empty()) {
      const auto rest = place.app->remaining();
      what = rest.empty() ? "a command is missing" : "there is no command '" + rest.front() + "'";
    }
    err << place.path() << ": " << printable(what) << "; try '" << place.path() << " --help'\n";
    return static_cast<int>(Exit::usage);
  }
  const Command::Node& place = root_->deepest();
  auto result = place.run();
  out.flush();
  if (result && !out) result = make_error(Code::io, "the output could not be written");
  if (result) return static_cast<int>(*result);
  err << place.path() << ": " << result.error().message << "\n";
  return static_cast<int>(exit_of(result.error()));
}

}  // namespace firn::cli
