#include "cni-plugin/proto/result.hpp"

namespace firn::cni {

namespace {

constexpr size_t most_items = 4096;

void write_strings(json::Writer& w, std::string_view name, const std::vector<std::string>& list) {
  if (list.empty()) return;
  w.key(name).begin_array();
  for (const std::string& item : list) w.value(item);
  w.end_array();
}

void write_interface(json::Writer& w, const Interface& interface, Version version) {
  w.begin_object().field("name", interface.name).field_if("mac", interface.mac);
  if (version >= Version::v1_1_0 && interface.mtu > 0) w.field("mtu", interface.mtu);
  w.field_if("sandbox", interface.sandbox).end_object();
}

void write_ip(json::Writer& w, const IpConfig& ip, Version version) {
  w.begin_object();
  if (version < Version::v1_0_0) w.field("version", ip.address.address.is_v4() ? "4" : "6");
  if (ip.interface >= 0) w.field("interface", ip.interface);
  w.field("address", ip.address.to_string());
  if (ip.gateway) w.field("gateway", ip.gateway->to_string());
  w.end_object();
}

void write_route(json::Writer& w, const ResultRoute& route, Version version) {
  w.begin_object().field("dst", route.destination.to_string());
  if (route.gateway) w.field("gw", route.gateway->to_string());
  if (version >= Version::v1_1_0) {
    const auto number = [&](std::string_view name, int64_t value) {
      if (value >= 0) w.field(name, value);
    };
    number("mtu", route.mtu);
    number("advmss", route.advmss);
    number("priority", route.priority);
    number("table", route.table);
    number("scope", route.scope);
  }
  w.end_object();
}

void write_dns(json::Writer& w, const Dns& dns, Version version) {
  if (dns.empty()) {
    // Before 1.0.0 the member was not optional.
    if (version < Version::v1_0_0) w.key("dns").begin_object().end_object();
    return;
  }
  w.key("dns").begin_object();
  write_strings(w, "nameservers", dns.nameservers);
  w.field_if("domain", dns.domain);
  write_strings(w, "search", dns.search);
  write_strings(w, "options", dns.options);
  w.end_object();
}

template <class T, class Write>
void write_list(json::Writer& w, std::string_view name, const std::vector<T>& list, Version version, Write write) {
  if (list.empty()) return;
  w.key(name).begin_array();
  for (const T& item : list) write(w, item, version);
  w.end_array();
}

// Reads an optional array, item by item.
template <class T, class Parse>
Status read_list(const json::Value& value, std::vector<T>& out, Parse parse) {
  if (!value.present() || value.is_null()) return {};
  auto items = value.array();
  if (!items) return std::move(items).error();
  if (items->size() > most_items) return value.error("has more than " + std::to_string(most_items) + " items");
  for (const json::Value& item : *items) {
    Result<T> parsed = parse(item);
    if (!parsed) return std::move(parsed).error();
    out.push_back(*std::move(parsed));
  }
  return {};
}

// The text of an optional member parsed by T::parse; the error names the place.
template <class T>
Result<std::optional<T>> parsed_if(const json::Value& value) {
  if (!value.present() || value.is_null()) return std::optional<T>();
  auto text = value.string();
  if (!text) return std::move(text).error();
  if (text->empty()) return std::optional<T>();
  auto parsed = T::parse(*text);
  if (!parsed) return value.error(parsed.error().message);
  return std::optional<T>(*std::move(parsed));
}

Result<Interface> parse_interface(const json::Value& value) {
  auto name = value["name"].string();
  auto mac = value["mac"].string_or("");
  auto sandbox = value["sandbox"].string_or("");
  auto mtu = value["mtu"].integer_or(0, 0, INT32_MAX);
  if (!name) return std::move(name).error();
  if (!mac) return std::move(mac).error();
  if (!sandbox) return std::move(sandbox).error();
  if (!mtu) return std::move(mtu).error();
  return Interface{*std::move(name), *std::move(mac), *std::move(sandbox), static_cast<int>(*mtu)};
}

Result<IpConfig> parse_ip(const json::Value& value) {
  auto text = value["address"].string();
  if (!text) return std::move(text).error();
  auto address = InterfaceAddress::parse(*text);
  if (!address) return value["address"].error(address.error().message);
  auto gateway = parsed_if<Address>(value["gateway"]);
  if (!gateway) return std::move(gateway).error();
  auto interface = value["interface"].integer_or(-1, -1, static_cast<int64_t>(most_items));
  if (!interface) return std::move(interface).error();
  return IpConfig{*address, *gateway, static_cast<int>(*interface)};
}

}  // namespace

Result<ResultRoute> parse_route(const json::Value& value) {
  ResultRoute out;
  auto text = value["dst"].string();
  if (!text) return std::move(text).error();
  // Plugins write what people wrote: host bits are cleared as the kernel's tools do.
  auto destination = InterfaceAddress::parse(*text);
  if (!destination) return value["dst"].error(destination.error().message);
  out.destination = destination->network();
  auto gateway = parsed_if<Address>(value["gw"]);
  if (!gateway) return std::move(gateway).error();
  out.gateway = *gateway;
  if (out.gateway && out.gateway->family() != out.destination.family()) return value["gw"].error("is of another family than dst");
  const std::pair<const char*, int64_t*> numbers[] = {
      {"mtu", &out.mtu}, {"advmss", &out.advmss}, {"priority", &out.priority}, {"table", &out.table}, {"scope", &out.scope}};
  for (const auto& [name, into] : numbers) {
    auto number = value[name].integer_or(-1, 0, UINT32_MAX);
    if (!number) return std::move(number).error();
    *into = *number;
  }
  return out;
}

Result<Dns> parse_dns(const json::Value& value) {
  Dns out;
  if (!value.present() || value.is_null()) return out;
  if (value.kind() != json::Kind::object) return value.error("must be an object");
  // The "dns" capability spells two members otherwise than the "dns" of a configuration or result.
  const auto list = [&](const char* name, const char* other) {
    const json::Value first = value.find_any_case(name);
    return (first.present() ? first : value.find_any_case(other)).strings_or_empty();
  };
  auto nameservers = list("nameservers", "servers");
  auto search = list("search", "searches");
  auto options = value.find_any_case("options").strings_or_empty();
  auto domain = value.find_any_case("domain").string_or("");
  if (!nameservers) return std::move(nameservers).error();
  if (!search) return std::move(search).error();
  if (!options) return std::move(options).error();
  if (!domain) return std::move(domain).error();
  return Dns{*std::move(nameservers), *std::move(domain), *std::move(search), *std::move(options)};
}

Result<CniResult> parse_result(const json::Value& value) {
  if (!value.present() || value.kind() != json::Kind::object) return value.error("must be an object");
  CniResult out;
  if (auto read = read_list(value["interfaces"], out.interfaces, parse_interface); !read) return std::move(read).error();
  if (auto read = read_list(value["ips"], out.ips, parse_ip); !read) return std::move(read).error();
  if (auto read = read_list(value["routes"], out.routes, parse_route); !read) return std::move(read).error();
  auto dns = parse_dns(value["dns"]);
  if (!dns) return std::move(dns).error();
  out.dns = *std::move(dns);
  for (const IpConfig& ip : out.ips) {
    if (ip.interface >= static_cast<int>(out.interfaces.size())) {
      return value["ips"].error("refers to interface " + std::to_string(ip.interface) + " of " +
                                std::to_string(out.interfaces.size()));
    }
  }
  return out;
}

std::string write_result(const CniResult& result, Version version) {
  json::Writer w;
  w.begin_object().field("cniVersion", to_string(version));
  write_list(w, "interfaces", result.interfaces, version, write_interface);
  write_list(w, "ips", result.ips, version, write_ip);
  write_list(w, "routes", result.routes, version, write_route);
  write_dns(w, result.dns, version);
  return std::move(w.end_object()).take();
}

}  // namespace firn::cni
