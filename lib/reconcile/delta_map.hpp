// DeltaMap: desired, actual, and what is pending between them. Header only, no I/O; the one idea of reconcile in this house,
// used for host routes, neighbours, BIRD's configuration and (in deploy/) containers.
//
// A driver for a kind of object supplies: list (what is there and is ours), upsert, remove. It tells the map what it listed
// (set_actual), what it did (applied / removed), and what the kernel says happened meanwhile (observe / observe_removed).
// Nothing may be applied before the first complete list: pending() is empty until then.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace firn::reconcile {

template <class Key, class Spec>
class DeltaMap {
 public:
  struct Pending {
    std::vector<Key> removals;  // first: a removal may make room for an upsert
    std::vector<std::pair<Key, Spec>> upserts;
    bool empty() const { return removals.empty() && upserts.empty(); }
    size_t size() const { return removals.size() + upserts.size(); }
  };

  // Desired ------------------------------------------------------------------------------------------------------------
  void want(const Key& key, Spec spec) {
    auto [it, added] = desired_.insert_or_assign(key, std::move(spec));
    (void)added;
    mark(key, &it->second);
  }
  void unwant(const Key& key) {
    desired_.erase(key);
    mark(key, nullptr);
  }
  void want_exactly(std::map<Key, Spec> desired) {
    desired_ = std::move(desired);
    recompute();
  }
  const std::map<Key, Spec>& desired() const { return desired_; }
  const Spec* find_desired(const Key& key) const {  // nullptr: nobody wants it
    const auto it = desired_.find(key);
    return it == desired_.end() ? nullptr : &it->second;
  }

  // Actual -------------------------------------------------------------------------------------------------------------
  void set_actual(std::map<Key, Spec> actual) {
    actual_ = std::move(actual);
    listed_ = true;
    recompute();
  }
  void observe(const Key& key, Spec spec) {
    actual_.insert_or_assign(key, std::move(spec));
    mark(key, find_desired(key));
  }
  void observe_removed(const Key& key) {
    actual_.erase(key);
    mark(key, find_desired(key));
  }
  bool listed() const { return listed_; }
  const std::map<Key, Spec>& actual() const { return actual_; }

  // Pending ------------------------------------------------------------------------------------------------------------
  Pending pending() const {
    Pending out;
    if (!listed_) return out;
    for (const auto& [key, upsert] : dirty_) {
      if (upsert) {
        out.upserts.emplace_back(key, desired_.at(key));
      } else {
        out.removals.push_back(key);
      }
    }
    return out;
  }
  size_t pending_count() const { return listed_ ? dirty_.size() : 0; }

 private:
  void mark(const Key& key, const Spec* wanted) {
    const auto it = actual_.find(key);
    if (wanted != nullptr) {
      if (it != actual_.end() && it->second == *wanted) dirty_.erase(key);
      else dirty_[key] = true;
    } else if (it != actual_.end()) {
      dirty_[key] = false;
    } else {
      dirty_.erase(key);
    }
  }
  void recompute() {
    dirty_.clear();
    for (const auto& [key, spec] : desired_) mark(key, &spec);
    for (const auto& [key, spec] : actual_) {
      if (!desired_.contains(key)) dirty_[key] = false;
    }
  }

  std::map<Key, Spec> desired_;
  std::map<Key, Spec> actual_;
  std::map<Key, bool> dirty_;  // true: upsert, false: remove
  bool listed_ = false;
};

}  // namespace firn::reconcile
