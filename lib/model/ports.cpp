#include "lib/model/ports.hpp"

#include <algorithm>
#include <array>

#include "lib/model/keys.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

namespace {

struct Transport {
  uint8_t number;
  std::string_view name;
};
constexpr std::array<Transport, 3> transports{{{6, "tcp"}, {17, "udp"}, {132, "sctp"}}};

constexpr Family families[] = {Family::v4, Family::v6};
constexpr size_t port_digits = 5;

// A bucket that holds less than a large packet never lets one pass; TBF and the policer count bytes in 32 bits.
constexpr uint64_t least_rate = 8'000, least_burst = 8ULL * 2048;
constexpr uint64_t most_rate = 8ULL * 1'000'000'000'000, most_burst = 8ULL * UINT32_MAX;

}  // namespace

std::string_view transport_name(uint8_t protocol) {
  const auto* found = std::ranges::find(transports, protocol, &Transport::number);
  return found == transports.end() ? "unknown" : found->name;
}

Result<uint8_t> parse_transport(std::string_view text) {
  const auto* found = std::ranges::find(transports, text, &Transport::name);
  if (found != transports.end()) return found->number;
  return make_error(Code::invalid, "must be tcp, udp or sctp, not '" + std::string(text.substr(0, 32)) + "'");
}

std::string to_string(const PublishedPort& port) {
  std::string host = std::to_string(port.host_port);
  if (port.host_address) {
    const std::string address = port.host_address->to_string();
    host = (port.host_address->is_v4() ? address : "[" + address + "]") + ":" + host;
  }
  return host + "->" + std::to_string(port.container_port) + "/" + std::string(transport_name(port.protocol));
}

Status check_ports(const std::vector<PublishedPort>& ports) {
  std::vector<std::pair<PortPlace, size_t>> taken;
  for (size_t i = 0; i < ports.size(); ++i) {
    for (const PortPlace& place : places_of(ports[i], {})) {
      const auto other = std::ranges::find_if(taken, [&](const auto& t) { return t.first.overlaps(place); });
      if (other != taken.end()) {
        return make_error(Code::invalid, to_string(ports[i]) + " takes the place of " + to_string(ports[other->second]));
      }
      taken.emplace_back(place, i);
    }
  }
  return {};
}

std::string to_string(const PortPlace& place) {
  std::string out = std::to_string(place.port) + "/" + std::string(transport_name(place.protocol)) + " of ";
  if (!place.address.is_unspecified()) return out + place.address.to_string();
  return out + (place.address.is_v4() ? "every IPv4 address" : "every IPv6 address");
}

std::vector<PortPlace> places_of(const PublishedPort& port, const std::vector<Address>& addresses) {
  std::vector<PortPlace> out;
  for (const Family family : families) {
    if (port.host_address && port.host_address->family() != family) continue;
    if (!addresses.empty() && !target_of(addresses, family)) continue;
    out.push_back({port.protocol, port.host_port, port.host_address.value_or(Address::from(family, 0))});
  }
  return out;
}

std::vector<PortPlace> places_of(const Endpoint& endpoint) {
  std::vector<PortPlace> out;
  for (const PublishedPort& port : endpoint.ports) {
    for (const PortPlace& place : places_of(port, endpoint.addresses)) out.push_back(place);
  }
  return out;
}

std::optional<Address> target_of(const std::vector<Address>& addresses, Family family) {
  const auto found = std::ranges::find(addresses, family, &Address::family);
  if (found == addresses.end()) return std::nullopt;
  return *found;
}

Status check_bucket(const Bucket& bucket) {
  const auto between = [](const char* what, uint64_t value, uint64_t least, uint64_t most) -> Status {
    if (value >= least && value <= most) return {};
    return make_error(Code::invalid, std::string(what) + " must be between " + std::to_string(least) + " and " +
                                         std::to_string(most) + ", not " + std::to_string(value));
  };
  if (bucket.rate == 0) {
    if (bucket.burst == 0) return {};
    return make_error(Code::invalid, "a burst needs a rate");
  }
  if (auto rate = between("the rate in bits a second", bucket.rate, least_rate, most_rate); !rate) return rate;
  return between("the burst in bits", bucket.burst, least_burst, most_burst);
}

namespace keys {

std::string ports_like(const PortPlace& place) {
  const std::string number = std::to_string(place.port);
  std::string out(ports);
  out.append(transport_name(place.protocol)).append("/").append(port_digits - number.size(), '0').append(number);
  return out.append(place.address.is_v4() ? "/4-" : "/6-");
}

std::string port(const PortPlace& place) { return ports_like(place) + address_key(place.address).substr(2); }

}  // namespace keys

}  // namespace firn::model
