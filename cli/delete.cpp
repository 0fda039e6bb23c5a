// firnctl delete: takes away the objects that files name.
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/plan.hpp"

namespace firn::cli {

namespace {

// Nothing is deleted before everything was found and may be deleted.
Status check(kv::Store& cluster, const std::vector<Object>& objects) {
  std::vector<Error> errors;
  for (const Object& object : objects) {
    if (!object.kind->kept.empty()) {
      errors.push_back(object.placed(make_error(Code::conflict, "cannot be deleted: " + object.kind->kept)));
      continue;
    }
    auto stored = cluster.get(object.key);
    if (!stored) return std::move(stored).error();
    if (!*stored) errors.push_back(object.placed(make_error(Code::not_found, "is not there")));
  }
  if (!errors.empty()) return joined(errors);
  return {};
}

Result<Exit> remove(const Context& context, const std::vector<std::string>& files) {
  auto objects = read_named(files);
  if (!objects) return std::move(objects).error();
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  if (auto good = check(*stores->cluster, *objects); !good) return std::move(good).error();
  json::Writer w;
  w.begin_array();
  std::string lines;
  const auto done = [&](const Object& object) {
    lines += object.label() + " deleted\n";
    w.begin_object().field("kind", object.kind->name).field("name", object.name).field("result", "deleted").end_object();
  };
  // First those that may be refused because somebody uses them: the others are still there then.
  for (const Object& object : *objects) {
    if (!object.kind->remove) continue;
    auto removed = object.kind->remove(context, *stores, object.name);
    if (!removed) {
      context.err << lines;
      return object.placed(std::move(removed).error());
    }
    done(object);
  }
  auto committed = stores->cluster->transact([&](kv::Transaction& tx) -> Status {
    for (const Object& object : *objects) {
      if (!object.kind->remove) tx.erase(object.key);
    }
    return {};
  });
  if (!committed) return std::move(committed).error();
  for (const Object& object : *objects) {
    if (!object.kind->remove) done(object);
  }
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  return context.print(w.end_array().text(), lines);
}

}  // namespace

void add_delete(Command& root, Context& context) {
  auto files = std::make_shared<std::vector<std::string>>();
  Command verb = root.verb("delete", "Delete the objects that files name; the rest of their text does not matter",
                           "firnctl delete -f pools.yaml", [files, &context] { return remove(context, *files); });
  add_filename(verb, *files);
}

}  // namespace firn::cli
