// Rules of BGP filters as people type them, and communities. Pure; every error says what was expected.
// Thread safety: plain values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.hpp"
#include "lib/model/bgp_policy.hpp"

namespace firn::cli {

// "accept|reject|next [PREFIX [ge N] [le N]]... [community C]... [add C]... [remove C]... [prepend N] [med N] [local-pref N]"
Result<model::FilterRule> parse_filter_rule(std::string_view text);
std::string filter_rule_text(const model::FilterRule& rule);

Take take_filter_rule(std::optional<std::vector<model::FilterRule>>& target);
// A value or the name of a community; '' stands for none.
Take take_communities(std::optional<std::vector<std::string>>& target);
// Names, '' for none.
Take take_names(std::optional<std::vector<std::string>>& target);

}  // namespace firn::cli
