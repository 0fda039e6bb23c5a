// What firn wants in its nftables table, in parts that change one by one. Whoever wishes for something (policy, source guard, NAT,
// published ports) names it so that nobody else does; routed/nft/table.hpp makes them all one transaction.
// Texts are nft's own language (nft(8)) and are made by us: nothing that a person or a runtime wrote gets into them but by way of
// quoted() or a value type. Pure; thread safety: plain values.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace firn::routed::nft {

// A set, or a map when `data` is there.
struct Set {
  std::string key;        // "ipv4_addr", "ifname . ether_addr . ipv4_addr"
  std::string data;       // "": a set; "verdict", "ipv4_addr . inet_service"
  bool interval = false;  // elements may be prefixes and ranges
  bool counter = false;   // every element counts what it matched
  std::string comment;    // by quoted(), or ""
  bool operator==(const Set&) const = default;
};

struct Chain {
  std::string hook;                // "type filter hook prerouting priority raw; policy accept;", "" for one that is jumped to
  std::vector<std::string> rules;  // in order, each without "add rule"; jumps only to chains that are wished for, too
  bool operator==(const Chain&) const = default;
};

struct ElementKey {
  std::string set;
  std::string key;  // "10.44.0.7", "\"firn12ab\" . 02:00:00:00:00:01 . 10.44.0.7"
  auto operator<=>(const ElementKey&) const = default;
};

// nullopt: no longer wanted. An element's value is its data ("goto e.1f3a"), "" in a set.
struct Changes {
  std::map<std::string, std::optional<Set>> sets;
  std::map<std::string, std::optional<Chain>> chains;
  std::map<ElementKey, std::optional<std::string>> elements;
  bool empty() const { return sets.empty() && chains.empty() && elements.empty(); }
};

// "text" in quotes, for comments, log prefixes and names of interfaces: what is not a letter, a digit, a space or one of
// ._:/,=+@-()!&|{}'<> becomes a question mark, and it is cut to 120 bytes. nft knows no escapes inside of quotes.
std::string quoted(std::string_view text);

}  // namespace firn::routed::nft
