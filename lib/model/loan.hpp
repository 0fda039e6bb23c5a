// Borrowed addresses: a loan is a claim of one address inside of a block that another node has. These are the records beside it.
// Pure; thread safety: plain values.
#pragma once

#include <string>

#include "lib/model/records.hpp"

namespace firn::model {

// Cluster store, key: ask/LENDER/BORROWER/POOL. The borrower asks the lender for one address of the pool.
struct Ask {
  std::string lender;
  std::string borrower;
  std::string pool;
  uint64_t generation = 0;  // of the borrower
  bool operator==(const Ask&) const = default;
};

// Node store of the lender, key: lent/ADDRESSKEY. The address is never leased here while it is there.
struct Lent {
  Address address;
  std::string pool;
  std::string borrower;
  bool operator==(const Lent&) const = default;
};

std::string encode(const Ask&);
std::string encode(const Lent&);
Result<Ask> decode_ask(Source);
Result<Lent> decode_lent(Source);

// A claim or block of this prefix is a loan, and not a block as the pool cuts them.
inline bool is_loan(const Pool& pool, const Prefix& prefix) { return prefix.is_host() && pool.block_size != prefix.length(); }

namespace keys {
inline constexpr std::string_view lent = "lent/";
std::string lent_address(const Address& address);
std::string asks_of(std::string_view lender);
std::string ask(const Ask& ask);
// Cluster store: the borrower has given the address back; the lender erases it when it leases it again. The value is empty.
std::string returns_to(std::string_view lender);
std::string return_of(std::string_view lender, const Address& address);
}  // namespace keys

}  // namespace firn::model
