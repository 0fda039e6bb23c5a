// firnctl ipam dump: the node store as it is, for bug reports and for tests.
#include <ostream>

#include "cli/ipam.hpp"

namespace firn::cli {

namespace {

// One record a line inside one array, so that both people with grep and programs with a JSON reader are served.
Result<Exit> dump(const Context& context, const std::string& prefix) {
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto listing = (*node)->range(prefix);
  if (!listing) return std::move(listing).error();
  const char* before = "[\n";
  for (const kv::Entry& entry : listing->entries) {
    json::Writer w;
    w.begin_object().field("key", entry.key).field("value", entry.value).end_object();
    context.out << before << w.text();
    before = ",\n";
  }
  context.out << (listing->entries.empty() ? "[]" : "\n]") << "\n";
  return Exit::ok;
}

}  // namespace

void add_ipam_dump(Command& ipam, Context& context) {
  auto prefix = std::make_shared<std::string>();
  ipam.verb("dump", "Print the records of the node store as they are, as JSON", "firnctl ipam dump\nfirnctl ipam dump lease/",
            [prefix, &context] { return dump(context, *prefix); })
      .positional("PREFIX", "Only records whose key begins like this", Command::text(*prefix), Need::optional);
}

}  // namespace firn::cli
