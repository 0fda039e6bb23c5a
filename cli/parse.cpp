#include "cli/parse.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace firn::cli {

namespace {

constexpr std::string_view label_form = "a label (KEY=VALUE, each up to 253 printable characters without blanks, '=' and ',')";

Error expected(std::string_view got, std::string_view what) {
  return make_error(Code::invalid, "'" + std::string(got.substr(0, 128)) + "' is not " + std::string(what));
}

std::optional<uint64_t> digits(std::string_view text) {
  uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool label_part(std::string_view text) {
  return text.size() <= 253 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '=' && c != ','; });
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (std::string& part : split(text, ' ')) {
    if (!part.empty()) out.push_back(std::move(part));
  }
  return out;
}

// Keeps what `parse` makes of the text.
template <class T, class Parse>
Status keep(T& target, Result<Parse> parsed) {
  if (!parsed) return std::move(parsed).error();
  target = std::move(*parsed);
  return {};
}

}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find(separator, from), text.size());
    out.emplace_back(text.substr(from, end - from));
    from = end + 1;
  }
  return out;
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) out.append(out.empty() ? "" : separator).append(part);
  return out;
}

std::string join(const std::vector<Address>& addresses) {
  std::vector<std::string> parts;
  for (const Address& address : addresses) parts.push_back(address.to_string());
  return join(parts, ",");
}

Result<int> parse_number(std::string_view text, int least, int most) {
  const auto value = digits(text);
  if (!value || *value > static_cast<uint64_t>(most) || static_cast<int64_t>(*value) < least) {
    return expected(text, "a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<int>(*value);
}

Result<uint32_t> parse_uint32(std::string_view text) {
  const auto value = digits(text);
  if (!value || *value > UINT32_MAX) return expected(text, "a number up to 4294967295");
  return static_cast<uint32_t>(*value);
}

Result<uint32_t> parse_as_number(std::string_view text) {
  const auto dot = text.find('.');
  std::optional<uint64_t> value = digits(text.substr(0, dot));
  if (value && dot != std::string_view::npos) {
    const auto low = digits(text.substr(dot + 1));
    value = low && *low <= 65535 && *value <= 65535 ? std::optional<uint64_t>(*value << 16 | *low) : std::nullopt;
  }
  if (!value || *value == 0 || *value >= 4294967295) {
    return expected(text, "an AS number (1 to 4294967294, or asdot as in 1.10; 64512 to 65534 are for private use)");
  }
  const auto number = static_cast<uint32_t>(*value);
  if (auto good = check_as_number(number); !good) return std::move(good).error();
  return number;
}

Status check_as_number(uint32_t number) {
  if (number != 23456) return {};
  return expected(std::to_string(number), "an AS number that a router can have (23456 is AS_TRANS)");
}

Status check_label(std::string_view key, std::string_view value) {
  if (!key.empty() && label_part(key) && label_part(value)) return {};
  return expected(std::string(key) + "=" + std::string(value), label_form);
}

Result<std::pair<std::string, std::string>> parse_label(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return expected(text, label_form);
  if (auto good = check_label(text.substr(0, equals), text.substr(equals + 1)); !good) return std::move(good).error();
  return std::pair<std::string, std::string>(text.substr(0, equals), text.substr(equals + 1));
}

Status change_label(Labels& labels, std::string_view text) {
  if (text.size() > 1 && text.back() == '-' && text.find('=') == std::string_view::npos) {
    const std::string key(text.substr(0, text.size() - 1));
    if (labels.erase(key) == 0) return make_error(Code::not_found, "there is no label " + key);
    return {};
  }
  auto label = parse_label(text);
  if (!label) return std::move(label).error();
  labels[label->first] = label->second;
  return {};
}

Result<Labels> parse_selector(std::string_view text) {
  Labels out;
  if (text.empty()) return out;
  for (const std::string& part : split(text, ',')) {
    auto label = parse_label(part);
    if (!label) return std::move(label).error();
    if (!out.insert(*label).second) return make_error(Code::invalid, "label " + label->first + " is named twice");
  }
  return out;
}

std::string labels_text(const Labels& labels) {
  std::string out;
  for (const auto& [key, value] : labels) out.append(out.empty() ? "" : ",").append(key).append("=").append(value);
  return out;
}

Result<model::PrefixRule> parse_rule(std::string_view text) {
  constexpr std::string_view form = "a rule (accept|reject PREFIX [ge N] [le N])";
  const auto words = words_of(text);
  if (words.size() < 2 || words.size() % 2 != 0 || (words[0] != "accept" && words[0] != "reject")) return expected(text, form);
  auto prefix = Prefix::parse(words[1]);
  if (!prefix) return std::move(prefix).error();
  const int bits = prefix->address().bits();
  std::optional<int> ge, le;
  for (size_t i = 2; i < words.size(); i += 2) {
    std::optional<int>* bound = words[i] == "ge" ? &ge : words[i] == "le" ? &le : nullptr;
    if (bound == nullptr || bound->has_value()) return expected(text, form);
    auto number = parse_number(words[i + 1], prefix->length(), bits);
    if (!number) return std::move(number).error().context("rule '" + std::string(text) + "'").context(words[i]);
    *bound = *number;
  }
  model::PrefixRule rule{words[0] == "accept", *prefix, ge.value_or(prefix->length()), le.value_or(ge ? bits : prefix->length())};
  if (rule.least > rule.most) return expected(text, "a rule that any prefix can match: ge is above le");
  return rule;
}

std::string rule_text(const model::PrefixRule& rule) {
  std::string out = (rule.accept ? "accept " : "reject ") + rule.within.to_string();
  const int length = rule.within.length();
  const int bits = rule.within.address().bits();
  if (rule.least == length && rule.most == length) return out;
  if (rule.least != length || rule.most == bits) out += " ge " + std::to_string(rule.least);
  if (rule.most != bits) out += " le " + std::to_string(rule.most);
  return out;
}

std::string rules_text(const std::vector<model::PrefixRule>& rules) {
  if (rules.empty()) return "accept everything";
  std::vector<std::string> parts;
  for (const model::PrefixRule& rule : rules) parts.push_back(rule_text(rule));
  return join(parts, ", ") + ", reject the rest";
}

Result<model::Pool> parse_pool(std::string_view text) {
  constexpr std::string_view form = "a pool (NAME=CIDR[,block-size=N])";
  const auto parts = split(text, ',');
  const auto equals = parts[0].find('=');
  if (equals == std::string::npos) return expected(text, form);
  model::Pool pool;
  pool.name = parts[0].substr(0, equals);
  auto cidr = Prefix::parse(std::string_view(parts[0]).substr(equals + 1));
  if (!cidr) return std::move(cidr).error().context("pool " + pool.name);
  pool.cidr = *cidr;
  pool.block_size = model::default_block_size(pool.cidr);
  for (size_t i = 1; i < parts.size(); ++i) {
    constexpr std::string_view block_size = "block-size=";
    if (parts[i].rfind(block_size, 0) != 0) return expected(text, form);
    auto number = parse_number(std::string_view(parts[i]).substr(block_size.size()), 0, 128);
    if (!number) return std::move(number).error().context("pool " + pool.name + ": block-size");
    pool.block_size = *number;
  }
  return pool;
}

Error as_option(Error error) {
  static const std::pair<std::string_view, std::string_view> others[] = {{"as_number", "--as"},
                                                                         {"import_rules", "--import"},
                                                                         {"export_rules", "--export"},
                                                                         {"import_filters", "--import-filter"},
                                                                         {"export_filters", "--export-filter"},
                                                                         {"node_selector", "--selector"},
                                                                         {"communities", "--community"},
                                                                         {"rules", "--rule"},
                                                                         {"values", "--value"},
                                                                         {"addresses", "--address"},
                                                                         {"labels", "--label"},
                                                                         {"name", "NAME"},
                                                                         {"cidr", "CIDR"}};
  if (!error.message.starts_with('/')) return error;
  const size_t colon = std::min(error.message.find(':'), error.message.size());
  std::string field = error.message.substr(1, std::min(error.message.find('/', 1), colon) - 1);
  std::string option = "--" + field;
  std::replace(option.begin(), option.end(), '_', '-');
  for (const auto& [name, other] : others) {
    if (field == name) option = other;
  }
  error.message.replace(0, colon, option);
  return error;
}

Take take_text(std::optional<std::string>& target) {
  return [&target](const std::string& text) -> Status {
    target = text;
    return {};
  };
}

Take take_texts(std::optional<std::vector<std::string>>& target) {
  return [&target](const std::string& text) -> Status {
    if (!target) target.emplace();
    target->push_back(text);
    return {};
  };
}

Take take_address(std::optional<Address>& target) {
  return [&target](const std::string& text) { return keep(target, Address::parse(text)); };
}

Take take_addresses(std::vector<Address>& target) {
  return [&target](const std::string& text) -> Status {
    auto address = Address::parse(text);
    if (!address) return std::move(address).error();
    if (std::find(target.begin(), target.end(), *address) != target.end())
      return make_error(Code::invalid, text + " is given twice");
    target.push_back(*address);
    return {};
  };
}

Take take_prefix(Prefix& target) {
  return [&target](const std::string& text) { return keep(target, Prefix::parse(text)); };
}

Take take_as_number(std::optional<uint32_t>& target) {
  return [&target](const std::string& text) { return keep(target, parse_as_number(text)); };
}

Take take_label(Labels& target) {
  return [&target](const std::string& text) -> Status {
    auto label = parse_label(text);
    if (!label) return std::move(label).error();
    if (!target.insert(*label).second) return make_error(Code::invalid, "label " + label->first + " is given twice");
    return {};
  };
}

Take take_selector(std::optional<Labels>& target) {
  return [&target](const std::string& text) { return keep(target, parse_selector(text)); };
}

Take take_rule(std::vector<model::PrefixRule>& target) {
  return [&target](const std::string& text) -> Status {
    auto rule = parse_rule(text);
    if (!rule) return std::move(rule).error();
    target.push_back(*rule);
    return {};
  };
}

}  // namespace firn::cli
