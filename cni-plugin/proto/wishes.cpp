#include "cni-plugin/proto/wishes.hpp"

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
