// Hold: a second table, `inet firn_hold`, that drops what comes from and goes to firn's interfaces whenever the main table did not
// look at it. The main table's last chain at each of the two hooks sets one bit of the packet's mark, the hold table's chain right
// behind it drops what lacks that bit and clears it: outside of these two hooks the bit is never set. The kernel gives the table
// to the netlink socket that made it (`flags owner`), so that a flush of the ruleset by somebody else leaves it; it goes with
// that socket, which is firn-nft's. So it is made only once the main table is in place. Pure; thread safety: plain functions.
#pragma once

#include <cstdint>
#include <string>

#include "routed/nft/wish.hpp"

namespace firn::routed::nft {

struct HoldSettings {
  uint32_t group = 0;  // of links
  uint32_t mark = 0;   // one bit
};

// What the main table needs for it.
Changes hold_marks(const HoldSettings& settings);
// The table, in place of one that is there.
std::string hold_table(const HoldSettings& settings);

}  // namespace firn::routed::nft
