// firnctl apply: makes objects what files say, all or none.
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/plan.hpp"

namespace firn::cli {

namespace {

struct Args {
  std::vector<std::string> files;
  bool dry_run = false;
};

std::string_view result_of(const Outcome& outcome) {
  if (!outcome.changes()) return "unchanged";
  return outcome.before ? "configured" : "created";
}

Result<Exit> apply(const Context& context, const Args& args) {
  auto objects = read_named(args.files);
  if (!objects) return std::move(objects).error();
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto outcomes = carry_out(*stores, *objects, !args.dry_run);
  if (!outcomes) return std::move(outcomes).error();
  std::string lines;
  bool changed = false;
  json::Writer w;
  w.begin_array();
  for (const Outcome& outcome : *outcomes) {
    changed = changed || outcome.changes();
    lines += outcome.object->kind->word() + "/" + outcome.now.name + " " + std::string(result_of(outcome)) +
             (args.dry_run ? " (dry run)\n" : "\n");
    w.begin_object().field("kind", outcome.object->kind->name).field("name", outcome.now.name).field("result", result_of(outcome));
    w.field("dryRun", args.dry_run).end_object();
  }
  const Exit exit = context.print(w.end_array().text(), lines);
  if (args.dry_run || !changed) return exit;
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  for (const Outcome& outcome : *outcomes) {
    if (!outcome.changes() || !outcome.object->kind->note) continue;
    if (auto noted = outcome.object->kind->note(context, *stores, outcome.now.text); !noted) return std::move(noted).error();
  }
  return exit;
}

}  // namespace

void add_apply(Command& root, Context& context) {
  auto args = std::make_shared<Args>();
  Command verb =
      root.verb("apply", "Make objects what files say, all or none",
                "firnctl apply -f pools.yaml\nfirnctl apply -f objects/ --dry-run\nfirnctl get pool -o yaml | firnctl apply -f -",
                [args, &context] { return apply(context, *args); });
  add_filename(verb, args->files);
  verb.flag("--dry-run", "Check everything and say what would be, but write nothing", args->dry_run);
}

}  // namespace firn::cli
