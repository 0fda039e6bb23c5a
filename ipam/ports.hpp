// Published ports of the host: one holder each, written in the transaction of the endpoint's record.
// Owns: the keys port/ of the node store, which follow from the endpoints (rebuild.hpp makes them anew after a boot).
// Thread safety: as the Transaction.
#pragma once

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// Takes the endpoint's ports. Code::conflict names the port and its holder: container, pod, network.
Status hold_ports(kv::Transaction& tx, const model::Endpoint& endpoint);
// Those that are held by another stay with it.
Status free_ports(kv::Transaction& tx, const model::Endpoint& endpoint);

}  // namespace firn::ipam
