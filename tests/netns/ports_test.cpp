// Published ports and bounds of traffic by the real plugin: who holds a port, who is refused, what passes.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/netns/cni_host.hpp"

namespace firn::test {
namespace {

using testing::HasSubstr;

constexpr const char* one_family = R"("ipam":{"type":"firn-ipam","subnet":"10.99.0.0/24"})";

class Bandwidth : public testing::Test {
 protected:
  CniHost host;
  NetnsFixture a, b;

  Reply add(const std::string& id, const NetnsFixture& ns, const std::string& runtime) {
    return host.firn("ADD", id, ns.path(), conf(runtime));
  }
  std::string conf(const std::string& runtime) const { return host.config(one_family + (",\"runtimeConfig\":{" + runtime + "}")); }

  static unique_fd bound(const NetnsFixture& ns, const std::string& address, uint16_t port) {
    return ns.run([&] {
      unique_fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const int room = 4 * 1024 * 1024;
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
      const sockaddr_in name = place(address, port);
      EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
      return socket;
    });
  }
  static sockaddr_in place(const std::string& address, uint16_t port) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    ::inet_pton(AF_INET, address.c_str(), &name.sin_addr);
    return name;
  }
  // How many of `count` datagrams of 1,000 bytes arrive that are sent at once.
  static int passed(const NetnsFixture& from, const NetnsFixture& to, const std::string& address, int count) {
    const unique_fd receiver = bound(to, address, 7000);
    from.run([&] {
      const unique_fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const sockaddr_in name = place(address, 7000);
      // What waits in a queue is held against its sender's buffer, which would block it.
      const int room = 4 * 1024 * 1024;
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
      const std::string text(1000, 'x');
      for (int i = 0; i < count; ++i) {
        ::sendto(socket.get(), text.data(), text.size(), MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&name), sizeof name);
      }
    });
    timeval patience{.tv_sec = 0, .tv_usec = 300'000};
    ::setsockopt(receiver.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int arrived = 0;
    char buffer[2000];
    // A packet that waits for its turn comes one second after another: it is left waiting.
    while (arrived<count&& ::recv(receiver.get(), buffer, sizeof buffer, 0)> 0) ++arrived;
    return arrived;
  }
};

// 1,000 bytes a second, 64,000 at once: of 400 packets about 61 with their headers, and one more each second that this takes.
TEST_F(Bandwidth, WhatPassesIsTheBurstAndTheRate) {
  const std::string limits = R"("bandwidth":{"IngressRate":8000,"IngressBurst":512000,"egressRate":8000,"egressBurst":512000})";
  const Reply limited = add("a", a, limits);
  ASSERT_EQ(limited.status, 0) << limited.out;
  const Reply free = add("b", b, R"("bandwidth":{})");
  ASSERT_EQ(free.status, 0) << free.out;
  EXPECT_EQ(passed(host.netns(), b, free.ip(0), 400), 400);
  EXPECT_EQ(passed(b, host.netns(), "192.0.2.1", 400), 400);
  const int in = passed(host.netns(), a, limited.ip(0), 400);
  EXPECT_GE(in, 55);
  EXPECT_LE(in, 100);
  const int out = passed(a, host.netns(), "192.0.2.1", 400);
  EXPECT_GE(out, 55);
  EXPECT_LE(out, 100);
}

TEST_F(Bandwidth, CheckFindsALimitThatWasTakenAway) {
  const std::string limits =
      conf(R"("bandwidth":{"ingressRate":8000000,"ingressBurst":512000,"egressRate":80000,"egressBurst":512000})");
  const Reply made = host.firn("ADD", "a", a.path(), limits);
  ASSERT_EQ(made.status, 0) << made.out;
  const std::string again = host.with_prev(limits, made.out);
  EXPECT_EQ(host.firn("CHECK", "a", a.path(), again).status, 0);
  EXPECT_EQ(host.firn("ADD", "a", a.path(), limits).out, made.out);
  const std::string link = made.host_ifname();
  ASSERT_EQ(run_program(&host.netns(), {"/usr/sbin/tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", "3mbit", "burst",
                                        "10k", "latency", "10ms"}),
            0);
  EXPECT_THAT(host.firn("CHECK", "a", a.path(), again).out, HasSubstr("the limit of what the container receives"));
  ASSERT_EQ(run_program(&host.netns(), {"/usr/sbin/tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", "8mbit", "burst",
                                        "64k", "latency", "10ms"}),
            0);
  EXPECT_EQ(host.firn("CHECK", "a", a.path(), again).status, 0);
  ASSERT_EQ(run_program(&host.netns(), {"/usr/sbin/tc", "filter", "del", "dev", link, "ingress"}), 0);
  const Reply bare = host.firn("CHECK", "a", a.path(), again);
  EXPECT_EQ(bare.code(), 103);
  EXPECT_THAT(bare.out, HasSubstr("the limit of what the container sends"));
  // A part is missing, so the same ADD makes it anew.
  EXPECT_EQ(host.firn("ADD", "a", a.path(), limits).status, 0);
  EXPECT_EQ(host.firn("DEL", "a", a.path(), limits).status, 0);
}

TEST_F(Bandwidth, BoundsThatCannotBeKeptAreRefused) {
  EXPECT_THAT(add("a", a, R"("bandwidth":{"ingressRate":8000})").out, HasSubstr("ingressRate: the burst in bits must be between"));
  EXPECT_THAT(add("a", a, R"("bandwidth":{"egressBurst":80000})").out, HasSubstr("a burst needs a rate"));
  EXPECT_THAT(add("a", a, R"("bandwidth":{"ingressRate":8000,"ingressBurst":-1})").out, HasSubstr("/runtimeConfig/bandwidth"));
  EXPECT_THAT(add("a", a, R"("bandwidth":7)").out, HasSubstr("/runtimeConfig/bandwidth"));
  // The default MTU here is 1500.
  EXPECT_EQ(add("a", a, R"("bandwidth":{"ingressRate":8000,"ingressBurst":16384})").status, 0);
  const std::string large =
      host.config(one_family + std::string(R"(,"mtu":9000,"runtimeConfig":{"bandwidth":{"egressRate":8000,"egressBurst":16384}})"));
  EXPECT_THAT(host.firn("ADD", "b", b.path(), large).out, HasSubstr("less than a packet of MTU 9000"));
  EXPECT_EQ(host.endpoints().size(), 1u);
}

}  // namespace
}  // namespace firn::test
