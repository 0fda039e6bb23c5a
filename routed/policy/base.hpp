// The chains that never change: firn's hooks, and the sets and maps that they look into. Pure; thread safety: no state.
//
//   guard         prerouting, before everything: who sends as whom. Containers send no router advertisements and no redirects.
//   egress_hook   prerouting, behind destination NAT: policy of the sender sees whom it really speaks with
//   ingress_hook  postrouting, before source NAT: policy of the receiver sees who really speaks
//   host_input, host_output: only while there are host endpoints
//
// accept ends one hook alone, so sender and receiver both decide. An interface of firn's (its link group says so, whatever its
// name) that has no verdict yet is shut. Replies of what was allowed pass by connection tracking.
#pragma once

#include <string>

#include "lib/model/policy.hpp"
#include "routed/nft/wish.hpp"

namespace firn::routed::policy {

inline constexpr const char* egress_map = "egress";
inline constexpr const char* ingress_map = "ingress";
inline constexpr const char* host_in_map = "host_in";
inline constexpr const char* host_out_map = "host_out";
std::string guard_set(Family family, bool ranges);

void put_base(nft::Changes& out);

// `other`: the verdict for interfaces that no host endpoint names.
void put_host_hooks(nft::Changes& out, const model::PolicySettings& settings, const std::string& other_in,
                    const std::string& other_out);
void drop_host_hooks(nft::Changes& out);

}  // namespace firn::routed::policy
