// Addresses that mean something else than "this host", wherever they stand.
#include "ipam/pools.hpp"

namespace firn::ipam {

std::optional<Prefix> special_use(const Prefix& cidr) {
  static const Prefix ranges[] = {
      Prefix::of(Address::v4(0x00000000), 8),  // "this network" (RFC 1122)
      Prefix::of(Address::v4(0x7f000000), 8),
      Prefix::of(Address::v4(0xa9fe0000), 16),  // holds the gateway of every container, too
      Prefix::of(Address::v4(0xe0000000), 4),
      Prefix::of(Address::v6(0), 128),
      Prefix::of(Address::v6(1), 128),
      Prefix::of(Address::v6(uint128{0xfe80} << 112), 10),
      Prefix::of(Address::v6(uint128{0xff00} << 112), 8),
  };
  for (const Prefix& range : ranges) {
    if (range.family() == cidr.family() && range.overlaps(cidr)) return range;
  }
  return std::nullopt;
}

}  // namespace firn::ipam
