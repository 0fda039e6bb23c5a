#include "cni-plugin/proto/wishes.hpp"

#include <algorithm>

namespace firn::cni {

namespace {

constexpr size_t most_ips = 16;
// Annotations of a pod can hold whole manifests; an endpoint's record is no place for those.
constexpr size_t most_annotation_bytes = 4096, most_annotations_bytes = 32 * 1024;
constexpr size_t most_labels = 256, most_label_bytes = 1024;

Result<std::vector<Address>> parse_ips(const json::Value& value) {
  std::vector<Address> out;
  auto texts = value.strings_or_empty();
  if (!texts) return std::move(texts).error();
  if (texts->size() > most_ips) return value.error("has more than " + std::to_string(most_ips) + " addresses");
  for (const std::string& text : *texts) {
    auto address = InterfaceAddress::parse(text);
    if (!address) return value.error(address.error().message);
    for (const Address& other : out) {
      if (other == address->address) return value.error(other.to_string() + " is asked for twice");
    }
    out.push_back(address->address);
  }
  return out;
}

Status parse_labels(const json::Value& value, Wishes& out) {
  if (!value.present() || value.is_null()) return {};
  auto items = value.array();
  if (!items) return std::move(items).error();
  if (items->size() > most_labels) return value.error("has more than " + std::to_string(most_labels) + " labels");
  for (const json::Value& item : *items) {
    auto key = item["key"].string();
    if (!key) return std::move(key).error();
    auto text = item["value"].string();
    if (!text) return std::move(text).error();
    if (key->empty() || key->size() + text->size() > most_label_bytes) {
      return item.error("must have a key, and at most " + std::to_string(most_label_bytes) + " bytes");
    }
    out.labels[*std::move(key)] = *std::move(text);
  }
  return {};
}

Status parse_annotations(const json::Value& value, Wishes& out) {
  if (!value.present() || value.is_null()) return {};
  auto members = value.object();
  if (!members) return std::move(members).error();
  size_t total = 0;
  for (const auto& [name, item] : *members) {
    auto text = item.string();
    if (!text) return std::move(text).error();
    const size_t size = name.size() + text->size();
    if (size > most_annotation_bytes || total + size > most_annotations_bytes) {
      ++out.annotations_left_out;
      continue;
    }
    total += size;
    out.annotations[name] = *std::move(text);
  }
  return {};
}

Status parse_mac(const json::Value& value, std::optional<Mac>& out) {
  auto text = value.string_or("");
  if (!text) return std::move(text).error();
  if (text->empty()) return {};
  auto mac = Mac::parse(*text);
  if (!mac) return value.error(mac.error().message);
  if (!mac->is_unicast() || mac->is_zero()) return value.error(*text + " is no unicast address");
  out = *mac;
  return {};
}

// Go runtimes write the fields of these two in capitals, or not.
Result<uint16_t> parse_port_number(const json::Value& value) {
  auto number = value.integer(1, 65535);
  if (!number) return std::move(number).error();
  return static_cast<uint16_t>(*number);
}

Result<model::PublishedPort> parse_port(const json::Value& item) {
  model::PublishedPort out;
  auto host = parse_port_number(item.find_any_case("hostPort"));
  if (!host) return std::move(host).error();
  out.host_port = *host;
  auto container = parse_port_number(item.find_any_case("containerPort"));
  if (!container) return std::move(container).error();
  out.container_port = *container;
  auto protocol = item.find_any_case("protocol").string_or("tcp");
  if (!protocol) return std::move(protocol).error();
  std::ranges::transform(*protocol, protocol->begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  auto number = model::parse_transport(protocol->empty() ? "tcp" : *protocol);
  if (!number) return item.find_any_case("protocol").error(number.error().message);
  out.protocol = *number;
  const json::Value place = item.find_any_case("hostIP");
  auto text = place.string_or("");
  if (!text) return std::move(text).error();
  if (text->empty()) return out;
  auto address = Address::parse(*text);
  if (!address) return place.error(address.error().message);
  // A packet to it never leaves the host by the container's interface: docs/policy.md says why.
  if (address->is_loopback()) return place.error(*text + ": ports are not published on the loopback; give an address of the host");
  if (address->is_multicast()) return place.error(*text + " is no address of a host");
  out.host_address = *address;
  return out;
}

Status parse_ports(const json::Value& value, std::vector<model::PublishedPort>& out) {
  if (!value.present() || value.is_null()) return {};
  auto items = value.array();
  if (!items) return std::move(items).error();
  if (items->size() > model::most_published_ports) {
    return value.error("has more than " + std::to_string(model::most_published_ports) + " ports");
  }
  for (const json::Value& item : *items) {
    auto port = parse_port(item);
    if (!port) return std::move(port).error();
    // Runtimes that merge what several places ask for say the same twice.
    if (std::ranges::find(out, *port) == out.end()) out.push_back(*port);
  }
  if (auto sound = model::check_ports(out); !sound) return value.error(sound.error().message);
  return {};
}

Status parse_bucket(const json::Value& value, const char* rate, const char* burst, model::Bucket& out) {
  auto bits = value.find_any_case(rate).integer_or(0, 0, INT64_MAX);
  if (!bits) return std::move(bits).error();
  auto most = value.find_any_case(burst).integer_or(0, 0, INT64_MAX);
  if (!most) return std::move(most).error();
  out = {static_cast<uint64_t>(*bits), static_cast<uint64_t>(*most)};
  if (auto sound = model::check_bucket(out); !sound) return value.error(std::string(rate) + ": " + sound.error().message);
  return {};
}

Status parse_bandwidth(const json::Value& value, model::Bandwidth& out) {
  if (!value.present() || value.is_null()) return {};
  if (auto fields = value.object(); !fields) return std::move(fields).error();
  if (auto parsed = parse_bucket(value, "ingressRate", "ingressBurst", out.ingress); !parsed) return parsed;
  return parse_bucket(value, "egressRate", "egressBurst", out.egress);
}

Status parse_all(const json::Value& root, Wishes& out) {
  const json::Value runtime = root["runtimeConfig"], args = root["args"]["cni"];
  for (const json::Value& place : {runtime.find_any_case("ips"), args["ips"]}) {
    auto ips = parse_ips(place);
    if (!ips) return std::move(ips).error();
    if (out.ips.empty()) out.ips = *std::move(ips);
  }
  if (auto parsed = parse_mac(runtime.find_any_case("mac"), out.mac); !parsed) return parsed;
  auto ranges = parse_range_sets(runtime.find_any_case("ipRanges"), RangeWriter::runtime);
  if (!ranges) return std::move(ranges).error();
  out.ip_ranges = *std::move(ranges);
  auto dns = parse_dns(runtime.find_any_case("dns"));
  if (!dns) return std::move(dns).error();
  out.dns = *std::move(dns);
  if (auto parsed = parse_labels(args["labels"], out); !parsed) return parsed;
  if (auto parsed = parse_ports(runtime.find_any_case("portMappings"), out.ports); !parsed) return parsed;
  if (auto parsed = parse_bandwidth(runtime.find_any_case("bandwidth"), out.bandwidth); !parsed) return parsed;
  return parse_annotations(runtime.find_any_case("io.kubernetes.cri.pod-annotations"), out);
}

}  // namespace

Outcome<Wishes> parse_wishes(const json::Value& root, const Environment& environment) {
  Wishes out;
  if (auto parsed = parse_all(root, out); !parsed) return config_fault(parsed.error());
  if (out.ips.empty() && environment.args.ip) out.ips.push_back(*environment.args.ip);
  if (!out.mac && environment.args.mac) {
    if (!environment.args.mac->is_unicast() || environment.args.mac->is_zero()) {
      return fault(FaultCode::invalid_environment,
                   "CNI_ARGS: MAC: " + environment.args.mac->to_string() + " is no unicast address");
    }
    out.mac = environment.args.mac;
  }
  return out;
}

}  // namespace firn::cni
