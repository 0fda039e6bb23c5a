// Choosing an address for one request inside a node-store transaction, and taking it out of its block.
// Owns nothing. Thread safety: as the Transaction.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipam/allocator.hpp"
#include "ipam/identity.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// What the tries of one lease know of each other: between two of them the block source is asked.
struct BlockWish {
  model::Pool pool;
  std::optional<Address> address;
};
struct Tries {
  Moment now = {};
  bool may_ask = false;                  // there is a block source
  std::map<std::string, Error> refused;  // pool -> why the source has no more blocks of it
  std::optional<BlockWish> wish;         // set by a try that failed for want of a block
};

// Takes an address for the request out of a block and writes the block; the lease that is returned has no handle yet and is
// the caller's to write. An error with tries.wish set means: ask the source, then try again.
Result<model::Lease> pick_address(kv::Transaction& tx, model::Use use, const AddressRequest& request, int64_t released_before,
                                  Tries& tries);

// Which addresses of a pool may be given out at all: not reserved, and for Use::bridged not its network or broadcast address.
class Rules {
 public:
  Rules(const model::Pool& pool, model::Use use, const std::vector<Prefix>& reserved, const AddressRequest& request);
  bool allows(const Address& address) const { return refusal(address) == nullptr; }
  // Why not, as the end of a sentence that begins with the address; nullptr when it may be given out.
  const char* refusal(const Address& address) const;
  bool allows_any(const Prefix& block) const;  // false: surely none in it
  // The last address of the reservation that covers the whole block: a search for a block goes on behind it.
  std::optional<Address> end_of_reservation(const Prefix& block) const;

 private:
  const std::vector<Prefix>& reserved_;
  const AddressRequest& request_;
  Prefix leasable_;
  std::optional<Address> network_, broadcast_;
};

}  // namespace firn::ipam
