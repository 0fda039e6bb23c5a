#include "lib/endpoint/inside.hpp"

#include <cstdio>
#include <cstdlib>

#include "lib/base/file.hpp"

namespace firn::endpoint {

namespace {

struct Setting {
  std::string_view name, value;
};
// Switched on last: a link that is up already (complete() after prepare()) makes its link-local address at that moment.
constexpr Setting ipv6_on[] = {{"accept_ra", "0"}, {"accept_dad", "0"}, {"disable_ipv6", "0"}};
constexpr Setting ipv6_off[] = {{"disable_ipv6", "1"}};

std::span<const Setting> ipv6_settings(bool wanted) {
  return wanted ? std::span<const Setting>(ipv6_on) : std::span<const Setting>(ipv6_off);
}

std::string ipv6_path(const std::string& ifname, std::string_view name) {
  return std::string("/proc/sys/net/ipv6/conf/").append(ifname).append("/").append(name);
}

}  // namespace

Result<Inside> Inside::enter(const netlink::Netns& container) {
  auto home = netlink::open_netns("/proc/thread-self/ns/net");
  if (!home) return std::move(home).error();
  if (auto entered = netlink::enter_netns(container); !entered) return std::move(entered).error();
  Inside inside(*std::move(home));
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  inside.kernel_ = *std::move(kernel);
  return inside;
}

Inside::~Inside() {
  if (!home_.fd) return;  // moved from
  if (auto back = netlink::enter_netns(home_); !back) {
    // A thread lost in a container's namespace would configure that instead of the host.
    std::fprintf(stderr, "firn: cannot return to the host's network namespace: %s\n", back.error().message.c_str());
    std::abort();
  }
}

Status set_ipv6(const std::string& ifname, bool wanted) {
  for (const Setting& setting : ipv6_settings(wanted)) {
    auto written = write_sysctl(ipv6_path(ifname, setting.name), setting.value);
    if (written) continue;
    if (!written.error().is(Code::not_found)) return written;
    if (!wanted) return {};  // a kernel without IPv6 has nothing to switch off
    return make_error(Code::unsupported, written.error().message +
                                             "; the kernel has no IPv6 (CONFIG_IPV6, or started with ipv6.disable=1), or /proc "
                                             "is not mounted");
  }
  return {};
}

Status check_sysctl(const std::string& path, std::string_view wanted) {
  auto text = read_file(path, 64);
  if (!text) return std::move(text).error();
  while (!text->empty() && text->back() == '\n') text->pop_back();
  if (*text == wanted) return {};
  return make_error(Code::conflict, path + " is " + *text + ", not " + std::string(wanted));
}

Status check_ipv6(const std::string& ifname, bool wanted) {
  for (const Setting& setting : ipv6_settings(wanted)) {
    auto same = check_sysctl(ipv6_path(ifname, setting.name), setting.value);
    if (same || (!wanted && same.error().is(Code::not_found))) continue;
    return same;
  }
  return {};
}

bool has_family(std::span<const Address> addresses, Family family) {
  for (const Address& address : addresses) {
    if (address.family() == family) return true;
  }
  return false;
}

}  // namespace firn::endpoint
