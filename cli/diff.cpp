// firnctl diff: what apply would change.
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/plan.hpp"
#include "cli/unified_diff.hpp"

namespace firn::cli {

namespace {

std::string yaml_of(const Kind& kind, const Record& record) { return yaml_documents({document_of(kind, record, false)}); }

Result<Exit> compare(const Context& context, const std::vector<std::string>& files) {
  auto objects = read_named(files);
  if (!objects) return std::move(objects).error();
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto outcomes = carry_out(*stores, *objects, false);
  if (!outcomes) return std::move(outcomes).error();
  Exit exit = Exit::ok;
  for (const Outcome& outcome : *outcomes) {
    const Kind& kind = *outcome.object->kind;
    const std::string before = outcome.before ? yaml_of(kind, *outcome.before) : std::string();
    const std::string text = unified_diff(outcome.object->label(), before, yaml_of(kind, outcome.now));
    if (!text.empty()) exit = Exit::differences;
    context.out << text;
  }
  context.out.flush();
  if (!context.out) return make_error(Code::io, "the output could not be written");
  return exit;
}

}  // namespace

void add_diff(Command& root, Context& context) {
  auto files = std::make_shared<std::vector<std::string>>();
  Command verb = root.verb("diff", "Show what apply would change; exit code 1 when there is something",
                           "firnctl diff -f pools.yaml\ncat pools.yaml | firnctl diff -f -", [files, &context]() -> Result<Exit> {
                             auto result = compare(context, *files);
                             if (result || exit_of(result.error()) != Exit::failure) return result;
                             // 1 is taken: scripts tell "differs" from "could not be compared" by it.
                             context.err << "firnctl diff: " << result.error().message << "\n";
                             return Exit::trouble;
                           });
  add_filename(verb, *files);
}

}  // namespace firn::cli
