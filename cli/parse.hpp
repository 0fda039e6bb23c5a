// What people type, as values: AS numbers, labels, prefix rules, pools. Pure; every error says what was expected.
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.hpp"
#include "lib/addr/addr.hpp"
#include "lib/model/bgp.hpp"

namespace firn::cli {

using Labels = std::map<std::string, std::string>;

Result<int> parse_number(std::string_view text, int least, int most);
Result<uint32_t> parse_uint32(std::string_view text);
// "65001", or asdot "1.10" (RFC 5396). Not 0, 23456 or 4294967295 (RFC 7607, 6793, 7300).
Result<uint32_t> parse_as_number(std::string_view text);
Status check_as_number(uint32_t number);
Status check_label(std::string_view key, std::string_view value);
// "key=value".
Result<std::pair<std::string, std::string>> parse_label(std::string_view text);
// "key=value" sets a label, "key-" takes it away. Code::not_found: it is not there.
Status change_label(Labels& labels, std::string_view text);
// "key=value,key=value"; "" is the empty selector.
Result<Labels> parse_selector(std::string_view text);
std::string labels_text(const Labels& labels);
// "accept|reject PREFIX [ge N] [le N]": alone the prefix itself; ge or le open the range of lengths, as routers read them.
Result<model::PrefixRule> parse_rule(std::string_view text);
std::string rule_text(const model::PrefixRule& rule);
std::string rules_text(const std::vector<model::PrefixRule>& rules);
// "NAME=CIDR[,block-size=N]".
Result<model::Pool> parse_pool(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);  // empty parts are kept
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string join(const std::vector<Address>& addresses);

// A validation's error about a field, "/hold_time: why", as one about the option that sets it: "--hold-time: why".
Error as_option(Error error);

// Take a value of such a type into a member.
Take take_text(std::optional<std::string>& target);
Take take_texts(std::optional<std::vector<std::string>>& target);
Take take_address(std::optional<Address>& target);
Take take_addresses(std::vector<Address>& target);
Take take_prefix(Prefix& target);
Take take_as_number(std::optional<uint32_t>& target);
Take take_label(Labels& target);
Take take_selector(std::optional<Labels>& target);
Take take_rule(std::vector<model::PrefixRule>& target);

}  // namespace firn::cli
