// Policy's small records and spellings; the policies themselves: policy_rules.cpp.
#include "lib/model/policy.hpp"

#include <algorithm>
#include <charconv>

#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

namespace {

constexpr size_t max_named_ports = 64, max_failsafe = 100;

struct ProtocolName {
  uint8_t number;
  std::string_view name;
};
constexpr ProtocolName protocols[] = {{6, "tcp"}, {17, "udp"}, {132, "sctp"}, {1, "icmp"}, {58, "icmpv6"}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A number of digits alone, without leading zeros.
template <class T>
std::optional<T> plain_number(std::string_view text, T least) {
  T out{};
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failed != std::errc() || end != text.data() + text.size() || out < least || (text.size() > 1 && text[0] == '0'))
    return std::nullopt;
  return out;
}

bool is_port_name(std::string_view text) {
  if (text.empty() || text.size() > 15 || text.front() == '-' || text.back() == '-' || text.find("--") != std::string_view::npos)
    return false;
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  return std::any_of(text.begin(), text.end(), lower) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return lower(c) || is_digit(c) || c == '-'; });
}

std::string shown(std::string_view text) { return "'" + std::string(text.substr(0, 64)) + "'"; }

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string_view> listed(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    out.push_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

// "http=8080/tcp"; tcp is the default.
std::optional<NamedPort> named_port(std::string_view text) {
  NamedPort out;
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  out.name = trimmed(text.substr(0, equals));
  text = trimmed(text.substr(equals + 1));
  const size_t slash = std::min(text.find('/'), text.size());
  const auto port = plain_number<uint16_t>(text.substr(0, slash), 1);
  const auto protocol = parse_protocol(slash == text.size() ? "tcp" : text.substr(slash + 1));
  if (!is_port_name(out.name) || !port || !protocol || !has_ports(*protocol)) return std::nullopt;
  out.port = *port;
  out.protocol = *protocol;
  return out;
}

// Texts, or numbers, which are what a list of ports looks like in YAML.
std::vector<std::string> read_failsafe(Fields& f, const json::Value& root, std::string_view name,
                                       std::vector<std::string> fallback) {
  if (!root[name].present()) return fallback;
  std::vector<std::string> out;
  const auto items = f.list(name);
  if (items.size() > max_failsafe) f.fail(root[name].error("has more than " + std::to_string(max_failsafe) + " entries"));
  for (const json::Value& item : items) {
    auto text = item.kind() == json::Kind::integer ? Result<std::string>(item.dump()) : item.string();
    auto port = text ? parse_failsafe(*text) : Result<FailsafePorts>(std::move(text).error());
    if (port) {
      out.push_back(to_string(*port));
    } else {
      f.fail(text ? item.error(port.error().message) : std::move(port).error());
    }
  }
  return out;
}

// An empty list is another thing than none: no port at all.
void write_failsafe(json::Writer& w, std::string_view name, const std::vector<std::string>& ports) {
  w.key(name).begin_array();
  for (const std::string& port : ports) w.value(port);
  w.end_array();
}

}  // namespace

std::string_view to_string(PolicyAction action) {
  switch (action) {
    case PolicyAction::allow: return "allow";
    case PolicyAction::deny: return "deny";
    case PolicyAction::log: return "log";
    case PolicyAction::pass: return "pass";
  }
  return "";
}

Result<PolicyAction> parse_policy_action(std::string_view text) {
  for (const PolicyAction action : {PolicyAction::allow, PolicyAction::deny, PolicyAction::log, PolicyAction::pass}) {
    if (text == to_string(action)) return action;
  }
  return make_error(Code::invalid, "must be allow, deny, log or pass, not " + shown(text));
}

std::string to_string(const PortMatch& port) {
  if (!port.name.empty()) return port.name;
  return std::to_string(port.first) + (port.last == port.first ? "" : "-" + std::to_string(port.last));
}

Result<PortMatch> parse_port_match(std::string_view text) {
  if (is_port_name(text)) return PortMatch{.first = 0, .last = 0, .name = std::string(text)};
  const size_t dash = std::min(text.find('-'), text.size());
  const auto first = plain_number<uint16_t>(text.substr(0, dash), 1);
  const auto last = dash == text.size() ? first : plain_number<uint16_t>(text.substr(dash + 1), 1);
  if (first && last && *first <= *last) return PortMatch{.first = *first, .last = *last, .name = {}};
  return make_error(Code::invalid, shown(text) +
                                       " is no port: a number from 1 to 65535, a range as 8000-8080, or a name of up to 15 of "
                                       "a-z 0-9 - with a letter among them");
}

Result<uint8_t> parse_protocol(std::string_view text) {
  for (const ProtocolName& known : protocols) {
    if (text == known.name) return known.number;
  }
  if (const auto number = plain_number<uint8_t>(text, 0)) return *number;
  return make_error(Code::invalid, shown(text) + " is no protocol: tcp, udp, sctp, icmp, icmpv6 or a number from 0 to 255");
}

std::string protocol_name(uint8_t protocol) {
  for (const ProtocolName& known : protocols) {
    if (protocol == known.number) return std::string(known.name);
  }
  return std::to_string(protocol);
}

bool has_ports(uint8_t protocol) { return protocol == 6 || protocol == 17 || protocol == 132; }

std::string to_string(const FailsafePorts& ports) {
  return (ports.protocol == 6 ? "" : "udp:") + to_string(PortMatch{.first = ports.first, .last = ports.last, .name = {}});
}

Result<FailsafePorts> parse_failsafe(std::string_view text) {
  const bool udp = text.starts_with("udp:");
  const auto ports = parse_port_match(udp || text.starts_with("tcp:") ? text.substr(4) : text);
  if (ports && ports->name.empty())
    return FailsafePorts{.protocol = udp ? uint8_t{17} : uint8_t{6}, .first = ports->first, .last = ports->last};
  return make_error(Code::invalid,
                    shown(text) + " is no port: a number from 1 to 65535 or a range, with udp: before it if it is not tcp");
}

std::string namespace_of(const Endpoint& endpoint) {
  return endpoint.pod_namespace.empty() ? std::string(default_namespace) : endpoint.pod_namespace;
}

std::string to_string(const std::vector<NamedPort>& ports) {
  std::string out;
  for (const NamedPort& port : ports) {
    out += (out.empty() ? "" : ",") + port.name + "=" + std::to_string(port.port) + "/" + protocol_name(port.protocol);
  }
  return out;
}

std::vector<NamedPort> named_ports_of(const Endpoint& endpoint) {
  std::vector<NamedPort> out;
  const auto annotation = endpoint.annotations.find(std::string(named_ports_annotation));
  if (annotation == endpoint.annotations.end()) return out;
  for (const std::string_view part : listed(annotation->second)) {
    if (out.size() == max_named_ports) break;
    if (auto port = named_port(part)) out.push_back(*std::move(port));
  }
  return out;
}

Status check_named_ports(std::string_view text) {
  const auto parts = listed(text);
  if (parts.size() > max_named_ports)
    return make_error(Code::invalid, "more than " + std::to_string(max_named_ports) + " named ports");
  for (const std::string_view part : parts) {
    if (!named_port(part)) return make_error(Code::invalid, shown(part) + " is no named port, as http=8080/tcp");
  }
  return {};
}

std::string encode(const Namespace& space) {
  json::Writer w = begin_record();
  w.field("name", space.name);
  auto labels = space.labels;
  labels.erase(std::string(namespace_name_label));
  write_texts(w, "labels", labels);
  return std::move(w.end_object()).take();
}

Result<Namespace> decode_namespace(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Namespace out;
    out.name = f.text("name");
    out.labels = f.texts("labels");
    const auto [label, added] = out.labels.emplace(namespace_name_label, out.name);
    if (!added && label->second != out.name)
      f.fail(root["labels"].error(std::string(namespace_name_label) + " is always the name"));
    require_name(f, check_object_name("/name: namespace", out.name));
    return f.finish(std::move(out));
  });
}

std::string encode(const HostEndpoint& endpoint) {
  json::Writer w = begin_record();
  w.field("name", endpoint.name).field("node", endpoint.node).field("interface", endpoint.interface);
  write_texts(w, "labels", endpoint.labels);
  return std::move(w.end_object()).take();
}

Result<HostEndpoint> decode_host_endpoint(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    HostEndpoint out;
    out.name = f.text("name");
    out.node = f.text("node");
    out.interface = f.text("interface");
    out.labels = f.texts("labels");
    require_name(f, check_object_name("/name: host endpoint", out.name));
    require_name(f, check_object_name("/node: node", out.node));
    if (out.interface != "*") {
      if (auto name = IfName::parse(out.interface); !name) f.fail(root["interface"].error(name.error().message));
    }
    return f.finish(std::move(out));
  });
}

std::string encode(const PolicySettings& settings) {
  json::Writer w = begin_record();
  w.field("default_deny", settings.default_deny).field("end_connections", settings.end_connections);
  write_failsafe(w, "failsafe_in", settings.failsafe_in);
  write_failsafe(w, "failsafe_out", settings.failsafe_out);
  w.field("log_group", settings.log_group).field("log_rate", settings.log_rate);
  return std::move(w.end_object()).take();
}

Result<PolicySettings> decode_policy_settings(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    PolicySettings out;
    out.default_deny = f.flag_or("default_deny", out.default_deny);
    out.end_connections = f.flag_or("end_connections", out.end_connections);
    out.failsafe_in = read_failsafe(f, root, "failsafe_in", out.failsafe_in);
    out.failsafe_out = read_failsafe(f, root, "failsafe_out", out.failsafe_out);
    out.log_group = static_cast<int>(f.number_or("log_group", out.log_group, 0, 65535));
    out.log_rate = static_cast<int>(f.number_or("log_rate", out.log_rate, 1, 10000));
    return f.finish(std::move(out));
  });
}

namespace keys {

std::string policy(std::string_view scope, std::string_view name) {
  if (scope.empty()) return std::string(global_policies).append(name);
  return std::string(namespaced_policies).append(scope).append("/").append(name);
}
std::string namespace_record(std::string_view name) { return std::string(namespaces).append(name); }
std::string host_endpoint(std::string_view node, std::string_view name) {
  return std::string(host_endpoints).append(node).append("/").append(name);
}

}  // namespace keys

}  // namespace firn::model
