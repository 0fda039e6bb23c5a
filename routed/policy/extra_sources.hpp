// Further addresses that a container may send from: it asks for them by an annotation, and gets those that its pool permits
// (Pool::extra_sources). The rest it does not get. Pure; thread safety: no state.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lib/model/records.hpp"

namespace firn::routed::policy {

inline constexpr const char* extra_sources_annotation = "firn.io/extra-sources";  // "192.0.2.0/28,2001:db8::7"

struct ExtraSources {
  std::vector<Prefix> granted;       // none inside another
  std::vector<std::string> refused;  // no prefix, or not permitted; as it was asked for
};
// At most 32 are looked at. `pools` by name.
ExtraSources extra_sources_of(const model::Endpoint& endpoint, const std::map<std::string, model::Pool>& pools);

}  // namespace firn::routed::policy
