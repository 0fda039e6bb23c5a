// The result of ADD, read and written in each version of the spec that firn speaks. Pure; thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/proto/fault.hpp"
#include "cni-plugin/proto/version.hpp"
#include "lib/addr/addr.hpp"
#include "lib/json/json.hpp"

namespace firn::cni {

struct Interface {
  std::string name;
  std::string mac;      // "" when unknown
  std::string sandbox;  // path of the namespace; "" on the host
  int mtu = 0;          // since 1.1.0
  bool operator==(const Interface&) const = default;
};

struct IpConfig {
  InterfaceAddress address;
  std::optional<Address> gateway = std::nullopt;
  int interface = -1;  // index into interfaces; -1: not said
  bool operator==(const IpConfig&) const = default;
};

struct ResultRoute {
  Prefix destination;
  std::optional<Address> gateway = std::nullopt;
  // Since 1.1.0; -1: not said.
  int64_t mtu = -1, advmss = -1, priority = -1, table = -1, scope = -1;
  bool operator==(const ResultRoute&) const = default;
};

struct Dns {
  std::vector<std::string> nameservers;
  std::string domain;
  std::vector<std::string> search, options;
  bool empty() const { return nameservers.empty() && domain.empty() && search.empty() && options.empty(); }
  bool operator==(const Dns&) const = default;
};

struct CniResult {
  std::vector<Interface> interfaces;
  std::vector<IpConfig> ips;
  std::vector<ResultRoute> routes;
  Dns dns;
  bool operator==(const CniResult&) const = default;
};

std::string write_result(const CniResult& result, Version version);
// A prevResult, or what a delegate printed. Hostile: errors name the place.
Result<CniResult> parse_result(const json::Value& value);
// {"dst": prefix, "gw": address, ...} as results and configurations have it.
Result<ResultRoute> parse_route(const json::Value& value);
Result<Dns> parse_dns(const json::Value& value);

}  // namespace firn::cni
