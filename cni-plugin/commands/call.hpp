// One call of a plugin: what came in, and the verbs that answer it. A verb returns the text for stdout, or a fault.
// Owns nothing; what a verb makes or removes is recognised by the endpoint's handle (NETWORK/CONTAINERID/IFNAME).
#pragma once

#include <string>

#include "cni-plugin/proto/config.hpp"
#include "cni-plugin/proto/environment.hpp"
#include "cni-plugin/proto/fault.hpp"
#include "lib/base/clock.hpp"

namespace firn::cni {

struct Call {
  Environment environment;
  Config config;
  const Clock& clock;
};

using Reply = Outcome<std::string>;

// What ADD answers. `made`: by this call; one that was there already is not this call's to remove.
struct Added {
  std::string text;
  bool made = true;
};

// firn: makes and removes the interface.
Outcome<Added> add(const Call& call);
Reply del(const Call& call);
Reply check(const Call& call);
Reply gc(const Call& call);
Reply status(const Call& call);

// firn-ipam: leases addresses for another plugin's interface.
Outcome<Added> ipam_add(const Call& call);
Reply ipam_del(const Call& call);
Reply ipam_check(const Call& call);
Reply ipam_gc(const Call& call);
Reply ipam_status(const Call& call);

}  // namespace firn::cni
