// Context: what every command gets: the common options, the way to the stores and to the daemon, and the output.
// Owns nothing between runs: a command opens what it needs and a kill -9 leaves what the last committed transaction left.
// Thread safety: one thread.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.hpp"
#include "cli/table.hpp"
#include "ipam/allocator.hpp"
#include "lib/base/clock.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/json/json.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::cli {

enum class Output { table, json, yaml };

struct Stores {
  std::unique_ptr<kv::Store> node, cluster;
  std::string name;  // of this node
};

class Context {
 public:
  Context(const Clock& the_clock, std::ostream& the_out, std::ostream& the_err) : clock(the_clock), out(the_out), err(the_err) {}

  std::string state_dir;
  std::string socket;
  Output output = Output::table;
  const Clock& clock;
  std::ostream& out;
  std::ostream& err;

  std::string node_path() const { return state_dir + "/node.db"; }
  std::string cluster_path() const { return cluster::database_path(state_dir); }
  // For messages: cluster.db, or which etcd.
  std::string cluster_place() const;

  // Existing stores only; what is wrong with one is never the caller's input (exit code 1).
  Result<std::unique_ptr<kv::Store>> node_store() const;
  Result<std::unique_ptr<kv::Store>> cluster_store() const;
  // nullptr when the host has none: containers can have addresses of a CNI configuration's subnet without `firnctl init`.
  Result<std::unique_ptr<kv::Store>> cluster_if_any() const;
  // Nothing: the cluster store is this host's own file, or there is none.
  Result<std::optional<cluster::Config>> cluster_config() const { return cluster::read_config(state_dir); }
  // Both, on a host that `firnctl init` has seen.
  Result<Stores> stores() const;
  // "" before `firnctl init`.
  Result<std::string> node_name(kv::Store& node) const;
  // Nothing before `firnctl init`.
  Result<std::optional<model::Identity>> identity(kv::Store& node) const;
  Result<ipam::Allocator> allocator(kv::Store& node) const;
  // Copies pools and reservations into the node store, so that the next attach sees them.
  Status mirror(Stores& stores) const;

  // The daemon's reply to {"op":OP}. Code::unavailable: nobody answers.
  Result<json::Document> ask(std::string_view op) const;
  // Says that the daemon does not answer, and what that means; the exit code of it.
  Exit no_daemon(const Error& error) const;

  // One of the forms, as the user asked; YAML is that of the JSON.
  Exit print(std::string_view json_text, std::string_view table_text) const;
  // As print, but an empty table is a line on standard error: "no pools; make one with: ...".
  Exit print(std::string_view json_text, const Table& table, std::string_view when_empty) const;
  // A sentence about what was done; with -o json the record instead.
  Exit done(std::string_view sentence, std::string_view json_text) const;
};

Error damaged(std::string_view key, const Error& why);

template <class T>
Result<std::vector<T>> decode_all(const std::vector<kv::Entry>& entries, Result<T> (*decode)(model::Source)) {
  std::vector<T> out;
  for (const kv::Entry& entry : entries) {
    auto record = decode(entry.value);
    if (!record) return damaged(entry.key, record.error());
    out.push_back(std::move(*record));
  }
  return out;
}

// All records below a key, in key order. A damaged one is an error that names the key.
template <class T>
Result<std::vector<T>> list_records(kv::Store& store, std::string_view prefix, Result<T> (*decode)(model::Source)) {
  auto listing = store.range(prefix);
  if (!listing) return std::move(listing).error();
  return decode_all(listing->entries, decode);
}

template <class T>
Result<std::vector<T>> list_records(kv::Transaction& tx, std::string_view prefix, Result<T> (*decode)(model::Source)) {
  auto entries = tx.range(prefix);
  if (!entries) return std::move(entries).error();
  return decode_all(*entries, decode);
}

template <class T>
Result<std::optional<T>> get_record(kv::Store& store, std::string_view key, Result<T> (*decode)(model::Source)) {
  auto entry = store.get(key);
  if (!entry) return std::move(entry).error();
  if (!entry->has_value()) return std::optional<T>();
  auto record = decode((*entry)->value);
  if (!record) return damaged(key, record.error());
  return std::optional<T>(std::move(*record));
}

template <class T>
std::string encode_all(const std::vector<T>& records) {
  json::Writer w;
  w.begin_array();
  for (const T& record : records) w.raw(encode(record));
  return std::move(w.end_array()).take();
}

Status put_record(kv::Store& store, const std::string& key, const std::string& value);

}  // namespace firn::cli
