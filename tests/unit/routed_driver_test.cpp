// The drivers of routes, neighbours, vxlan links and forwarding entries against a kernel in memory that enforces the real one's rules.
#include <gtest/gtest.h>

#include "routed/forwards.hpp"
#include "routed/neighbours.hpp"
#include "routed/routes.hpp"
#include "tests/support/fake_kernel.hpp"
#include "tests/support/manual_clock.hpp"

namespace firn::routed {
namespace {

using namespace std::chrono_literals;
using netlink::Route;
using netlink::RouteType;

Prefix prefix(const std::string& text) { return *Prefix::parse(text); }

class RoutesTest : public testing::Test {
 protected:
  RoutesTest() { link = kernel.add_link("firn1"); }

  Route unicast(const std::string& destination) const {
    Route out;
    out.destination = prefix(destination);
    out.oif = link;
    return comparable(out);
  }
  static Route blackhole(const std::string& destination) {
    Route out;
    out.destination = prefix(destination);
    out.type = RouteType::blackhole;
    return comparable(out);
  }
  void want(const Route& route) { driver.want(key_of(route), route, 0ms); }
  void list() { driver.set_actual(*RouteKind::list(kernel)); }
  void follow() {
    for (const auto& event : kernel.take_events()) {
      if (event.what == netlink::Event::What::route) observe(driver, event.route, event.removed);
    }
  }
  std::vector<Route> in_kernel() {
    netlink::RouteFilter main;
    return *kernel.routes(main);
  }

  test::FakeKernel kernel;
  test::ManualClock clock;
  RouteDriver driver{kernel, clock};
  int link = 0;
};

TEST_F(RoutesTest, NothingIsWrittenBeforeTheFirstListing) {
  want(unicast("10.0.0.1/32"));
  EXPECT_EQ(driver.apply().done, 0U);
  EXPECT_EQ(kernel.requests(), 0U);
  list();
  EXPECT_EQ(driver.apply().done, 1U);
  EXPECT_EQ(in_kernel().size(), 1U);
}

TEST_F(RoutesTest, RestartWithEverythingInPlaceSendsNothing) {
  for (const Route& route : {unicast("10.0.0.1/32"), unicast("fd00::1/128"), blackhole("10.0.0.0/26"), blackhole("fd00::/122")}) want(route);
  list();
  driver.apply();
  const size_t before = kernel.requests();
  RouteDriver restarted(kernel, clock);
  for (const Route& route : {unicast("10.0.0.1/32"), unicast("fd00::1/128"), blackhole("10.0.0.0/26"), blackhole("fd00::/122")}) {
    restarted.want(key_of(route), route, 0ms);
  }
  restarted.set_actual(*RouteKind::list(kernel));
  EXPECT_EQ(restarted.pending(), 0U);
  restarted.apply();
  EXPECT_EQ(kernel.requests(), before);
  EXPECT_EQ(restarted.writes(), 0U);
}

TEST_F(RoutesTest, LeftoversOfOursGoAndForeignRoutesStay) {
  Route foreign = unicast("10.9.0.1/32");
  foreign.protocol = 4;
  ASSERT_EQ(kernel.run(netlink::AddRoute{foreign}), 0);
  ASSERT_EQ(kernel.run(netlink::AddRoute{unicast("10.0.0.9/32")}), 0);
  list();
  EXPECT_EQ(driver.apply().done, 1U);
  ASSERT_EQ(in_kernel().size(), 1U);
  EXPECT_EQ(in_kernel()[0].protocol, 4);
}

TEST_F(RoutesTest, DeletedRouteIsRestoredAtOnceAndCounted) {
  want(unicast("10.0.0.1/32"));
  list();
  driver.apply();
  follow();
  ASSERT_EQ(driver.pending(), 0U);
  ASSERT_EQ(kernel.run(netlink::RemoveRoute{unicast("10.0.0.1/32")}), 0);
  follow();
  const Outcome outcome = driver.apply();
  EXPECT_EQ(outcome.done, 1U);
  EXPECT_EQ(outcome.repaired, 1U);
  EXPECT_EQ(in_kernel().size(), 1U);
  follow();
  EXPECT_EQ(driver.pending(), 0U);
}

TEST_F(RoutesTest, RouteReplacedByAnotherProtocolIsTakenBack) {
  want(blackhole("10.0.0.0/26"));
  list();
  driver.apply();
  follow();
  Route foreign = blackhole("10.0.0.0/26");
  foreign.protocol = 4;
  ASSERT_EQ(kernel.run(netlink::ReplaceRoute{foreign}), 0);
  follow();
  EXPECT_EQ(driver.apply().repaired, 1U);
  ASSERT_EQ(in_kernel().size(), 1U);
  EXPECT_EQ(in_kernel()[0].protocol, 241);
}

TEST_F(RoutesTest, DriftFoundByAListingIsCounted) {
  want(unicast("10.0.0.1/32"));
  list();
  driver.apply();
  ASSERT_EQ(kernel.run(netlink::RemoveRoute{unicast("10.0.0.1/32")}), 0);
  kernel.take_events();  // lost
  list();
  EXPECT_EQ(driver.apply().repaired, 1U);
}

TEST_F(RoutesTest, OneFailedKeyHoldsUpOnlyItself) {
  list();
  want(unicast("10.0.0.1/32"));
  want(unicast("10.0.0.2/32"));
  const auto first = [](const netlink::Request& request) {
    const auto* replace = std::get_if<netlink::AddRoute>(&request);
    return replace != nullptr && replace->route.destination == prefix("10.0.0.1/32");
  };
  kernel.fail_once(ENOMEM, first);
  Outcome outcome = driver.apply();
  EXPECT_EQ(outcome.done, 1U);
  EXPECT_EQ(outcome.failed, 1U);
  ASSERT_TRUE(outcome.first_failure);
  EXPECT_EQ(outcome.first_failure->sys, ENOMEM);
  ASSERT_TRUE(driver.next_due());
  EXPECT_GT(*driver.next_due(), clock.steady());
  // Not before its time; then twice as long.
  const size_t before = kernel.requests();
  EXPECT_EQ(driver.apply().failed, 0U);
  EXPECT_EQ(kernel.requests(), before);
  const auto first_wait = *driver.next_due() - clock.steady();
  clock.advance(200ms);
  kernel.fail_once(ENOMEM, first);
  EXPECT_EQ(driver.apply().failed, 1U);
  EXPECT_EQ(*driver.next_due() - clock.steady(), first_wait * 2);
  clock.advance(400ms);
  EXPECT_EQ(driver.apply().done, 1U);
  EXPECT_FALSE(driver.next_due());
  EXPECT_TRUE(kernel.consumed());
  EXPECT_EQ(driver.pending(), 0U);
}

TEST_F(RoutesTest, BrokenBatchAsksForAListing) {
  list();
  want(unicast("10.0.0.1/32"));
  kernel.break_next_batch(make_error(Code::io, "socket"));
  EXPECT_TRUE(driver.apply().unknown);
  list();
  EXPECT_EQ(driver.apply().done, 1U);
}

TEST_F(RoutesTest, WhoAttachesIsGivenTimeToWriteItHimself) {
  list();
  const Route route = unicast("10.0.0.1/32");
  driver.want(key_of(route), route, new_grace);
  EXPECT_EQ(driver.apply().done, 0U);
  ASSERT_EQ(kernel.run(netlink::AddRoute{route}), 0);
  follow();
  clock.advance(new_grace);
  driver.apply();
  EXPECT_EQ(driver.writes(), 0U);
  EXPECT_EQ(driver.pending(), 0U);

  const Route other = unicast("10.0.0.2/32");
  driver.want(key_of(other), other, new_grace);
  clock.advance(new_grace);
  EXPECT_EQ(driver.apply().done, 1U);
}

TEST_F(RoutesTest, RouteSeenBeforeItsRecordIsNotRemoved) {
  list();
  const Route route = unicast("10.0.0.1/32");
  ASSERT_EQ(kernel.run(netlink::AddRoute{route}), 0);
  follow();
  EXPECT_EQ(driver.apply().done, 0U);
  driver.want(key_of(route), route, new_grace);
  clock.advance(removal_grace);
  driver.apply();
  EXPECT_EQ(driver.writes(), 0U);
  EXPECT_EQ(in_kernel().size(), 1U);
  // One that stays nobody's goes.
  ASSERT_EQ(kernel.run(netlink::AddRoute{unicast("10.0.0.7/32")}), 0);
  follow();
  driver.apply();
  clock.advance(removal_grace);
  EXPECT_EQ(driver.apply().done, 1U);
}

TEST_F(RoutesTest, RemovalThatFindsNothingIsDone) {
  want(unicast("10.0.0.1/32"));
  list();
  driver.apply();
  ASSERT_EQ(kernel.run(netlink::RemoveRoute{unicast("10.0.0.1/32")}), 0);
  kernel.take_events();
  driver.unwant(key_of(unicast("10.0.0.1/32")));
  clock.advance(removal_grace);
  EXPECT_EQ(driver.apply().failed, 0U);
  EXPECT_EQ(driver.pending(), 0U);
}

TEST_F(RoutesTest, LinkThatWentDownTookItsRoutesAlong) {
  want(unicast("10.0.0.1/32"));
  want(blackhole("10.0.0.0/26"));
  list();
  driver.apply();
  kernel.set_up(link, false);
  driver.forget_actual_if([&](const RouteKey&, const Route& route) { return route.oif == link; });
  EXPECT_EQ(driver.actual(), 1U);
  EXPECT_EQ(driver.pending(), 1U);
}

TEST(Neighbours, ChangedOrDeletedOnesAreRestored) {
  test::FakeKernel kernel;
  test::ManualClock clock;
  NeighbourDriver driver(kernel, clock);
  const int link = kernel.add_link("firn1");
  const netlink::Neighbour wanted{link, *Address::parse("10.0.0.1"), *Mac::parse("02:00:00:00:00:01"), true};
  driver.want(key_of(wanted), wanted, 0ms);
  driver.set_actual(*NeighbourKind::list(kernel));
  EXPECT_EQ(driver.apply().done, 1U);
  const auto follow = [&] {
    for (const auto& event : kernel.take_events()) {
      if (event.what == netlink::Event::What::neighbour) observe(driver, event.neighbour, event.removed);
    }
  };
  follow();
  EXPECT_EQ(driver.pending(), 0U);

  netlink::Neighbour other = wanted;
  other.mac = *Mac::parse("02:00:00:00:00:02");
  ASSERT_EQ(kernel.run(netlink::ReplaceNeighbour{other}), 0);
  follow();
  EXPECT_EQ(driver.apply().repaired, 1U);
  follow();
  ASSERT_EQ(kernel.run(netlink::RemoveNeighbour{wanted}), 0);
  follow();
  EXPECT_EQ(driver.apply().repaired, 1U);
  EXPECT_EQ(*kernel.neighbours(link), std::vector<netlink::Neighbour>{wanted});
}

class LinksTest : public testing::Test {
 protected:
  static OverlayLink wish() {
    return {vxlan_mac("a"), 1450, true, {vxlan_vni, vxlan_port, *Address::parse("192.0.2.1"), false, std::nullopt}, 0};
  }
  Links list() { return LinkKind::list(*kernel.links()); }
  void follow() {
    for (const auto& event : kernel.take_events()) {
      if (event.what == netlink::Event::What::link) observe(driver, event.link, event.removed ? event.link.name : "", event.removed);
    }
  }

  const std::string name{vxlan_name(Family::v4)};
  test::FakeKernel kernel;
  test::ManualClock clock;
  LinkDriver driver{kernel, clock};
};

TEST_F(LinksTest, ALinkIsMadeOnceChangedInPlaceAndMadeAnewOnlyWhereItMust) {
  driver.set_actual(list());
  driver.want(name, wish(), 0ms);
  EXPECT_EQ(driver.apply().done, 1U);
  follow();
  const netlink::Link made = *kernel.link(name);
  EXPECT_EQ(made.vxlan, wish().vxlan);
  EXPECT_EQ(driver.pending(), 0U);

  netlink::SetLink mtu;
  mtu.index = made.index;
  mtu.mtu = 1300;
  ASSERT_EQ(kernel.run(mtu), 0);
  follow();
  EXPECT_EQ(driver.apply().repaired, 1U);
  follow();
  EXPECT_EQ(kernel.link(name)->index, made.index) << "the same link";
  EXPECT_EQ(kernel.link(name)->mtu, 1450);

  OverlayLink other = wish();
  other.vxlan.local = *Address::parse("192.0.2.9");
  driver.want(name, other, 0ms);
  EXPECT_EQ(driver.apply().done, 1U);
  follow();
  EXPECT_NE(kernel.link(name)->index, made.index);
  EXPECT_EQ(kernel.link(name)->vxlan, other.vxlan);
  EXPECT_EQ(driver.pending(), 0U);

  LinkDriver restarted(kernel, clock);
  restarted.want(name, other, 0ms);
  restarted.set_actual(list());
  EXPECT_EQ(restarted.pending(), 0U);
}

TEST_F(LinksTest, AForeignLinkOfThatNameStaysAndIsNamed) {
  kernel.add_link(name, true, "dummy");
  driver.set_actual(list());
  driver.want(name, wish(), 0ms);
  driver.apply();
  clock.advance(1s);
  const Outcome again = driver.apply();
  ASSERT_TRUE(again.first_failure.has_value());
  EXPECT_TRUE(again.first_failure->is(Code::conflict));
  EXPECT_EQ(kernel.link(name)->kind, "dummy");
}

TEST_F(LinksTest, AnUnwantedLinkLingersForHostsThatFollowLater) {
  driver.set_actual(list());
  driver.want(name, wish(), 0ms);
  driver.apply();
  follow();
  driver.unwant(name);
  EXPECT_EQ(driver.apply().done, 0U);
  clock.advance(11s);
  EXPECT_EQ(driver.apply().done, 1U);
  EXPECT_FALSE(kernel.link(name).ok());
}

TEST_F(LinksTest, EveryForwardingEntryOfTheLinkIsFirns) {
  driver.set_actual(list());
  driver.want(name, wish(), 0ms);
  driver.apply();
  const int index = *kernel.index_of(name);
  const netlink::Forward wanted{index, vxlan_mac("b"), *Address::parse("192.0.2.2"), true};
  const netlink::Forward flooding{index, Mac(), *Address::parse("192.0.2.66"), true};
  ASSERT_EQ(kernel.run(netlink::ReplaceForward{flooding}), 0);
  ForwardDriver forwards(kernel, clock);
  forwards.set_actual(*ForwardKind::list(kernel, list()));
  forwards.want({index, wanted.mac}, wanted, 0ms);
  forwards.apply();
  EXPECT_EQ(*kernel.forwards(index), std::vector{wanted});
  // Somebody sends the packets elsewhere.
  netlink::Forward elsewhere = wanted;
  elsewhere.destination = flooding.destination;
  ASSERT_EQ(kernel.run(netlink::ReplaceForward{elsewhere}), 0);
  observe(forwards, elsewhere, false);
  EXPECT_EQ(forwards.apply().repaired, 1U);
  EXPECT_EQ(*kernel.forwards(index), std::vector{wanted});
}

}  // namespace
}  // namespace firn::routed
