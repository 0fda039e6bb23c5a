// Inside this room only: building and reading netlink messages with libnl-3 core (nlmsg_*, nla_*), and the raw socket.
// Not libnl-route: its object caches and constructors cost start-up time and size in a process that lives a millisecond, and it
// cannot put several requests into one sendmsg. Not nl_socket either: nl_connect makes six system calls where one will do, and
// nl_recv knows no deadline. Everything the kernel sends is length-checked: a short attribute reads as absent.
#pragma once

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/netlink/kernel.hpp"
#include "lib/netlink/types.hpp"

namespace firn::netlink {

// One message under construction; the buffer is reused from request to request.
class Encoder {
 public:
  Encoder();
  // Starts over with a header of this type and its family-specific part.
  template <class Body>
  void begin(uint16_t type, uint16_t flags, const Body& body) {
    begin(type, flags, &body, sizeof body);
  }
  template <class Body>
  void append(const Body& body) {
    append(&body, sizeof body);
  }
  void put(int type, const void* data, size_t size);
  void put_u32(int type, uint32_t value) { put(type, &value, sizeof value); }
  void put_string(int type, const std::string& text) { put(type, text.c_str(), text.size() + 1); }
  void put_address(int type, const Address& address) { put(type, address.bytes(), address.size()); }
  void put_mac(int type, const Mac& mac) { put(type, mac.bytes(), 6); }
  nlattr* nest(int type);
  void end(nlattr* nested);
  // False when something did not fit (requests are validated, so that is a bug rather than an input).
  bool good() const { return good_; }
  std::span<const uint8_t> bytes() const;

 private:
  void begin(uint16_t type, uint16_t flags, const void* body, size_t size);
  void append(const void* body, size_t size);
  struct Free {
    void operator()(nl_msg* message) const { nlmsg_free(message); }
  };
  std::unique_ptr<nl_msg, Free> message_;
  bool good_ = true;
};

// The attributes behind a header of `header` bytes, each looked up by type. Views into the message.
template <int Max>
class Attributes {
 public:
  Attributes(const nlmsghdr* message, size_t header) {
    nlmsg_parse(const_cast<nlmsghdr*>(message), static_cast<int>(header), table_.data(), Max, nullptr);
  }  // NOLINT
  explicit Attributes(const nlattr* nested) {
    nla_parse_nested(table_.data(), Max, const_cast<nlattr*>(nested), nullptr);
  }  // NOLINT
  const nlattr* raw(int type) const { return table_[static_cast<size_t>(type)]; }
  template <class T>
  std::optional<T> number(int type) const {
    const nlattr* a = raw(type);
    if (a == nullptr || nla_len(a) < static_cast<int>(sizeof(T))) return std::nullopt;
    T value;
    std::copy_n(static_cast<const uint8_t*>(nla_data(a)), sizeof(T), reinterpret_cast<uint8_t*>(&value));
    return value;
  }
  std::string text(int type) const {
    const nlattr* a = raw(type);
    if (a == nullptr) return {};
    const std::string_view all(static_cast<const char*>(nla_data(a)), static_cast<size_t>(nla_len(a)));
    return std::string(all.substr(0, all.find('\0')));
  }
  std::optional<Address> address(int type, Family family) const {
    const nlattr* a = raw(type);
    const int size = family == Family::v4 ? 4 : 16;
    if (a == nullptr || nla_len(a) != size) return std::nullopt;
    return Address::from_bytes(family, nla_data(a));
  }
  std::optional<Mac> mac(int type) const {
    const nlattr* a = raw(type);
    if (a == nullptr || nla_len(a) != 6) return std::nullopt;
    std::array<uint8_t, 6> bytes{};
    std::copy_n(static_cast<const uint8_t*>(nla_data(a)), bytes.size(), bytes.begin());
    return Mac(bytes);
  }

 private:
  std::array<nlattr*, static_cast<size_t>(Max) + 1> table_{};
};

// encode.cpp: an Error is an invalid request (Code::invalid), found before anything is sent.
Status encode(const Request& request, Encoder& encoder);

// decode.cpp: nullopt for what is malformed, of another family, or no concern of this house.
std::optional<Link> decode_link(const nlmsghdr* message);
std::optional<LinkAddress> decode_address(const nlmsghdr* message);
std::optional<Route> decode_route(const nlmsghdr* message);
std::optional<Neighbour> decode_neighbour(const nlmsghdr* message);
std::optional<Forward> decode_forward(const nlmsghdr* message);
// traffic.cpp
tcmsg shaper_place(int index);
tcmsg classifier_place(int index);
tcmsg policer_place(int index);
void put_shaper(Encoder& out, const TokenBucket& bucket);
void put_policer(Encoder& out, const TokenBucket& bucket, int program);
// Of one link: an answer to RTM_GETQDISC of its root, and to RTM_GETTFILTER of our filter. What is not ours is absent.
std::optional<uint64_t> decode_shaper(const nlmsghdr* message);
std::optional<TokenBucket> decode_policer(const nlmsghdr* message);
std::optional<Rule> decode_rule(const nlmsghdr* message);
std::optional<Event> decode_event(const nlmsghdr* message);
// The errno and the text of the kernel's extended acknowledgement, of an NLMSG_ERROR or NLMSG_DONE.
struct Answer {
  int err = 0;
  std::string reason;
};
Answer decode_answer(const nlmsghdr* message);

// socket.cpp
class Socket {
 public:
  static constexpr std::chrono::seconds deadline{5};
  static Result<Socket> open(int protocol = NETLINK_ROUTE);
  int fd() const { return fd_.get(); }
  uint32_t next_sequence() { return ++sequence_; }
  Status send(std::span<const uint8_t> bytes);
  // One datagram of the kernel's into `buffer`; waits until `until`. interrupted: ENOBUFS, something was dropped.
  Result<std::span<const uint8_t>> receive(std::span<uint8_t> buffer, std::chrono::steady_clock::time_point until);
  // Room for the answers to a large batch (false: not permitted), and the strict checks that make dumps filter: both once.
  bool enlarge_receive_buffer();
  Status enable_strict_dumps();

 private:
  explicit Socket(unique_fd fd) : fd_(std::move(fd)) {}
  unique_fd fd_;
  uint32_t sequence_ = 0;
  std::optional<bool> enlarged_;
  bool strict_ = false;
};

// One datagram without waiting; an empty span when there is none. `from_kernel` is false for a message to be ignored.
Result<std::span<const uint8_t>> receive_now(int fd, std::span<uint8_t> buffer, bool& from_kernel);

// Calls f(const nlmsghdr*) for each message of a datagram until it returns false.
template <class F>
void for_each_message(std::span<const uint8_t> datagram, F&& f) {
  auto* message = const_cast<nlmsghdr*>(reinterpret_cast<const nlmsghdr*>(datagram.data()));  // NOLINT: libnl wants no const
  int left = static_cast<int>(datagram.size());
  for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
    if (!f(static_cast<const nlmsghdr*>(message))) return;
  }
}

}  // namespace firn::netlink
