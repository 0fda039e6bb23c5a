// firnctl get: objects of a kind, as a table, or as documents that apply takes back.
#include <algorithm>

#include "cli/kind.hpp"
#include "cli/nouns.hpp"

namespace firn::cli {

namespace {

struct Args {
  std::string kind, name;
};

// The records of the kind, all or the one of that name.
Result<std::vector<Record>> records_of(kv::Store& cluster, const Kind& kind, const std::string& name) {
  auto listing = cluster.range(kind.keys);
  if (!listing) return std::move(listing).error();
  std::vector<Record> out;
  for (const kv::Entry& entry : listing->entries) {
    auto record = kind.read(entry.value);
    if (!record) return damaged(entry.key, record.error());
    if (name.empty() || record->name == kind.full_name(name)) out.push_back(std::move(*record));
  }
  if (!name.empty() && out.empty()) {
    return make_error(Code::not_found,
                      "there is no " + kind.word() + " " + name + "; 'firnctl get " + kind.word() + "' shows them");
  }
  return out;
}

Result<Exit> get(const Context& context, const Args& args) {
  auto kind = find_kind(args.kind);
  if (!kind) return std::move(kind).error();
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto records = records_of(**cluster, **kind, args.name);
  if (!records) return std::move(records).error();
  std::vector<std::string> documents;
  Table table((*kind)->table_heads());
  for (const Record& record : *records) {
    documents.push_back(document_of(**kind, record, true));
    table.add(record.name, (*kind)->row(record.text));
  }
  if (context.output == Output::yaml) return print_yaml(context, documents);
  return context.print(args.name.empty() ? json_documents(documents) : documents.front(), table,
                       "no " + (*kind)->word() + "; make one with: firnctl apply -f FILE");
}

}  // namespace

void add_get(Command& root, Context& context) {
  auto args = std::make_shared<Args>();
  std::string kinds;
  for (const Kind& kind : all_kinds()) kinds += (kinds.empty() ? "" : ", ") + kind.word();
  root.verb("get", "Show objects, as apply takes them back with -o yaml",
            "firnctl get pool\nfirnctl get bgppeer tor-a -o yaml\nfirnctl get reservations -o json",
            [args, &context] { return get(context, *args); })
      .positional("KIND", kinds, Command::text(args->kind))
      .positional("NAME", "Its name (default: all)", Command::text(args->name), Need::optional);
}

}  // namespace firn::cli
