// The host as a router: IPv4 and IPv6 forwarding, without losing the routes it learns itself.
#include "lib/base/file.hpp"
#include "lib/endpoint/endpoint.hpp"

namespace firn::endpoint {

namespace {

constexpr uint8_t router_advertisement_protocol = 9;  // RTPROT_RA
constexpr uint8_t kernel_protocol = 2;                // RTPROT_KERNEL: what older kernels give to routes of advertisements

std::string ipv6_conf(const std::string& link, std::string_view name) {
  return std::string("/proc/sys/net/ipv6/conf/").append(link).append("/").append(name);
}

// A router that obeys advertisements must be told so twice (accept_ra = 2), or its default route expires with the last one.
Status keep_advertised_routes(netlink::Kernel& host) {
  auto routes = host.routes({.family = Family::v6});
  if (!routes) return std::move(routes).error();
  for (const netlink::Route& route : *routes) {
    const bool advertised = route.protocol == router_advertisement_protocol ||
                            (route.protocol == kernel_protocol && route.destination.length() == 0 && route.gateway);
    if (!advertised || route.oif == 0) continue;
    auto link = host.link(route.oif);
    if (!link) continue;  // gone meanwhile, with its routes
    const std::string path = ipv6_conf(link->name, "accept_ra");
    auto value = read_file(path, 64);
    if (!value || !value->starts_with("1")) continue;
    if (auto written = write_sysctl(path, "2"); !written) return written;
  }
  return {};
}

}  // namespace

Status enable_forwarding(netlink::Kernel& host, Family family) {
  const std::string path = family == Family::v4 ? "/proc/sys/net/ipv4/ip_forward" : ipv6_conf("all", "forwarding");
  auto value = read_file(path, 64);
  if (!value) return std::move(value).error();
  if (!value->starts_with("0")) return {};
  if (family == Family::v6) {
    if (auto kept = keep_advertised_routes(host); !kept) return kept;
  }
  auto written = write_sysctl(path, "1");
  if (!written) written.error().message += "; switch forwarding on by hand (sysctl), or let firn write to /proc/sys";
  return written;
}

}  // namespace firn::endpoint
