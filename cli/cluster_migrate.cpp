// firnctl cluster migrate: from cluster.db onto etcd, with every record. Each step may have been done by a run that was killed:
//   1. etcd gets a mark with this machine's id; the prefix was empty, or the mark is there already
//   2. under the lock of cluster.db: the records are copied and compared, kept once more in cluster.db.migrated, and removed
//   3. cluster.json is written: from here on this host is on etcd
//   4. the empty cluster.db and the mark go; the node store forgets the revisions of before
// No one can claim a block in cluster.db after its copy was taken: who waited for the lock finds it empty.
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "cli/cluster.hpp"
#include "cli/etcd_options.hpp"
#include "cli/ipam.hpp"
#include "ipam/identity.hpp"
#include "ipam/mirror.hpp"
#include "lib/kv/sqlite/sqlite_store.hpp"

namespace firn::cli {

namespace {

constexpr size_t batch = 100;  // of the 128 operations of an etcd transaction

using Records = std::map<std::string, std::string>;

std::string kept_path(const Context& context) { return context.cluster_path() + ".migrated"; }

bool is_there(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

Status remove_database(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path + suffix;
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return errno_error("remove " + file);
  }
  return {};
}

Result<std::unique_ptr<kv::Store>> open_database(const std::string& path, bool create) {
  kv::SqliteOptions options;
  options.path = path;
  options.create = create;
  auto store = kv::open_sqlite(options);
  if (!store && store.error().is(Code::not_found)) {
    return make_error(Code::io, "this host has no cluster store to move; 'firnctl init --etcd' makes a first host, 'firnctl join --etcd' one more");
  }
  return store;
}

Records without_mark(const std::vector<kv::Entry>& entries) {
  Records records;
  for (const kv::Entry& entry : entries) records.emplace(entry.key, entry.value);
  records.erase(std::string(migration_key));
  return records;
}

Result<Records> read_all(kv::Store& store) {
  auto listing = store.range("");
  if (!listing) return std::move(listing).error();
  return without_mark(listing->entries);
}

Status take_prefix(kv::Store& etcd, const std::string& machine, const cluster::Config& config) {
  auto taken = etcd.transact([&](kv::Transaction& tx) -> Status {
    auto mark = tx.get(migration_key);
    if (!mark) return std::move(mark).error();
    if (*mark && **mark == machine) return {};
    auto first = tx.range("", 1);
    if (!first) return std::move(first).error();
    if (!first->empty()) {
      return make_error(Code::exists, "there are records of firn with prefix " + config.prefix + " already" +
                                          (*mark ? ", of another host that is being moved" : "") +
                                          "; a host is moved into an empty prefix only; name another with --etcd-prefix");
    }
    tx.put(migration_key, machine);
    return {};
  });
  if (!taken) return std::move(taken).error();
  return {};
}

// Makes etcd hold these records and no others, and looks whether it does.
Status copy(const Records& records, kv::Store& etcd) {
  auto there = read_all(etcd);
  if (!there) return std::move(there).error();
  std::vector<std::pair<std::string, std::optional<std::string>>> changes;
  for (const auto& [key, value] : records) {
    const auto old = there->find(key);
    if (old == there->end() || old->second != value) changes.emplace_back(key, value);
  }
  for (const auto& [key, value] : *there) {
    if (records.count(key) == 0) changes.emplace_back(key, std::nullopt);
  }
  for (size_t from = 0; from < changes.size(); from += batch) {
    auto done = etcd.transact([&](kv::Transaction& tx) -> Status {
      for (size_t i = from; i < std::min(changes.size(), from + batch); ++i) {
        if (changes[i].second) tx.put(changes[i].first, *changes[i].second);
        else tx.erase(changes[i].first);
      }
      return {};
    });
    if (!done) return std::move(done).error();
  }
  auto copied = read_all(etcd);
  if (!copied) return std::move(copied).error();
  if (*copied == records) return {};
  return make_error(Code::conflict, "the records in etcd are not those of this host after the copy: something else writes there");
}

Status keep(const Records& records, const std::string& path) {
  if (auto removed = remove_database(path); !removed) return removed;
  auto kept = open_database(path, true);
  if (!kept) return std::move(kept).error();
  auto done = (*kept)->transact([&](kv::Transaction& tx) -> Status {
    for (const auto& [key, value] : records) tx.put(key, value);
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

// Step 2; the number of records. SQLite runs the body once, holding the lock that every writer of cluster.db needs.
Result<size_t> move_records(const Context& context, kv::Store& etcd) {
  auto database = open_database(context.cluster_path(), false);
  if (!database) return std::move(database).error();
  Records records;
  auto moved = (*database)->transact([&](kv::Transaction& tx) -> Status {
    auto entries = tx.range("");
    if (!entries) return std::move(entries).error();
    records = without_mark(*entries);
    if (records.empty() && is_there(kept_path(context))) {
      // Removed by a run that was killed before cluster.json was written.
      auto kept = open_database(kept_path(context), false);
      if (!kept) return std::move(kept).error();
      auto all = read_all(**kept);
      if (!all) return std::move(all).error();
      records = std::move(*all);
      return copy(records, etcd);
    }
    if (records.empty()) return make_error(Code::io, context.cluster_path() + " is empty; run 'firnctl init' first, or init --etcd after removing it");
    if (auto copied = copy(records, etcd); !copied) return copied;
    if (auto kept = keep(records, kept_path(context)); !kept) return kept;
    for (const auto& [key, value] : records) tx.erase(key);
    return {};
  });
  if (!moved) return std::move(moved).error();
  return records.size();
}

Status finish(const Context& context, kv::Store& etcd, const std::string& machine) {
  // Its revisions have nothing to do with those of before.
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  if (auto forgotten = ipam::forget_revision(**node); !forgotten) return forgotten;
  if (is_there(context.cluster_path())) {
    auto database = open_database(context.cluster_path(), false);
    if (!database) return std::move(database).error();
    auto left = read_all(**database);
    if (!left) return std::move(left).error();
    if (!left->empty()) {
      return make_error(Code::conflict, context.cluster_path() + " has records, and " + cluster::config_path(context.state_dir) +
                                            " says that this host is on etcd; move the wrong one of the two away");
    }
    database->reset();
    if (auto removed = remove_database(context.cluster_path()); !removed) return removed;
  }
  auto done = etcd.transact([&](kv::Transaction& tx) -> Status {
    auto mark = tx.get(migration_key);
    if (!mark) return std::move(mark).error();
    if (*mark && **mark == machine) tx.erase(migration_key);
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

Result<Exit> migrate(const Context& context, const EtcdArgs& args) {
  auto asked = config_of(args);
  if (!asked) return std::move(asked).error();
  if (!*asked) return make_error(Code::invalid, "--etcd: is required");
  // It would take the emptied store for pools that were deleted.
  if (auto daemon = context.ask("status"); daemon || !daemon.error().is(Code::unavailable)) {
    return make_error(Code::conflict, "firn-routed is running; nothing was changed; stop it, move the store, and start it again: "
                                      "'systemctl stop firn-routed', this command, 'systemctl start firn-routed'. Containers and "
                                      "their routes stay meanwhile");
  }
  const std::string machine = ipam::known_machine_id(context.state_dir);
  if (machine.empty()) return make_error(Code::io, "this machine has no id in /etc/machine-id or " + ipam::own_machine_id_path(context.state_dir));
  auto configured = context.cluster_config();
  if (!configured) return std::move(configured).error();
  if (*configured && !same_cluster(**configured, **asked)) {
    return make_error(Code::conflict, "this host is on another etcd already (" + cluster::config_path(context.state_dir) + ")");
  }
  auto connected = cluster::connect(*configured ? **configured : **asked);
  if (!connected) return std::move(connected).error();
  size_t count = 0;
  if (!*configured) {
    if (!is_there(context.cluster_path())) return open_database(context.cluster_path(), false).error();
    auto taken = take_prefix(*connected->store, machine, **asked);
    if (!taken) return std::move(taken).error();
    auto moved = move_records(context, *connected->store);
    if (!moved) return std::move(moved).error().context("nothing is lost, and this command can be run again");
    count = *moved;
    if (auto written = cluster::write_config(context.state_dir, **asked, connected->position); !written) return std::move(written).error();
  }
  if (auto finished = finish(context, *connected->store, machine); !finished) return std::move(finished).error();
  json::Writer w;
  w.begin_object().field("changed", !configured->has_value()).field("records", static_cast<uint64_t>(count)).end_object();
  if (*configured) return context.done("this host is on etcd already; nothing is left to do", w.text());
  return context.done("this host is on etcd now, with " + std::to_string(count) + " records; what was in " + context.cluster_path() +
                          " is kept in " + kept_path(context) + "; start firn-routed again, and add hosts with 'firnctl join'",
                      w.text());
}

}  // namespace

void add_cluster_migrate(Command& cluster, Context& context) {
  auto args = std::make_shared<EtcdArgs>();
  Command verb = cluster.verb("migrate", "Move this host's own cluster store onto etcd; every address stays",
                              "systemctl stop firn-routed\n"
                              "firnctl cluster migrate --etcd https://etcd-1:2379,https://etcd-2:2379 --etcd-ca /etc/firn/etcd-ca.pem\n"
                              "systemctl start firn-routed",
                              [args, &context] { return migrate(context, *args); });
  add_etcd_options(verb, *args);
}

}  // namespace firn::cli
