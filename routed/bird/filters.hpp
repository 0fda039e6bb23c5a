// What of bird.conf decides over single routes: what a session is told, what is accepted from it. Private to routed/bird; pure.
// Written in the language of BIRD 2.0: no types of functions, no method syntax beyond add, delete and prepend.
#pragma once

#include <string>

#include "routed/bird/config.hpp"
#include "routed/bird/text.hpp"

namespace firn::routed::bird {

inline constexpr std::string_view extra_protocol = "firn_extra";  // with the family's digit behind

// Filters that the sessions' channels name; each once, before the first protocol that uses it.
void write_host_filters(Text& text, const Config& config, Family family);
void write_peer_filters(Text& text, const Config& config, const ResolvedPeer& peer, Family family);
// Behind `import` and `export` in the channel of that family: "all", "where ...", "filter firn_import4_tor".
std::string import_of(const ResolvedPeer& peer, Family family);
std::string export_of(const Config& config, const ResolvedPeer& peer, Family family);

// " && ! (net ~ [ 10.1.0.0/16+, ... ])" for those of the family; "" when there are none.
std::string outside(const std::vector<Prefix>& prefixes, Family family);
// "(64512,1) ~ bgp_community"
std::string has(const model::Community& community);
// "bgp_community.add((64512,1));", "bgp_large_community.delete((1,2,3));"
std::string change_of(const model::Community& community, std::string_view method);

}  // namespace firn::routed::bird
