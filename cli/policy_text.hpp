// Policies as people read them. Pure; thread safety: plain values.
#pragma once

#include <string>

#include "lib/model/policy.hpp"

namespace firn::cli {

// "allow tcp from app == 'web' to ports 443, http".
std::string rule_text(const model::PolicyRule& rule);
// "ingress, egress".
std::string types_text(const model::Policy& policy);
// Whom it selects: "app == 'web'", "everything in namespaces team == 'a'".
std::string selects_text(const model::Policy& policy);

}  // namespace firn::cli
