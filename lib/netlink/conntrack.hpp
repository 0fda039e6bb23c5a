// The kernel's table of connections (nf_conntrack), as much as policy needs of it: which flows there are, and the end of some.
// Bound to the network namespace in which it was opened. Needs CAP_NET_ADMIN. Thread safety: one object, one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"

namespace firn::netlink {

// One direction of a flow, as the kernel indexes it.
struct FlowTuple {
  Address source, destination;
  uint8_t protocol = 0;
  uint16_t source_port = 0, destination_port = 0;  // tcp, udp, sctp
  uint16_t icmp_id = 0;                            // icmp, icmpv6
  uint8_t icmp_type = 0, icmp_code = 0;
  bool operator==(const FlowTuple&) const = default;
};

struct Flow {
  FlowTuple original;  // of the first packet, before any NAT
  // Who speaks with whom in truth: the source before source NAT, the destination behind destination NAT.
  FlowTuple real;
  uint32_t id = 0;  // tells it from a later flow with the same tuple
  uint16_t zone = 0;
};

class Conntrack {
 public:
  virtual ~Conntrack() = default;
  // Calls `each` for every flow; what cannot be read is passed over. At most `most` of them, then Code::exhausted.
  virtual Status list(size_t most, const std::function<void(const Flow&)>& each) = 0;
  // Code::not_found: it has ended by itself.
  virtual Status end(const Flow& flow) = 0;
};

Result<std::unique_ptr<Conntrack>> open_conntrack();

}  // namespace firn::netlink
