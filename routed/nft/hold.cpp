#include "routed/nft/hold.hpp"

#include <array>

namespace firn::routed::nft {
namespace {

struct Hook {
  std::string_view decides;  // the chain of the main table
  std::string_view hook, group;
  int priority;  // one behind that chain's; NAT's are at -100 and 100
};
constexpr std::array<Hook, 2> hooks{
    {{"egress_hook", "prerouting", "iifgroup", -49}, {"ingress_hook", "postrouting", "oifgroup", 51}}};

}  // namespace

bool mark_chain(const std::string& name, Chain& chain, const HoldSettings& settings) {
  if (chain.rules.empty() || (name != hooks[0].decides && name != hooks[1].decides)) return false;
  chain.rules.insert(chain.rules.begin() + 1, "meta mark set meta mark | " + std::to_string(settings.mark));
  return true;
}

std::string hold_table(const HoldSettings& settings) {
  const std::string table = "table inet firn_hold";
  std::string out = "add " + table + " { flags owner; }\ndelete " + table + "\nadd " + table + " { flags owner; }\n";
  for (const Hook& hook : hooks) {
    const std::string name = "inet firn_hold behind_" + std::string(hook.decides);
    const std::string group = std::string(hook.group) + " " + std::to_string(settings.group);
    out += "add chain " + name + " { type filter hook " + std::string(hook.hook) + " priority " + std::to_string(hook.priority) +
           "; policy accept; }\n";
    out += "add rule " + name + " " + group + " meta mark & " + std::to_string(settings.mark) + " == 0 counter drop\n";
    out += "add rule " + name + " " + group + " meta mark set meta mark & " + std::to_string(~settings.mark) + "\n";
  }
  return out;
}

}  // namespace firn::routed::nft
