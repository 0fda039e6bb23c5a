#include "routed/intake.hpp"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>

#include "ipam/node_store.hpp"
#include "lib/base/file.hpp"
#include "lib/cluster/cluster.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

constexpr std::chrono::milliseconds store_deadline{2000};

bool is_there(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

}  // namespace

Intake::Intake(loop::Loop& loop, Log& log, std::string state_dir, IntakeListener listener)
    : loop_(loop), log_(log), state_dir_(std::move(state_dir)), listener_(std::move(listener)) {
  node_.path = state_dir_ + "/node.db";
}

Status Intake::start() {
  if (auto made = make_directories(state_dir_, 0700); !made) return made;
  directory_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!directory_) return errno_error("watching " + state_dir_);
  // Only files that come, go or change their name; the stores watch their own content.
  if (::inotify_add_watch(directory_.get(), state_dir_.c_str(), IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR) <
      0) {
    return errno_error("watching " + state_dir_);
  }
  auto watch = loop_.readable(directory_.get(), [this] {
    drain_directory();
    listener_.cluster();
    listener_.wake();
  });
  if (!watch) return std::move(watch).error();
  directory_watch_ = std::move(*watch);
  return {};
}

void Intake::drain_directory() {
  alignas(inotify_event) char buffer[4096];
  while (::read(directory_.get(), buffer, sizeof buffer) > 0) {}
}

bool Intake::open(bool create) {
  if (node_.store != nullptr) return false;
  if (!create && !is_there(node_.path)) {
    node_.trouble = node_.path + " is not there yet (firnctl init, or a first container, makes it)";
    return false;
  }
  auto store = ipam::open_node_store({node_.path, {}, create, store_deadline});
  if (!store) {
    close(store.error());
    return false;
  }
  auto fd = (*store)->watch_fd();
  if (!fd) {
    close(fd.error());
    return false;
  }
  if (*fd >= 0) {
    auto watch = loop_.readable(*fd, [this] { listener_.wake(); });
    if (!watch) {
      close(watch.error());
      return false;
    }
    node_.watch = std::move(*watch);
  }
  node_.store = std::move(*store);
  node_.trouble.clear();
  log_.info("reading " + node_.path);
  return true;
}

void Intake::close(const Error& why) {
  log_.repeated(Level::warning, node_.path, why.message);
  node_.watch.cancel();
  node_.store.reset();
  node_.trouble = why.message;
}

void Intake::reopen() {
  node_.watch.cancel();
  node_.store.reset();
}

bool Intake::has_cluster() const {
  return is_there(cluster::config_path(state_dir_)) || is_there(cluster::database_path(state_dir_));
}

std::string Intake::trouble() const { return node_.store == nullptr ? node_.trouble : ""; }

bool Intake::must_retry() const { return node_.store == nullptr && is_there(node_.path); }

Result<std::string> Intake::node_name() {
  if (node_.store == nullptr) return std::string{};
  auto entry = node_.store->get(keys::node_identity);
  if (!entry) return std::move(entry).error();
  return *entry ? std::move((*entry)->value) : std::string{};
}

// A store without a name is normal on a host that `firnctl init` has not seen; one that had it before was lost meanwhile, and so
// was one on a host of a cluster (`firnctl init` writes the name last: a moment of it looks the same, and passes).
std::string Intake::loss() const {
  const std::string way_out =
      "; nothing is written or removed until 'firnctl ipam reset' has made it anew (systemctl stop firn-routed, firnctl ipam "
      "reset, "
      "systemctl start firn-routed)";
  if (node_.store == nullptr) {
    if (node_listed_) return node_.path + " has vanished" + way_out;
    if (has_cluster() && listener_.containers()) return node_.path + " is not there, and containers are" + way_out;
    return {};
  }
  const auto name = node_.store->get(keys::node_identity);
  if (!name || *name || !listener_.containers()) return {};
  if (had_name_ || has_cluster()) return node_.path + " does not have this node's name, and containers are there" + way_out;
  const auto now = node_.store->range("");
  const auto is_known = [&](const kv::Entry& entry) { return known_.contains(entry.key); };
  if (!now || known_.empty() || std::any_of(now->entries.begin(), now->entries.end(), is_known)) return {};
  return node_.path + " has been replaced by one that knows nothing of the one before, and containers are there" + way_out;
}

bool Intake::refuse_node(const std::string& why) {
  lost_ = !why.empty();
  if (!lost_) return false;
  close(make_error(Code::conflict, why));
  return true;
}

void Intake::poll() {
  if (node_.store == nullptr && !is_there(node_.path) && refuse_node(loss())) return;
  if (open(has_cluster())) {
    if (!refuse_node(loss())) list_node();
    return;
  }
  if (node_.store == nullptr) return;
  auto changes = node_.store->changes(node_.revision, {});
  if (!changes) {
    // A busy store is tried again; one that was deleted or replaced is opened anew when a file is there.
    close(changes.error());
    // Nothing more may happen in the directory, so nothing would wake us to see that it is gone.
    if (!is_there(node_.path)) refuse_node(loss());
    return;
  }
  if (changes->compacted) return list_node();
  node_.revision = changes->revision;
  bool addresses = false;
  for (const std::string& key : changes->keys) {
    if (key == keys::node_identity) {
      had_name_ = true;
      listener_.cluster();
    }
    const bool block = key.starts_with(keys::blocks);
    addresses = addresses || block || key.starts_with(keys::leases);
    if (!block && !key.starts_with(keys::endpoints) && !key.starts_with(keys::pools)) continue;
    auto entry = node_.store->get(key);
    if (!entry) return close(entry.error());
    take(key, *entry ? &(*entry)->value : nullptr);
  }
  if (addresses) listener_.addresses();
}

void Intake::list_node() {
  std::set<std::string> gone = known_;
  gone.insert(known_pools_.begin(), known_pools_.end());
  kv::Revision oldest = 0;
  for (const std::string_view prefix : {keys::blocks, keys::endpoints, keys::pools}) {
    auto listing = node_.store->range(prefix);
    if (!listing) return close(listing.error());
    // Several listings, several states: the changes between them are read again from the older one.
    oldest = oldest == 0 ? listing->revision : std::min(oldest, listing->revision);
    for (const kv::Entry& entry : listing->entries) {
      gone.erase(entry.key);
      take(entry.key, &entry.value);
    }
  }
  node_.revision = oldest;
  for (const std::string& key : gone) take(key, nullptr);
  node_listed_ = true;
  if (const auto name = node_.store->get(keys::node_identity); name && *name) had_name_ = true;
  listener_.addresses();
}

void Intake::take(const std::string& key, const std::string* value) {
  if (key.starts_with(keys::blocks)) return tell(key, value, &model::decode_block, [&](const auto* r) { listener_.block(key, r); });
  const bool pool = key.starts_with(keys::pools);
  const std::string name = key.substr(pool ? keys::pools.size() : keys::endpoints.size());
  if (pool) tell(key, value, &model::decode_pool, [&](const auto* r) { listener_.pool(name, r); });
  else tell(key, value, &model::decode_endpoint, [&](const auto* r) { listener_.endpoint(name, r); });
}

template <class Record, class Tell>
void Intake::tell(const std::string& key, const std::string* value, Result<Record> (*decode)(model::Source),
                  const Tell& tell_listener) {
  std::set<std::string>& known = key.starts_with(keys::pools) ? known_pools_ : known_;
  if (value == nullptr) {
    if (known.erase(key) != 0) tell_listener(static_cast<const Record*>(nullptr));
    return;
  }
  const Result<Record> record = decode(*value);
  if (!record) {
    log_.repeated(Level::error, key,
                  node_.path + ", record " + key + ": " + record.error().message + "; what was known of it stays in force");
    return;
  }
  tell_listener(&*record);
  known.insert(key);
}

}  // namespace firn::routed
