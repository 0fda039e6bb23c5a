#include "routed/neighbours.hpp"

#include <cerrno>

namespace firn::routed {

Result<Neighbours> NeighbourKind::list(netlink::Kernel& kernel) {
  auto listed = kernel.neighbours(0);
  if (!listed) return std::move(listed).error();
  Neighbours out;
  for (const netlink::Neighbour& neighbour : *listed) {
    if (neighbour.permanent && !neighbour.address.is_multicast()) out.insert_or_assign(key_of(neighbour), neighbour);
  }
  return out;
}

void NeighbourKind::upsert(std::vector<netlink::Request>& out, const Key&, const Spec& spec, const Spec*, bool) {
  out.emplace_back(netlink::ReplaceNeighbour{spec});
}
netlink::Request NeighbourKind::remove(const Key&, const Spec& spec) { return netlink::RemoveNeighbour{spec}; }
bool NeighbourKind::gone(int sys) { return sys == ENOENT || sys == ENODEV || sys == ENXIO; }

void observe(NeighbourDriver& driver, const netlink::Neighbour& neighbour, bool removed) {
  const NeighbourKey key = key_of(neighbour);
  if (removed) {
    driver.observe_removed(key);
  } else if (neighbour.permanent || driver.desired(key) != nullptr) {
    driver.observe(key, neighbour);
  } else {
    // An entry that lost its permanence and is not wanted is the kernel's own business.
    driver.observe_removed(key);
  }
}

}  // namespace firn::routed
