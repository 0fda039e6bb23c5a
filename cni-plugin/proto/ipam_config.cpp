#include "cni-plugin/proto/ipam_config.hpp"

#include <algorithm>

#include "cni-plugin/proto/spelling.hpp"
#include "ipam/pools.hpp"
#include "lib/model/names.hpp"

namespace firn::cni {

namespace {

constexpr std::string_view ipam_fields[] = {"type",  "subnet", "rangeStart", "rangeEnd", "gateway", "ranges",
                                            "pools", "routes", "dns",        "stateDir", "cooldown"};
constexpr std::string_view range_fields[] = {"subnet", "rangeStart", "rangeEnd", "gateway"};
constexpr size_t most_ranges = 64;

// The text of an optional member parsed by T::parse; the error names the place.
template <class T>
Result<std::optional<T>> optional_text(const json::Value& value) {
  if (!value.present() || value.is_null()) return std::optional<T>();
  auto text = value.string();
  if (!text) return std::move(text).error();
  if (text->empty()) return std::optional<T>();  // containerd writes every member, empty when it is not said
  auto parsed = T::parse(*text);
  if (!parsed) return value.error(parsed.error().message);
  return std::optional<T>(*std::move(parsed));
}

Status inside(const json::Value& value, const Range& range, const std::optional<Address>& address) {
  if (!address || range.subnet.contains(*address)) return {};
  return value.error(address->to_string() + " is not inside " + range.subnet.to_string());
}

Result<Range> parse_range(const json::Value& value) {
  if (!value.present() || value.kind() != json::Kind::object) return value.error("must be an object with a \"subnet\"");
  auto subnet = optional_text<Prefix>(value.find_any_case("subnet"));
  if (!subnet) return std::move(subnet).error();
  if (!*subnet) return value.error("needs a \"subnet\"");
  Range out{.subnet = **subnet, .first = {}, .last = {}, .gateway = {}};
  const std::pair<const char*, std::optional<Address>*> members[] = {
      {"rangeStart", &out.first}, {"rangeEnd", &out.last}, {"gateway", &out.gateway}};
  for (const auto& [name, into] : members) {
    const json::Value member = value.find_any_case(name);
    auto address = optional_text<Address>(member);
    if (!address) return std::move(address).error();
    if (auto in = inside(member, out, *address); !in) return std::move(in).error();
    *into = *address;
  }
  if (out.first && out.last && *out.last < *out.first) return value.error("rangeEnd is before rangeStart");
  return out;
}

// Two sets that overlap would lease the container two addresses of one range, or starve each other.
Status check_sets(const json::Value& value, const std::vector<RangeSet>& sets) {
  for (size_t i = 0; i < sets.size(); ++i) {
    for (const Range& range : sets[i]) {
      if (range.subnet.family() != sets[i].front().subnet.family()) {
        return value.error("a set holds alternatives for one address: " + range.subnet.to_string() + " and " +
                           sets[i].front().subnet.to_string() + " are of two families; put them into sets of their own");
      }
      if (const auto special = ipam::special_use(range.subnet)) {
        return value.error(range.subnet.to_string() + " overlaps with " + special->to_string() +
                           ", whose addresses containers cannot use");
      }
      for (size_t j = 0; j < i; ++j) {
        for (const Range& other : sets[j]) {
          if (range.subnet.overlaps(other.subnet)) {
            return value.error(range.subnet.to_string() + " and " + other.subnet.to_string() + " of two sets overlap");
          }
        }
      }
    }
  }
  return {};
}

}  // namespace

Status check_fields(const json::Value& object, std::span<const std::string_view> known, bool strict) {
  auto members = object.object();
  if (!members) return std::move(members).error();
  for (const auto& [name, value] : *members) {
    if (std::ranges::find(known, name) != known.end()) continue;
    if (const std::string_view meant = nearest(name, known); !meant.empty()) {
      return value.error("is not a field; did you mean \"" + std::string(meant) + "\"?");
    }
    if (!strict) continue;
    std::string all;
    for (const std::string_view field : known) all.append(all.empty() ? "" : ", ").append(field);
    return value.error("is not a field; there are " + all);
  }
  return {};
}

Result<std::string> parse_state_dir(const json::Value& value) {
  auto text = value.string_or("");
  if (!text || text->empty()) return text;
  if (text->front() != '/' || text->find('\0') != std::string::npos || text->size() > 1024 ||
      (*text + "/").find("/../") != std::string::npos) {
    return value.error("must be an absolute path without '..'");
  }
  while (text->size() > 1 && text->back() == '/') text->pop_back();
  return text;
}

Result<std::vector<RangeSet>> parse_range_sets(const json::Value& value, RangeWriter writer) {
  std::vector<RangeSet> out;
  if (!value.present() || value.is_null()) return out;
  auto sets = value.array();
  if (!sets) return std::move(sets).error();
  if (sets->size() > most_ranges) return value.error("has more than " + std::to_string(most_ranges) + " sets");
  for (const json::Value& set : *sets) {
    auto ranges = set.array();
    if (!ranges) return std::move(ranges).error();
    if (ranges->empty() || ranges->size() > most_ranges)
      return set.error("must hold 1 to " + std::to_string(most_ranges) + " ranges");
    RangeSet& parsed = out.emplace_back();
    for (const json::Value& item : *ranges) {
      if (writer == RangeWriter::administrator) {
        if (auto known = check_fields(item, range_fields, true); !known) return std::move(known).error();
      }
      auto range = parse_range(item);
      if (!range) return std::move(range).error();
      parsed.push_back(*std::move(range));
    }
  }
  if (auto valid = check_sets(value, out); !valid) return std::move(valid).error();
  return out;
}

Outcome<std::string> parse_ipam_type(const json::Value& ipam) {
  if (!ipam.present() || ipam.is_null()) return std::string(own_ipam);
  if (ipam.kind() != json::Kind::object) return config_fault(ipam.error("must be an object"));
  // An empty object is what some tools write for "no ipam"; here it means the one firn brings along.
  auto type = ipam["type"].string_or("");
  if (!type) return config_fault(type.error());
  if (type->empty()) return std::string(own_ipam);
  if (type->find('/') != std::string::npos || type->find('\0') != std::string::npos || *type == "." || *type == ".." ||
      type->size() > 255) {
    return config_fault(ipam["type"].error("must be the file name of a plugin, without a path"));
  }
  return *std::move(type);
}

namespace {

Result<IpamConfig> parse_own(const json::Value& ipam) {
  IpamConfig out;
  if (!ipam.present() || ipam.is_null()) return out;
  if (auto known = check_fields(ipam, ipam_fields, true); !known) return std::move(known).error();
  auto sets = parse_range_sets(ipam["ranges"], RangeWriter::administrator);
  if (!sets) return std::move(sets).error();
  out.sets = *std::move(sets);
  if (ipam["subnet"].present()) {
    if (!out.sets.empty()) return ipam["subnet"].error("is the short form of one entry of \"ranges\": give one of the two");
    auto range = parse_range(ipam);
    if (!range) return std::move(range).error();
    out.sets.push_back({*std::move(range)});
    if (auto valid = check_sets(ipam["subnet"], out.sets); !valid) return std::move(valid).error();
  } else {
    for (const char* flat : {"rangeStart", "rangeEnd", "gateway"}) {
      if (ipam[flat].present()) return ipam[flat].error("needs \"subnet\" beside it");
    }
  }
  auto pools = ipam["pools"].strings_or_empty();
  if (!pools) return std::move(pools).error();
  if (!pools->empty() && !out.sets.empty()) return ipam["pools"].error("cannot stand beside \"subnet\" or \"ranges\"");
  if (pools->size() > most_ranges) return ipam["pools"].error("has more than " + std::to_string(most_ranges) + " items");
  for (const std::string& pool : *pools) {
    if (auto named = model::check_object_name("pool name", pool); !named) return ipam["pools"].error(named.error().message);
  }
  out.pools = *std::move(pools);
  if (ipam["routes"].present() && !ipam["routes"].is_null()) {
    auto items = ipam["routes"].array();
    if (!items) return std::move(items).error();
    for (const json::Value& item : *items) {
      auto route = parse_route(item);
      if (!route) return std::move(route).error();
      out.routes.push_back(*std::move(route));
    }
  }
  auto dns = parse_dns(ipam["dns"]);
  if (!dns) return std::move(dns).error();
  out.dns = *std::move(dns);
  auto state_dir = parse_state_dir(ipam["stateDir"]);
  if (!state_dir) return std::move(state_dir).error();
  out.state_dir = *std::move(state_dir);
  auto cooldown = ipam["cooldown"].integer_or(60, 0, 24 * 3600);
  if (!cooldown) return std::move(cooldown).error();
  out.cooldown = static_cast<int>(*cooldown);
  return out;
}

}  // namespace

Outcome<IpamConfig> parse_ipam(const json::Value& ipam) {
  auto own = parse_own(ipam);
  if (!own) return config_fault(own.error());
  return *std::move(own);
}

}  // namespace firn::cni
