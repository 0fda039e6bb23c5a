// Forbidden: which connections a policy that has changed must end: replies of what was allowed pass without being asked again, so
// a flow that would not be allowed any more lives on until its entry goes. Pure; thread safety: no state.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/model/policy.hpp"
#include "lib/netlink/conntrack.hpp"
#include "lib/policy/evaluate.hpp"

namespace firn::routed::policy {

struct FlowView {
  std::map<Address, model::Endpoint> holders;  // of the addresses in question, as far as they are containers of the cluster
  std::set<Address> here;                      // containers of this host: only their flows are judged
  std::set<Address> own;                       // the host's own addresses
  std::set<Address> gone;                      // containers that were here: whatever they spoke with is over
  std::vector<model::PortPlace> published;     // newly, of this host: flows that began before lead to no container
};

// A flow of datagrams that began before its port was published, and would go on like that for as long as its client sends.
bool missed_a_port(const netlink::Flow& flow, const std::vector<model::PortPlace>& published);

// Indices into `flows`, in order.
std::vector<size_t> forbidden(const std::vector<netlink::Flow>& flows, const firn::policy::Evaluator& evaluator,
                              const FlowView& view);

}  // namespace firn::routed::policy
