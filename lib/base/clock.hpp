// Clock: time as a dependency, so that cooldowns and backoffs are tested without sleeping.
#pragma once

#include <chrono>
#include <cstdint>

namespace firn {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t unix_seconds() const = 0;                          // wall clock, for records and people
  virtual std::chrono::steady_clock::time_point steady() const = 0;  // for deadlines and durations
};

class SystemClock final : public Clock {
 public:
  int64_t unix_seconds() const override {
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  std::chrono::steady_clock::time_point steady() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace firn
