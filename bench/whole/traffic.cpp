#include "bench/whole/traffic.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "bench/whole/processes.hpp"

namespace bench {

namespace {

using firn::unique_fd;

constexpr size_t batch = 32, small_size = 64, stream_piece = 256 * 1024;

double microseconds(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }
double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

const sockaddr* generic(const sockaddr_in& address) { return reinterpret_cast<const sockaddr*>(&address); }

void send_byte(const unique_fd& from) {
  if (::send(from.get(), "x", 1, MSG_NOSIGNAL) != 1) die("send");
}
void receive_byte(const unique_fd& at) {
  char byte = 0;
  if (::recv(at.get(), &byte, 1, 0) != 1) die("nothing arrived");
}

void no_delay(const unique_fd& socket) {
  const int on = 1;
  if (::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("TCP_NODELAY");
}

void drain(const unique_fd& socket, size_t bytes) {
  std::vector<char> buffer(stream_piece);
  while (bytes > 0) {
    const ssize_t n = ::recv(socket.get(), buffer.data(), std::min(buffer.size(), bytes), 0);
    if (n <= 0) die("the stream stands still");
    bytes -= static_cast<size_t>(n);
  }
  send_byte(socket);
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[(values.size() - 1) / 2];
}

Traffic::Traffic(const firn::test::NetnsFixture& client_netns, const firn::test::NetnsFixture& server_netns,
                 const firn::Address& server)
    : client_netns_(client_netns) {
  server_.sin_family = AF_INET;
  server_.sin_port = htons(port);
  std::memcpy(&server_.sin_addr, server.bytes(), sizeof server_.sin_addr);
  datagrams_ = open(server_netns, SOCK_DGRAM, port);
  listener_ = open(server_netns, SOCK_STREAM, port);
  if (::listen(listener_.get(), 16) != 0) die("listen");
  answered_ = flow();
  unanswered_ = flow();
  ask(answered_);
  connection_ = open(client_netns_, SOCK_STREAM, 0);
  if (::connect(connection_.get(), generic(server_), sizeof server_) != 0) die("no connection");
  connection_server_ = accepted();
  no_delay(connection_);
  no_delay(connection_server_);
}

unique_fd Traffic::open(const firn::test::NetnsFixture& netns, int type, uint16_t bound) const {
  unique_fd socket = netns.run([&] { return unique_fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0)); });
  if (!socket) die("socket");
  const timeval patience{2, 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(socket.get(), SOL_SOCKET, option, &patience, sizeof patience) != 0) die("a deadline");
  }
  if (bound == 0) return socket;
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_port = htons(bound);
  if (::bind(socket.get(), generic(own), sizeof own) != 0) die("bind");
  return socket;
}

// Made before they are timed. Each has a port that no socket before had, for the kernel knows connections of a while ago.
std::vector<unique_fd> Traffic::clients(int type, size_t count) {
  std::vector<unique_fd> out;
  for (size_t i = 0; i < count; ++i) {
    out.push_back(open(client_netns_, type, next_port_++));
    if (next_port_ == 0) next_port_ = 10'000;
  }
  return out;
}

unique_fd Traffic::accepted() const {
  unique_fd out(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!out) die("accept");
  const timeval patience{2, 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(out.get(), SOL_SOCKET, option, &patience, sizeof patience) != 0) die("a deadline");
  }
  return out;
}

std::vector<double> Traffic::first_packets(size_t count) {
  const auto sockets = clients(SOCK_DGRAM, count);
  std::vector<double> out;
  for (const unique_fd& client : sockets) {
    const auto began = Clock::now();
    ask(client);
    out.push_back(microseconds(Clock::now() - began));
  }
  return out;
}

void Traffic::ask(const unique_fd& client) const {
  sockaddr_in from{};
  socklen_t size = sizeof from;
  char byte = 0;
  if (::sendto(client.get(), "x", 1, 0, generic(server_), sizeof server_) != 1) die("send");
  if (::recvfrom(datagrams_.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size) != 1) die("no datagram arrived");
  if (::sendto(datagrams_.get(), "x", 1, 0, generic(from), size) != 1) die("answer");
  receive_byte(client);
}

unique_fd Traffic::flow() const {
  unique_fd out = open(client_netns_, SOCK_DGRAM, 0);
  if (::connect(out.get(), generic(server_), sizeof server_) != 0) die("connect");
  return out;
}

std::vector<double> Traffic::connects(size_t count) {
  auto sockets = clients(SOCK_STREAM, count);
  std::vector<double> out;
  for (unique_fd& client : sockets) {
    no_delay(client);
    const auto began = Clock::now();
    if (::connect(client.get(), generic(server_), sizeof server_) != 0) die("no connection");
    unique_fd server(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!server) die("accept");
    send_byte(client);
    receive_byte(server);
    send_byte(server);
    receive_byte(client);
    client.reset();
    server.reset();
    out.push_back(microseconds(Clock::now() - began));
  }
  return out;
}

std::vector<double> Traffic::requests(size_t count) {
  std::vector<double> out;
  for (size_t i = 0; i < count; ++i) {
    const auto began = Clock::now();
    send_byte(connection_);
    receive_byte(connection_server_);
    send_byte(connection_server_);
    receive_byte(connection_);
    out.push_back(microseconds(Clock::now() - began));
  }
  return out;
}

double Traffic::small_packets(const unique_fd& flow, size_t count) {
  std::array<char, small_size> content{}, arrived{};
  iovec out{content.data(), content.size()}, in{arrived.data(), arrived.size()};
  std::array<mmsghdr, batch> sent{}, received{};
  for (mmsghdr& message : sent) message.msg_hdr.msg_iov = &out, message.msg_hdr.msg_iovlen = 1;
  for (mmsghdr& message : received) message.msg_hdr.msg_iov = &in, message.msg_hdr.msg_iovlen = 1;
  const auto began = Clock::now();
  for (size_t done = 0; done < count; done += batch) {
    if (::sendmmsg(flow.get(), sent.data(), batch, 0) != static_cast<int>(batch)) die("send many");
    for (size_t got = 0; got < batch;) {
      const int n = ::recvmmsg(datagrams_.get(), received.data(), static_cast<unsigned>(batch - got), MSG_WAITFORONE, nullptr);
      if (n <= 0) die("a small packet is lost");
      got += static_cast<size_t>(n);
    }
  }
  return static_cast<double>(count) / seconds(Clock::now() - began);
}

double Traffic::stream(size_t bytes) {
  std::thread receiver([&] { drain(connection_server_, bytes); });
  const std::vector<char> content(stream_piece);
  const auto began = Clock::now();
  for (size_t left = bytes; left > 0;) {
    const ssize_t n = ::send(connection_.get(), content.data(), std::min(content.size(), left), MSG_NOSIGNAL);
    if (n <= 0) die("the stream stands still");
    left -= static_cast<size_t>(n);
  }
  receive_byte(connection_);
  const double took = seconds(Clock::now() - began);
  receiver.join();
  return static_cast<double>(bytes) / took;
}

}  // namespace bench
