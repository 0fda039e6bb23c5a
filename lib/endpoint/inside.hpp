// Being inside a container's network namespace for the length of a scope, with a Kernel of that namespace.
// Owns the calling thread's namespace meanwhile. Thread safety: one scope a thread.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::endpoint {

class Inside {
 public:
  static Result<Inside> enter(const netlink::Netns& container);
  Inside(Inside&&) noexcept = default;
  Inside& operator=(Inside&&) = delete;
  ~Inside();

  netlink::Kernel& kernel() { return *kernel_; }

 private:
  explicit Inside(netlink::Netns home) : home_(std::move(home)) {}
  netlink::Netns home_;
  std::unique_ptr<netlink::Kernel> kernel_;
};

// The IPv6 settings of one link of the namespace that the thread is in, made while the link is still down: none at all for an
// interface without IPv6 addresses; no router advertisements and no duplicate address detection for one with them.
Status set_ipv6(const std::string& ifname, bool wanted);
// The first of those settings that is not as set_ipv6 leaves it: Code::conflict.
Status check_ipv6(const std::string& ifname, bool wanted);
Status check_sysctl(const std::string& path, std::string_view wanted);

bool has_family(std::span<const Address> addresses, Family family);

}  // namespace firn::endpoint
