// SPDX-License-Identifier: GPL-2.0-only
#include "routed/nft/firn_nft/elements.hpp"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace {

constexpr size_t longest_batch = 128 * 1024;  // a socket's send buffer takes it
constexpr int patience = 5000;                // ms
constexpr uint32_t first_sequence = 0x66690000;

class Reader {
 public:
  explicit Reader(std::string_view left) : left_(left) {}
  bool at_end() const { return left_.empty(); }
  char one() {
    if (left_.empty()) return good_ = false, '\0';
    const char out = left_.front();
    left_.remove_prefix(1);
    return out;
  }
  std::string_view sized() {
    if (left_.size() < 2) return good_ = false, std::string_view();
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(left_[0])) << 8 | static_cast<uint8_t>(left_[1]);
    left_.remove_prefix(2);
    if (left_.size() < size) return good_ = false, std::string_view();
    const std::string_view out = left_.substr(0, size);
    left_.remove_prefix(size);
    return out;
  }
  bool good() const { return good_; }

 private:
  std::string_view left_;
  bool good_ = true;
};

class Batch {
 public:
  void begin(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource) {
    start_ = out_.size();
    nlmsghdr head{};
    head.nlmsg_type = type;
    head.nlmsg_flags = flags;
    head.nlmsg_seq = sequence_++;
    nfgenmsg body{};
    body.nfgen_family = family;
    body.version = NFNETLINK_V0;
    body.res_id = htons(resource);
    out_.append(reinterpret_cast<const char*>(&head), sizeof head);
    out_.append(reinterpret_cast<const char*>(&body), sizeof body);
  }
  void put(uint16_t type, std::string_view value) {
    const size_t at = open(type);
    out_ += value;
    close(at);
  }
  void put_text(uint16_t type, std::string_view text) { put(type, std::string(text) + '\0'); }
  void put_number(uint16_t type, uint32_t value) {
    const uint32_t wire = htonl(value);
    put(type, {reinterpret_cast<const char*>(&wire), sizeof wire});
  }
  size_t open(uint16_t type) {
    const nlattr head{0, type};
    out_.append(reinterpret_cast<const char*>(&head), sizeof head);
    return out_.size() - sizeof head;
  }
  void close(size_t at) {
    const auto size = static_cast<uint16_t>(out_.size() - at);
    std::memcpy(out_.data() + at, &size, sizeof size);
    pad();
  }
  void end() {
    const auto size = static_cast<uint32_t>(out_.size() - start_);
    std::memcpy(out_.data() + start_, &size, sizeof size);
    pad();
  }
  // Of the message that was ended last.
  void ask_answer() {
    uint16_t flags = 0;
    std::memcpy(&flags, out_.data() + start_ + offsetof(nlmsghdr, nlmsg_flags), sizeof flags);
    flags |= NLM_F_ACK;
    std::memcpy(out_.data() + start_ + offsetof(nlmsghdr, nlmsg_flags), &flags, sizeof flags);
  }
  const std::string& bytes() const { return out_; }
  uint32_t last_sequence() const { return sequence_ - 1; }

 private:
  void pad() { out_.resize((out_.size() + 3) / 4 * 4, '\0'); }
  std::string out_;
  size_t start_ = 0;
  uint32_t sequence_ = first_sequence;
};

struct Element {
  bool adds = false;
  std::string_view set, key, data;
  char kind = 'n';
};

void put_data(Batch& out, const Element& element) {
  if (element.kind == 'n') return;
  const size_t data = out.open(NFTA_SET_ELEM_DATA | NLA_F_NESTED);
  if (element.kind == 'v') {
    out.put(NFTA_DATA_VALUE, element.data);
  } else {
    const size_t verdict = out.open(NFTA_DATA_VERDICT | NLA_F_NESTED);
    const int code = element.kind == 'a' ? NF_ACCEPT : element.kind == 'd' ? NF_DROP : NFT_GOTO;
    out.put_number(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
    if (element.kind == 'g') out.put_text(NFTA_VERDICT_CHAIN, element.data);
    out.close(verdict);
  }
  out.close(data);
}

void put_message(Batch& out, std::string_view table, const Element& element) {
  const uint16_t flags = NLM_F_REQUEST | (element.adds ? NLM_F_CREATE : 0);
  out.begin(NFNL_SUBSYS_NFTABLES << 8 | (element.adds ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM), flags, NFPROTO_INET, 0);
  out.put_text(NFTA_SET_ELEM_LIST_TABLE, table);
  out.put_text(NFTA_SET_ELEM_LIST_SET, element.set);
  const size_t list = out.open(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
  const size_t one = out.open(NFTA_LIST_ELEM | NLA_F_NESTED);
  const size_t key = out.open(NFTA_SET_ELEM_KEY | NLA_F_NESTED);
  out.put(NFTA_DATA_VALUE, element.key);
  out.close(key);
  put_data(out, element);
  out.close(one);
  out.close(list);
  out.end();
}

// The kernel answers the last element when all are done, and what it refuses.
ElementsOutcome await(int socket, uint32_t last) {
  alignas(nlmsghdr) std::array<char, 32 * 1024> buffer;
  std::string refusal;
  for (bool answered = false;;) {
    pollfd waiting{socket, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, answered ? 0 : patience);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return {refusal, !answered};
    ssize_t got = ::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return {{}, true};
    auto* message = reinterpret_cast<nlmsghdr*>(buffer.data());
    for (; NLMSG_OK(message, static_cast<size_t>(got)); message = NLMSG_NEXT(message, got)) {
      if (message->nlmsg_type != NLMSG_ERROR || message->nlmsg_seq < first_sequence || message->nlmsg_seq > last) continue;
      nlmsgerr error{};
      std::memcpy(&error, reinterpret_cast<const char*>(message) + NLMSG_HDRLEN, sizeof error);
      if (error.error != 0 && refusal.empty()) refusal = std::strerror(-error.error);
      answered = true;
    }
  }
}

}  // namespace

ElementsOutcome run_elements(int socket, std::string_view request) {
  Reader reader(request);
  const std::string_view table = reader.sized();
  Batch batch;
  batch.begin(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  batch.end();
  while (reader.good() && !reader.at_end()) {
    Element element;
    const char what = reader.one();
    element.adds = what == '+';
    element.set = reader.sized();
    element.key = reader.sized();
    element.kind = reader.one();
    element.data = reader.sized();
    if (!reader.good() || (what != '+' && what != '-') || std::string_view("nadgv").find(element.kind) == std::string_view::npos) {
      return {"the request is no list of elements"};
    }
    put_message(batch, table, element);
    if (batch.bytes().size() > longest_batch) return {"the request is too long"};
  }
  batch.ask_answer();  // it comes when all are done
  batch.begin(NFNL_MSG_BATCH_END, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  batch.end();
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(socket, batch.bytes().data(), batch.bytes().size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) <
      0) {
    return {std::string("sending to the kernel: ") + std::strerror(errno)};
  }
  return await(socket, batch.last_sequence());
}
