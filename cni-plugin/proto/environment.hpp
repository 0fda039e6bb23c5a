// The CNI_* variables of a call, checked as the spec says for its verb. Pure; thread safety: plain values.
// Hostile input: sizes and characters are checked; a path is only looked at by who opens it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "cni-plugin/proto/fault.hpp"
#include "lib/addr/addr.hpp"

namespace firn::cni {

enum class Verb { none, add, del, check, gc, status, version };
std::string_view to_string(Verb verb);

// CNI_ARGS, "KEY=VALUE;KEY=VALUE". Deprecated by the CNI conventions and used by every CRI runtime.
struct CniArgs {
  std::string pod_namespace, pod_name, pod_uid;
  std::optional<Address> ip;
  std::optional<Mac> mac;
};
// Empty pairs (a trailing ';') are skipped. A key that is not known is a fault unless IgnoreUnknown=1 (or true) is among them.
Outcome<CniArgs> parse_cni_args(std::string_view text);

struct Environment {
  Verb verb = Verb::none;
  std::string container_id;
  std::string netns;  // "" is allowed for DEL
  std::string ifname;
  std::string path;  // CNI_PATH, needed only to find another IPAM plugin
  CniArgs args;      // read for ADD and CHECK
};

// The value of a variable, nullptr when it is not set: std::getenv, or a table of a test.
using Variables = std::function<const char*(const char* name)>;
// The variables that the verb needs. Verb::none when CNI_COMMAND is not set at all.
Outcome<Environment> read_environment(const Variables& variables);

}  // namespace firn::cni
