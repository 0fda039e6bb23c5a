#include "cni-plugin/commands/host_ports.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "lib/base/unique_fd.hpp"

namespace firn::cni {

namespace {

// What bind(2) says of the place; 0 when it is free. A port in TIME_WAIT is free: TCP lets a listener have it.
int try_to_bind(const model::PortPlace& place) {
  const bool v4 = place.address.is_v4();
  const int type = place.protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
  const unique_fd socket(::socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, place.protocol));
  if (!socket) return errno;
  const int on = 1;
  if (type == SOCK_STREAM) (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (v4) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(place.port);
    std::copy_n(place.address.bytes(), sizeof name.sin_addr, reinterpret_cast<uint8_t*>(&name.sin_addr));
    return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ? 0 : errno;
  }
  (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(place.port);
  std::copy_n(place.address.bytes(), sizeof name.sin6_addr, reinterpret_cast<uint8_t*>(&name.sin6_addr));
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ? 0 : errno;
}

}  // namespace

Answer ports_are_free(const std::vector<model::PublishedPort>& ports, const std::vector<Address>& addresses) {
  const std::string where = "/runtimeConfig/portMappings: ";
  for (const model::PublishedPort& port : ports) {
    const std::vector<model::PortPlace> places = model::places_of(port, addresses);
    if (places.empty()) {
      return fault(FaultCode::invalid_config, where + to_string(port) + ": the container has no " +
                                                  (port.host_address->is_v4() ? "IPv4" : "IPv6") +
                                                  " address to which it could lead");
    }
    for (const model::PortPlace& place : places) {
      switch (const int err = try_to_bind(place)) {
        case 0:
        // A kernel without the protocol or the family has nobody who listens.
        case EPROTONOSUPPORT:
        case EAFNOSUPPORT: break;
        case EADDRINUSE:
          return fault(FaultCode::address_conflict, "port " + to_string(place) + " is in use by a program of this host",
                       "'ss -lnp' shows it; stop it, or publish another port");
        case EADDRNOTAVAIL:
          return fault(FaultCode::invalid_config, where + place.address.to_string() + " is no address of this host");
        default: return kernel_fault(errno_error("looking whether port " + to_string(place) + " is free", err));
      }
    }
  }
  return Done{};
}

}  // namespace firn::cni
