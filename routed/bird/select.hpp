// From the records of the cluster to the configuration of one host: its AS, its router id, its peers with their filters and
// communities, what it announces besides its blocks. Pure. Thread safety: plain values.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/model/bgp.hpp"
#include "lib/model/bgp_policy.hpp"
#include "routed/bird/config.hpp"

namespace firn::routed::bird {

struct Records {
  model::BgpSettings settings;
  model::Node self;
  std::vector<model::Node> nodes;  // all of them; not needed for the topology `peers`
  std::vector<model::BgpPeer> peers;
  std::map<std::string, model::BgpFilter> filters;
  std::map<std::string, model::BgpCommunity> communities;
  std::vector<model::BgpPrefix> prefixes;
  std::vector<model::Pool> pools;
};

// The peers of this host (passwords still to be read), without sessions between hosts.
// Code::invalid naming the object and the field when there is no router id to be had, or a name that nothing has.
Result<Config> select(const Records& records);
bool concerns(const model::BgpPeer& peer, const model::Node& node);
// "no-export", "64512:1" or the name of an object, as values.
Result<std::vector<model::Community>> resolve_communities(const std::vector<std::string>& texts,
                                                          const std::map<std::string, model::BgpCommunity>& named);
// What a host in drain does now, and the seconds until it does something else (0: it stays so).
Drain drain_of(const model::Node& node, int64_t now);
int64_t until_next_drain(const model::Node& node, int64_t now);

}  // namespace firn::routed::bird
