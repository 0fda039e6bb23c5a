// What is to be said of policies as such: whether their selectors read, which one decides first, how they are called.
// Pure; thread safety: no state.
#pragma once

#include <string>

#include "lib/base/result.hpp"
#include "lib/model/policy.hpp"

namespace firn::policy {

// What a policy's record cannot check itself. Code::invalid, beginning with the JSON pointer of the selector in the record.
Status check_selectors(const model::Policy& policy);

// The order in which policies decide: by order, global before namespaced, namespace, name.
bool decides_before(const model::Policy& a, const model::Policy& b);

// "NetworkPolicy shop/web" or "GlobalNetworkPolicy web".
std::string title_of(const model::Policy& policy);

}  // namespace firn::policy
