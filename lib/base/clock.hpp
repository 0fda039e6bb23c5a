// Clock: time as a dependency, so that cooldowns and backoffs are tested without sleeping.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace firn {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t unix_seconds() const = 0;  // wall clock, for records and people
  virtual int64_t boot_seconds() const = 0;  // since the machine started; nobody sets it, and it counts while suspended
  virtual std::chrono::steady_clock::time_point steady() const = 0;  // for deadlines and durations
};

class SystemClock final : public Clock {
 public:
  int64_t unix_seconds() const override {
    return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  int64_t boot_seconds() const override {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
  }
  std::chrono::steady_clock::time_point steady() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace firn
