// The grace of nodes: the cluster takes the blocks of a node that has been dead for long, and a host that is cut off stops leasing
// before that. Both sides of one bargain, and what makes it safe is the order in which its words change:
//   - a host keeps a fence in its node store that comes `grace` after its last beat, by whichever of its clocks says so first, and
//     promises in the cluster that it does;
//   - while what is wanted (the settings) and what it has promised differ, the fence goes by the shorter of the two. Only when that
//     is on the disk is the promise made anew. So the fence never comes later than what is promised says;
//   - others take blocks only when they have themselves seen the node dead for what it has promised, and more for clocks.
// Owns: promise/ and `settings` of the cluster store; in the node store the fences that have a time. A kill leaves an older fence
// or an older promise, each of which the next beat finds. Thread safety: as the Stores.
#pragma once

#include <string>

#include "ipam/identity.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/grace.hpp"

namespace firn::ipam {

// Seconds; 0: none.
struct GraceTerms {
  int64_t wanted = 0;    // by the settings, and never less than two lives of a beat: a host must be able to keep it
  int64_t promised = 0;  // by this generation of the node
  // Why the settings cannot be read: then nothing changes, and nobody is removed.
  std::string trouble = {};
  bool operator==(const GraceTerms&) const = default;
};
// Inside a transaction of the cluster store.
Result<GraceTerms> grace_terms(kv::Transaction& cluster, const std::string& node, uint64_t generation, int64_t life);

// The fence after a beat that was begun at that time; one that is in force because the cluster refuses the host stays.
Status extend_fence(kv::Store& node, const GraceTerms& terms, const Moment& began);
// The fence that goes by these terms, or nothing.
std::optional<model::Fence> fence_of(const GraceTerms& terms, const Moment& began);
// Changes the promise, if it still is what the terms say, to what is wanted.
Status put_promise(kv::Store& cluster, const model::Identity& self, const GraceTerms& terms, int64_t life);

}  // namespace firn::ipam
