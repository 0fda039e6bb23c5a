#include "routed/policy/base.hpp"

#include <charconv>
#include <vector>

#include "lib/netlink/types.hpp"
#include "routed/policy/rule_text.hpp"

namespace firn::routed::policy {

namespace {

const std::string established = "ct state established,related accept";
// Neighbours keep finding each other, and routers are found: without it IPv6 would end where a policy begins.
const std::string discovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
const std::string host_discovery =
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, "
    "mld-listener-report, mld2-listener-report } accept";

std::string group() { return std::to_string(netlink::live_group); }

// What cannot be read was refused when it was stored; here it opens nothing.
std::vector<std::string> failsafe(const std::vector<std::string>& texts) {
  std::vector<model::PortMatch> tcp, udp;
  for (const std::string& text : texts) {
    const auto ports = model::parse_failsafe(text);
    if (ports) (ports->protocol == 6 ? tcp : udp).push_back({ports->first, ports->last, {}});
  }
  std::vector<std::string> out;
  if (!tcp.empty()) out.push_back("tcp dport " + port_list(std::move(tcp)) + " accept");
  if (!udp.empty()) out.push_back("udp dport " + port_list(std::move(udp)) + " accept");
  return out;
}

nft::Chain host_chain(const char* hook, const char* field, const char* map, const std::vector<std::string>& ports,
                      const std::string& other) {
  nft::Chain chain;
  chain.hook = std::string("type filter hook ") + hook + " priority filter; policy accept;";
  const std::string in = field[0] == 'i' ? "iif" : "oif";
  // What containers send to their host is decided by their own policies.
  chain.rules = {in + "group " + group() + " accept", in + " \"lo\" accept", established, host_discovery};
  for (std::string& rule : failsafe(ports)) chain.rules.push_back(std::move(rule));
  // Addresses come by DHCP (RFC 2131, RFC 8415).
  chain.rules.push_back(field[0] == 'i' ? "udp sport { 67, 547 } udp dport { 68, 546 } accept"
                                        : "udp sport { 68, 546 } udp dport { 67, 547 } accept");
  chain.rules.push_back(std::string(field) + " vmap @" + map);
  if (!other.empty()) chain.rules.push_back(other);
  return chain;
}

}  // namespace

std::string guard_set(Family family, bool ranges) {
  return std::string(ranges ? "guard_range" : "guard") + (family == Family::v4 ? "4" : "6");
}

void put_base(nft::Changes& out) {
  for (const Family family : {Family::v4, Family::v6}) {
    nft::Set set;
    set.key = std::string("ifname . ether_addr . ") + (family == Family::v4 ? "ipv4_addr" : "ipv6_addr");
    out.sets[guard_set(family, false)] = set;
    set.interval = true;
    out.sets[guard_set(family, true)] = set;
  }
  for (const Family family : {Family::v4, Family::v6}) {
    const size_t index = family == Family::v4 ? 0 : 1;
    const std::string address = std::string("typeof numgen inc mod 2 . ") + (family == Family::v4 ? "ip" : "ip6") + " saddr";
    nft::Set set;
    set.key = address;
    out.sets[members_set[index]] = set;
    set.key = address + " . meta l4proto . th dport";
    out.sets[named_set[index]] = set;
  }
  nft::Set ports;
  ports.key = "typeof numgen inc mod 2 . th dport";
  out.sets[ports_set] = ports;
  for (const char* name : {egress_map, ingress_map}) {
    nft::Set map;
    map.key = "ifname";
    map.data = "verdict";
    map.counter = true;
    out.sets[name] = map;
  }
  out.chains["guard"] = nft::Chain{
      "type filter hook prerouting priority raw; policy accept;",
      {
          "iifgroup != " + group() + " accept",
          "iifname . ether saddr . ip saddr @guard4 accept",
          "icmpv6 type { nd-router-advert, nd-redirect } counter drop comment " + nft::quoted("router advertisement or redirect"),
          "iifname . ether saddr . ip6 saddr @guard6 accept",
          // Its own link: neighbour discovery, from its link-local address or from none yet.
          "ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } ip6 hoplimit 255 " + discovery,
          "iifname . ether saddr . ip saddr @guard_range4 accept",
          "iifname . ether saddr . ip6 saddr @guard_range6 accept",
          "counter drop comment " + nft::quoted("not an address or MAC of this interface"),
      }};
  out.chains["egress_hook"] = nft::Chain{"type filter hook prerouting priority -50; policy accept;",
                                         {
                                             "iifgroup != " + group() + " accept",
                                             established,
                                             discovery,
                                             "iifname vmap @" + std::string(egress_map),
                                             "counter drop comment " + nft::quoted("no verdict yet"),
                                         }};
  out.chains["ingress_hook"] = nft::Chain{
      "type filter hook postrouting priority 50; policy accept;",
      {
          "oifgroup != " + group() + " accept",
          established,
          discovery,
          // Whoever is forwarded with the host's address has stolen it: IPv4 drops that itself, IPv6 does not.
          "fib saddr type local iif != 0 counter drop comment " + nft::quoted("the address of this host, from elsewhere"),
          // A host may always speak with its own containers, and see whether they are well.
          "fib saddr type local accept",
          "oifname vmap @" + std::string(ingress_map),
          "counter drop comment " + nft::quoted("no verdict yet"),
      }};
}

void put_host_hooks(nft::Changes& out, const model::PolicySettings& settings, const std::string& other_in,
                    const std::string& other_out) {
  for (const char* name : {host_in_map, host_out_map}) {
    nft::Set map;
    map.key = "ifname";
    map.data = "verdict";
    map.counter = true;
    out.sets[name] = map;
  }
  out.chains["host_input"] = host_chain("input", "iifname", host_in_map, settings.failsafe_in, other_in);
  out.chains["host_output"] = host_chain("output", "oifname", host_out_map, settings.failsafe_out, other_out);
}

void drop_host_hooks(nft::Changes& out) {
  for (const char* name : {host_in_map, host_out_map}) out.sets[name] = std::nullopt;
  for (const char* name : {"host_input", "host_output"}) out.chains[name] = std::nullopt;
}

}  // namespace firn::routed::policy
