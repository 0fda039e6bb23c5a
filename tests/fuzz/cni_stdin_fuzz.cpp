// stdin of both plugins, for every verb. Whatever comes in, a Config or a Fault comes out; a refusal has a code and a message.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cni-plugin/proto/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::cni;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const Verb verb : {Verb::add, Verb::del, Verb::check, Verb::gc, Verb::status}) {
    for (const Reader reader : {Reader::firn, Reader::ipam}) {
      Environment environment;
      environment.verb = verb;
      auto config = parse_config(text, environment, reader);
      if (config) {
        // What is accepted is safe to use in keys, paths and names of links.
        if (config->name.empty() || config->name.find('/') != std::string::npos) std::abort();
        if (config->state_dir.empty() || config->state_dir.front() != '/') std::abort();
        if (config->host_prefix.empty() || config->host_prefix.size() > 5) std::abort();
        if (config->ipam.type.empty() || config->ipam.type.find('/') != std::string::npos) std::abort();
      } else if (config.fault().message.empty() || error_json(config.fault(), "1.0.0").empty()) {
        std::abort();
      }
    }
  }
  (void)parse_error_json(text);
  return 0;
}
