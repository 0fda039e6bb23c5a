// Forwarding entries of firn's vxlan links: which host has which MAC. After a restart they are recognised by their link; there
// every entry is firn's, so that whatever nobody wants goes: a learned one, and above all one of all zeros, which floods.
#pragma once

#include "routed/links.hpp"

namespace firn::routed {

using Forwards = std::map<ForwardKey, netlink::Forward>;

struct ForwardKind {
  using Key = ForwardKey;
  using Spec = netlink::Forward;
  static constexpr std::chrono::milliseconds linger = removal_grace;
  // Of these links; one that vanishes meanwhile has none.
  static Result<Forwards> list(netlink::Kernel& kernel, const Links& links);
  static void upsert(std::vector<netlink::Request>& out, const Key& key, const Spec& spec, const Spec* actual, bool was_ours);
  static bool conflict(int) { return false; }
  static Error explain(Error error) { return error; }
  static netlink::Request remove(const Key& key, const Spec& spec);
  static bool gone(int sys);
};
using ForwardDriver = Driver<ForwardKind>;

// Takes in what the kernel says happened to an entry of one of firn's vxlan links.
void observe(ForwardDriver& driver, const netlink::Forward& forward, bool removed);

}  // namespace firn::routed
