// Driver: desired and actual objects of one kind (route, neighbour, link, forwarding entry) and the requests that make them equal.
// Owns: what Kind::list returns, which is how a restarted daemon recognises its objects (see routes.hpp, links.hpp and the like).
// A kill -9 leaves whatever the kernel has: the next list() finds it, and what is in place is not written again.
// A key that fails waits with a growing delay and holds up only itself. Thread safety: belongs to the thread of the loop.
//
// A kind may lean on another (a route on its link): a wish is made only while that is there (Compute), and who drives several
// kinds removes in one order and puts in the opposite one, by Step.
//
// Kind supplies: Key, Spec; a static list(kernel, ...) of what is ours; static void upsert(requests, key, spec, actual, was_ours)
// (actual: what is there instead, or nullptr; was_ours: one of firn's is there or was, so that a foreign one in its place may be
// replaced); static bool conflict(errno) (upsert found somebody else's) and static Error explain(error) of that; static Request
// remove(key, spec); static bool gone(errno) (a removal that finds nothing is done); linger: how long one that nobody wants stays.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/netlink/kernel.hpp"
#include "lib/reconcile/delta_map.hpp"

namespace firn::routed {

// Who attaches writes the route itself, right after the record that we see: wait that long before writing it for him.
inline constexpr std::chrono::milliseconds new_grace{200};
// And a route may be seen before the record it belongs to: the usual Kind::linger.
inline constexpr std::chrono::milliseconds removal_grace{500};

enum class Step { remove, put };

struct Outcome {
  uint64_t done = 0;
  uint64_t failed = 0;
  uint64_t repaired = 0;  // of those done: what somebody else had removed or changed
  std::optional<Error> first_failure;
  bool unknown = false;  // a batch broke off: list again
};

template <class Kind>
class Driver {
 public:
  using Key = typename Kind::Key;
  using Spec = typename Kind::Spec;
  using TimePoint = std::chrono::steady_clock::time_point;

  Driver(netlink::Kernel& kernel, const Clock& clock) : kernel_(kernel), clock_(clock) {}

  void want(const Key& key, Spec spec, std::chrono::milliseconds grace) {
    const bool fresh = !map_.desired().contains(key);
    map_.want(key, std::move(spec));
    if (fresh && grace.count() > 0) hold(key, grace);
    else waits_.erase(key);
  }
  void unwant(const Key& key, std::chrono::milliseconds linger = Kind::linger) {
    map_.unwant(key);
    drifted_.erase(key);
    hold(key, linger);
  }

  // Replaces what is known of the kernel. What was in place before and is not now has drifted.
  void set_actual(std::map<Key, Spec> actual) {
    if (map_.listed()) {
      for (const auto& [key, spec] : map_.desired()) {
        const auto now = actual.find(key);
        if (in_place(key) && (now == actual.end() || !(now->second == spec))) drift(key);
      }
    }
    for (const auto& [key, spec] : actual) {
      if (map_.listed() && !map_.desired().contains(key) && !map_.actual().contains(key)) hold(key, Kind::linger);
    }
    map_.set_actual(std::move(actual));
  }
  void observe(const Key& key, Spec spec) {
    const auto wanted = map_.desired().find(key);
    if (wanted == map_.desired().end()) {
      if (!map_.actual().contains(key)) hold(key, Kind::linger);
    } else if (wanted->second == spec) {
      drifted_.erase(key);
      waits_.erase(key);
    } else if (in_place(key)) {
      drift(key);
    }
    map_.observe(key, std::move(spec));
  }
  void observe_removed(const Key& key) {
    if (in_place(key)) drift(key);
    map_.observe_removed(key);
  }
  // Somebody else's object at this place has gone: what failed because of it need not wait.
  void cleared(const Key& key) {
    const auto wait = waits_.find(key);
    if (wait != waits_.end() && wait->second.delay.count() > 0) waits_.erase(wait);
  }
  // The kernel dropped these with their link, by itself and without telling.
  template <class Predicate>
  void forget_actual_if(Predicate gone) {
    std::vector<Key> keys;
    for (const auto& [key, spec] : map_.actual()) {
      if (gone(key, spec)) keys.push_back(key);
    }
    for (const Key& key : keys) map_.observe_removed(key);
  }

  // `keep`: what of ours is wanted by nobody and stays all the same. Looked at again after a while.
  template <class Keep>
  Outcome apply(Step step, Keep keep) {
    Outcome out;
    const TimePoint now = clock_.steady();
    auto pending = map_.pending();
    drop_stale_waits(pending);
    Work work;
    if (step == Step::remove) {
      kept_ = 0;
      for (Key& key : pending.removals) {
        if (keep(key, map_.actual().at(key))) {
          ++kept_;
          waits_[key] = Wait{now + longest_delay, {}};
        } else if (due(key, now)) {
          work.emplace_back(std::move(key), std::nullopt);
        }
      }
    } else {
      for (auto& [key, spec] : pending.upserts) {
        if (due(key, now)) work.emplace_back(std::move(key), std::move(spec));
      }
    }
    for (size_t at = 0; at < work.size() && !out.unknown; at += batch_size) {
      apply_batch(std::span(work).subspan(at, std::min(batch_size, work.size() - at)), now, out);
    }
    return out;
  }

  // Both steps, for a kind that stands alone.
  Outcome apply() {
    const auto none = [](const Key&, const Spec&) { return false; };
    Outcome out = apply(Step::remove, none), put = apply(Step::put, none);
    put.done += out.done;
    put.failed += out.failed;
    put.unknown = put.unknown || out.unknown;
    if (out.first_failure) put.first_failure = std::move(out.first_failure);
    return put;
  }

  // When the earliest held-back key may be written; nothing while none waits.
  std::optional<TimePoint> next_due() const {
    std::optional<TimePoint> earliest;
    for (const auto& [key, wait] : waits_) {
      if (!earliest || wait.not_before < *earliest) earliest = wait.not_before;
    }
    return earliest;
  }

  bool listed() const { return map_.listed(); }
  size_t desired() const { return map_.desired().size(); }
  size_t actual() const { return map_.actual().size(); }
  size_t kept() const { return std::min(kept_, map_.pending_count()); }
  size_t pending() const { return map_.pending_count() - kept(); }
  const Spec* desired(const Key& key) const { return map_.find_desired(key); }
  bool has_actual(const Key& key) const { return map_.actual().contains(key); }
  uint64_t writes() const { return writes_; }  // change requests sent since the start

 private:
  static constexpr size_t batch_size = 2048;
  static constexpr std::chrono::milliseconds first_delay{200};
  static constexpr std::chrono::milliseconds longest_delay{60'000};
  using Work = std::vector<std::pair<Key, std::optional<Spec>>>;
  struct Wait {
    TimePoint not_before;
    std::chrono::milliseconds delay{0};  // of the last failure
  };

  bool in_place(const Key& key) const {
    const auto wanted = map_.desired().find(key);
    const auto there = map_.actual().find(key);
    return wanted != map_.desired().end() && there != map_.actual().end() && there->second == wanted->second;
  }
  void drift(const Key& key) {
    drifted_.insert(key);
    waits_.erase(key);
  }
  void hold(const Key& key, std::chrono::milliseconds grace) { waits_[key] = Wait{clock_.steady() + grace, {}}; }
  bool due(const Key& key, TimePoint now) const {
    const auto wait = waits_.find(key);
    return wait == waits_.end() || wait->second.not_before <= now;
  }
  void drop_stale_waits(const typename reconcile::DeltaMap<Key, Spec>::Pending& pending) {
    if (waits_.empty() || !map_.listed()) return;
    std::set<Key> open(pending.removals.begin(), pending.removals.end());
    for (const auto& [key, spec] : pending.upserts) open.insert(key);
    std::erase_if(waits_, [&](const auto& entry) { return !open.contains(entry.first); });
  }

  void apply_batch(std::span<const std::pair<Key, std::optional<Spec>>> work, TimePoint now, Outcome& out) {
    std::vector<netlink::Request> requests;
    std::vector<size_t> ends;  // of each key's requests: an object may take more than one
    requests.reserve(work.size());
    ends.reserve(work.size());
    for (const auto& [key, spec] : work) {
      const auto there = map_.actual().find(key);
      const Spec* actual = there == map_.actual().end() ? nullptr : &there->second;
      if (spec) Kind::upsert(requests, key, *spec, actual, actual != nullptr || drifted_.contains(key));
      else requests.push_back(Kind::remove(key, *actual));
      ends.push_back(requests.size());
    }
    writes_ += requests.size();
    auto outcome = kernel_.apply(requests);
    if (!outcome) {
      out.unknown = true;
      out.failed += work.size();
      if (!out.first_failure) out.first_failure = std::move(outcome).error();
      return;
    }
    // The last of a key's requests tells whether the object is there.
    std::map<size_t, const Error*> failures;
    for (const netlink::Failure& failure : *outcome) {
      const auto end = std::lower_bound(ends.begin(), ends.end(), failure.index + 1);
      if (*end == failure.index + 1) failures.emplace(static_cast<size_t>(end - ends.begin()), &failure.error);
    }
    for (size_t i = 0; i < work.size(); ++i) {
      const auto& [key, spec] = work[i];
      const auto failure = failures.find(i);
      if (failure != failures.end() && !(!spec && Kind::gone(failure->second->sys))) {
        ++out.failed;
        Wait& wait = waits_[key];
        const bool conflict = spec && Kind::conflict(failure->second->sys);
        // The first time it is most likely our own, by the plugin, or its link has just gone: the event is on its way.
        const bool early = (conflict || failure->second->sys == ENODEV) && wait.delay.count() == 0;
        if (!out.first_failure && !early) out.first_failure = conflict ? Kind::explain(*failure->second) : *failure->second;
        wait.delay = wait.delay.count() == 0 ? first_delay : std::min(wait.delay * 2, longest_delay);
        wait.not_before = now + wait.delay;
        continue;
      }
      ++out.done;
      waits_.erase(key);
      if (spec) {
        if (drifted_.erase(key) > 0) ++out.repaired;
        map_.observe(key, *spec);
      } else {
        map_.observe_removed(key);
      }
    }
  }

  netlink::Kernel& kernel_;
  const Clock& clock_;
  reconcile::DeltaMap<Key, Spec> map_;
  std::map<Key, Wait> waits_;
  std::set<Key> drifted_;
  uint64_t writes_ = 0;
  size_t kept_ = 0;
};

}  // namespace firn::routed
