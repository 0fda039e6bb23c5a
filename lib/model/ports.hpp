// What a container asks of its host beside addresses: published ports, and bounds of its traffic. Parts of an Endpoint's record.
// Pure; thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"

namespace firn::model {

struct Endpoint;

// A port of the host that leads to a port of the container.
struct PublishedPort {
  uint8_t protocol = 6;                 // tcp 6, udp 17, sctp 132
  std::optional<Address> host_address;  // unspecified: every one of that family; absent: of each family that the container has
  uint16_t host_port = 0, container_port = 0;
  bool operator==(const PublishedPort&) const = default;
};
inline constexpr size_t most_published_ports = 1024;  // of one container
std::string_view transport_name(uint8_t protocol);    // "tcp", "udp", "sctp"
Result<uint8_t> parse_transport(std::string_view text);
std::string to_string(const PublishedPort& port);  // "192.0.2.1:8080->80/tcp"
// The first that takes the place of another of the list.
Status check_ports(const std::vector<PublishedPort>& ports);

// A port of the host that has one holder. An unspecified address stands for all of its family.
struct PortPlace {
  uint8_t protocol = 6;
  uint16_t port = 0;
  Address address;
  auto operator<=>(const PortPlace&) const = default;
  bool overlaps(const PortPlace& other) const {
    return protocol == other.protocol && port == other.port && address.family() == other.address.family() &&
           (address == other.address || address.is_unspecified() || other.address.is_unspecified());
  }
};
std::string to_string(const PortPlace& place);  // "8080/tcp of 192.0.2.1", "8080/tcp of every IPv4 address"
// Of one port, for a container with these addresses. Without any yet, those it may come to need.
std::vector<PortPlace> places_of(const PublishedPort& port, const std::vector<Address>& addresses);
std::vector<PortPlace> places_of(const Endpoint& endpoint);
// The container's address to which a port of the host leads: the first of the family; none: not published in that family.
std::optional<Address> target_of(const std::vector<Address>& addresses, Family family);

// A token bucket: bits a second, and how many may follow each other at once. Rate 0: no bound.
struct Bucket {
  uint64_t rate = 0, burst = 0;
  bool operator==(const Bucket&) const = default;
  explicit operator bool() const { return rate != 0; }
};
// As the container sees it: ingress is what comes to it.
struct Bandwidth {
  Bucket ingress, egress;
  bool operator==(const Bandwidth&) const = default;
};
// A rate or a burst that the kernel can keep: the error says what is wrong with it.
Status check_bucket(const Bucket& bucket);

namespace keys {
// Node store: port/PROTOCOL/PORT/ADDRESSKEY. Value: the handle of the endpoint that has it.
inline constexpr std::string_view ports = "port/";
std::string port(const PortPlace& place);
std::string ports_like(const PortPlace& place);  // prefix of all that may overlap with it; the address goes on behind "4-" or "6-"
}  // namespace keys

}  // namespace firn::model
