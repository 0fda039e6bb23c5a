// Two ends in network namespaces and what passes between them, measured by one thread that holds the sockets of both: a packet that
// is sent is looked for at the other end at once, so no process is woken and a figure is the way of the packet. Only the stream has
// a thread at each end. All traffic is bounded in count; what does not arrive within two seconds ends the program.
// Owns its sockets. Thread safety: one thread.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/unique_fd.hpp"
#include "tests/support/netns_fixture.hpp"

namespace bench {

class Traffic {
 public:
  static constexpr uint16_t port = 7000;
  // The client speaks with `server` (IPv4), which `server_netns` has.
  Traffic(const firn::test::NetnsFixture& client_netns, const firn::test::NetnsFixture& server_netns, const firn::Address& server);

  // A datagram from a port that has not been used yet, and its answer: microseconds each.
  std::vector<double> first_packets(size_t count);
  // TCP: connect, one byte, one byte back, and both ends closed: microseconds each.
  std::vector<double> connects(size_t count);
  // One byte and one byte back on a connection that is there: microseconds each.
  std::vector<double> requests(size_t count);
  // 64 bytes by UDP, 32 at a time, one way: packets a second. A flow that was never answered stays new to connection tracking.
  double small_packets(size_t count) { return small_packets(answered_, count); }
  double unanswered_packets(size_t count) { return small_packets(unanswered_, count); }
  // One TCP connection: bytes a second until the receiver has them all.
  double stream(size_t bytes);

 private:
  firn::unique_fd open(const firn::test::NetnsFixture& netns, int type, uint16_t bound) const;
  std::vector<firn::unique_fd> clients(int type, size_t count);
  firn::unique_fd accepted() const;
  firn::unique_fd flow() const;
  // One datagram and its answer.
  void ask(const firn::unique_fd& client) const;
  double small_packets(const firn::unique_fd& flow, size_t count);

  const firn::test::NetnsFixture& client_netns_;
  sockaddr_in server_{};
  uint16_t next_port_ = 10'000;
  firn::unique_fd datagrams_, listener_;   // of the server
  firn::unique_fd answered_, unanswered_;  // UDP, of the client
  firn::unique_fd connection_, connection_server_;
};

double median(std::vector<double> values);

}  // namespace bench
