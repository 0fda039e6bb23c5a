#include "lib/addr/addr.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "lib/base/hash.hpp"

namespace firn {

Address Address::v4(uint32_t host_order) { return from(Family::v4, host_order); }

Address Address::v6(uint128 value) { return from(Family::v6, value); }

Address Address::from(Family family, uint128 value) {
  Address out;
  out.family_ = family;
  for (size_t i = out.size(); i-- > 0; value >>= 8) out.bytes_[i] = static_cast<uint8_t>(value & 0xff);
  return out;
}

Address Address::from_bytes(Family family, const void* bytes) {
  Address out;
  out.family_ = family;
  std::memcpy(out.bytes_.data(), bytes, out.size());
  return out;
}

Result<Address> Address::parse(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN];
  if (!text.empty() && text.size() < sizeof buffer && text.find('\0') == std::string_view::npos) {
    std::memcpy(buffer, text.data(), text.size());
    buffer[text.size()] = 0;
    Address out;
    if (::inet_pton(AF_INET, buffer, out.bytes_.data()) == 1) return out;
    out.family_ = Family::v6;
    if (::inet_pton(AF_INET6, buffer, out.bytes_.data()) == 1) return out;
  }
  return make_error(Code::invalid, "'" + std::string(text.substr(0, 64)) + "' is not an IPv4 or IPv6 address");
}

uint128 Address::value() const {
  uint128 out = 0;
  for (size_t i = 0; i < size(); ++i) out = (out << 8) | bytes_[i];
  return out;
}

std::string Address::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  if (!is_v4()) return ::inet_ntop(AF_INET6, bytes_.data(), buffer, sizeof buffer);
  // inet_ntop goes through printf, which was a twentieth of a lease.
  std::string out;
  for (size_t i = 0; i < 4; ++i) {
    const unsigned byte = bytes_[i];
    if (i != 0) out += '.';
    if (byte >= 100) out += static_cast<char>('0' + byte / 100);
    if (byte >= 10) out += static_cast<char>('0' + byte / 10 % 10);
    out += static_cast<char>('0' + byte % 10);
  }
  return out;
}

bool Address::is_loopback() const { return is_v4() ? bytes_[0] == 127 : value() == 1; }

bool Address::is_multicast() const { return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }

bool Address::is_link_local() const {
  return is_v4() ? bytes_[0] == 169 && bytes_[1] == 254 : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

namespace {

uint128 host_mask(int bits, int length) {
  const int host = bits - length;
  return host >= 128 ? ~static_cast<uint128>(0) : (static_cast<uint128>(1) << host) - 1;
}

Result<int> parse_length(std::string_view text, int bits, std::string_view whole) {
  int length = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), length);
  // "08" and "+8" are refused: one spelling for one prefix.
  const bool canonical = text.size() == 1 || (text.size() > 1 && text[0] != '0');
  if (ec != std::errc{} || end != text.data() + text.size() || !canonical || length < 0 || length > bits) {
    return make_error(Code::invalid,
                      "'" + std::string(whole.substr(0, 64)) + "': the prefix length must be 0 to " + std::to_string(bits));
  }
  return length;
}

}  // namespace

Prefix Prefix::of(const Address& any_member, int length) {
  Prefix out;
  out.length_ = length;
  out.address_ = Address::from(any_member.family(), any_member.value() & ~host_mask(any_member.bits(), length));
  return out;
}

Result<Prefix> Prefix::parse(std::string_view text) {
  auto parsed = InterfaceAddress::parse(text);
  if (!parsed) return std::move(parsed).error();
  const Prefix out = parsed->network();
  if (out.address() != parsed->address) {
    return make_error(Code::invalid,
                      "'" + std::string(text) + "' has bits set beyond its length; " + out.to_string() + " is the prefix");
  }
  return out;
}

bool Prefix::contains(const Address& address) const {
  return address.family() == family() && ((address.value() ^ address_.value()) & ~host_mask(address_.bits(), length_)) == 0;
}

bool Prefix::contains(const Prefix& other) const { return other.length_ >= length_ && contains(other.address_); }

uint128 Prefix::count() const { return host_mask(address_.bits(), length_) + 1; }

Address Prefix::last() const { return Address::from(family(), address_.value() | host_mask(address_.bits(), length_)); }

std::string Prefix::to_string() const { return address_.to_string() + "/" + std::to_string(length_); }

Result<AddressRange> AddressRange::parse(std::string_view text) {
  const size_t dash = text.find('-');
  auto first = Address::parse(text.substr(0, dash));
  if (!first) return std::move(first).error();
  if (dash == std::string_view::npos) return AddressRange{*first, *first};
  auto last = Address::parse(text.substr(dash + 1));
  if (!last) return std::move(last).error();
  if (first->family() != last->family()) return make_error(Code::invalid, "the ends of a range are of one family");
  if (*last < *first) {
    return make_error(Code::invalid, "a range begins with its lower end: " + last->to_string() + "-" + first->to_string());
  }
  return AddressRange{*first, *last};
}

std::string AddressRange::to_string() const {
  return first == last ? first.to_string() : first.to_string() + "-" + last.to_string();
}

Result<InterfaceAddress> InterfaceAddress::parse(std::string_view text) {
  const auto slash = text.find('/');
  auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::move(address).error();
  if (slash == std::string_view::npos) return InterfaceAddress{*address, address->bits()};
  auto length = parse_length(text.substr(slash + 1), address->bits(), text);
  if (!length) return std::move(length).error();
  return InterfaceAddress{*address, *length};
}

std::string InterfaceAddress::to_string() const { return address.to_string() + "/" + std::to_string(length); }

Result<Mac> Mac::parse(std::string_view text) {
  std::array<uint8_t, 6> bytes{};
  bool good = text.size() == 17;
  for (size_t i = 0; good && i < 6; ++i) {
    const char* from = text.data() + i * 3;
    const auto [end, ec] = std::from_chars(from, from + 2, bytes[i], 16);
    good = ec == std::errc{} && end == from + 2 && (i == 5 || from[2] == ':');
  }
  if (!good)
    return make_error(Code::invalid, "'" + std::string(text.substr(0, 64)) + "' is not a MAC address like 02:00:00:00:00:01");
  return Mac(bytes);
}

std::string Mac::to_string() const {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(17);
  for (const uint8_t byte : bytes_) {
    if (!out.empty()) out.push_back(':');
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

Mac Mac::derived(std::string_view text) {
  uint64_t hash = fnv1a(text);
  std::array<uint8_t, 6> bytes{};
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(hash);
    hash >>= 8;
  }
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0xfc) | 0x02);
  return Mac(bytes);
}

Address Mac::link_local() const {
  const std::array<uint8_t, 16> out{
      0xfe,      0x80,      0,    0,    0,         0,         0,        0, static_cast<uint8_t>(bytes_[0] ^ 2),
      bytes_[1], bytes_[2], 0xff, 0xfe, bytes_[3], bytes_[4], bytes_[5]};
  return Address::from_bytes(Family::v6, out.data());
}

Result<IfName> IfName::parse(std::string_view text) {
  std::string why;
  if (text.empty()) why = "is empty";
  else if (text.size() > 15) why = "is longer than 15 bytes";
  else if (text == "." || text == "..") why = "is reserved";
  for (const char c : text) {
    if (why.empty() && (c <= ' ' || c >= 127 || c == '/' || c == ':')) why = "has a character that interface names may not have";
  }
  if (!why.empty()) return make_error(Code::invalid, "interface name '" + std::string(text.substr(0, 64)) + "' " + why);
  return IfName(std::string(text));
}

}  // namespace firn
