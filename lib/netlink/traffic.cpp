// Bounds of a link's traffic. Outgoing: the token bucket filter of the kernel (tc-tbf). Incoming: a token bucket as an eBPF program
// on clsact, since kernels are built without act_police more often than without cls_bpf, and a redirection to an ifb device would
// be one more link a container, to be found again after a crash. Filter and program go with their link.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "lib/netlink/message.hpp"

namespace firn::netlink {

namespace {

// The name of our filter says what it keeps to: "firn RATE/BURST".
constexpr std::string_view filter_name = "firn ";
constexpr uint32_t second = 1'000'000'000;  // in ns

bpf_insn instruction(uint8_t code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
  bpf_insn out{};
  out.code = code;
  out.dst_reg = to & 15;
  out.src_reg = from & 15;
  out.off = offset;
  out.imm = value;
  return out;
}

// Appends in the order of calls; a jump's target is how many instructions behind it.
class Program {
 public:
  void add(uint8_t code, uint8_t to, uint8_t from, int16_t offset = 0, int32_t value = 0) {
    code_.push_back(instruction(code, to, from, offset, value));
  }
  void load(uint8_t to, uint64_t value, uint8_t kind = 0) {
    add(BPF_LD | BPF_DW | BPF_IMM, to, kind, 0, static_cast<int32_t>(value & UINT32_MAX));
    add(0, 0, 0, 0, static_cast<int32_t>(value >> 32));
  }
  const std::vector<bpf_insn>& code() const { return code_; }

 private:
  std::vector<bpf_insn> code_;
};

// The bucket is one number: the time at which it will be full again when nothing more comes. A packet passes while that is no more
// than a whole bucket away, and moves it on by its own length; so one that is larger than the bucket passes when the bucket is
// full. Several processors take turns by compare and exchange; who loses four times drops.
std::vector<bpf_insn> policer_code(int map, const TokenBucket& bucket) {
  enum : uint8_t { r0, r1, r2, r3, context, r5, cost, latest, state, now };
  constexpr int tries = 4, try_length = 8;
  const auto full = static_cast<uint64_t>(uint128{bucket.burst} * second / bucket.rate);
  Program p;
  p.add(BPF_ALU64 | BPF_MOV | BPF_X, context, r1);
  p.add(BPF_LDX | BPF_MEM | BPF_W, cost, context, offsetof(__sk_buff, len));
  p.add(BPF_ALU64 | BPF_MUL | BPF_K, cost, 0, 0, second);
  p.load(r1, bucket.rate);
  p.add(BPF_ALU64 | BPF_DIV | BPF_X, cost, r1);
  p.load(state, static_cast<uint32_t>(map), BPF_PSEUDO_MAP_VALUE);  // its first value
  p.add(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns);
  p.add(BPF_ALU64 | BPF_MOV | BPF_X, now, r0);
  p.load(latest, std::min<uint64_t>(full, INT64_MAX));
  p.add(BPF_ALU64 | BPF_ADD | BPF_X, latest, now);
  p.add(BPF_LDX | BPF_MEM | BPF_DW, r0, state, 0);
  for (int i = 0; i < tries; ++i) {
    const auto behind = static_cast<int16_t>((tries - 1 - i) * try_length);  // instructions of the tries after this one
    p.add(BPF_JMP | BPF_JGT | BPF_X, r0, latest, static_cast<int16_t>(behind + try_length - 1));  // to the drop
    p.add(BPF_ALU64 | BPF_MOV | BPF_X, r3, r0);
    p.add(BPF_ALU64 | BPF_MOV | BPF_X, r2, r0);
    p.add(BPF_JMP | BPF_JGE | BPF_X, r2, now, 1);
    p.add(BPF_ALU64 | BPF_MOV | BPF_X, r2, now);
    p.add(BPF_ALU64 | BPF_ADD | BPF_X, r2, cost);
    p.add(BPF_STX | BPF_ATOMIC | BPF_DW, state, r2, 0, BPF_CMPXCHG);             // r0: what was there
    p.add(BPF_JMP | BPF_JEQ | BPF_X, r0, r3, static_cast<int16_t>(behind + 2));  // to the pass
  }
  p.add(BPF_ALU64 | BPF_MOV | BPF_K, r0, 0, 0, TC_ACT_SHOT);
  p.add(BPF_JMP | BPF_EXIT, 0, 0);
  p.add(BPF_ALU64 | BPF_MOV | BPF_K, r0, 0, 0, TC_ACT_UNSPEC);  // whatever filters stand behind ours
  p.add(BPF_JMP | BPF_EXIT, 0, 0);
  return p.code();
}

Result<unique_fd> bpf(bpf_cmd command, bpf_attr& attributes, std::string_view what) {
  const long fd = ::syscall(SYS_bpf, command, &attributes, sizeof attributes);
  if (fd >= 0) return unique_fd(static_cast<int>(fd));
  const int err = errno;
  Error error = errno_error(what, err);
  if (err == EPERM) error.message += "; CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, are needed";
  if (err == ENOSYS || err == EINVAL) error.message += "; the kernel needs CONFIG_BPF_SYSCALL, and must be 5.12 or later";
  return error;
}

}  // namespace

Result<unique_fd> load_policer(const TokenBucket& bucket) {
  constexpr std::string_view what = "loading the program that limits what a container sends";
  if (bucket.rate == 0) return make_error(Code::invalid, std::string(what) + ": the rate is 0");
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = sizeof(uint64_t);
  attributes.max_entries = 1;
  auto map = bpf(BPF_MAP_CREATE, attributes, what);
  if (!map) return map;
  const std::vector<bpf_insn> code = policer_code(map->get(), bucket);
  attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  attributes.insns = reinterpret_cast<uint64_t>(code.data());
  attributes.insn_cnt = static_cast<uint32_t>(code.size());
  attributes.license = reinterpret_cast<uint64_t>("Apache-2.0");
  return bpf(BPF_PROG_LOAD, attributes, what);
}

void put_shaper(Encoder& out, const TokenBucket& bucket) {
  // A queue of 50 ms, and of two of the largest packets that a TCP hands down in one piece.
  constexpr uint64_t least_queue = 2ULL * 65536, queues_a_second = 20;
  tc_tbf_qopt options{};
  options.rate.rate = static_cast<uint32_t>(std::min<uint64_t>(bucket.rate, UINT32_MAX));
  options.rate.linklayer = TC_LINKLAYER_ETHERNET;
  options.limit = static_cast<uint32_t>(std::clamp<uint64_t>(bucket.rate / queues_a_second, least_queue, UINT32_MAX));
  out.put_string(TCA_KIND, "tbf");
  nlattr* nested = out.nest(TCA_OPTIONS);
  out.put(TCA_TBF_PARMS, &options, sizeof options);
  if (bucket.rate > UINT32_MAX) out.put(TCA_TBF_RATE64, &bucket.rate, sizeof bucket.rate);
  out.put_u32(TCA_TBF_BURST, static_cast<uint32_t>(std::min<uint64_t>(bucket.burst, UINT32_MAX)));
  out.end(nested);
}

void put_policer(Encoder& out, const TokenBucket& bucket, int program) {
  out.put_string(TCA_KIND, "bpf");
  nlattr* nested = out.nest(TCA_OPTIONS);
  out.put_u32(TCA_BPF_FD, static_cast<uint32_t>(program));
  out.put_string(TCA_BPF_NAME, std::string(filter_name) + std::to_string(bucket.rate) + "/" + std::to_string(bucket.burst));
  out.put_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  out.end(nested);
}

tcmsg shaper_place(int index) {
  tcmsg body{};
  body.tcm_ifindex = index;
  body.tcm_parent = TC_H_ROOT;
  return body;
}

tcmsg classifier_place(int index) {
  tcmsg body{};
  body.tcm_ifindex = index;
  body.tcm_parent = TC_H_CLSACT;
  body.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  return body;
}

tcmsg policer_place(int index) {
  constexpr uint32_t priority = 1;
  tcmsg body{};
  body.tcm_ifindex = index;
  body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
  body.tcm_handle = 1;
  body.tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
  return body;
}

namespace {

// The options of a discipline or a filter of this kind; nullptr for another.
const nlattr* options_of(const nlmsghdr* message, std::string_view kind) {
  if (nlmsg_datalen(message) < static_cast<int>(sizeof(tcmsg))) return nullptr;
  const Attributes<TCA_MAX> attributes(message, sizeof(tcmsg));
  return attributes.text(TCA_KIND) == kind ? attributes.raw(TCA_OPTIONS) : nullptr;
}

}  // namespace

std::optional<uint64_t> decode_shaper(const nlmsghdr* message) {
  const nlattr* options = options_of(message, "tbf");
  if (options == nullptr) return std::nullopt;
  const Attributes<TCA_TBF_MAX> attributes(options);
  if (auto rate = attributes.number<uint64_t>(TCA_TBF_RATE64)) return rate;
  const auto parameters = attributes.number<tc_tbf_qopt>(TCA_TBF_PARMS);
  if (!parameters) return std::nullopt;
  return parameters->rate.rate;
}

std::optional<TokenBucket> decode_policer(const nlmsghdr* message) {
  const nlattr* options = options_of(message, "bpf");
  if (options == nullptr) return std::nullopt;
  const std::string name = Attributes<TCA_BPF_MAX>(options).text(TCA_BPF_NAME);
  if (!name.starts_with(filter_name)) return std::nullopt;
  TokenBucket out;
  const char* const end = name.data() + name.size();
  const auto rate = std::from_chars(name.data() + filter_name.size(), end, out.rate);
  if (rate.ec != std::errc{} || rate.ptr == end || *rate.ptr != '/') return std::nullopt;
  const auto burst = std::from_chars(rate.ptr + 1, end, out.burst);
  if (burst.ec != std::errc{} || burst.ptr != end) return std::nullopt;
  return out;
}

}  // namespace firn::netlink
