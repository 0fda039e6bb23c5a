#include "routed/publisher.hpp"

#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

// Beyond that a comparison is cheaper, and the set no longer small.
constexpr size_t most_handles = 1000;

// Runs on the cluster's thread.
template <class Write>
Result<ipam::Published> with(kv::Store* cluster, Write write) {
  if (cluster == nullptr)
    return make_error(Code::unavailable, "the cluster store is away; endpoints are published when it is back");
  return write(*cluster);
}

}  // namespace

Publisher::Publisher(loop::Loop& loop, Ports ports) : Publisher(loop, std::move(ports), Delays{}) {}

Publisher::Publisher(loop::Loop& loop, Ports ports, Delays delays) : loop_(loop), ports_(std::move(ports)), delays_(delays) {
  compare_ = loop_.every(delays_.compare, [this] { everything(); });
}

void Publisher::changed(const std::string& handle) {
  if (all_) return schedule(delays_.gather);
  handles_.insert(handle);
  if (handles_.size() > most_handles) {
    handles_.clear();
    all_ = true;
  }
  schedule(delays_.gather);
}

void Publisher::everything() {
  all_ = true;
  handles_.clear();
  schedule(delays_.gather);
}

void Publisher::schedule(std::chrono::milliseconds delay) {
  if (writing_ || timer_) return;
  timer_ = loop_.after(delay, [this] {
    timer_.cancel();
    write();
  });
}

void Publisher::write() {
  kv::Store* node = ports_.node();
  const model::Identity self = ports_.self();
  // everything() comes when there is a store again.
  if (node == nullptr || self.name.empty() || !ports_.present() || (!all_ && handles_.empty())) return;
  const auto post = [this](auto change) {
    writing_ = true;
    ports_.post([this, change = std::move(change)](kv::Store* cluster) {
      return [this, outcome = with(cluster, change)] { take(outcome); };
    });
  };
  if (std::exchange(all_, false)) {
    auto endpoints = ipam::endpoints_to_publish(*node);
    if (!endpoints) {
      all_ = true;
      return ports_.failed(endpoints.error());
    }
    return post(
        [self, endpoints = *std::move(endpoints)](kv::Store& cluster) { return ipam::publish_all(cluster, self, endpoints); });
  }
  ipam::EndpointChanges changes;
  for (const std::string& handle : std::exchange(handles_, {})) {
    auto entry = node->get(keys::endpoint(handle));
    if (!entry) {
      all_ = true;
      return ports_.failed(entry.error());
    }
    auto text = *entry ? ipam::published_text((*entry)->value) : Result<std::string>(make_error(Code::not_found, ""));
    if (text) changes[handle] = *std::move(text);
    else if (!*entry) changes[handle] = std::nullopt;
  }
  post([self, changes = std::move(changes)](kv::Store& cluster) { return ipam::publish(cluster, self, changes); });
}

void Publisher::take(const Result<ipam::Published>& outcome) {
  writing_ = false;
  if (outcome) {
    if (all_ || !handles_.empty()) schedule(delays_.gather);
    return;
  }
  // What was written of it nobody knows: compare.
  all_ = true;
  handles_.clear();
  ports_.failed(outcome.error());
  schedule(delays_.retry);
}

}  // namespace firn::routed
