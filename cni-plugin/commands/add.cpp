// ADD of firn: lease, then attach; with another IPAM plugin record, interface, that plugin, the rest of the attach. The record
// always comes first, so that a call killed at any point leaves one by which DEL, GC and the next ADD find what there is.
#include <algorithm>

#include "cni-plugin/commands/attachment.hpp"
#include "cni-plugin/commands/call.hpp"
#include "cni-plugin/commands/daemon_policy.hpp"
#include "cni-plugin/commands/delegate.hpp"
#include "cni-plugin/commands/host_ports.hpp"
#include "cni-plugin/commands/lease.hpp"
#include "lib/base/rollback.hpp"

namespace firn::cni {

namespace {

constexpr int fallback_mtu = 1500, least_mtu_v6 = 1280;

// The MTU of the link that the default route uses. Looked up for addresses of the documentation ranges (RFC 5737, RFC 3849), which
// nothing but a default route leads to.
int default_mtu(netlink::Kernel& kernel) {
  for (const Address& anywhere : {Address::v4(0xc6336401), Address::v6(uint128{0x20010db8} << 96 | 1)}) {
    auto route = kernel.lookup(anywhere);
    if (!route || route->oif == 0) continue;
    auto link = kernel.link(route->oif);
    if (!link || link->mtu <= 0) continue;
    return route->mtu > 0 ? std::min(route->mtu, link->mtu) : link->mtu;
  }
  return fallback_mtu;
}

// What the packets of any of these pools may grow by on their way to another host.
int overhead_of(const std::vector<Need>& needs) {
  int out = 0;
  for (const Need& need : needs) {
    for (const Source& source : need.sources) out = std::max(out, source.pool.overhead);
  }
  return out;
}

bool has_v6(const std::vector<Address>& addresses) {
  return std::ranges::any_of(addresses, [](const Address& a) { return !a.is_v4(); });
}

bool has_v4(const std::vector<Address>& addresses) {
  return std::ranges::any_of(addresses, [](const Address& a) { return a.is_v4(); });
}

class Add {
 public:
  Add(const Call& call, State& state, netlink::Kernel& kernel, const netlink::Netns& netns)
      : call_(call), state_(state), kernel_(kernel), netns_(netns), handle_(handle_of(call)) {}

  Outcome<Added> run() {
    model::Endpoint wanted = endpoint_of(call_, state_);
    wanted.netns_inode = netns_.inode;
    wanted.host_ifname = endpoint::host_name(call_.config.host_prefix, handle_);
    wanted.mac = call_.config.wishes.mac ? *call_.config.wishes.mac : endpoint::mac_for(handle_);
    wanted.ports = call_.config.wishes.ports;
    wanted.bandwidth = call_.config.wishes.bandwidth;
    wanted.mtu = call_.config.mtu != 0 ? call_.config.mtu : default_mtu(kernel_);
    for (const ResultRoute& route : call_.config.ipam.routes) routes_.push_back(route.destination);

    Rollback undo;
    if (auto got = delegated() ? delegated_addresses(wanted, undo) : addresses(wanted, undo); !got) return std::move(got).fault();
    if (finished_) {
      if (auto open = await_policy(state_, call_.config, handle_, rests_on_daemon()); !open) return std::move(open).fault();
      return Added{.text = *std::move(finished_), .made = false};
    }
    if (record_.mtu < least_mtu_v6 && has_v6(record_.addresses)) {
      return fault(
          FaultCode::invalid_config,
          "/mtu: IPv6 needs at least " + std::to_string(least_mtu_v6) + ", not " + std::to_string(record_.mtu),
          call_.config.mtu != 0 ? "" : "that is the MTU of the default route's link, less what a vxlan pool adds; set \"mtu\"");
    }
    if (auto free = ports_are_free(record_.ports, record_.addresses); !free) return std::move(free).fault();
    if (auto holds = bandwidth_holds_a_packet(); !holds) return std::move(holds).fault();
    if (auto made = prepare_host(); !made) return std::move(made).fault();
    const endpoint::Spec spec = spec_of(record_, call_.config, routes_);
    auto attached = delegated() ? endpoint::complete(kernel_, netns_, spec) : endpoint::attach(kernel_, netns_, spec);
    if (!attached) return attach_fault(attached.error());
    if (!delegated()) undo.add([this, &spec] { endpoint::discard(kernel_, netns_, spec); });
    if (auto open = await_policy(state_, call_.config, handle_, rests_on_daemon()); !open) return std::move(open).fault();
    undo.commit();
    CniResult result = result_of(record_, call_.config, spec, *attached);
    if (result.dns.empty()) result.dns = std::move(delegate_dns_);
    return Added{.text = write_result(result, call_.config.version)};
  }

 private:
  bool delegated() const { return call_.config.ipam.type != own_ipam; }

  static Fault attach_fault(const Error& error) {
    if (error.is(Code::exists)) {
      return fault(FaultCode::invalid_environment, "CNI_IFNAME: " + error.message, "DEL what made it first");
    }
    if (error.is(Code::invalid)) return config_fault(error);
    return kernel_fault(error);
  }

  // Leases the addresses and writes the record; sets finished_ when the attachment is there already.
  Answer addresses(model::Endpoint wanted, Rollback& undo) {
    auto needs = needs_of(call_, state_);
    if (!needs) return std::move(needs).fault();
    if (call_.config.mtu == 0) wanted.mtu -= overhead_of(*needs);
    for (const Need& need : *needs) {
      for (const Source& source : need.sources) {
        if (source.pool.nat) nat_pool_ = source.pool.name;
      }
    }
    auto leased = lease(state_, wanted, model::Use::routed, *needs);
    if (!leased && leased.error().is(Code::exists)) {
      if (auto gone = take_over(wanted, &*needs); !gone || finished_) return gone;
      leased = lease(state_, wanted, model::Use::routed, *needs);
    }
    if (!leased) return lease_fault(leased.error());
    record_ = *std::move(leased);
    undo.add([this] { (void)state_.allocator().release(handle_); });
    return Done{};
  }

  // The interface is there before the other plugin is asked, which may ask through it (dhcp does), and the record before both.
  Answer delegated_addresses(const model::Endpoint& wanted, Rollback& undo) {
    if (auto gone = take_over(wanted, nullptr); !gone || finished_) return gone;
    record_ = wanted;
    record_.leased = false;
    if (auto recorded = state_.allocator().record(record_); !recorded) return lease_fault(recorded.error());
    undo.add([this] { (void)state_.allocator().release(handle_); });
    if (auto prepared = endpoint::prepare(kernel_, netns_, spec_of(record_, call_.config, {})); !prepared) {
      return attach_fault(prepared.error());
    }
    undo.add([this] { endpoint::discard(kernel_, netns_, spec_of(record_, call_.config, {})); });
    undo.add([this] { (void)run_delegate(call_, Verb::del); });
    auto result = delegate_add(call_);
    if (!result) return std::move(result).fault();
    for (const IpConfig& ip : result->ips) record_.addresses.push_back(ip.address.address);
    for (const ResultRoute& route : result->routes) {
      const bool reachable = route.destination.family() == Family::v4 ? has_v4(record_.addresses) : has_v6(record_.addresses);
      if (reachable) routes_.push_back(route.destination);
    }
    delegate_dns_ = result->dns;
    if (auto recorded = state_.allocator().record(record_); !recorded) return lease_fault(recorded.error());
    return Done{};
  }

  // An endpoint with this handle is there: the same ADD again (a runtime that lost our answer), or what a killed ADD left.
  // The first is answered as before, the second is removed when it surely is one: a part of it is missing. Anything else is an
  // error, as the spec wants, and changes nothing: a container may be using it.
  Answer take_over(const model::Endpoint& wanted, const std::vector<Need>* needs) {
    auto found = state_.allocator().find(handle_);
    if (!found) return state_fault(found.error());
    if (!*found) return Done{};
    const model::Endpoint& old = **found;
    if (old.kind != model::EndpointKind::interface) {
      return fault(FaultCode::exists, "attachment " + handle_ + " exists already, made by firn-ipam for another plugin",
                   "give the two networks different names");
    }
    if (old.boot_id == wanted.boot_id) {
      if (auto judged = old.netns_inode == netns_.inode ? judge_here(old, wanted, needs) : judge_elsewhere(old);
          !judged || finished_) {
        return judged;
      }
    }
    return remove_old(old);
  }

  // Sets finished_ for an intact one; Done without that: it is incomplete.
  Answer judge_here(const model::Endpoint& old, const model::Endpoint& wanted, const std::vector<Need>* needs) {
    if (old.addresses.empty()) return Done{};  // killed before the other IPAM plugin had answered
    const endpoint::Spec spec = spec_of(old, call_.config, routes_);
    auto intact = endpoint::check(kernel_, netns_, spec);
    if (!intact && intact.error().is(Code::not_found)) return Done{};
    if (!intact && intact.error().is(Code::conflict)) {
      return fault(FaultCode::exists,
                   "attachment " + handle_ + " exists already, and is not as it was made: " + intact.error().message,
                   "DEL it first");
    }
    if (!intact) return kernel_fault(intact.error());
    if (!same(old, wanted, needs)) {
      return fault(FaultCode::exists, "attachment " + handle_ + " exists already, with other properties", "DEL it first");
    }
    finished_ = write_result(result_of(old, call_.config, spec, *intact), call_.config.version);
    return Done{};
  }

  Answer judge_elsewhere(const model::Endpoint& old) {
    auto link = kernel_.link(old.host_ifname);
    if (!link && link.error().is(Code::not_found)) return Done{};
    if (!link) return kernel_fault(link.error());
    if (!link->up || !link->running) return Done{};
    return fault(FaultCode::exists, "attachment " + handle_ + " exists already, in namespace " + old.netns, "DEL it first");
  }

  Answer remove_old(const model::Endpoint& old) {
    const netlink::Netns* container = old.netns_inode == netns_.inode ? &netns_ : nullptr;
    if (auto removed = remove_interface(kernel_, container, old); !removed) return kernel_fault(removed.error());
    if (!old.leased) {
      if (auto released = run_delegate(call_, Verb::del); !released) return std::move(released).fault();
    }
    if (auto released = state_.allocator().release(handle_); !released) return state_fault(released.error());
    return Done{};
  }

  bool same(const model::Endpoint& old, const model::Endpoint& wanted, const std::vector<Need>* needs) const {
    if (old.mac != wanted.mac || old.mtu != wanted.mtu || old.host_ifname != wanted.host_ifname) return false;
    if (old.ports != wanted.ports || old.bandwidth != wanted.bandwidth) return false;
    if (needs == nullptr) return !old.leased;
    if (!old.leased || old.addresses.size() != needs->size()) return false;
    return std::ranges::all_of(*needs, [&](const Need& need) {
      return std::ranges::any_of(old.addresses, [&](const Address& address) {
        if (need.address) return address == *need.address;
        return std::ranges::any_of(need.sources, [&](const Source& s) { return s.range.subnet.contains(address); });
      });
    });
  }

  // What of this container firn-routed does, and nobody else: never left out in silence.
  std::string rests_on_daemon() const {
    if (!call_.config.wishes.ports.empty()) return "/runtimeConfig/portMappings: ports are published";
    return nat_pool_.empty() ? "" : "pool " + nat_pool_ + ": containers leave with their host's address";
  }

  // A bucket that is smaller than a packet would stop the traffic for good.
  Answer bandwidth_holds_a_packet() const {
    constexpr int frame_header = 18;  // Ethernet, and a VLAN tag
    const auto least = 8 * static_cast<uint64_t>(record_.mtu + frame_header);
    for (const model::Bucket& bucket : {record_.bandwidth.ingress, record_.bandwidth.egress}) {
      if (!bucket || bucket.burst >= least) continue;
      return fault(FaultCode::invalid_config, "/runtimeConfig/bandwidth: a burst of " + std::to_string(bucket.burst) +
                                                  " bits is less than a packet of MTU " + std::to_string(record_.mtu) + ", " +
                                                  std::to_string(least) + " bits");
    }
    return Done{};
  }

  Answer prepare_host() {
    for (const Family family : {Family::v4, Family::v6}) {
      if (!(family == Family::v4 ? has_v4(record_.addresses) : has_v6(record_.addresses))) continue;
      if (auto on = endpoint::enable_forwarding(kernel_, family); !on) return kernel_fault(on.error());
    }
    return Done{};
  }

  const Call& call_;
  State& state_;
  netlink::Kernel& kernel_;
  const netlink::Netns& netns_;
  std::string handle_;
  model::Endpoint record_;
  std::vector<Prefix> routes_;
  Dns delegate_dns_;
  std::string nat_pool_;  // one of the network's that has NAT
  std::optional<std::string> finished_;
};

}  // namespace

Outcome<Added> add(const Call& call) {
  auto netns = container_netns(call.environment.netns);
  if (!netns) return std::move(netns).fault();
  auto kernel = netlink::open_kernel();
  if (!kernel) return kernel_fault(kernel.error());
  auto state = State::open(call);
  if (!state) return std::move(state).fault();
  return Add(call, **state, **kernel, *netns).run();
}

}  // namespace firn::cni
