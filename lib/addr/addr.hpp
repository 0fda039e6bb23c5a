// Address, Prefix, Mac, IfName: the value types of the house. Pure; no room below base.
// Thread safety: plain values.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"

namespace firn {

enum class Family : uint8_t { v4 = 4, v6 = 6 };

// 128-bit counts and offsets inside prefixes. An extension of GCC and clang, which -Wpedantic must be told.
__extension__ typedef unsigned __int128 uint128;

// One IPv4 or IPv6 address. Order: all IPv4 before all IPv6, then numeric.
class Address {
 public:
  Address() = default;  // 0.0.0.0
  static Address v4(uint32_t host_order);
  static Address v6(uint128 value);
  static Address from(Family family, uint128 value);
  // Network byte order; 4 or 16 bytes by family.
  static Address from_bytes(Family family, const void* bytes);
  // Strict text forms of RFC 4632 / RFC 5952 input; no zone, no port, no leading zeros in IPv4.
  static Result<Address> parse(std::string_view text);

  Family family() const { return family_; }
  bool is_v4() const { return family_ == Family::v4; }
  int bits() const { return is_v4() ? 32 : 128; }
  size_t size() const { return is_v4() ? 4 : 16; }
  const uint8_t* bytes() const { return bytes_.data(); }  // network order, size() bytes
  uint128 value() const;
  std::string to_string() const;  // RFC 5952 for IPv6
  bool is_unspecified() const { return value() == 0; }
  bool is_loopback() const;
  bool is_multicast() const;
  bool is_link_local() const;
  // Wraps around at the end of the family's space.
  Address plus(uint128 offset) const { return from(family_, value() + offset); }

  auto operator<=>(const Address&) const = default;

 private:
  Family family_ = Family::v4;
  std::array<uint8_t, 16> bytes_{};
};

// A network prefix. Host bits are kept zero: parse() refuses "10.0.0.1/24", of() clears them.
class Prefix {
 public:
  Prefix() = default;  // 0.0.0.0/0
  static Prefix of(const Address& any_member, int length);
  static Prefix host(const Address& address) { return of(address, address.bits()); }
  static Prefix any(Family family) { return of(Address::from(family, 0), 0); }
  // "10.0.0.0/24"; a bare address is a host prefix. Host bits set: Code::invalid, the message names the prefix meant.
  static Result<Prefix> parse(std::string_view text);

  const Address& address() const { return address_; }
  int length() const { return length_; }
  Family family() const { return address_.family(); }
  bool is_host() const { return length_ == address_.bits(); }
  bool contains(const Address& address) const;
  bool contains(const Prefix& other) const;
  bool overlaps(const Prefix& other) const { return contains(other) || other.contains(*this); }
  // Number of addresses; 2^128 for ::/0 does not fit and reads 0.
  uint128 count() const;
  // The offset-th address. REQUIRES: offset < count().
  Address at(uint128 offset) const { return address_.plus(offset); }
  // Offset of a member. REQUIRES: contains(address).
  uint128 offset_of(const Address& address) const { return address.value() - address_.value(); }
  Address last() const;
  std::string to_string() const;

  auto operator<=>(const Prefix&) const = default;

 private:
  Address address_;
  int length_ = 0;
};

// Addresses of one family, both ends included: "203.0.113.4-203.0.113.7", or one alone.
struct AddressRange {
  Address first, last;
  static Result<AddressRange> parse(std::string_view text);
  std::string to_string() const;
  bool operator==(const AddressRange&) const = default;
};

// An address with the length of the network it lives in, as interfaces carry it: "10.1.2.3/24". Host bits allowed.
struct InterfaceAddress {
  Address address;
  int length = 0;
  static Result<InterfaceAddress> parse(std::string_view text);  // bare address: host length
  std::string to_string() const;
  Prefix network() const { return Prefix::of(address, length); }
  auto operator<=>(const InterfaceAddress&) const = default;
};

class Mac {
 public:
  Mac() = default;
  explicit Mac(const std::array<uint8_t, 6>& bytes) : bytes_(bytes) {}
  static Result<Mac> parse(std::string_view text);  // "02:00:00:00:00:01"
  // A locally administered unicast MAC that follows from the text (fnv1a), the same on every host.
  static Mac derived(std::string_view text);
  const uint8_t* bytes() const { return bytes_.data(); }
  std::string to_string() const;
  bool is_unicast() const { return (bytes_[0] & 1) == 0; }
  bool is_zero() const { return bytes_ == std::array<uint8_t, 6>{}; }
  // fe80::/64 with the modified EUI-64 of this MAC (RFC 4291 appendix A): what the kernel gives a link by default.
  Address link_local() const;
  auto operator<=>(const Mac&) const = default;

 private:
  std::array<uint8_t, 6> bytes_{};
};

// A Linux interface name that is safe in a path and on a command line: 1 to 15 bytes, not "." or "..",
// no '/', ':' or white space, printable ASCII only (stricter than the kernel's dev_valid_name).
class IfName {
 public:
  static Result<IfName> parse(std::string_view text);
  const std::string& str() const { return text_; }
  auto operator<=>(const IfName&) const = default;

 private:
  explicit IfName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace firn

template <>
struct std::hash<firn::Address> {
  size_t operator()(const firn::Address& a) const noexcept {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(a.bytes()), a.size()});
  }
};
template <>
struct std::hash<firn::Prefix> {
  size_t operator()(const firn::Prefix& p) const noexcept {
    return std::hash<firn::Address>{}(p.address()) * 131 + static_cast<size_t>(p.length());
  }
};
