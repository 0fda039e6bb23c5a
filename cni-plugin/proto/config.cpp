#include "cni-plugin/proto/config.hpp"

#include <algorithm>

#include "cni-plugin/proto/wishes.hpp"
#include "lib/control/control.hpp"
#include "lib/model/names.hpp"

namespace firn::cni {

namespace {

constexpr int least_mtu = 576, most_mtu = 65535, least_mtu_v6 = 1280;

// Ours and those of the spec. A runtime may insert others, which are none of our business unless they are nearly one of these.
constexpr std::string_view top_fields[] = {"cniVersion",    "cniVersions",  "name",         "type",      "capabilities",
                                           "runtimeConfig", "args",         "ipMasq",       "ipam",      "dns",
                                           "prevResult",    "mtu",          "hostPrefix",   "stateDir",  "forwarding",
                                           "requireDaemon", "daemonSocket", "policyTimeout", "disableCheck", "disableGC",
                                           "plugins"};

Status parse_interface_fields(const json::Value& root, Config& out) {
  if (auto known = check_fields(root, top_fields, false); !known) return known;
  auto mtu = root["mtu"].integer_or(0, 0, most_mtu);
  if (!mtu) return std::move(mtu).error();
  if (*mtu != 0 && *mtu < least_mtu) {
    return root["mtu"].error("must be 0 (as the default route's link) or " + std::to_string(least_mtu) + " to " +
                             std::to_string(most_mtu) + "; IPv6 needs " + std::to_string(least_mtu_v6));
  }
  out.mtu = static_cast<int>(*mtu);
  auto forwarding = root["forwarding"].boolean_or(false);
  if (!forwarding) return std::move(forwarding).error();
  out.forwarding = *forwarding;
  return {};
}

Status parse_host_prefix(const json::Value& value, std::string& out) {
  auto text = value.string_or(out);
  if (!text) return std::move(text).error();
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (text->empty() || text->size() > 5 || !std::ranges::all_of(*text, allowed) || text->front() == '-') {
    return value.error("must be 1 to 5 letters, digits, '-' or '_': the rest of the 15 bytes of a link's name is a hash");
  }
  out = *std::move(text);
  return {};
}

Status parse_daemon(const json::Value& root, Config& out) {
  auto required = root["requireDaemon"].boolean_or(false);
  if (!required) return std::move(required).error();
  out.require_daemon = *required;
  auto socket = root["daemonSocket"].string_or(std::string(control::default_socket));
  if (!socket) return std::move(socket).error();
  if (socket->empty() || socket->front() != '/' || socket->find('\0') != std::string::npos) {
    return root["daemonSocket"].error("must be an absolute path");
  }
  out.daemon_socket = *std::move(socket);
  auto timeout = root["policyTimeout"].integer_or(out.policy_timeout, 1, 60'000);
  if (!timeout) return std::move(timeout).error();
  out.policy_timeout = static_cast<int>(*timeout);
  return {};
}

Result<std::vector<Attachment>> parse_attachments(const json::Value& list) {
  std::vector<Attachment> out;
  if (list.is_null()) return out;
  auto items = list.array();
  if (!items) return std::move(items).error();
  out.reserve(items->size());
  for (const json::Value& item : *items) {
    auto id = item["containerID"].string();
    if (!id) return std::move(id).error();
    auto ifname = item["ifname"].string();
    if (!ifname) return std::move(ifname).error();
    out.push_back({*std::move(id), *std::move(ifname)});
  }
  return out;
}

// libcni sends the list under its right name, and older ones also under another. An attachment named by either is valid: what is
// kept too long costs an address, what is released too early costs a connection.
Status parse_valid(const json::Value& root, Config& out) {
  for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
    if (!root[key].present()) continue;
    auto list = parse_attachments(root[key]);
    if (!list) return std::move(list).error();
    if (!out.valid_attachments) out.valid_attachments_null = true;
    if (!root[key].is_null()) out.valid_attachments_null = false;
    if (!out.valid_attachments) out.valid_attachments.emplace();
    out.valid_attachments->insert(out.valid_attachments->end(), list->begin(), list->end());
  }
  if (out.valid_attachments) std::ranges::sort(*out.valid_attachments);
  return {};
}

// ADD: firn is the first of its list. CHECK: what ADD and the plugins behind it made.
Answer parse_prev_result(const json::Value& root, Verb verb, Reader reader, Config& out) {
  const json::Value previous = root["prevResult"];
  out.has_prev_result = previous.present() && !previous.is_null();
  if (reader == Reader::ipam) return Done{};
  if (verb == Verb::add && out.has_prev_result) {
    return fault(FaultCode::invalid_config, "/prevResult: firn must be the first plugin of its list",
                 "it makes the interface; put portmap, bandwidth, tuning, firewall behind it");
  }
  if (verb != Verb::check) return Done{};
  if (!out.has_prev_result) {
    return fault(FaultCode::invalid_config, "/prevResult: missing; CHECK compares with what ADD returned");
  }
  auto result = parse_result(previous);
  if (!result) return config_fault(result.error());
  out.prev_result = *std::move(result);
  return Done{};
}

Answer parse_identity(const json::Value& root, Verb verb, Config& out) {
  auto version = root["cniVersion"].string_or("");
  if (!version) return config_fault(version.error());
  out.version_text = *version;
  // The oldest versions of the spec did not have the field.
  auto parsed = parse_version(version->empty() ? "0.1.0" : *version, verb);
  if (!parsed) return std::move(parsed).fault();
  out.version = *parsed;
  auto name = root["name"].string();
  if (!name) return config_fault(name.error());
  if (auto valid = model::check_cni_name("network name", *name); !valid)
    return config_fault(root["name"].error(valid.error().message));
  out.name = *std::move(name);
  return Done{};
}

Answer parse_state(const json::Value& root, Verb verb, Reader reader, Config& out) {
  const bool lenient = verb == Verb::del || verb == Verb::gc;
  auto type = parse_ipam_type(root["ipam"]);
  if (!type) return std::move(type).fault();
  // firn-ipam is asked under its file name, which may be another.
  const bool own = reader == Reader::ipam || *type == own_ipam;
  if (lenient || !own) {
    out.ipam.type = *std::move(type);
  } else {
    auto ipam = parse_ipam(root["ipam"]);
    if (!ipam) return std::move(ipam).fault();
    out.ipam = *std::move(ipam);
  }
  const json::Value beside = root["stateDir"], within = own ? root["ipam"]["stateDir"] : json::Value();
  const json::Value place = reader == Reader::ipam ? within : beside.present() ? beside : within;
  auto state_dir = parse_state_dir(place);
  if (!state_dir) return config_fault(state_dir.error());
  if (!state_dir->empty()) out.state_dir = *std::move(state_dir);
  return Done{};
}

Answer parse_fields(const json::Value& root, const Environment& environment, Reader reader, Config& out) {
  const Verb verb = environment.verb;
  if (auto parsed = parse_identity(root, verb, out); !parsed) return parsed;
  if (auto parsed = parse_state(root, verb, reader, out); !parsed) return parsed;
  if (verb == Verb::gc) {
    if (auto parsed = parse_valid(root, out); !parsed) return config_fault(parsed.error());
  }
  if (reader == Reader::firn) {
    // A bad prefix must not keep a container: the record names the link.
    auto prefix = parse_host_prefix(root["hostPrefix"], out.host_prefix);
    if (!prefix && verb != Verb::del && verb != Verb::gc) return config_fault(prefix.error());
  }
  if (verb == Verb::del || verb == Verb::gc) return Done{};
  if (auto parsed = parse_prev_result(root, verb, reader, out); !parsed) return parsed;
  if (reader == Reader::firn) {
    if (auto parsed = parse_interface_fields(root, out); !parsed) return config_fault(parsed.error());
    if (auto parsed = parse_daemon(root, out); !parsed) return config_fault(parsed.error());
    auto masquerade = root["ipMasq"].boolean_or(false);
    if (!masquerade) return config_fault(masquerade.error());
    if (*masquerade) {
      return fault(FaultCode::unsupported_field, "/ipMasq: true is not supported",
                   "whether containers leave with the host's address is a setting of their pool: 'firnctl pool set POOL --nat'");
    }
    for (const ResultRoute& route : out.ipam.routes) {
      if (route.gateway) {
        return fault(FaultCode::unsupported_field, "/ipam/routes: gw " + route.gateway->to_string() + " is not supported",
                     "every route of firn's interface leads to its own gateway; leave \"gw\" out");
      }
    }
    auto dns = parse_dns(root["dns"]);
    if (!dns) return config_fault(dns.error());
    out.dns = *std::move(dns);
  }
  if (verb == Verb::status) return Done{};
  auto wishes = parse_wishes(root, environment);
  if (!wishes) return std::move(wishes).fault();
  out.wishes = *std::move(wishes);
  return Done{};
}

}  // namespace

Outcome<Config> parse_config(std::string_view text, const Environment& environment, Reader reader) {
  auto document = json::Document::parse(text);
  if (!document)
    return fault(FaultCode::undecodable, "stdin: " + document.error().message, "it must be one JSON object of at most 1 MiB");
  const json::Value root = document->root();
  if (root.kind() != json::Kind::object) return fault(FaultCode::undecodable, "stdin: must be a JSON object");
  Config out;
  if (auto parsed = parse_fields(root, environment, reader, out); !parsed) return std::move(parsed).fault();
  return out;
}

}  // namespace firn::cni
