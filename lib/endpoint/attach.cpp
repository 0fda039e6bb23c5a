// Making an endpoint: the pair, then each side in one batch, from the host inwards, and only then is it said to be there.
#include <algorithm>
#include <iterator>

#include "lib/base/file.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/endpoint/inside.hpp"
#include "lib/endpoint/parts.hpp"
#include "lib/endpoint/ready.hpp"

namespace firn::endpoint {

namespace {

using netlink::Kernel;
using netlink::Netns;

Status create_pair(Kernel& host, const Netns& container, const Spec& spec) {
  const netlink::Request request = netlink::CreateVeth{.name = spec.host_ifname,
                                                       .mac = host_mac(),
                                                       .peer_name = spec.ifname,
                                                       .peer_mac = spec.mac,
                                                       .peer_netns_fd = container.fd.get(),
                                                       .mtu = spec.mtu,
                                                       .group = netlink::live_group};
  return netlink::all_done(host.apply({&request, 1}));
}

// What is in the way under the names of `spec`, when it is ours. True: nothing is in the way any more that is known to stay,
// creating is worth another try. Dead links vanish at any moment, by somebody's reap().
Result<bool> clear_leftovers(Kernel& host, const Netns& container, const Spec& spec) {
  std::vector<netlink::Request> requests;
  if (auto old = host.link(spec.host_ifname); old) {
    if (!is_our_link(*old, spec.handle)) {
      return make_error(Code::exists, "link " + spec.host_ifname +
                                          " exists on the host and is not firn's; remove it, or set another \"hostPrefix\"");
    }
    if (old->group == netlink::dead_group && !old->up) {
      // Waits to be deleted with others; only its name is in the way. Deleting it here would cost 20 ms.
      netlink::SetLink rename{.index = old->index};
      rename.name = "firnx" + std::to_string(old->index);
      requests.emplace_back(std::move(rename));
    } else {
      requests.emplace_back(netlink::DeleteLink{old->index});
    }
  } else {
    auto inside = Inside::enter(container);
    if (!inside) return std::move(inside).error();
    auto peer = inside->kernel().link(spec.ifname);
    if (!peer && peer.error().is(Code::not_found)) return true;
    if (peer && peer->kind == "veth" && peer->peer_index != 0) {
      // Its other end is dead and of ours, and knows it: a detach that could not enter this namespace.
      auto other = host.link(peer->peer_index);
      if (other && other->group == netlink::dead_group && other->kind == "veth" && other->peer_index == peer->index) {
        requests.emplace_back(netlink::DeleteLink{other->index});
      }
    }
  }
  if (requests.empty()) return false;
  auto outcome = host.apply(requests);
  if (!outcome) return std::move(outcome).error();
  return true;  // a link that could not be deleted shows itself by the next try
}

Status create(Kernel& host, const Netns& container, const Spec& spec) {
  auto created = create_pair(host, container, spec);
  if (created || created.error().sys != EEXIST) return created;
  // First what bears our name on the host, then what bears it in the container.
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto cleared = clear_leftovers(host, container, spec);
    if (!cleared) return std::move(cleared).error();
    if (!*cleared) break;
    created = create_pair(host, container, spec);
    if (created || created.error().sys != EEXIST) return created;
  }
  return make_error(Code::exists, "interface " + spec.ifname + " exists already in the container's network namespace");
}

Status limit_bandwidth(Kernel& host, const Spec& spec, int index) {
  if (spec.bandwidth == model::Bandwidth{}) return {};
  unique_fd policer;
  if (spec.bandwidth.egress) {
    auto loaded = netlink::load_policer(in_bytes(spec.bandwidth.egress));
    if (!loaded) return std::move(loaded).error();
    policer = *std::move(loaded);
  }
  const auto requests = bandwidth_requests(spec, index, policer.get());
  auto failures = host.apply(requests);
  if (!failures) return std::move(failures).error();
  for (netlink::Failure& failure : *failures) {
    const bool is_there = failure.error.sys == EEXIST && std::holds_alternative<netlink::AddClassifier>(requests[failure.index]);
    if (!is_there) return std::move(failure.error);
  }
  return {};
}

Status configure_host(Kernel& host, const Spec& spec, int index) {
  if (auto set = set_ipv6(spec.host_ifname, has_family(spec.addresses, Family::v6)); !set) return set;
  if (auto limited = limit_bandwidth(host, spec, index); !limited) return limited;
  const auto requests = host_requests(spec, index);
  auto failures = host.apply(requests);
  if (!failures) return std::move(failures).error();
  for (netlink::Failure& failure : *failures) {
    const bool address_is_there =
        failure.error.sys == EEXIST && std::holds_alternative<netlink::AddAddress>(requests[failure.index]);
    if (!address_is_there) return std::move(failure.error);
  }
  return {};
}

std::vector<Address> ipv6_of(const Spec& spec) {
  std::vector<Address> out;
  std::copy_if(spec.addresses.begin(), spec.addresses.end(), std::back_inserter(out), [](const Address& a) { return !a.is_v4(); });
  return out;
}

// The families whose default route is somebody else's; any other failure is returned.
Result<std::vector<Family>> judge(const std::vector<netlink::Request>& requests, const std::vector<netlink::Failure>& failures) {
  std::vector<Family> taken;
  for (const netlink::Failure& failure : failures) {
    const auto* add = std::get_if<netlink::AddRoute>(&requests[failure.index]);
    if (add == nullptr || failure.error.sys != EEXIST) return failure.error;
    const Prefix& to = add->route.destination;
    if (to.length() == 0) {
      taken.push_back(to.family());
    } else if (!to.is_host() || to.address() != gateway(to.family())) {
      return make_error(Code::exists, "route " + to.to_string() + " exists already in the container, through another interface");
    }
  }
  return taken;
}

Result<Attached> configure_container(const Netns& container, const Spec& spec) {
  auto inside = Inside::enter(container);
  if (!inside) return std::move(inside).error();
  Kernel& kernel = inside->kernel();
  auto index = kernel.index_of(spec.ifname);
  if (!index) return std::move(index).error();
  const bool v6 = has_family(spec.addresses, Family::v6);
  if (auto set = set_ipv6(spec.ifname, v6); !set) return std::move(set).error();
  if (v6 && spec.forwarding) {
    // IPv6 forwards by this switch alone; the one of the interface only makes it a router in the eyes of its neighbours.
    if (auto set = write_sysctl("/proc/sys/net/ipv6/conf/all/forwarding", "1"); !set) return std::move(set).error();
  }
  const auto requests = container_requests(spec, *index);
  auto failures = kernel.apply(requests);
  if (!failures) return std::move(failures).error();
  auto taken = judge(requests, *failures);
  if (!taken) return std::move(taken).error();
  // Without IPv6 there is nothing to wait for: this side comes up last.
  if (v6) {
    if (auto ready = await_ready(kernel, spec.ifname, *index, ipv6_of(spec)); !ready) return std::move(ready).error();
  }
  Attached attached;
  if (taken->empty()) return attached;
  attached.by_rule = *std::move(taken);
  attached.table = policy_table(*index);
  auto refused = kernel.apply(policy_requests(spec, attached, *index));
  if (!refused) return std::move(refused).error();
  for (netlink::Failure& failure : *refused) {
    // A rule of ours that outlived its interface serves again.
    if (failure.error.sys != EEXIST) return std::move(failure.error);
  }
  return attached;
}

// What must be right before the pair is made.
Status check_names(const Spec& spec) {
  if (auto name = IfName::parse(spec.ifname); !name) return std::move(name).error();
  if (auto name = IfName::parse(spec.host_ifname); !name) return std::move(name).error();
  if (spec.mac.is_zero() || !spec.mac.is_unicast()) {
    return make_error(Code::invalid, "MAC address " + spec.mac.to_string() + " is no unicast address");
  }
  return {};
}

Status check_addresses(const Spec& spec) {
  if (spec.addresses.empty()) return make_error(Code::invalid, "an interface needs an address");
  for (const Prefix& route : spec.routes) {
    if (!has_family(spec.addresses, route.family())) {
      return make_error(Code::invalid, "route " + route.to_string() + " has no address of its family to start from");
    }
  }
  return {};
}

// Once the pair is there.
Result<Attached> configure(Kernel& host, const Netns& container, const Spec& spec) {
  auto index = host.index_of(spec.host_ifname);
  if (!index) return std::move(index).error();
  if (auto done = configure_host(host, spec, *index); !done) return std::move(done).error();
  auto attached = configure_container(container, spec);
  if (!attached) return attached;
  std::vector<Address> own;
  if (has_family(spec.addresses, Family::v6)) own.push_back(gateway(Family::v6));
  if (auto ready = await_ready(host, spec.host_ifname, *index, own); !ready) return std::move(ready).error();
  return attached;
}

}  // namespace

Result<Attached> attach(Kernel& host, const Netns& container, const Spec& spec) {
  if (auto valid = check_names(spec); !valid) return std::move(valid).error();
  if (auto valid = check_addresses(spec); !valid) return std::move(valid).error();
  if (auto created = create(host, container, spec); !created) return std::move(created).error();
  auto attached = configure(host, container, spec);
  if (!attached) discard(host, container, spec);
  return attached;
}

Status prepare(Kernel& host, const Netns& container, const Spec& spec) {
  if (auto valid = check_names(spec); !valid) return valid;
  if (auto created = create(host, container, spec); !created) return created;
  // As later, but without addresses: both sides are up, and have no IPv6 before an address of it is there.
  Spec bare = spec;
  bare.addresses.clear();
  bare.routes.clear();
  if (auto done = configure(host, container, bare); !done) {
    discard(host, container, spec);
    return std::move(done).error();
  }
  return {};
}

Result<Attached> complete(Kernel& host, const Netns& container, const Spec& spec) {
  if (auto valid = check_addresses(spec); !valid) return std::move(valid).error();
  return configure(host, container, spec);
}

// Takes the peer, and all routes and neighbours on both sides, with it. The container's rules go first: they outlive links.
void discard(Kernel& host, const Netns& container, const Spec& spec) {
  forget_rules(container, spec);
  if (auto index = host.index_of(spec.host_ifname)) {
    const netlink::Request request = netlink::DeleteLink{*index};
    (void)host.apply({&request, 1});
  }
}

}  // namespace firn::endpoint
