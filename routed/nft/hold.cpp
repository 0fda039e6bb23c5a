#include "routed/nft/hold.hpp"

#include <array>

namespace firn::routed::nft {
namespace {

struct Hook {
  std::string_view name, hook, group;
  int mark_priority;  // behind the chains that decide; the hold table's is one more
};
// Ingress and egress as the main table's chains call them: its hooks are at -50 and 50, NAT's at -100 and 100.
constexpr std::array<Hook, 2> hooks{{{"egress_seen", "prerouting", "iifgroup", -49}, {"ingress_seen", "postrouting", "oifgroup", 51}}};

std::string base(const Hook& hook, int priority) {
  return "type filter hook " + std::string(hook.hook) + " priority " + std::to_string(priority) + "; policy accept;";
}

}  // namespace

Changes hold_marks(const HoldSettings& settings) {
  Changes out;
  for (const Hook& hook : hooks) {
    const std::string rule = std::string(hook.group) + " " + std::to_string(settings.group) + " meta mark set meta mark | " +
                             std::to_string(settings.mark);
    out.chains[std::string(hook.name)] = Chain{base(hook, hook.mark_priority), {rule}};
  }
  return out;
}

std::string hold_table(const HoldSettings& settings) {
  const std::string table = "table inet firn_hold";
  std::string out = "add " + table + " { flags owner; }\ndelete " + table + "\nadd " + table + " { flags owner; }\n";
  for (const Hook& hook : hooks) {
    const std::string name = std::string("inet firn_hold ") + std::string(hook.name);
    const std::string group = std::string(hook.group) + " " + std::to_string(settings.group);
    out += "add chain " + name + " { " + base(hook, hook.mark_priority + 1) + " }\n";
    out += "add rule " + name + " " + group + " meta mark & " + std::to_string(settings.mark) + " == 0 counter drop\n";
    out += "add rule " + name + " " + group + " meta mark set meta mark & " + std::to_string(~settings.mark) + "\n";
  }
  return out;
}

}  // namespace firn::routed::nft
