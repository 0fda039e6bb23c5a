// What a policy's record cannot check itself: whether its selectors read. Pure.
#pragma once

#include "lib/base/result.hpp"
#include "lib/model/policy.hpp"

namespace firn::policy {

// Code::invalid, beginning with the JSON pointer of the selector in the record.
Status check_selectors(const model::Policy& policy);

}  // namespace firn::policy
