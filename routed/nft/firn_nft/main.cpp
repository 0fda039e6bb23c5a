// SPDX-License-Identifier: GPL-2.0-only
//
// firn-nft: runs nft commands for firn-routed, which is its parent and speaks to it over descriptor 3. It is a program of its own
// because libnftables is GPL-2.0-only and firn is Apache-2.0: it uses nothing of firn, and firn links nothing of this. A fault in
// libnftables ends this process alone.
//
// Protocol, over a SOCK_SEQPACKET socket, one request at a time, each answered by one message (docs/policy.md):
//   request: KIND, and with the message (SCM_RIGHTS) a memory file that holds the text
//     'T' a transaction   'B' one of elements alone, in bytes (elements.hpp)   'H' a transaction of the socket that owns the hold
//     table 'L' a listing without the elements of sets, answered in nft's JSON   'E' one with them
//   reply: '+' or '-', the netlink port of transactions as 4 bytes in host order, then nft's error; a listing comes as a memory
//     file. One reply is sent unasked, at the start.
// Owns: two netlink sockets; the table of `flags owner` goes with the second one, and so with this process, which ends with its
// parent. It keeps CAP_NET_ADMIN and nothing else.
#include <linux/capability.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "routed/nft/firn_nft/elements.hpp"

namespace {

constexpr int parent = 3;  // the descriptor
constexpr size_t longest_error = 16 * 1024;
constexpr size_t longest_text = 64 * 1024 * 1024;
constexpr int highest_descriptor = 64;  // this process opens a handful

int fail(const char* what) {
  std::fprintf(stderr, "firn-nft: %s: %s\n", what, std::strerror(errno));
  return 1;
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct FreeContext {
  void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

// Everything but CAP_NET_ADMIN is given up; without that one every transaction would fail, so it says so now.
bool keep_net_admin_only() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  sets[0].effective = sets[0].permitted = 1U << CAP_NET_ADMIN;
  return ::syscall(SYS_capset, &header, sets.data()) == 0;
}

Context open_context() {
  Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (context == nullptr || nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0) return nullptr;
  return context;
}

// libnftables does not tell which socket it has, and opens another one after a listing that was interrupted. Of this process'
// netlink sockets it is the one that does not have the port `other`. Port 0: there is none.
struct NetlinkSocket {
  int fd = -1;
  uint32_t port = 0;
};
NetlinkSocket netlink_socket(uint32_t other) {
  for (int fd = parent + 1; fd < highest_descriptor; ++fd) {
    int protocol = 0, domain = 0;
    socklen_t size = sizeof(int);
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK) continue;
    if (::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0 || protocol != NETLINK_NETFILTER) continue;
    sockaddr_nl address{};
    size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    if (address.nl_pid == 0) {
      // It would get its port with the first message.
      sockaddr_nl any{};
      any.nl_family = AF_NETLINK;
      if (::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) continue;
      size = sizeof address;
      if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    }
    if (address.nl_pid != other) return {fd, address.nl_pid};
  }
  return {};
}
uint32_t netlink_port(uint32_t other) { return netlink_socket(other).port; }

struct Request {
  char kind = 0;
  Descriptor text;
};

// False: the parent is gone, or sent what is no request.
bool receive(Request& out) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{&out.kind, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do got = ::recvmsg(parent, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const cmsghdr* attached = CMSG_FIRSTHDR(&message);
  if (got != 1 || attached == nullptr || attached->cmsg_type != SCM_RIGHTS) return false;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(attached), sizeof fd);
  out.text = Descriptor(fd);
  struct stat about {};
  return (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && ::fstat(fd, &about) == 0 &&
         about.st_size <= static_cast<off_t>(longest_text);
}

// `file` >= 0: goes with the message.
bool send_reply(bool done, uint32_t port, std::string_view text, int file) {
  std::string head(1 + sizeof port, done ? '+' : '-');
  std::memcpy(head.data() + 1, &port, sizeof port);
  head += text.substr(0, longest_error);
  iovec part{head.data(), head.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (file >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* attached = CMSG_FIRSTHDR(&message);
    attached->cmsg_level = SOL_SOCKET;
    attached->cmsg_type = SCM_RIGHTS;
    attached->cmsg_len = CMSG_LEN(sizeof file);
    std::memcpy(CMSG_DATA(attached), &file, sizeof file);
  }
  return ::sendmsg(parent, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(head.size());
}

bool reply_with_listing(uint32_t port, std::string_view text) {
  if (text.size() > longest_text) return send_reply(false, port, "the listing is longer than 64 MiB", -1);
  const Descriptor file(::memfd_create("firn-nft", MFD_CLOEXEC));
  for (std::string_view left = text; !left.empty();) {
    const ssize_t put = ::write(file.get(), left.data(), left.size());
    if (put <= 0) return send_reply(false, port, std::string("keeping the listing: ") + std::strerror(errno), -1);
    left.remove_prefix(static_cast<size_t>(put));
  }
  return send_reply(true, port, {}, file.get());
}

// Runs the text and answers. From a file, for only then does libnftables say in which line an error is. In JSON mode it would read
// its input as JSON first, so only listings are in that.
bool serve_elements(const Request& request, uint32_t owner_port, uint32_t& port) {
  std::string text;
  std::array<char, 16 * 1024> part{};
  for (ssize_t got = 0; (got = ::pread(request.text.get(), part.data(), part.size(), static_cast<off_t>(text.size()))) > 0;) {
    text.append(part.data(), static_cast<size_t>(got));
  }
  const NetlinkSocket socket = netlink_socket(owner_port);
  port = socket.port;
  if (socket.fd < 0) return send_reply(false, port, "there is no netlink socket", -1);
  const ElementsOutcome outcome = run_elements(socket.fd, text);
  // The end of this process tells firn-routed that it is not known what was done.
  return !outcome.unknown && send_reply(outcome.refusal.empty(), port, outcome.refusal, -1);
}

bool serve(nft_ctx* context, const Request& request, uint32_t& owner_port, uint32_t& port) {
  if (request.kind == 'B') return serve_elements(request, owner_port, port);
  const bool listing = request.kind == 'L' || request.kind == 'E';
  unsigned flags = 0;
  if (listing) flags |= NFT_CTX_OUTPUT_JSON;
  if (request.kind == 'L') flags |= NFT_CTX_OUTPUT_TERSE;
  nft_ctx_output_set_flags(context, flags);
  const bool done = nft_run_cmd_from_filename(context, ("/proc/self/fd/" + std::to_string(request.text.get())).c_str()) == 0;
  // Reading takes them out of the context, so both are read each time.
  const std::string_view output = nft_ctx_get_output_buffer(context), error = nft_ctx_get_error_buffer(context);
  if (request.kind == 'H') owner_port = netlink_port(port);
  else port = netlink_port(owner_port);
  return listing && done ? reply_with_listing(port, output) : send_reply(done, port, error, -1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--version") return std::puts("firn-nft " FIRN_VERSION) < 0 ? 1 : 0;
  if (struct stat about{}; argc > 1 || ::fstat(parent, &about) != 0 || !S_ISSOCK(about.st_mode)) {
    std::fputs("firn-nft: it is started by firn-routed, which speaks to it over descriptor 3\n", stderr);
    return 2;
  }
  // With the end of its thread; who ended before this line has closed the socket.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!keep_net_admin_only()) return fail("giving up every capability but CAP_NET_ADMIN, which must be there");
  const Context owner = open_context();
  uint32_t owner_port = netlink_port(0);
  const Context context = open_context();
  uint32_t port = netlink_port(owner_port);
  if (owner == nullptr || context == nullptr || port == 0) return fail("opening libnftables and its netlink sockets");
  if (!send_reply(true, port, {}, -1)) return fail("telling firn-routed");
  for (Request request; receive(request);) {
    if (!serve(request.kind == 'H' ? owner.get() : context.get(), request, owner_port, port)) return fail("answering firn-routed");
  }
  return 0;
}
