// prevResult, and what another IPAM plugin prints. What can be read can be written in every version and read back the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cni-plugin/proto/result.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn;
  auto document = json::Document::parse({reinterpret_cast<const char*>(data), size});
  if (!document) return 0;
  auto result = cni::parse_result(document->root());
  if (!result) return 0;
  for (const auto version : {cni::Version::v0_3_1, cni::Version::v0_4_0, cni::Version::v1_0_0, cni::Version::v1_1_0}) {
    auto written = json::Document::parse(cni::write_result(*result, version));
    if (!written) std::abort();
    auto back = cni::parse_result(written->root());
    if (!back) std::abort();
    if (version == cni::Version::v1_1_0 && back->ips != result->ips) std::abort();
    if (back->routes.size() != result->routes.size()) std::abort();
  }
  return 0;
}
