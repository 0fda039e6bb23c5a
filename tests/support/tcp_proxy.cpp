#include "tests/support/tcp_proxy.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace firn::test {

namespace {

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "TcpProxy: %s\n", what);
  std::abort();
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

bool send_all(int fd, const std::string& data) {
  for (size_t sent = 0; sent < data.size();) {
    const ssize_t n = ::send(fd, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

// "" at the end of the connection.
std::string receive(int fd) {
  std::string data(64 * 1024, '\0');
  const ssize_t n = ::recv(fd, data.data(), data.size(), 0);
  data.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return data;
}

}  // namespace

TcpProxy::TcpProxy(uint16_t target_port) : target_port_(target_port), stop_(::eventfd(0, EFD_CLOEXEC)) {
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_.get(), 16) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    give_up("no listening socket");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

TcpProxy::~TcpProxy() {
  const uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) != sizeof one) give_up("cannot end");
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  acceptor_.join();
  for (std::thread& session : sessions_) session.join();
}

void TcpProxy::lose_answer_to(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  armed_ = Trick::lose;
  text_ = text;
}

void TcpProxy::hold(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  armed_ = Trick::hold;
  text_ = text;
}

void TcpProxy::release() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!held_) give_up("nothing is held");
  released_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return answered_; });
}

TcpProxy::Trick TcpProxy::trick_for(const std::string& data) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (armed_ == Trick::none || data.find(text_) == std::string::npos) return Trick::none;
  return std::exchange(armed_, Trick::none);
}

void TcpProxy::accept_all() {
  for (;;) {
    pollfd waiting[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0) continue;
    if (waiting[1].revents != 0) return;
    unique_fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) sessions_.emplace_back([this, fd = client.release()] { serve(unique_fd(fd)); });
  }
}

void TcpProxy::serve(unique_fd client) {
  const unique_fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(target_port_);
  if (::connect(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  for (;;) {
    pollfd waiting[3] = {{client.get(), POLLIN, 0}, {server.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(waiting, 3, -1) < 0) continue;
    if (waiting[2].revents != 0) return;
    if (waiting[1].revents != 0) {
      const std::string data = receive(server.get());
      if (data.empty() || !send_all(client.get(), data)) return;
    }
    if (waiting[0].revents == 0) continue;
    const std::string data = receive(client.get());
    if (data.empty()) return;
    const Trick trick = trick_for(data);
    if (trick == Trick::hold) {
      std::unique_lock<std::mutex> lock(mutex_);
      held_ = true;
      changed_.wait(lock, [this] { return released_ || stopping_; });
      if (stopping_) return;
    }
    if (!send_all(server.get(), data)) return;
    if (trick == Trick::none) continue;
    // The server has done what it was asked when its answer is here.
    static_cast<void>(receive(server.get()));
    ++lost_;
    const std::lock_guard<std::mutex> lock(mutex_);
    answered_ = true;
    changed_.notify_all();
    return;
  }
}

}  // namespace firn::test
