#include "routed/forwards.hpp"

#include <cerrno>

namespace firn::routed {

Result<Forwards> ForwardKind::list(netlink::Kernel& kernel, const Links& links) {
  Forwards out;
  for (const auto& [name, link] : links) {
    auto listed = kernel.forwards(link.index);
    if (!listed) {
      if (gone(listed.error().sys)) continue;
      return std::move(listed).error().context(name);
    }
    for (const netlink::Forward& forward : *listed) out.insert_or_assign({forward.index, forward.mac}, forward);
  }
  return out;
}

void ForwardKind::upsert(std::vector<netlink::Request>& out, const Key&, const Spec& spec, const Spec*, bool) {
  out.emplace_back(netlink::ReplaceForward{spec});
}
netlink::Request ForwardKind::remove(const Key&, const Spec& spec) { return netlink::RemoveForward{spec}; }
bool ForwardKind::gone(int sys) { return sys == ENOENT || sys == ENODEV; }

void observe(ForwardDriver& driver, const netlink::Forward& forward, bool removed) {
  const ForwardKey key{forward.index, forward.mac};
  if (removed) driver.observe_removed(key);
  else driver.observe(key, forward);
}

}  // namespace firn::routed
