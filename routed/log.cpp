#include "routed/log.hpp"

namespace firn::routed {
namespace {

constexpr std::chrono::seconds quiet{60};
constexpr size_t max_topics = 256;

}  // namespace

void Log::repeated(Level level, const std::string& topic, std::string_view text) {
  const auto now = clock_.steady();
  const auto known = topics_.find(topic);
  if (known != topics_.end() && now - known->second.last < quiet) {
    ++known->second.held;
    return;
  }
  std::string line(text);
  if (known != topics_.end() && known->second.held > 0) line += " (and " + std::to_string(known->second.held) + " more like this)";
  if (known == topics_.end() && topics_.size() >= max_topics) topics_.clear();
  topics_[topic] = {now, 0};
  sink_(level, line);
}

}  // namespace firn::routed
