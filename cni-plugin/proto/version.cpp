#include "cni-plugin/proto/version.hpp"

#include <algorithm>

#include "lib/json/json.hpp"

namespace firn::cni {

namespace {

constexpr std::string_view names[] = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"};

Version oldest_for(Verb verb) {
  switch (verb) {
    case Verb::check: return Version::v0_4_0;
    case Verb::gc:
    case Verb::status: return Version::v1_1_0;
    default: return Version::v0_3_1;
  }
}

}  // namespace

std::string_view to_string(Version version) { return names[static_cast<size_t>(version)]; }

std::string supported_versions() {
  std::string out;
  for (const std::string_view name : names) out.append(out.empty() ? "" : ", ").append(name);
  return out;
}

Outcome<Version> parse_version(std::string_view text, Verb verb) {
  const auto* found = std::find(std::begin(names), std::end(names), text);
  const std::string details =
      "config is \"" + std::string(text.substr(0, 32)) + "\", plugin supports [" + supported_versions() + "]";
  if (found == std::end(names)) return fault(FaultCode::incompatible_version, "incompatible CNI versions", details);
  const auto version = static_cast<Version>(found - std::begin(names));
  if (version < oldest_for(verb)) {
    return fault(FaultCode::incompatible_version, "config version does not allow " + std::string(to_string(verb)), details);
  }
  return version;
}

std::string version_json(std::string_view asked) {
  json::Writer w;
  // The spec wants the caller's version back, whatever it is.
  w.begin_object().field("cniVersion", asked.empty() ? to_string(Version::v1_1_0) : asked).key("supportedVersions").begin_array();
  for (const std::string_view name : names) w.value(name);
  return std::move(w.end_array().end_object()).take();
}

}  // namespace firn::cni
