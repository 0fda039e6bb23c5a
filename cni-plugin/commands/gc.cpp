// GC: every attachment of this network that the runtime does not name is released; links of ours that no record knows go too.
// Goes on past failures and reports the first.
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "cni-plugin/commands/attachment.hpp"
#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/delegate.hpp"
#include "cni-plugin/commands/state.hpp"

namespace firn::cni {

namespace {

class Sweep {
 public:
  Sweep(const Call& call, State& state) : call_(call), state_(state) {}

  bool valid(const std::string& container_id, const std::string& ifname) const {
    return std::ranges::binary_search(*call_.config.valid_attachments, Attachment{container_id, ifname});
  }

  // Records of one kind; `remove` takes away what belongs to one beside the lease.
  template <class Remove>
  Answer records(model::EndpointKind kind, Remove remove) {
    auto endpoints = state_.allocator().endpoints(call_.config.name);
    if (!endpoints) return state_fault(endpoints.error());
    for (const model::Endpoint& record : *endpoints) {
      if (record.kind != kind || record.network != call_.config.name || valid(record.container_id, record.ifname)) continue;
      // "null" is not believed against a namespace that is alive.
      if (call_.config.valid_attachments_null && netns_if_alive(record.netns, record.netns_inode)) continue;
      if (Answer removed = remove(record); !removed) {
        note(std::move(removed).fault());
        continue;
      }
      if (auto released = state_.allocator().release(model::handle_of(record)); !released) {
        note(state_fault(released.error()));
        continue;
      }
      ++released_;
    }
    return Done{};
  }

  void note(Fault problem) {
    ++failed_;
    if (!first_) first_ = std::move(problem);
  }
  size_t released() const { return released_; }

  Reply finish(size_t links) {
    std::string text = "firn: GC of network " + call_.config.name + ": released " + std::to_string(released_) + " attachments";
    if (links > 0) text += ", removed " + std::to_string(links) + " links without record";
    text += '\n';
    // stdout belongs to the protocol. A log line that cannot be written is no reason to fail.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (!first_) return std::string();
    if (failed_ > 1) first_->message += " (and " + std::to_string(failed_ - 1) + " more failures)";
    return *std::move(first_);
  }

 private:
  const Call& call_;
  State& state_;
  size_t released_ = 0, failed_ = 0;
  std::optional<Fault> first_;
};

// Live links of this network that no record knows: a state directory that was lost. Dead ones of anybody are deleted after this.
// The links are listed before the records: an ADD writes its record first, so the link of one in progress is never taken for
// an orphan.
Result<size_t> bury_orphans(const Call& call, State& state, netlink::Kernel& kernel) {
  auto links = kernel.links();
  if (!links) return std::move(links).error();
  auto endpoints = state.allocator().endpoints(call.config.name);
  if (!endpoints) return std::move(endpoints).error();
  std::vector<std::string> kept;  // as aliases, which are cut at some length
  for (const model::Endpoint& record : *endpoints) kept.push_back(endpoint::alias_for(model::handle_of(record)));
  for (const Attachment& a : *call.config.valid_attachments) {
    kept.push_back(endpoint::alias_for(model::handle_of(call.config.name, a.container_id, a.ifname)));
  }
  std::ranges::sort(kept);
  size_t buried = 0;
  for (const netlink::Link& link : *links) {
    const auto handle = endpoint::handle_of_link(link);
    if (!handle || !handle->starts_with(call.config.name + "/") || std::ranges::binary_search(kept, link.alias)) continue;
    netlink::SetLink dead{.index = link.index};
    dead.up = false;
    dead.group = netlink::dead_group;
    const netlink::Request request = std::move(dead);
    auto done = netlink::all_done(kernel.apply({&request, 1}));
    if (!done && done.error().sys == ENODEV) continue;  // gone with its namespace this very moment
    if (!done) return std::move(done).error();
    ++buried;
  }
  return buried;
}

}  // namespace

Reply gc(const Call& call) {
  // The runtime did not say what is valid: nothing may be taken for invalid.
  if (!call.config.valid_attachments) return std::string();
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  auto kernel = netlink::open_kernel();
  if (!kernel) return kernel_fault(kernel.error());
  Sweep sweep(call, **state);
  auto swept = sweep.records(model::EndpointKind::interface, [&](const model::Endpoint& record) -> Answer {
    const auto netns = netns_if_alive(record.netns, record.netns_inode);
    auto detached = endpoint::detach(**kernel, netns ? &*netns : nullptr, record);
    if (!detached) return kernel_fault(detached.error());
    if (record.leased || call.config.ipam.type == own_ipam) return Done{};
    // Not every plugin knows GC. The record is the only trace of its address: it stays until the address is given back.
    if (auto released = release_by_delegate(call, record); !released) return std::move(released).fault();
    return Done{};
  });
  if (!swept) return std::move(swept).fault();
  size_t links = 0;
  // Without a list that was said in earnest, a link without record may be a container's whose state was lost.
  if (!call.config.valid_attachments_null) {
    auto buried = bury_orphans(call, **state, **kernel);
    if (buried) links = *buried;
    else sweep.note(kernel_fault(buried.error()));
  }
  if (auto reaped = endpoint::reap(**kernel); !reaped) sweep.note(kernel_fault(reaped.error()));
  if (call.config.ipam.type != own_ipam) {
    if (auto done = run_delegate(call, Verb::gc); !done) sweep.note(std::move(done).fault());
  }
  return sweep.finish(links);
}

Reply ipam_gc(const Call& call) {
  if (!call.config.valid_attachments) return std::string();
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  Sweep sweep(call, **state);
  auto swept = sweep.records(model::EndpointKind::address, [](const model::Endpoint&) -> Answer { return Done{}; });
  if (!swept) return std::move(swept).fault();
  return sweep.finish(0);
}

}  // namespace firn::cni
