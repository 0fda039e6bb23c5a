// Kubernetes' own documents, as records: NetworkPolicy of networking.k8s.io/v1 and Namespace of v1, meaning what Kubernetes says
// (docs/policy.md). Nothing is left out: a field or value that has no counterpart here is an error, since a policy that is half
// understood is another policy. What the API server writes into metadata and status is no part of the meaning.
// The documents are hostile. Pure; thread safety: no state.
#pragma once

#include <string_view>

#include "lib/base/result.hpp"
#include "lib/json/json.hpp"
#include "lib/model/policy.hpp"

namespace firn::policy {

inline constexpr std::string_view kubernetes_policies = "networking.k8s.io/v1";
inline constexpr std::string_view kubernetes_core = "v1";

// Code::invalid, beginning with the JSON pointer of the place in the document.
Result<model::Policy> read_network_policy(const json::Value& document);
Result<model::Namespace> read_namespace(const json::Value& document);

}  // namespace firn::policy
