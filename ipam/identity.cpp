#include "ipam/identity.hpp"

#include <sys/stat.h>

#include <charconv>

#include "ipam/allocator.hpp"
#include "ipam/records.hpp"
#include "lib/base/file.hpp"
#include "lib/model/keys.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

Result<uint64_t> read_generation(std::string_view key, const std::optional<std::string>& value) {
  uint64_t number = 0;
  if (!value) return number;
  const auto [end, failed] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (failed == std::errc{} && end == value->data() + value->size() && number < INT64_MAX) return number;
  return records::unreadable(key, make_error(Code::invalid, "it is no number"));
}

Error refused(const model::Identity& self, const std::string& why, const std::string& way_out) {
  return make_error(Code::denied, "this host is not node " + self.name + " of the cluster any more: " + why + "; " + way_out);
}

}  // namespace

std::string own_machine_id_path(const std::string& state_dir) { return state_dir + "/machine-id"; }

std::string known_machine_id(const std::string& state_dir) {
  for (const std::string& path : {own_machine_id_path(state_dir), std::string("/etc/machine-id")}) {
    auto id = read_file(path, 256);
    if (!id) continue;
    while (!id->empty() && id->back() == '\n') id->pop_back();
    if (id->size() == 32 && id->find_first_not_of("0123456789abcdef") == std::string::npos) return std::move(*id);
  }
  return {};
}

Result<std::string> instance_of(const std::string& state_dir) {
  auto boot = current_boot_id();
  if (!boot) return boot;
  struct stat info {};
  const std::string path = state_dir + "/node.db";
  if (::stat(path.c_str(), &info) != 0) return errno_error(path);
  return *boot + "/" + std::to_string(info.st_dev) + "-" + std::to_string(info.st_ino);
}

Result<std::optional<model::Identity>> host_identity(kv::Store& node, const std::string& state_dir, bool shared) {
  std::optional<model::Identity> out;
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    out.reset();
    auto name = tx.get(keys::node_identity);
    if (!name) return std::move(name).error();
    if (!name->has_value()) return {};
    auto value = tx.get(keys::own_generation);
    if (!value) return std::move(value).error();
    auto generation = read_generation(keys::own_generation, *value);
    if (!generation) return std::move(generation).error();
    out = model::Identity{**name, {}, *generation, {}};
    return {};
  });
  if (!done) return std::move(done).error();
  if (!out || !shared) return out;
  out->machine_id = known_machine_id(state_dir);
  if (out->machine_id.empty()) {
    return make_error(Code::io, "this machine has no id in /etc/machine-id or " + own_machine_id_path(state_dir));
  }
  auto instance = instance_of(state_dir);
  if (!instance) return std::move(instance).error();
  out->instance = *std::move(instance);
  return out;
}

void put_identity(kv::Transaction& node, const model::Identity& self) {
  node.put(keys::node_identity, self.name);
  node.put(keys::own_generation, std::to_string(self.generation));
  node.erase(keys::fence);
}

Status check_identity(kv::Transaction& cluster, const model::Identity& self) {
  if (self.machine_id.empty()) return {};
  const std::string again = "'firnctl join' makes it one again";
  const std::string key = keys::node(self.name);
  auto value = cluster.get(key);
  if (!value) return std::move(value).error();
  if (!value->has_value()) return refused(self, "it was removed", again);
  auto record = model::decode_node(**value);
  if (!record) return records::unreadable(key, record.error());
  if (record->machine_id != self.machine_id) {
    return refused(self, "that is the machine " + record->machine_id + ", and this is " + self.machine_id,
                   "a copy of a host needs a state directory of its own and another name");
  }
  if (record->generation != self.generation) return refused(self, "the name was removed and given again", again);
  if (self.instance.empty()) return {};
  auto beat = cluster.get(keys::beat(self.name));
  if (!beat) return std::move(beat).error();
  if (!beat->has_value()) return {};
  auto other = model::decode_beat(**beat);
  if (!other) return records::unreadable(keys::beat(self.name), other.error());
  if (other->instance == self.instance) return {};
  return refused(self, "another host is alive under this name and machine id",
                 "if this is a copy of it, give it another machine id and state directory; if it was just started anew, this "
                 "passes within a minute");
}

Result<uint64_t> next_generation(kv::Transaction& cluster) {
  auto value = cluster.get(keys::generations);
  if (!value) return std::move(value).error();
  auto last = read_generation(keys::generations, *value);
  if (!last) return last;
  cluster.put(keys::generations, std::to_string(*last + 1));
  return *last + 1;
}

Moment moment(const Clock& clock, std::string boot_id) { return {clock.unix_seconds(), clock.boot_seconds(), std::move(boot_id)}; }

Result<std::optional<model::Fence>> fence(kv::Transaction& node, const Moment& now) {
  auto value = node.get(keys::fence);
  if (!value) return std::move(value).error();
  if (!value->has_value()) return std::optional<model::Fence>();
  auto fence = model::decode_fence(**value);
  if (!fence) return records::unreadable(keys::fence, fence.error());
  if (fence->from <= now.wall) return std::optional<model::Fence>(*std::move(fence));
  if (fence->boot_id.empty()) return std::optional<model::Fence>();
  if (fence->boot_id == now.boot_id) {
    if (fence->boot_from > now.boot) return std::optional<model::Fence>();
  } else {
    if (fence->beat <= now.wall) return std::optional<model::Fence>();
    fence->why =
        "its clock says an earlier time than before it was started anew, and firn-routed has not reached the cluster since, so "
        "other hosts may have its blocks; set the clock, see 'firnctl cluster status' and 'systemctl status firn-routed'";
  }
  return std::optional<model::Fence>(*std::move(fence));
}

Result<bool> put_fence(kv::Store& node, const std::optional<model::Fence>& wanted) {
  const std::string text = wanted ? model::encode(*wanted) : std::string();
  bool changed = false;
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    auto value = tx.get(keys::fence);
    if (!value) return std::move(value).error();
    changed = value->value_or("") != text;
    if (!changed) return {};
    if (wanted) tx.put(keys::fence, text);
    else tx.erase(keys::fence);
    return {};
  });
  if (!done) return std::move(done).error();
  return changed;
}

}  // namespace firn::ipam
