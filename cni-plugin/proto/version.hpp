// The versions of the CNI spec that firn speaks. Pure.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/proto/environment.hpp"
#include "cni-plugin/proto/fault.hpp"

namespace firn::cni {

enum class Version { v0_3_1, v0_4_0, v1_0_0, v1_1_0 };
std::string_view to_string(Version version);
// FaultCode::incompatible_version when it is none of ours, or older than the verb.
Outcome<Version> parse_version(std::string_view text, Verb verb);
// The reply to VERSION. `asked`: what the caller's stdin said, "" for nothing.
std::string version_json(std::string_view asked);
std::string supported_versions();  // "0.3.1, 0.4.0, 1.0.0, 1.1.0"

}  // namespace firn::cni
