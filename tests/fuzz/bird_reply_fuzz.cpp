// Bytes from BIRD's control socket: any cut of them, any content. The first byte chooses where the stream is cut.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "routed/bird/reply.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using firn::routed::bird::ReplyParser;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t step = size_t{data[0]} + 1;
  ReplyParser parser(ReplyParser::Limits{512, 1000, 64 * 1024});
  for (size_t at = 0; at < bytes.size(); at += step) {
    if (!parser.feed(bytes.substr(at, step)).ok()) break;
  }
  while (auto reply = parser.next()) {
    (void)firn::routed::bird::parse_sessions(*reply);
    (void)firn::routed::bird::parse_status(*reply);
    (void)firn::routed::bird::parse_routes(*reply);
    (void)firn::routed::bird::parse_route_entries(*reply);
    (void)firn::routed::bird::refusal("reply", *reply);
  }
  return 0;
}
