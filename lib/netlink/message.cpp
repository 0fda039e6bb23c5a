#include "lib/netlink/message.hpp"

#include <cstdlib>

namespace firn::netlink {

namespace {
// The largest request is SetLink with a name and an alias: well under this.
constexpr size_t largest_message = 1024;
}  // namespace

Encoder::Encoder() : message_(nlmsg_alloc_size(largest_message)) {
  if (!message_) std::abort();  // 1 KiB at program start: there is no sensible way on
}

void Encoder::begin(uint16_t type, uint16_t flags, const void* body, size_t size) {
  nlmsghdr* header = nlmsg_hdr(message_.get());
  // nl_msg keeps its end in this field alone: setting it back empties the message and keeps the buffer.
  *header = nlmsghdr{NLMSG_HDRLEN, type, static_cast<uint16_t>(NLM_F_REQUEST | flags), 0, 0};
  good_ = true;
  append(body, size);
}

void Encoder::append(const void* body, size_t size) {
  good_ = nlmsg_append(message_.get(), const_cast<void*>(body), size, NLMSG_ALIGNTO) == 0 && good_;  // NOLINT
}

void Encoder::put(int type, const void* data, size_t size) {
  good_ = nla_put(message_.get(), type, static_cast<int>(size), data) == 0 && good_;
}

nlattr* Encoder::nest(int type) {
  nlattr* nested = nla_nest_start(message_.get(), type);
  if (nested == nullptr) good_ = false;
  return nested;
}

void Encoder::end(nlattr* nested) {
  if (nested == nullptr || nla_nest_end(message_.get(), nested) != 0) good_ = false;
}

std::span<const uint8_t> Encoder::bytes() const {
  const nlmsghdr* header = nlmsg_hdr(message_.get());
  return {reinterpret_cast<const uint8_t*>(header), header->nlmsg_len};
}

}  // namespace firn::netlink
