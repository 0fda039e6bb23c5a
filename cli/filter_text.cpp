#include "cli/filter_text.hpp"

#include <algorithm>

#include "cli/parse.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

constexpr std::string_view form =
    "accept|reject|next [PREFIX [ge N] [le N]]... [community C]... [add C]... [remove C]... [prepend N] [med N] [local-pref N]";

Error wrong(std::string_view text, const std::string& why) {
  return make_error(Code::invalid, "rule '" + std::string(text.substr(0, 200)) + "': " + why + "; a rule is: " + std::string(form));
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out = split(text, ' ');
  std::erase(out, "");
  return out;
}

std::string match_text(const model::PrefixMatch& match) {
  // As a rule of a peer, without its verdict.
  return rule_text({true, match.within, match.least, match.most}).substr(std::string_view("accept ").size());
}

}  // namespace

Result<model::FilterRule> parse_filter_rule(std::string_view text) {
  const auto words = words_of(text);
  model::FilterRule rule;
  if (words.empty()) return wrong(text, "says nothing");
  if (words[0] == "reject") rule.action = model::FilterAction::reject;
  else if (words[0] == "next") rule.action = model::FilterAction::next;
  else if (words[0] != "accept") return wrong(text, "begins with '" + words[0] + "'");
  bool ge_given = false;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (auto prefix = Prefix::parse(word)) {
      rule.prefixes.push_back({*prefix, prefix->length(), prefix->length()});
      ge_given = false;
      continue;
    }
    if (i + 1 == words.size()) return wrong(text, "'" + word + "' is neither a prefix nor has something behind it");
    const std::string& value = words[++i];
    if (word == "ge" || word == "le") {
      if (rule.prefixes.empty()) return wrong(text, word + " stands behind no prefix");
      model::PrefixMatch& match = rule.prefixes.back();
      const int bits = match.within.address().bits();
      auto number = parse_number(value, match.within.length(), bits);
      if (!number) return wrong(text, word + ": " + number.error().message);
      if (word == "ge") {
        match.least = *number;
        match.most = std::max(match.most, bits);
        ge_given = true;
      } else {
        match.most = *number;
        if (!ge_given) match.least = match.within.length();
      }
      if (match.least > match.most) return wrong(text, "ge is above le");
      continue;
    }
    std::vector<std::string>* communities = word == "community" ? &rule.communities
                                            : word == "add"     ? &rule.add_communities
                                            : word == "remove"  ? &rule.remove_communities
                                                                : nullptr;
    if (communities != nullptr) {
      if (auto good = model::check_community_text(value); !good) return wrong(text, good.error().message);
      communities->push_back(value);
      continue;
    }
    auto number = parse_uint32(value);
    if (!number) return wrong(text, word + ": " + number.error().message);
    if (word == "prepend" && *number <= 16) rule.prepend = static_cast<int>(*number);
    else if (word == "med") rule.med = *number;
    else if (word == "local-pref") rule.local_pref = *number;
    else return wrong(text, word == "prepend" ? "prepend is 0 to 16" : "'" + word + "' is not known");
  }
  return rule;
}

std::string filter_rule_text(const model::FilterRule& rule) {
  std::string out(to_string(rule.action));
  for (const model::PrefixMatch& match : rule.prefixes) out += " " + match_text(match);
  for (const auto& [word, texts] :
       {std::pair(" community ", &rule.communities), {" add ", &rule.add_communities}, {" remove ", &rule.remove_communities}}) {
    for (const std::string& text : *texts) out += word + text;
  }
  if (rule.prepend > 0) out += " prepend " + std::to_string(rule.prepend);
  if (rule.med) out += " med " + std::to_string(*rule.med);
  if (rule.local_pref) out += " local-pref " + std::to_string(*rule.local_pref);
  return out;
}

Take take_filter_rule(std::optional<std::vector<model::FilterRule>>& target) {
  return [&target](const std::string& text) -> Status {
    auto rule = parse_filter_rule(text);
    if (!rule) return std::move(rule).error();
    if (!target) target.emplace();
    target->push_back(*std::move(rule));
    return {};
  };
}

Take take_communities(std::optional<std::vector<std::string>>& target) {
  return [&target](const std::string& text) -> Status {
    if (!target) target.emplace();
    if (text.empty()) return {};
    if (auto good = model::check_community_text(text); !good) return good;
    target->push_back(text);
    return {};
  };
}

Take take_names(std::optional<std::vector<std::string>>& target) {
  return [&target](const std::string& text) -> Status {
    if (!target) target.emplace();
    if (text.empty()) return {};
    if (auto good = model::check_peer_name(text); !good) return good;
    target->push_back(text);
    return {};
  };
}

}  // namespace firn::cli
