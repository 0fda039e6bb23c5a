// CNI_ARGS and the other variables of the environment.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cni-plugin/proto/environment.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::cni;
  const std::string text(reinterpret_cast<const char*>(data), size);
  auto args = parse_cni_args(text);
  if (!args && args.fault().message.empty()) std::abort();
  // As the environment has it: up to the first zero byte.
  const std::string value(text.c_str());
  for (const char* fuzzed : {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"}) {
    auto environment = read_environment([&](const char* name) -> const char* {
      if (std::string_view(name) == fuzzed) return value.c_str();
      return std::string_view(name) == "CNI_COMMAND" ? "ADD" : "eth0";
    });
    if (environment && (environment->container_id.find('/') != std::string::npos || environment->ifname.size() > 15)) std::abort();
  }
  return 0;
}
