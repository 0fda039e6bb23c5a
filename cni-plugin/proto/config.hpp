// The network configuration on stdin: what the administrator wrote and what the runtime put into it. docs/cni.md has every field.
// Pure; hostile input: at most 1 MiB of JSON, errors name the place.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/proto/environment.hpp"
#include "cni-plugin/proto/ipam_config.hpp"
#include "cni-plugin/proto/version.hpp"
#include "lib/model/ports.hpp"

namespace firn::cni {

inline constexpr size_t max_stdin = 1024 * 1024;

struct Attachment {
  std::string container_id, ifname;
  auto operator<=>(const Attachment&) const = default;
};

// What the runtime asks for this attachment: capabilities in runtimeConfig, args.cni, CNI_ARGS.
struct Wishes {
  std::vector<Address> ips;
  std::optional<Mac> mac;
  std::vector<RangeSet> ip_ranges;
  Dns dns;
  std::map<std::string, std::string> labels, annotations;
  std::vector<model::PublishedPort> ports;
  model::Bandwidth bandwidth;
  size_t annotations_left_out = 0;  // too large to keep
};

struct Config {
  std::string text;          // as it came, for other plugins; set by who read it
  std::string version_text;  // "" when there was none
  Version version = Version::v1_1_0;
  std::string name;
  int mtu = 0;  // 0: that of the default route's link
  std::string host_prefix = "firn";
  std::string state_dir{default_state_dir};
  bool forwarding = false;
  bool require_daemon = false;
  std::string daemon_socket;
  int policy_timeout = 4000;  // ms that ADD waits for firn-routed to put policy in the kernel
  IpamConfig ipam;
  Dns dns;
  Wishes wishes;
  bool has_prev_result = false;
  std::optional<CniResult> prev_result;  // CHECK
  // GC. Nothing: the runtime did not say which attachments are valid. `..._null`: it said null, which Go runtimes do for none,
  // and which is too easily said by mistake to be believed against a namespace that is alive.
  std::optional<std::vector<Attachment>> valid_attachments;
  bool valid_attachments_null = false;
};

// Who reads it: firn itself, or firn-ipam for another plugin (then every field but "ipam" is that plugin's business).
enum class Reader { firn, ipam };
// DEL, GC: only what is needed to find the state of the network, so that a configuration that has become wrong otherwise does not
// keep a container from going.
Outcome<Config> parse_config(std::string_view text, const Environment& environment, Reader reader);

}  // namespace firn::cni
