// A Clock that stands still until the test moves it.
#pragma once

#include "lib/base/clock.hpp"

namespace firn::test {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t unix_seconds = 1'700'000'000) : unix_seconds_(unix_seconds) {}
  int64_t unix_seconds() const override { return unix_seconds_; }
  std::chrono::steady_clock::time_point steady() const override { return steady_; }

  // Both clocks, as time passes. The wall clock keeps the remainder of a second.
  void advance(std::chrono::milliseconds by) {
    steady_ += by;
    remainder_ += by;
    const auto whole = std::chrono::floor<std::chrono::seconds>(remainder_);
    unix_seconds_ += whole.count();
    remainder_ -= whole;
  }
  // The wall clock alone, as an administrator or NTP sets it.
  void set_unix_seconds(int64_t seconds) { unix_seconds_ = seconds; }

 private:
  int64_t unix_seconds_;
  std::chrono::milliseconds remainder_{0};
  std::chrono::steady_clock::time_point steady_{std::chrono::seconds(1000)};
};

}  // namespace firn::test
