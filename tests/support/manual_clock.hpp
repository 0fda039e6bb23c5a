// A Clock that stands still until the test moves it.
#pragma once

#include "lib/base/clock.hpp"

namespace firn::test {

class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t unix_seconds = 1'700'000'000) : unix_seconds_(unix_seconds) {}
  int64_t unix_seconds() const override { return unix_seconds_; }
  int64_t boot_seconds() const override { return boot_seconds_; }
  std::chrono::steady_clock::time_point steady() const override { return steady_; }

  // All clocks, as time passes. Those of whole seconds keep the remainder of one.
  void advance(std::chrono::milliseconds by) {
    steady_ += by;
    remainder_ += by;
    const auto whole = std::chrono::floor<std::chrono::seconds>(remainder_);
    unix_seconds_ += whole.count();
    boot_seconds_ += whole.count();
    remainder_ -= whole;
  }
  // The wall clock alone, as an administrator or NTP sets it.
  void set_unix_seconds(int64_t seconds) { unix_seconds_ = seconds; }
  // The machine starts anew; the wall clock goes on.
  void reboot() { boot_seconds_ = 0; }

 private:
  int64_t unix_seconds_;
  int64_t boot_seconds_ = 1000;
  std::chrono::milliseconds remainder_{0};
  std::chrono::steady_clock::time_point steady_{std::chrono::seconds(1000)};
};

}  // namespace firn::test
