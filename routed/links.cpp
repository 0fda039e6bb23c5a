#include "routed/links.hpp"

#include <cerrno>

namespace firn::routed {
namespace {

bool is_ours(const netlink::Link& link) { return link.vxlan.has_value() && is_vxlan_name(link.name); }
OverlayLink spec_of(const netlink::Link& link) { return {link.mac, link.mtu, link.up, *link.vxlan, link.index}; }

}  // namespace

Links LinkKind::list(const std::vector<netlink::Link>& links) {
  Links out;
  for (const netlink::Link& link : links) {
    if (is_ours(link)) out.insert_or_assign(link.name, spec_of(link));
  }
  return out;
}

void LinkKind::upsert(std::vector<netlink::Request>& out, const Key& key, const Spec& spec, const Spec* actual, bool) {
  if (actual != nullptr && actual->vxlan == spec.vxlan && actual->mac == spec.mac) {
    netlink::SetLink set;
    set.index = actual->index;
    set.mtu = spec.mtu;
    set.up = spec.up;
    out.emplace_back(std::move(set));
    return;
  }
  if (actual != nullptr) out.emplace_back(netlink::DeleteLink{0, key});
  out.emplace_back(netlink::CreateVxlan{key, spec.mac, spec.mtu, spec.vxlan});
}

bool LinkKind::conflict(int sys) { return sys == EEXIST; }
Error LinkKind::explain(Error error) {
  error.code = Code::conflict;
  error.message +=
      ": a link of another program has this name, or takes in packets of this VNI and port, and is left alone; "
      "remove it ('ip -d link show type vxlan')";
  return error;
}
netlink::Request LinkKind::remove(const Key& key, const Spec&) { return netlink::DeleteLink{0, key}; }
bool LinkKind::gone(int sys) { return sys == ENODEV; }

void observe(LinkDriver& driver, const netlink::Link& link, const std::string& name_before, bool removed) {
  if (is_vxlan_name(name_before) && (removed || name_before != link.name)) driver.observe_removed(name_before);
  if (!removed && is_ours(link)) driver.observe(link.name, spec_of(link));
}

}  // namespace firn::routed
