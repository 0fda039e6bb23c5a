// The vxlan links that firn-routed makes. After a restart they are recognised by name and kind (overlay.hpp); a link of that name
// and another kind is somebody else's: it stays and is reported. What the kernel cannot change on a live link is made anew.
// A kill -9 leaves the links, with their entries, working.
#pragma once

#include "routed/driver.hpp"
#include "routed/overlay.hpp"

namespace firn::routed {

using Links = std::map<std::string, OverlayLink>;

struct LinkKind {
  using Key = std::string;
  using Spec = OverlayLink;
  // Other hosts follow a change of mode when they hear of it: until then their packets still come this way.
  static constexpr std::chrono::milliseconds linger{10'000};
  static Links list(const std::vector<netlink::Link>& links);
  static void upsert(std::vector<netlink::Request>& out, const Key& key, const Spec& spec, const Spec* actual, bool was_ours);
  static bool conflict(int sys);
  static Error explain(Error error);
  static netlink::Request remove(const Key& key, const Spec& spec);
  static bool gone(int sys);
};
using LinkDriver = Driver<LinkKind>;

// Takes in what the kernel says happened to a link. `name_before`: the name under which it was known, for a rename.
void observe(LinkDriver& driver, const netlink::Link& link, const std::string& name_before, bool removed);

}  // namespace firn::routed
