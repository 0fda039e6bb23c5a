// Log: one line an event that a person must know, with repeats held back. The sink (spdlog, or a test's vector) is given by main.
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "lib/base/clock.hpp"

namespace firn::routed {

enum class Level { debug, info, warning, error };
using LogSink = std::function<void(Level, std::string_view)>;

class Log {
 public:
  Log(LogSink sink, const Clock& clock) : sink_(std::move(sink)), clock_(clock) {}

  void debug(std::string_view text) const { sink_(Level::debug, text); }
  void info(std::string_view text) const { sink_(Level::info, text); }
  void warning(std::string_view text) const { sink_(Level::warning, text); }
  void error(std::string_view text) const { sink_(Level::error, text); }
  // At most one line a minute for the same `topic`; the next one says how many were held back.
  void repeated(Level level, const std::string& topic, std::string_view text);

 private:
  struct Topic {
    std::chrono::steady_clock::time_point last;
    uint64_t held = 0;
  };
  LogSink sink_;
  const Clock& clock_;
  std::map<std::string, Topic> topics_;
};

}  // namespace firn::routed
