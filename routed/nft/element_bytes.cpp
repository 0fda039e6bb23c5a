#include "routed/nft/element_bytes.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lib/addr/addr.hpp"

namespace firn::routed::nft {

namespace {

constexpr std::string_view separator = " . ";
constexpr size_t interface_name = 16;  // IFNAMSIZ

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + separator.size());
  }
}

template <class T>
std::optional<T> number(std::string_view text) {
  T out = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return out;
}

std::string network_order(uint16_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)}; }

std::optional<std::string> address_bytes(std::string_view text, Family family) {
  const auto address = Address::parse(text);
  if (!address || address->family() != family) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(address->bytes()), address->size());
}

// Of one part, by its type or by the expression that has it.
std::optional<std::string> part_bytes(std::string_view type, std::string_view text) {
  if (type == "ipv4_addr" || type == "ip saddr" || type == "ip daddr") return address_bytes(text, Family::v4);
  if (type == "ipv6_addr" || type == "ip6 saddr" || type == "ip6 daddr") return address_bytes(text, Family::v6);
  if (type == "ifname") {
    if (text.size() < 3 || text.front() != '"' || text.back() != '"' || text.size() - 2 >= interface_name) return std::nullopt;
    std::string out(text.substr(1, text.size() - 2));
    out.resize(interface_name, '\0');
    return out;
  }
  if (type == "ether_addr") {
    const auto mac = Mac::parse(text);
    if (!mac) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(mac->bytes()), 6);
  }
  if (type == "inet_proto" || type == "meta l4proto") {
    const auto protocol = number<uint8_t>(text);
    if (!protocol) return std::nullopt;
    return std::string(1, static_cast<char>(*protocol));
  }
  if (type == "inet_service" || type == "th dport" || type == "th sport") {
    const auto port = number<uint16_t>(text);
    if (!port) return std::nullopt;
    return network_order(*port);
  }
  if (type == "numgen inc mod 2") {
    const auto value = number<uint32_t>(text);  // a number of the host's, in its order
    if (!value) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(&*value), sizeof *value);
  }
  return std::nullopt;
}

void put_size(std::string& out, const std::string& text) {
  out += network_order(static_cast<uint16_t>(text.size()));
  out += text;
}

}  // namespace

std::optional<std::string> bytes_of(std::string_view type, std::string_view text) {
  constexpr std::string_view by_expression = "typeof ";
  if (type.starts_with(by_expression)) type.remove_prefix(by_expression.size());
  const auto types = split(type), parts = split(text);
  if (types.size() != parts.size()) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < types.size(); ++i) {
    const auto part = part_bytes(types[i], parts[i]);
    if (!part) return std::nullopt;
    out += *part;
    if (types.size() > 1) out.resize((out.size() + 3) / 4 * 4, '\0');
  }
  return out;
}

ElementBytes::ElementBytes(const std::string& table) { put_size(out_, table); }

bool ElementBytes::remove(const Set& set, const ElementKey& key) { return put('-', set, key, nullptr); }
bool ElementBytes::add(const Set& set, const ElementKey& key, const std::string& data) { return put('+', set, key, &data); }

bool ElementBytes::put(char what, const Set& set, const ElementKey& key, const std::string* data) {
  if (set.interval) return false;
  const auto bytes = bytes_of(set.key, key.key);
  if (!bytes) return false;
  std::string value;
  char kind = 'n';
  if (data != nullptr && !set.data.empty()) {
    constexpr std::string_view jump = "goto ";
    if (set.data == "verdict") {
      if (*data == "accept") kind = 'a';
      else if (*data == "drop") kind = 'd';
      else if (data->starts_with(jump)) kind = 'g', value = data->substr(jump.size());
      else return false;
    } else {
      const auto encoded = bytes_of(set.data, *data);
      if (!encoded) return false;
      kind = 'v', value = *encoded;
    }
  }
  out_ += what;
  put_size(out_, key.set);
  put_size(out_, *bytes);
  out_ += kind;
  put_size(out_, value);
  return true;
}

}  // namespace firn::routed::nft
