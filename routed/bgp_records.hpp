// The BGP records of the cluster store, as this host needs them. Reads only; who owns each record: docs/bgp.md.
// A record that cannot be read is an error that names it: the configuration before stays in force.
// Thread safety: as the store.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "lib/kv/store.hpp"
#include "routed/bird/select.hpp"

namespace firn::routed {

struct BgpRecords {
  bird::Records records;
  std::optional<model::BgpTopology> topology;  // in force, for the automatic one
  std::map<std::string, std::string> ready;    // node -> the plan it has in place
};

Result<BgpRecords> read_bgp_records(kv::Store& cluster, const std::string& node_name);

}  // namespace firn::routed
