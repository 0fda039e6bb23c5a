#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <vector>

#include "lib/control/control.hpp"
#include "lib/json/json.hpp"

namespace firn::control {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

Error unanswered(const std::string& path, std::string_view what) {
  return make_error(Code::unavailable, "asking the daemon on " + path + ": " + std::string(what));
}

Status wait_for(int fd, short events, SteadyTime deadline, const std::string& path) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return unanswered(path, "no answer in time; is it busy or stopped?");
    pollfd waiting{fd, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return errno_error("waiting for the daemon on " + path);
  }
}

Result<size_t> receive(int fd, std::vector<char>& buffer, SteadyTime deadline, const std::string& path) {
  for (;;) {
    if (auto ready = wait_for(fd, POLLIN, deadline, path); !ready) return std::move(ready).error();
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (got > static_cast<ssize_t>(buffer.size())) return unanswered(path, "its message is longer than the protocol allows");
    if (got > 0) return static_cast<size_t>(got);
    if (got == 0) return unanswered(path, "it closed the connection without an answer");
    // A daemon that refuses closes with our request unread, which the kernel reports once as a reset, before the answer that
    // is in the queue (af_unix, unix_release_sock). The next look finds that answer, or the end.
    if (errno != EINTR && errno != EAGAIN && errno != ECONNRESET) return unanswered(path, std::strerror(errno));
  }
}

// A reply of several messages is announced by {"parts":N,"bytes":M}.
Result<std::pair<int64_t, int64_t>> announced_parts(std::string_view first, const std::string& path) {
  constexpr std::string_view mark = "{\"parts\":";
  if (first.substr(0, mark.size()) != mark) return std::pair<int64_t, int64_t>{0, 0};
  auto document = json::Document::parse(first);
  if (!document) return unanswered(path, document.error().message);
  const auto parts = document->root()["parts"].integer(1, static_cast<int64_t>(max_reply));
  const auto bytes = document->root()["bytes"].integer(1, static_cast<int64_t>(max_reply));
  if (!parts) return unanswered(path, parts.error().message);
  if (!bytes) return unanswered(path, bytes.error().message);
  return std::pair<int64_t, int64_t>{*parts, *bytes};
}

}  // namespace

Result<std::string> call(const std::string& socket_path, std::string_view request, std::chrono::milliseconds deadline) {
  if (request.size() > max_request) return make_error(Code::invalid, "a request to the daemon may have at most 64 KiB");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof(address.sun_path)) {
    return make_error(Code::invalid, "\"" + socket_path + "\" cannot be the path of a socket (1 to 107 bytes)");
  }
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const SteadyTime until = std::chrono::steady_clock::now() + deadline;

  const unique_fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("opening a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return unanswered(socket_path, "it is not running (firn-routed)");
    if (errno == EAGAIN) return unanswered(socket_path, "too many clients wait already");
    return errno_error("connecting to the daemon on " + socket_path);
  }
  while (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    if (errno == EAGAIN) {
      if (auto ready = wait_for(fd.get(), POLLOUT, until, socket_path); !ready) return std::move(ready).error();
    } else if (errno == EPIPE || errno == ECONNRESET) {
      break;  // refused: the reply that says why is in the queue already
    } else if (errno != EINTR) {
      return unanswered(socket_path, std::strerror(errno));
    }
  }

  std::vector<char> buffer(128 * 1024);
  auto first = receive(fd.get(), buffer, until, socket_path);
  if (!first) return std::move(first).error();
  std::string reply(buffer.data(), *first);
  const auto announced = announced_parts(reply, socket_path);
  if (!announced) return announced.error();
  const auto [parts, bytes] = *announced;
  if (parts == 0) return reply;
  reply.clear();
  reply.reserve(static_cast<size_t>(bytes));
  for (int64_t part = 0; part < parts; ++part) {
    const auto got = receive(fd.get(), buffer, until, socket_path);
    if (!got) return got.error();
    reply.append(buffer.data(), *got);
    if (reply.size() > static_cast<size_t>(bytes)) break;
  }
  if (reply.size() != static_cast<size_t>(bytes)) return unanswered(socket_path, "its reply has another length than announced");
  return reply;
}

}  // namespace firn::control
