#include "cli/plan.hpp"

namespace firn::cli {

namespace {

Result<Outcome> outcome_of(const Object& object, const std::optional<std::string>& stored) {
  const Kind& kind = *object.kind;
  Outcome outcome;
  outcome.object = &object;
  if (stored) {
    auto before = kind.read(*stored);
    if (!before) return damaged(object.key, before.error());
    outcome.before = std::move(*before);
  } else if (!kind.made_by.empty()) {
    return object.placed(make_error(Code::not_found, "is not there; it is made by " + kind.made_by));
  }
  const auto text = object.record(stored);
  if (!text) return text.error();
  auto now = kind.read(model::Source(*text, true));
  if (!now) return object.placed(std::move(now).error());
  outcome.now = std::move(*now);
  if (outcome.before && outcome.changes() && kind.may_become) {
    if (auto may = kind.may_become(outcome.before->text, outcome.now.text); !may) return object.placed(std::move(may).error());
  }
  return outcome;
}

}  // namespace

Result<std::vector<Outcome>> carry_out(Stores& stores, const std::vector<Object>& objects, bool keep) {
  std::vector<Outcome> outcomes;
  bool sound = false;
  auto committed = stores.cluster->transact([&](kv::Transaction& tx) -> Status {
    // An optimistic engine may run this again.
    outcomes.clear();
    sound = false;
    std::vector<Error> errors;
    for (const Object& object : objects) {
      auto stored = tx.get(object.key);
      if (!stored) return std::move(stored).error();
      auto outcome = outcome_of(object, *stored);
      if (!outcome) {
        errors.push_back(std::move(outcome).error());
        continue;
      }
      if (outcome->changes()) tx.put(object.key, outcome->now.text);
      outcomes.push_back(std::move(*outcome));
    }
    if (!errors.empty()) return joined(errors);
    for (const Outcome& outcome : outcomes) {
      const Kind& kind = *outcome.object->kind;
      if (!outcome.changes() || !kind.fits) continue;
      if (auto fits = kind.fits(tx, *stores.node, outcome.now.text); !fits)
        errors.push_back(outcome.object->placed(std::move(fits).error()));
    }
    if (!errors.empty()) return joined(errors);
    sound = true;
    if (!keep) return make_error(Code::interrupted, "not to be kept");
    return {};
  });
  if (!committed && (keep || !sound)) return std::move(committed).error();
  return outcomes;
}

void add_filename(Command& command, std::vector<std::string>& names) {
  command.list("-f,--filename", "FILE|DIR|-",
               "Objects as YAML or JSON; all *.yaml, *.yml, *.json of a folder; '-' is standard input",
               [&names](const std::string& name) -> Status {
                 names.push_back(name);
                 return {};
               });
}

Result<std::vector<Object>> read_named(const std::vector<std::string>& names) {
  if (names.empty()) return make_error(Code::invalid, "-f: is required");
  return read_manifest(names);
}

}  // namespace firn::cli
