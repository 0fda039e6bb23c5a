// Any text as a selector: what is read is spelled so that it reads as the same, and selects the same.
#include <cstdlib>
#include <string_view>

#include "lib/policy/selector.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::policy;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto selector = Selector::parse(text);
  if (!selector) {
    if (selector.error().message.empty()) std::abort();
    return 0;
  }
  auto again = Selector::parse(selector->text());
  if (!again || again->text() != selector->text()) std::abort();
  for (const Labels& labels :
       {Labels{}, Labels{{"a", "b"}}, Labels{{"a", ""}, {"b", "web"}}, Labels{{"app", "web"}, {"has", "x"}}}) {
    if (again->matches(labels) != selector->matches(labels)) std::abort();
  }
  return 0;
}
