// SPDX-License-Identifier: GPL-2.0-only
//
// Elements of sets and maps straight to the kernel (NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM of linux/netfilter/nf_tables.h), as one
// transaction. The form of a request, sizes as 16 bits in network order:
//   SIZE TABLE, then for each element: '+' or '-', SIZE SET, SIZE KEY, kind of data, SIZE DATA
//   kind: 'n' none, 'a' accept, 'd' drop, 'g' goto the chain in DATA, 'v' the value in DATA
#pragma once

#include <string>
#include <string_view>

struct ElementsOutcome {
  std::string refusal;   // "": done; otherwise why nothing was changed
  bool unknown = false;  // no answer came, and may come yet: the socket is of no use any more
};
// Over the given netlink socket, on which nothing else is under way.
ElementsOutcome run_elements(int socket, std::string_view request);
