// Any text as YAML: what is read is JSON, within the limits, and is written in a form that reads as the same.
#include <cstdlib>
#include <string_view>

#include "lib/yaml/yaml.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn;
  yaml::Limits limits;
  limits.values = 2000;
  const yaml::Reading reading = yaml::read(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (reading.fault) {
    if (reading.fault->message.empty() || reading.fault->mark.line < 1 || !reading.documents.empty()) std::abort();
    return 0;
  }
  for (const yaml::Document& document : reading.documents) {
    const auto json = json::Document::parse(document.json());
    if (!json) std::abort();
    const yaml::Reading again = yaml::read(yaml::write(json->root()));
    if (again.fault || again.documents.size() != 1) std::abort();
    const auto same = json::Document::parse(again.documents.front().json());
    if (!same || same->root().dump() != json->root().dump()) std::abort();
  }
  return 0;
}
