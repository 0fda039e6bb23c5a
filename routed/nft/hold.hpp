// Hold: a second table, `inet firn_hold`, that drops what comes from and goes to firn's interfaces whenever the main table did not
// look at it. The main table's chains that decide set one bit of the packet's mark, the hold table's chains right behind them drop
// what lacks that bit and clear it: outside of these two hooks the bit is never set. The kernel gives the table
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

// A chain that decides about firn's interfaces sets the mark, behind its first rule, which leaves other interfaces alone. Other
// chains stay as they are. True: it was such a chain.
bool mark_chain(const std::string& name, Chain& chain, const HoldSettings& settings);
// The table, in place of one that is there.
std::string hold_table(const HoldSettings& settings);

}  // namespace firn::routed::nft
