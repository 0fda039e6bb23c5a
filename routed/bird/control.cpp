#include "routed/bird/control.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "routed/bird/filters.hpp"

namespace firn::routed::bird {

namespace {

using std::chrono::steady_clock;

constexpr size_t max_command = 4000;  // BIRD's own buffer is 4096

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

Status check_argument(std::string_view what, std::string_view text) {
  if (printable(text) && text.find('"') == std::string_view::npos) return {};
  return make_error(Code::invalid, "BIRD's control socket: " + std::string(what) + " has a quote or an unprintable character");
}

std::string with_file(std::string_view command, std::string_view file) {
  std::string out(command);
  if (!file.empty()) out.append(" \"").append(file).append("\"");
  return out;
}

Status check_protocol(std::string_view protocol) {
  const bool plain =
      !protocol.empty() && protocol.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.-") == std::string_view::npos;
  if (!plain) return make_error(Code::invalid, "'" + std::string(protocol) + "' is not the name of a protocol firn writes");
  return {};
}

}  // namespace

Result<Control> Control::connect(const std::string& socket, std::chrono::milliseconds deadline) {
  const std::string what = "connect to BIRD at " + socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof address.sun_path) {
    return make_error(Code::invalid,
                      what + ": a unix socket's path has 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, socket.data(), socket.size());
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(what);
  // A unix socket connects at once or not at all; EAGAIN is a full backlog.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int err = errno;
    if (err == ENOENT || err == ECONNREFUSED) {
      return Error{Code::unavailable, what + ": " + std::strerror(err) + "; is BIRD running?", err};
    }
    return errno_error(what, err);
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return errno_error(what);

  Control out(std::move(fd), socket, deadline, peer.pid);
  auto greeting = out.read_reply(steady_clock::now() + deadline);
  if (!greeting) return std::move(greeting).error();
  if (greeting->code() != 1) return refusal(what, *greeting);
  return out;
}

Error Control::lost(std::string_view why) {
  fd_.reset();
  std::string text = "BIRD at " + socket_ + ": ";
  text.append(why);
  return make_error(Code::unavailable, std::move(text));
}

Status Control::wait(short events, TimePoint until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) return lost("no answer within " + std::to_string(deadline_.count()) + " ms");
    pollfd entry{fd_.get(), events, 0};
    const int n = ::poll(&entry, 1, static_cast<int>(left));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return lost(std::strerror(errno));
  }
}

Status Control::send_line(std::string_view line, TimePoint until) {
  std::string bytes(line);
  bytes += '\n';
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t n = ::send(fd_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      rest.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto status = wait(POLLOUT, until); !status) return status;
    } else if (errno != EINTR) {
      return lost(std::strerror(errno));
    }
  }
  return {};
}

Result<Reply> Control::read_reply(TimePoint until) {
  char buffer[16 * 1024];
  for (;;) {
    if (auto reply = parser_.next()) return *std::move(reply);
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n > 0) {
      if (auto status = parser_.feed({buffer, static_cast<size_t>(n)}); !status) {
        fd_.reset();
        return std::move(status).error();
      }
    } else if (n == 0) {
      return lost("it closed the connection");
    } else if (errno == EAGAIN) {
      if (auto status = wait(POLLIN, until); !status) return std::move(status).error();
    } else if (errno != EINTR) {
      return lost(std::strerror(errno));
    }
  }
}

Result<Reply> Control::command(std::string_view line) {
  if (!fd_) return make_error(Code::unavailable, "BIRD at " + socket_ + ": the connection is closed");
  if (!printable(line) || line.size() > max_command) {
    return make_error(Code::invalid, "BIRD's control socket: a command is one printable line of at most " +
                                         std::to_string(max_command) + " bytes");
  }
  const auto until = steady_clock::now() + deadline_;
  if (auto status = send_line(line, until); !status) return std::move(status).error();
  return read_reply(until);
}

Status Control::check(std::string_view file) {
  if (auto status = check_argument("the file name", file); !status) return status;
  auto reply = command(with_file("configure check", file));
  if (!reply) return std::move(reply).error();
  if (reply->code() != 20) return refusal("check of the configuration", *reply);
  return {};
}

// `configure status` answers with the state in a first line and ends with 0000.
Result<bool> Control::reconfiguring() {
  auto reply = command("configure status");
  if (!reply) return std::move(reply).error();
  if (reply->failed()) return refusal("state of the reconfiguration", *reply);
  const auto& lines = reply->lines;
  if (std::any_of(lines.begin(), lines.end(), [](const auto& l) { return l.code == 6; })) {
    return make_error(Code::unavailable, "BIRD at " + socket_ + " is shutting down");
  }
  return std::any_of(lines.begin(), lines.end(), [](const auto& l) { return l.code == 4 || l.code == 5; });
}

Status Control::follow(TimePoint until) {
  for (;;) {
    auto running = reconfiguring();
    if (!running) return std::move(running).error();
    if (!*running) return {};
    if (steady_clock::now() >= until) {
      return make_error(Code::unavailable, "BIRD at " + socket_ + " is still reconfiguring; its protocols take a while to stop");
    }
    ::poll(nullptr, 0, 20);
  }
}

Status Control::configure(std::string_view file) {
  if (auto status = check_argument("the file name", file); !status) return status;
  const auto until = steady_clock::now() + deadline_;
  auto reply = command(with_file("configure", file));
  if (!reply) return std::move(reply).error();
  if (reply->code() == 3) return {};
  if (reply->code() == 4 || reply->code() == 5) return follow(until);
  // Nothing of ours may stay half in force. When there is nothing to undo BIRD says so (0019), which is as good.
  auto undone = command("configure undo");
  auto error = refusal("reconfiguration", *reply);
  if (!undone) error.message += "; `configure undo` failed too: " + undone.error().message;
  return error;
}

Status Control::apply(std::string_view file) {
  if (auto status = check(file); !status) return status;
  return configure(file);
}

Result<DaemonStatus> Control::status() {
  auto reply = command("show status");
  if (!reply) return std::move(reply).error();
  return parse_status(*reply);
}

Result<std::vector<Session>> Control::sessions(std::string_view pattern) {
  if (auto status = check_argument("the pattern", pattern); !status) return std::move(status).error();
  auto reply = command("show protocols all \"" + std::string(pattern) + "\"");
  if (!reply) return std::move(reply).error();
  return parse_sessions(*reply);
}

Result<std::vector<Prefix>> Control::exported(std::string_view protocol) {
  if (auto good = check_protocol(protocol); !good) return std::move(good).error();
  auto reply = command("show route export '" + std::string(protocol) + "'");
  if (!reply) return std::move(reply).error();
  // BIRD 2.0.12 says this while the session has no channel that is up.
  if (reply->code() == 9001 && reply->last() == "No valid tables") {
    return make_error(Code::unavailable,
                      "protocol " + std::string(protocol) + ": the session is not up, so nothing is announced on it");
  }
  return parse_routes(*reply);
}

Result<std::vector<RouteEntry>> Control::imported(std::string_view protocol, bool filtered) {
  if (auto good = check_protocol(protocol); !good) return std::move(good).error();
  auto reply = command(std::string("show route ") + (filtered ? "filtered " : "") + "protocol '" + std::string(protocol) + "'");
  if (!reply) return std::move(reply).error();
  return parse_route_entries(*reply);
}

Result<std::vector<Prefix>> Control::imported_without(std::string_view protocol, const model::Community& community) {
  if (auto good = check_protocol(protocol); !good) return std::move(good).error();
  auto reply = command("show route protocol '" + std::string(protocol) + "' where ! (" + has(community) + ")");
  if (!reply) return std::move(reply).error();
  return parse_routes(*reply);
}

Status Control::scan_kernel(std::string_view pattern) {
  if (auto status = check_argument("the pattern", pattern); !status) return status;
  auto reply = command("reload in \"" + std::string(pattern) + "\"");
  if (!reply) return std::move(reply).error();
  if (reply->failed()) return refusal("reading the kernel's routes", *reply);
  return {};
}

}  // namespace firn::routed::bird
