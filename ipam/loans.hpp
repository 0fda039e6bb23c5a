// Borrowing: when no block is to be had, a host borrows single addresses out of another host's block. To every other room a loan is
// a block of one address: a claim of that prefix, a blackhole route, an announcement, all more specific than the lender's block.
//   1. borrower, cluster: ask/LENDER/BORROWER/POOL
//   2. lender, node store: `lent/ADDRESS`, on the disk before it goes on; from here on it does not lease that address
//   3. lender, cluster: the claim of the borrower and the end of the ask, in one transaction that fences both
//   4. borrower: adopts the claim like any other, and leases
// Back: the borrower gives the claim up and says so in the same transaction (back/LENDER/ADDRESS); only then does the lender forget
// `lent/`. A kill leaves an ask that is answered again, or an address that nobody leases; never one with two owners.
// Owns: ask/, back/ of the cluster store, lent/ of the node store. Thread safety: as the Stores.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ipam/identity.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/loan.hpp"

namespace firn::ipam {

// Step 1, of the lenders the first that is alive from `turn` on. Code::exhausted: there is none, or the pool is strict.
Status ask_for_address(kv::Store& cluster, const model::Identity& self, const std::string& pool,
                       const std::vector<std::string>& lenders, size_t turn);

// Step 2. Nothing: no block of the pool has an address to spare, which is one that rests and is not the last of its block.
Result<std::optional<model::Lent>> set_aside(kv::Store& node, const model::Ask& ask, int64_t cooled, const Moment& now);
// What was set aside outlives a power cut when this returns. `path` is that of the node store.
Status make_durable(const std::string& path);
// Step 3; without an address the ask is only ended. Code::conflict: the loan cannot be made any more, and was not.
Status lend(kv::Store& cluster, const model::Identity& self, const model::Ask& ask, const std::optional<model::Lent>& lent,
            int64_t now);
// Undoes step 2.
Status take_back(kv::Store& node, const std::vector<Address>& addresses);
// Ends the notes of what was given back.
Status end_returns(kv::Store& cluster, const std::string& lender, const std::vector<Address>& addresses);

// Inside a transaction of the cluster store that gives up this claim: tells the lender, if it is a loan.
Status note_return(kv::Transaction& cluster, const model::Claim& claim);

Result<std::vector<model::Lent>> lent_here(kv::Transaction& node);
// The blocks in the node store that are loans to this host; with `loans` false those that are not.
Result<std::vector<model::Block>> select_blocks(kv::Store& node, bool loans);

}  // namespace firn::ipam
