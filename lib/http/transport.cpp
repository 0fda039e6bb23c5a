#include "lib/http/transport.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace firn::http {
namespace {

using Clock = std::chrono::steady_clock;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

class SocketTransport final : public Transport {
 public:
  explicit SocketTransport(unique_fd socket) : socket_(std::move(socket)) {}
  int fd() const override { return socket_.get(); }
  Io read(char* to, size_t size) override {
    const ssize_t n = ::recv(fd(), to, size, 0);
    return n == 0 ? Io{Io::State::ended, 0, {}} : result(n, Io::State::wants_read);
  }
  Io write(const char* from, size_t size) override { return result(::send(fd(), from, size, MSG_NOSIGNAL), Io::State::wants_write); }

 private:
  static Io result(ssize_t n, Io::State blocked) {
    if (n >= 0) return {Io::State::done, static_cast<size_t>(n), {}};
    if (errno == EAGAIN || errno == EINTR) return {blocked, 0, {}};
    return {Io::State::failed, 0, errno_error("the connection broke")};
  }
  unique_fd socket_;
};

// What a resolver thread leaves behind; it may finish after its caller has given up.
struct Resolution {
  std::mutex mutex;
  std::condition_variable ready;
  bool done = false;
  int failure = 0;
  std::vector<SocketAddress> addresses;
};

void resolve_into(Resolution& to, const std::string& host, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  const std::lock_guard<std::mutex> lock(to.mutex);
  to.done = true;
  to.failure = failure;
  for (const addrinfo* entry = list; failure == 0 && entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    address.size = entry->ai_addrlen;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    to.addresses.push_back(address);
  }
  if (failure == 0) ::freeaddrinfo(list);
  to.ready.notify_all();
}

// getaddrinfo knows no deadline, so a name is looked up in a thread that is left behind when it takes too long.
Result<std::vector<SocketAddress>> resolve(const Endpoint& endpoint, Deadline until) {
  auto found = std::make_shared<Resolution>();
  resolve_into(*found, endpoint.host, endpoint.port, AI_NUMERICHOST);
  if (found->failure == 0) return std::move(found->addresses);
  found = std::make_shared<Resolution>();
  std::thread([found, host = endpoint.host, port = endpoint.port] { resolve_into(*found, host, port, AI_ADDRCONFIG); }).detach();
  std::unique_lock<std::mutex> lock(found->mutex);
  if (!found->ready.wait_until(lock, until, [&] { return found->done; })) {
    return make_error(Code::unavailable, "the name " + endpoint.host + " was not resolved in time");
  }
  if (found->failure != 0) {
    return make_error(Code::unavailable, "the name " + endpoint.host + " cannot be resolved: " + ::gai_strerror(found->failure));
  }
  return std::move(found->addresses);
}

// A server that is gone without a word must be noticed on a stream that only listens: the kernel asks after 10 s of silence.
void watch_over(int fd) {
  const int on = 1, idle = 10, interval = 5, probes = 3;
  // Without them the connection works all the same, and the caller's deadlines stand.
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle));
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval));
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes));
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

Result<unique_fd> connect_socket(const SocketAddress& address, Deadline until) {
  unique_fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("open a socket");
  int failure = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0 ? 0 : errno;
  if (failure == EINPROGRESS || failure == EINTR) {
    if (auto ready = wait_for(fd.get(), Io::State::wants_write, until); !ready) return make_error(Code::unavailable, "no connection in time");
    socklen_t size = sizeof failure;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0) failure = errno;
  }
  if (failure != 0) return Error{failure == EACCES ? Code::denied : Code::unavailable, std::strerror(failure), failure};
  if (address.storage.ss_family != AF_UNIX) watch_over(fd.get());
  return fd;
}

Result<unique_fd> connect_tcp(const Endpoint& endpoint, Deadline until) {
  auto addresses = resolve(endpoint, until);
  if (!addresses) return std::move(addresses).error();
  Error last = make_error(Code::unavailable, "the name " + endpoint.host + " has no address");
  for (size_t i = 0; i < addresses->size(); ++i) {
    // One address that swallows packets must not use up the time of the others.
    const auto share = (until - Clock::now()) / static_cast<int64_t>(addresses->size() - i);
    auto fd = connect_socket((*addresses)[i], Clock::now() + share);
    if (fd) return fd;
    last = std::move(fd).error();
  }
  return last;
}

Result<unique_fd> connect_unix(const Endpoint& endpoint, Deadline until) {
  SocketAddress address;
  auto* to = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (endpoint.host.size() >= sizeof to->sun_path) return make_error(Code::invalid, "the path of a socket has at most 107 bytes");
  to->sun_family = AF_UNIX;
  std::memcpy(to->sun_path, endpoint.host.data(), endpoint.host.size());
  address.size = sizeof *to;
  return connect_socket(address, until);
}

}  // namespace

Status wait_for(int fd, Io::State wanted, Deadline until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd waiting{fd, static_cast<short>(wanted == Io::State::wants_write ? POLLOUT : POLLIN), 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3600 * 1000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return errno_error("wait for the connection");
    if (left <= 0) return make_error(Code::unavailable, "no answer in time");
  }
}

Result<std::unique_ptr<Transport>> connect(const Endpoint& endpoint, const Tls& tls, Deadline until) {
  const bool local = endpoint.transport == Endpoint::Transport::unix_socket;
  auto fd = local ? connect_unix(endpoint, until) : connect_tcp(endpoint, until);
  if (!fd) return std::move(fd).error();
  if (endpoint.transport == Endpoint::Transport::tls) return start_tls(std::move(*fd), endpoint, tls, until);
  return std::unique_ptr<Transport>(std::make_unique<SocketTransport>(std::move(*fd)));
}

}  // namespace firn::http
