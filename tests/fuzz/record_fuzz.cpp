// Every record codec: what decodes, encodes to a text that decodes to the same record. The first byte chooses the codec:
// '@' the first, 'A' the second ..., so that a text of the corpus keeps its codec when others are added.
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/model/bgp.hpp"
#include "lib/model/bgp_policy.hpp"
#include "lib/model/bgp_status.hpp"
#include "lib/model/grace.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/policy.hpp"
#include "lib/model/records.hpp"

namespace {

template <class Decode>
void round_trip(std::string_view text, Decode decode) {
  auto record = decode(text);
  if (!record) {
    if (record.error().message.empty()) std::abort();
    return;
  }
  const std::string stored = firn::model::encode(*record);
  auto again = decode(stored);
  if (!again || !(*again == *record)) std::abort();
  // Every field that is written is one that is known.
  if (!decode(firn::model::Source(stored, true))) std::abort();
  if (auto strict = decode(firn::model::Source(text, true)); strict && !(*strict == *record)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::model;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] & 31) {
    case 0: round_trip(text, decode_pool); break;
    case 1: round_trip(text, decode_reservation); break;
    case 2: round_trip(text, decode_block); break;
    case 3: round_trip(text, decode_claim); break;
    case 4: round_trip(text, decode_lease); break;
    case 5: round_trip(text, decode_endpoint); break;
    case 6: round_trip(text, decode_node); break;
    case 7: round_trip(text, decode_bgp_settings); break;
    case 8: round_trip(text, decode_bgp_peer); break;
    case 9: round_trip(text, decode_bgp_filter); break;
    case 10: round_trip(text, decode_bgp_community); break;
    case 11: round_trip(text, decode_bgp_prefix); break;
    case 12: round_trip(text, decode_bgp_topology); break;
    case 13: round_trip(text, decode_bgp_ready); break;
    case 14: round_trip(text, decode_cluster_settings); break;
    case 15: round_trip(text, decode_promise); break;
    case 16: round_trip(text, decode_bgp_status); break;
    case 17: round_trip(text, decode_policy); break;
    case 18: round_trip(text, decode_namespace); break;
    case 19: round_trip(text, decode_host_endpoint); break;
    case 20: round_trip(text, decode_policy_settings); break;
    case 21: round_trip(text, decode_drain_report); break;
    default: break;
  }
  return 0;
}
