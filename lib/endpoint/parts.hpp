// The two sides of an endpoint as netlink requests, and which links are ours. Pure, but for forget_rules().
#pragma once

#include <vector>

#include "lib/endpoint/endpoint.hpp"

namespace firn::endpoint {

// Order matters: the link comes up before routes go through it. EEXIST of an address: it has been there already.
std::vector<netlink::Request> host_requests(const Spec& spec, int index);
// Before the link comes up. `policer`: of load_policer(), where spec.bandwidth.egress asks for one.
std::vector<netlink::Request> bandwidth_requests(const Spec& spec, int index, int policer);
netlink::TokenBucket in_bytes(const model::Bucket& bucket);
// AddRoute rather than ReplaceRoute: EEXIST tells that the container has another default route.
std::vector<netlink::Request> container_requests(const Spec& spec, int index);
std::vector<netlink::Request> policy_requests(const Spec& spec, const Attached& attached, int index);
netlink::Rule rule_for(const Address& address, int index);
// The destinations that lead to the gateway: spec.routes, or the default routes.
std::vector<Prefix> destinations(const Spec& spec);

// A link of this handle, also one whose creation was killed before it had its alias, and a dead one.
bool is_our_link(const netlink::Link& link, std::string_view handle);

// Best effort: rules of an interface whose attach failed.
void forget_rules(const netlink::Netns& container, const Spec& spec);

}  // namespace firn::endpoint
