// Rollback: undo steps that run in reverse order unless commit() is called. The one way this house undoes half-made work.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace firn {

class Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() { run(); }

  // A step must not throw; its own failure is its own business (what it cannot undo, GC finds).
  void add(std::function<void()> undo) { steps_.push_back(std::move(undo)); }
  void commit() { steps_.clear(); }
  void run() {
    while (!steps_.empty()) {
      auto step = std::move(steps_.back());
      steps_.pop_back();
      step();
    }
  }

 private:
  std::vector<std::function<void()>> steps_;
};

}  // namespace firn
