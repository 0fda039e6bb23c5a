// What the fakes of tests/support promise beyond the kernel's rules (those: tests/netns/fake_kernel_test.cpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_kernel.hpp"
#include "tests/support/manual_clock.hpp"

namespace firn::test {
namespace {

using namespace netlink;  // NOLINT(google-build-using-namespace)

Request blackhole(const char* prefix) {
  Route route;
  route.destination = Prefix::parse(prefix).value();
  route.type = RouteType::blackhole;
  return ReplaceRoute{route};
}

TEST(FakeKernelTest, FailsOnceWhatTheTestChose) {
  FakeKernel kernel;
  kernel.fail_once(ENOBUFS, [](const Request& r) { return std::holds_alternative<RemoveRoute>(r); });
  EXPECT_FALSE(kernel.consumed());
  EXPECT_THAT(kernel.apply(std::vector<Request>{blackhole("10.0.0.0/26")}).value(), ::testing::IsEmpty());
  const Request removal = RemoveRoute{std::get<ReplaceRoute>(blackhole("10.0.0.0/26")).route};
  const auto failures = kernel.apply(std::vector<Request>{blackhole("10.0.0.64/26"), removal}).value();
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].index, 1U);
  EXPECT_EQ(failures[0].error.sys, ENOBUFS);
  EXPECT_TRUE(kernel.consumed());
  EXPECT_THAT(kernel.apply(std::vector<Request>{removal}).value(), ::testing::IsEmpty());
  EXPECT_EQ(kernel.requests(), 4U);
  EXPECT_EQ(kernel.batches(), 3U);
}

TEST(FakeKernelTest, FailsEveryNthUntilToldToStop) {
  FakeKernel kernel;
  kernel.fail_every(2, ENOMEM);
  const std::vector<Request> batch(4, blackhole("10.0.0.0/26"));
  EXPECT_THAT(kernel.apply(batch).value(), ::testing::SizeIs(2));
  kernel.fail_every(0, 0);
  EXPECT_THAT(kernel.apply(batch).value(), ::testing::IsEmpty());
}

TEST(FakeKernelTest, ABrokenBatchDoesNothing) {
  FakeKernel kernel;
  kernel.break_next_batch(make_error(Code::unavailable, "deadline"));
  EXPECT_TRUE(kernel.apply(std::vector<Request>{blackhole("10.0.0.0/26")}).error().is(Code::unavailable));
  EXPECT_TRUE(kernel.consumed());
  EXPECT_THAT(kernel.routes({}).value(), ::testing::IsEmpty());
}

TEST(FakeKernelTest, APeerGoesWithItsLinkAcrossNamespaces) {
  FakeKernel host;
  FakeKernel container;
  host.connect(7, container);
  CreateVeth create;
  create.name = "host0";
  create.peer_name = "eth0";
  create.peer_netns_fd = 7;
  ASSERT_TRUE(all_done(host.apply(std::vector<Request>{create})).ok());
  ASSERT_TRUE(container.link("eth0").ok());
  container.remove_link(container.index_of("eth0").value());
  EXPECT_TRUE(host.link("host0").error().is(Code::not_found));
}

TEST(FakeKernelTest, EventsTellOfIPv6RoutesAloneWhenALinkGoesDown) {
  FakeKernel kernel;
  const int index = kernel.add_link("host0");
  for (const char* text : {"10.0.0.1/32", "fd00::1/128"}) {
    Route route;
    route.destination = Prefix::parse(text).value();
    route.oif = index;
    ASSERT_EQ(kernel.run(AddRoute{route}), 0);
  }
  (void)kernel.take_events();
  kernel.set_up(index, false);
  const auto events = kernel.take_events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].what, Event::What::route);
  EXPECT_TRUE(events[0].removed);
  EXPECT_EQ(events[0].route.destination.family(), Family::v6);
  EXPECT_EQ(events[1].what, Event::What::link);
  EXPECT_FALSE(events[1].link.up);
}

TEST(ManualClockTest, AllClocksMoveTogether) {
  ManualClock clock(100);
  const auto start = clock.steady();
  const int64_t booted = clock.boot_seconds();
  clock.advance(std::chrono::milliseconds(700));
  EXPECT_EQ(clock.unix_seconds(), 100);
  clock.advance(std::chrono::milliseconds(700));
  EXPECT_EQ(clock.unix_seconds(), 101);
  EXPECT_EQ(clock.boot_seconds(), booted + 1);
  EXPECT_EQ(clock.steady() - start, std::chrono::milliseconds(1400));
}

}  // namespace
}  // namespace firn::test
