// Intake: the node store as a stream of changes. Waits for node.db to appear (firn-routed may start before `firnctl init`), watches
// it, and reports what changed. A watch is a hint: after a gap everything is listed and compared.
// Owns: the open store and one inotify descriptor. Nothing survives the process.
// node.db is made only on a host that has no container: a store that was lost, or came back without this node's name, while
// containers are there is trouble, and `firnctl ipam reset` the way out; until then the last wishes stay in force.
// A record that cannot be read is reported and leaves what was known of it in force; a store that disappears likewise.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lib/base/unique_fd.hpp"
#include "lib/kv/store.hpp"
#include "lib/loop/loop.hpp"
#include "lib/model/records.hpp"
#include "routed/log.hpp"

namespace firn::routed {

struct IntakeListener {
  std::function<void(const std::string& handle, const model::Endpoint*)> endpoint;  // nullptr: removed
  std::function<void(const std::string& key, const model::Block*)> block;
  std::function<void(const std::string& name, const model::Pool*)> pool;  // the cluster's, and those of this host alone
  std::function<void()> addresses;                                        // leases or blocks changed: is there still a spare block?
  std::function<void()> cluster;     // the cluster store may be another one: files came or went, or the node has a name
  std::function<void()> wake;        // something may have changed: call poll() soon
  std::function<bool()> containers;  // links with firn's alias are there
};

class Intake {
 public:
  Intake(loop::Loop& loop, Log& log, std::string state_dir, IntakeListener listener);

  Status start();
  // Reads what changed since the last call and tells the listener, before it returns.
  void poll();
  // Closes the store; the next poll() opens and lists it anew.
  void reopen();

  bool complete() const { return node_listed_; }  // the node store has been read whole, once
  kv::Store* node() { return node_.store.get(); }
  // The node store vanished or is not the one it was: nothing may be written or removed after what it says.
  bool lost() const { return lost_; }
  // Why complete() is false, or what is wrong with the store; "" when nothing is.
  std::string trouble() const;
  // The store's file is there and could not be opened: only trying again helps.
  bool must_retry() const;
  // The node's name, "" before `firnctl init`.
  Result<std::string> node_name();

 private:
  struct Source {
    std::string path;
    std::unique_ptr<kv::Store> store;
    loop::Handle watch;
    kv::Revision revision = 0;
    std::string trouble;
  };
  // Opens the store if its file is there. True: it was opened just now and must be listed.
  bool open(bool create);
  void close(const Error& why);
  bool has_cluster() const;  // a cluster store is configured, or there
  // The node store is not there although it was, or must have been: "" when nothing is wrong with that.
  std::string loss() const;
  bool refuse_node(const std::string& why);
  void list_node();
  void take(const std::string& key, const std::string* value);
  template <class Record, class Tell>
  void tell(const std::string& key, const std::string* value, Result<Record> (*decode)(model::Source), const Tell& tell_listener);
  void drain_directory();

  loop::Loop& loop_;
  Log& log_;
  std::string state_dir_;
  IntakeListener listener_;
  unique_fd directory_;
  loop::Handle directory_watch_;
  Source node_;
  bool node_listed_ = false;
  bool lost_ = false;
  bool had_name_ = false;  // the node store that was read last had this node's name
  // Keys that the listener knows: of endpoints and blocks; of pools, which a store that was made anew has as well.
  std::set<std::string> known_, known_pools_;
};

}  // namespace firn::routed
