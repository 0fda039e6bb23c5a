// Publication: copies of a host's endpoints in the cluster store, for people and programs that look at all hosts. Nothing on a host
// depends on them: addresses are leased by the node store alone. They are late by a second or so, and by as long as the
// cluster store is away.
// Owns: published/NODE/ of the cluster store, each host its own. A kill in between leaves an older copy, which the next
// publish_all() sets right. Thread safety: as the Store.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::ipam {

// By handle: the text of the endpoint's record; nothing when it is gone.
using EndpointChanges = std::map<std::string, std::optional<std::string>>;

// The record of the node store as it is published: without what only the host itself can use.
Result<std::string> published_text(const std::string& record);

struct Published {
  uint64_t written = 0, erased = 0;
};
// Only what changed. Code::not_found: the cluster does not know the node (any more), Code::denied: it knows another one by that
// name (identity.hpp); nothing is written.
Result<Published> publish(kv::Store& cluster, const model::Identity& self, const EndpointChanges& changes);
// All of the node's endpoints: lists what is published of it and writes the difference.
Result<Published> publish_all(kv::Store& cluster, const model::Identity& self, const std::map<std::string, std::string>& endpoints);
// What is published of a node that is no longer one; returns how many.
Result<uint64_t> unpublish_node(kv::Store& cluster, const std::string& node);

// The endpoints of a node store, as publish_all() wants them. A record that cannot be read is left out; 'ipam check' reports it.
Result<std::map<std::string, std::string>> endpoints_to_publish(kv::Store& node);

}  // namespace firn::ipam
