// lib/netlink against the real kernel, in namespaces of its own.
#include "lib/netlink/kernel.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>

#include "tests/support/netns_fixture.hpp"

namespace firn::netlink {
namespace {

using test::NetnsFixture;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

Address address(std::string_view text) { return Address::parse(text).value(); }
Prefix prefix(std::string_view text) { return Prefix::parse(text).value(); }
Mac mac(std::string_view text) { return Mac::parse(text).value(); }

// A namespace with a veth pair: "host0" in `host`, "eth0" in `container`, host0 up.
class NetlinkTest : public ::testing::Test {
 protected:
  NetlinkTest() : kernel(host.kernel()), inside(container.kernel()) {}

  CreateVeth veth(const std::string& name = "host0", const std::string& peer = "eth0") {
    CreateVeth create;
    create.name = name;
    create.mac = mac("ee:ee:ee:ee:ee:ee");
    create.peer_name = peer;
    create.peer_mac = mac("02:00:00:00:00:01");
    create.peer_netns_fd = container.fd();
    create.mtu = 1400;
    return create;
  }
  Status done(std::vector<Request> requests) { return all_done(kernel->apply(requests)); }
  int make_veth_up() {
    EXPECT_TRUE(done({veth()}).ok());
    const int index = kernel->index_of("host0").value();
    SetLink up;
    up.index = index;
    up.up = true;
    EXPECT_TRUE(done({up}).ok());
    SetLink peer_up;
    peer_up.index = inside->index_of("eth0").value();
    peer_up.up = true;
    EXPECT_TRUE(all_done(inside->apply(std::vector<Request>{peer_up})).ok());
    return index;
  }
  std::vector<Route> ours() {
    RouteFilter filter;
    filter.protocol = route_protocol;
    return kernel->routes(filter).value();
  }

  NetnsFixture host;
  NetnsFixture container;
  std::unique_ptr<Kernel> kernel;
  std::unique_ptr<Kernel> inside;
};

TEST_F(NetlinkTest, CreateVethMakesThePeerInsideItsNamespace) {
  const Status status = done({veth()});
  ASSERT_TRUE(status.ok()) << status.error().message;
  const Link link = kernel->link("host0").value();
  EXPECT_EQ(link.kind, "veth");
  EXPECT_EQ(link.mac, mac("ee:ee:ee:ee:ee:ee"));
  EXPECT_EQ(link.mtu, 1400);
  EXPECT_FALSE(link.up);
  const Link peer = inside->link("eth0").value();
  EXPECT_EQ(peer.mac, mac("02:00:00:00:00:01"));
  EXPECT_EQ(peer.mtu, 1400);
  EXPECT_FALSE(peer.up);
  EXPECT_EQ(link.peer_index, peer.index);
  EXPECT_TRUE(kernel->link("eth0").error().is(Code::not_found));
  EXPECT_EQ(kernel->link(link.index).value(), link);
  EXPECT_THAT(kernel->links().value(), Contains(link));
}

CreateVxlan vxlan(const std::string& name, const std::string& local, uint32_t vni = 42) {
  CreateVxlan create;
  create.name = name;
  create.mac = mac("02:00:00:00:00:0a");
  create.mtu = 1400;
  create.vxlan = {.vni = vni, .port = 4790, .local = address(local)};
  return create;
}

TEST_F(NetlinkTest, VxlanIsWhatWasAskedForAndUp) {
  for (const auto& [name, local] : {std::pair{"x4", "192.0.2.1"}, std::pair{"x6", "2001:db8::1"}}) {
    const CreateVxlan create = vxlan(name, local);
    const Status status = done({create});
    ASSERT_TRUE(status.ok()) << status.error().message;
    const Link link = kernel->link(name).value();
    EXPECT_EQ(link.kind, "vxlan");
    ASSERT_TRUE(link.vxlan.has_value());
    EXPECT_EQ(*link.vxlan, create.vxlan);
    EXPECT_EQ(link.mac, create.mac);
    EXPECT_EQ(link.mtu, 1400);
    EXPECT_TRUE(link.up);
    // Nobody is flooded: not one entry, above all none of all zeros.
    EXPECT_THAT(kernel->forwards(link.index).value(), IsEmpty());
  }
  // Made by iproute2 otherwise: another VNI and port, learning, a default remote. All of it is seen.
  ASSERT_EQ(test::run_program(&host, {"ip", "link", "add", "x7", "type", "vxlan", "id", "7", "dstport", "8472", "local", "192.0.2.1", "remote",
                                      "192.0.2.2"}),
            0);
  const Vxlan other = kernel->link("x7").value().vxlan.value();
  EXPECT_EQ(other.vni, 7U);
  EXPECT_EQ(other.port, 8472);
  EXPECT_TRUE(other.learning);
  EXPECT_EQ(other.remote, address("192.0.2.2"));
  EXPECT_THAT(kernel->forwards(kernel->index_of("x7").value()).value(), ElementsAre(Forward{kernel->index_of("x7").value(), Mac(), address("192.0.2.2"), true}));
}

TEST_F(NetlinkTest, VxlanIsRefusedTwiceAndWithNonsense) {
  ASSERT_TRUE(done({vxlan("x4", "192.0.2.1")}).ok());
  EXPECT_EQ(done({vxlan("x4", "192.0.2.1", 43)}).error().sys, EEXIST);
  const Status same = done({vxlan("x5", "192.0.2.1")});
  EXPECT_EQ(same.error().sys, EEXIST);
  EXPECT_THAT(same.error().message, HasSubstr("create vxlan x5 id 42 dstport 4790 local 192.0.2.1"));
  EXPECT_TRUE(done({vxlan("x6", "192.0.2.1", 1U << 24)}).error().is(Code::invalid));
  EXPECT_TRUE(done({vxlan("x6", "0.0.0.0")}).error().is(Code::invalid));
  EXPECT_TRUE(done({DeleteLink{0, "x4"}}).ok());
  EXPECT_TRUE(kernel->link("x4").error().is(Code::not_found));
  EXPECT_TRUE(done({DeleteLink{0, "x4"}}).error().is(Code::not_found));
}

TEST_F(NetlinkTest, ForwardingEntriesAreReplacedListedToldAndRemoved) {
  ASSERT_TRUE(done({vxlan("x4", "192.0.2.1")}).ok());
  const int index = kernel->index_of("x4").value();
  const auto monitor = host.run([] { return open_monitor({}); });
  ASSERT_TRUE(monitor.ok());
  Forward forward{index, mac("02:00:00:00:00:01"), address("192.0.2.7"), true};
  ASSERT_TRUE(done({ReplaceForward{forward}}).ok());
  EXPECT_THAT(kernel->forwards(index).value(), ElementsAre(forward));
  forward.destination = address("192.0.2.8");
  ASSERT_TRUE(done({ReplaceForward{forward}}).ok());
  EXPECT_THAT(kernel->forwards(index).value(), ElementsAre(forward));
  EXPECT_EQ(done({ReplaceForward{{index, forward.mac, address("2001:db8::1"), true}}}).error().sys, EAFNOSUPPORT);
  const Events told = (*monitor)->read().value();
  std::vector<Forward> seen;
  for (const Event& event : told.events) {
    if (event.what == Event::What::forward && !event.removed) seen.push_back(event.forward);
  }
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), forward);
  ASSERT_TRUE(done({RemoveForward{forward}}).ok());
  EXPECT_THAT(kernel->forwards(index).value(), IsEmpty());
  EXPECT_EQ(done({RemoveForward{forward}}).error().sys, ENOENT);
  const Events gone = (*monitor)->read().value();
  ASSERT_EQ(gone.events.size(), 1U);
  EXPECT_TRUE(gone.events[0].removed);
  EXPECT_EQ(gone.events[0].forward, forward);
}

TEST_F(NetlinkTest, RoutesLeadThroughTheVxlanLinkByTheOwnersAddress) {
  ASSERT_TRUE(done({vxlan("x4", "192.0.2.1")}).ok());
  const int index = kernel->index_of("x4").value();
  Route four;
  four.destination = prefix("10.9.0.0/26");
  four.oif = index;
  four.gateway = address("192.0.2.7");
  four.onlink = true;
  Route six;
  six.destination = prefix("fd09::/122");
  six.oif = index;
  six.gateway = mac("02:00:00:00:00:07").link_local();
  const Status status = done({AddRoute{four}, AddRoute{six}});
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_THAT(ours(), UnorderedElementsAre(normalise(four), normalise(six)));
  // An IPv4 block over IPv6 hosts.
  four.gateway = six.gateway;
  four.onlink = false;
  const Status replaced = done({ReplaceRoute{four}});
  ASSERT_TRUE(replaced.ok()) << replaced.error().message;
  EXPECT_THAT(ours(), UnorderedElementsAre(normalise(four), normalise(six)));
}

TEST_F(NetlinkTest, CreateVethAgainExistsAndNamesTheRequest) {
  ASSERT_TRUE(done({veth()}).ok());
  const Status again = done({veth("host0", "eth1")});
  ASSERT_FALSE(again.ok());
  EXPECT_TRUE(again.error().is(Code::exists)) << again.error().message;
  EXPECT_EQ(again.error().sys, EEXIST);
  EXPECT_THAT(again.error().message, HasSubstr("create veth host0"));
  // Nothing is left half made: the peer of the failed one does not exist.
  EXPECT_TRUE(inside->index_of("eth1").error().is(Code::not_found));
  EXPECT_TRUE(done({veth("host1", "eth0")}).error().is(Code::exists));
  EXPECT_TRUE(kernel->index_of("host1").error().is(Code::not_found));
}

TEST_F(NetlinkTest, SetLinkChangesOnlyWhatIsGiven) {
  const int index = make_veth_up();
  SetLink set;
  set.index = index;
  set.ipv4_strict_source = true;
  set.ipv4_forwarding = true;
  set.alias = "firn:net/container/eth0";
  ASSERT_TRUE(done({set}).ok());
  const std::string conf = "/proc/sys/net/ipv4/conf/host0/";
  EXPECT_EQ(host.read(conf + "rp_filter"), "1");
  EXPECT_EQ(host.read(conf + "forwarding"), "1");
  Link link = kernel->link(index).value();
  EXPECT_TRUE(link.up);
  EXPECT_EQ(link.alias, "firn:net/container/eth0");
  SetLink dead;
  dead.index = index;
  dead.up = false;
  dead.group = dead_group;
  dead.name = "gone0";
  dead.mtu = 1300;
  dead.ipv4_strict_source = false;
  dead.ipv4_forwarding = false;
  ASSERT_TRUE(done({dead}).ok());
  link = kernel->link("gone0").value();
  EXPECT_FALSE(link.up);
  EXPECT_EQ(link.group, dead_group);
  EXPECT_EQ(link.mtu, 1300);
  EXPECT_EQ(link.alias, "firn:net/container/eth0");
  EXPECT_EQ(host.read("/proc/sys/net/ipv4/conf/gone0/rp_filter"), "0");
  EXPECT_EQ(host.read("/proc/sys/net/ipv4/conf/gone0/forwarding"), "0");
}

TEST_F(NetlinkTest, ALinkThatIsUpCanBeRenamedWhileItGoesDown) {
  const int index = make_veth_up();
  SetLink set;
  set.index = index;
  set.name = "other0";
  set.up = false;
  const Status status = done({set});
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(kernel->index_of("other0").value(), index);
}

TEST_F(NetlinkTest, DeleteGroupTakesTheGroupAlone) {
  ASSERT_TRUE(done({veth("a0", "a1"), veth("b0", "b1"), veth("c0", "c1")}).ok());
  std::vector<Request> dead;
  for (const auto* name : {"a0", "b0"}) {
    SetLink set;
    set.index = kernel->index_of(name).value();
    set.group = dead_group;
    dead.emplace_back(set);
  }
  ASSERT_TRUE(done(dead).ok());
  ASSERT_TRUE(done({DeleteGroup{}}).ok());
  EXPECT_TRUE(kernel->index_of("a0").error().is(Code::not_found));
  EXPECT_TRUE(kernel->index_of("b0").error().is(Code::not_found));
  EXPECT_TRUE(inside->index_of("a1").error().is(Code::not_found));
  EXPECT_TRUE(kernel->index_of("c0").ok());
  EXPECT_TRUE(done({DeleteGroup{}}).error().is(Code::not_found));
  ASSERT_TRUE(done({DeleteLink{kernel->index_of("c0").value()}}).ok());
  EXPECT_TRUE(inside->index_of("c1").error().is(Code::not_found));
}

TEST_F(NetlinkTest, AddressesAreUsableAtOnce) {
  make_veth_up();
  const int index = inside->index_of("eth0").value();
  const LinkAddress v4{index, InterfaceAddress::parse("10.1.2.3/32").value()};
  const LinkAddress v6{index, InterfaceAddress::parse("fd00::3/128").value()};
  const std::vector<Request> add{AddAddress{v4}, AddAddress{v6}};
  ASSERT_TRUE(all_done(inside->apply(add)).ok());
  EXPECT_THAT(inside->addresses(index).value(), Contains(v4));
  EXPECT_THAT(inside->addresses(index).value(), Contains(v6));
  EXPECT_THAT(inside->addresses(0).value(), Contains(LinkAddress{1, InterfaceAddress::parse("127.0.0.1/8").value()}));
  // Flags 82: permanent and no duplicate address detection; a tentative address would carry 40.
  EXPECT_THAT(container.read("/proc/thread-self/net/if_inet6"),
              HasSubstr("fd000000000000000000000000000003 0" + std::to_string(index) + " 80 00 82"));
  EXPECT_TRUE(all_done(inside->apply(add)).error().is(Code::exists));
  const std::vector<Request> remove{RemoveAddress{v4}, RemoveAddress{v6}};
  ASSERT_TRUE(all_done(inside->apply(remove)).ok());
  const auto again = inside->apply(remove).value();
  ASSERT_EQ(again.size(), 2U);
  EXPECT_TRUE(again[0].error.is(Code::not_found)) << again[0].error.message;
  EXPECT_TRUE(again[1].error.is(Code::not_found)) << again[1].error.message;
}

TEST_F(NetlinkTest, WhatIsWrittenIsListedEqual) {
  const int index = make_veth_up();
  ASSERT_TRUE(done({AddAddress{{index, InterfaceAddress::parse("10.9.9.9/32").value()}}}).ok());
  std::vector<Route> routes(13);
  routes[0].destination = prefix("10.0.0.1/32");
  routes[0].oif = index;
  routes[1].destination = prefix("10.0.0.2/32");
  routes[1].oif = index;
  routes[1].scope = 253;
  routes[1].metric = 7;
  routes[1].source = address("10.9.9.9");
  routes[1].mtu = 1280;
  routes[2].destination = prefix("10.2.0.0/16");
  routes[2].oif = index;
  routes[2].gateway = address("192.0.2.1");
  routes[2].onlink = true;
  routes[3].destination = prefix("10.77.0.0/26");
  routes[3].type = RouteType::blackhole;
  routes[4].destination = prefix("10.77.0.64/26");
  routes[4].type = RouteType::unreachable;
  routes[4].metric = 20;
  routes[5].destination = prefix("fd00::1/128");
  routes[5].oif = index;
  routes[6].destination = prefix("fd00::2/128");
  routes[6].oif = index;
  routes[6].metric = 7;
  routes[6].mtu = 1280;
  routes[7].destination = prefix("fd00:2::/64");
  routes[7].oif = index;
  routes[7].gateway = address("fe80::1");
  routes[7].onlink = true;
  routes[8].destination = prefix("fd00:77::/122");
  routes[8].type = RouteType::blackhole;
  routes[9].destination = prefix("fd00:78::/122");
  routes[9].type = RouteType::prohibit;
  routes[9].metric = 20;
  routes[10].destination = prefix("0.0.0.0/0");
  routes[10].oif = index;
  routes[10].gateway = address("fe80::1");  // IPv4 by way of an IPv6 neighbour
  routes[10].onlink = true;
  routes[11].destination = prefix("::/0");
  routes[11].oif = index;
  routes[11].gateway = address("fe80::1");
  routes[12].destination = prefix("10.0.0.3/32");
  routes[12].oif = index;
  routes[12].table = 1000;
  for (const auto& route : routes) {
    const Status status = done({ReplaceRoute{route}});
    ASSERT_TRUE(status.ok()) << status.error().message;
    EXPECT_EQ(normalise(route), route);
    EXPECT_TRUE(done({AddRoute{route}}).error().is(Code::exists)) << describe(AddRoute{route});
    // Again is no change and no error, and leaves one route.
    EXPECT_TRUE(done({ReplaceRoute{route}}).ok());
  }
  RouteFilter everywhere;
  everywhere.table.reset();
  everywhere.protocol = route_protocol;
  EXPECT_THAT(kernel->routes(everywhere).value(), ::testing::UnorderedElementsAreArray(routes));
  RouteFilter one_table;
  one_table.table = 1000;
  EXPECT_THAT(kernel->routes(one_table).value(), Contains(routes[12]));
  RouteFilter family;
  family.family = Family::v6;
  family.protocol = route_protocol;
  EXPECT_EQ(kernel->routes(family).value().size(), 6U);
  RouteFilter link = everywhere;
  link.oif = index;
  EXPECT_EQ(kernel->routes(link).value().size(), 9U);
  link.oif = 4711;
  EXPECT_THAT(kernel->routes(link).value(), IsEmpty());
  RouteFilter absent;
  absent.table = 4711;
  EXPECT_THAT(kernel->routes(absent).value(), IsEmpty());

  for (const auto& route : routes) {
    const Status status = done({RemoveRoute{route}});
    EXPECT_TRUE(status.ok()) << status.error().message;
    EXPECT_TRUE(done({RemoveRoute{route}}).error().is(Code::not_found)) << describe(RemoveRoute{route});
  }
  EXPECT_THAT(kernel->routes(everywhere).value(), IsEmpty());
}

TEST_F(NetlinkTest, RemoveRouteLeavesForeignRoutesAlone) {
  const int index = make_veth_up();
  for (const char* text : {"10.0.0.1/32", "fd00::1/128"}) {
    Route foreign;
    foreign.destination = prefix(text);
    foreign.oif = index;
    foreign.protocol = 3;  // boot
    Route black = foreign;
    black.oif = 0;
    black.type = RouteType::blackhole;
    ASSERT_TRUE(done({AddRoute{foreign}}).ok());
    Route ours_same = foreign;
    ours_same.protocol = route_protocol;
    EXPECT_TRUE(done({RemoveRoute{ours_same}}).error().is(Code::not_found)) << text;
    Route no_device = ours_same;
    no_device.oif = 0;
    EXPECT_TRUE(done({RemoveRoute{no_device}}).error().is(Code::not_found)) << text;
    Route wrong_type = black;
    EXPECT_TRUE(done({RemoveRoute{wrong_type}}).error().is(Code::not_found)) << text;
    RouteFilter filter;
    filter.protocol = 3;
    EXPECT_THAT(kernel->routes(filter).value(), Contains(foreign));
    // Protocol 0 means anybody's.
    foreign.protocol = 0;
    EXPECT_TRUE(done({RemoveRoute{foreign}}).ok()) << text;
  }
}

TEST_F(NetlinkTest, IPv6RemovalWithoutMetricDoesNotTakeAnotherMetric) {
  const int index = make_veth_up();
  Route other;
  other.destination = prefix("fd00::1/128");
  other.oif = index;
  other.metric = 50;
  ASSERT_TRUE(done({AddRoute{other}}).ok());
  Route standard = other;
  standard.metric = 0;
  EXPECT_TRUE(done({RemoveRoute{standard}}).error().is(Code::not_found));
  EXPECT_THAT(ours(), ElementsAre(other));
}

TEST_F(NetlinkTest, MultipathRoutesOfOthersAreListedByTheirFirstHop) {
  const int index = make_veth_up();
  ASSERT_TRUE(done({veth("host1", "eth1")}).ok());
  SetLink up;
  up.index = kernel->index_of("host1").value();
  up.up = true;
  ASSERT_TRUE(done({up}).ok());
  ASSERT_EQ(test::run_program(&host, {"ip", "route", "add", "10.5.0.0/16", "proto", "241", "nexthop", "via", "192.0.2.1", "dev", "host0",
                                      "onlink", "nexthop", "via", "192.0.2.2", "dev", "host1", "onlink"}),
            0);
  const auto routes = ours();
  ASSERT_EQ(routes.size(), 1U);
  EXPECT_TRUE(routes[0].multipath);
  EXPECT_EQ(routes[0].oif, index);
  EXPECT_EQ(routes[0].gateway, address("192.0.2.1"));
  EXPECT_EQ(kernel->lookup(address("10.5.1.1")).value().oif, index);
  EXPECT_TRUE(done({ReplaceRoute{routes[0]}}).error().is(Code::invalid));
}

TEST_F(NetlinkTest, LookupFindsTheLongestPrefix) {
  const int index = make_veth_up();
  Route wide;
  wide.destination = prefix("10.0.0.0/8");
  wide.oif = index;
  Route narrow = wide;
  narrow.destination = prefix("10.1.0.0/16");
  Route black;
  black.destination = prefix("10.1.1.0/24");
  black.type = RouteType::blackhole;
  Route wide6;
  wide6.destination = prefix("fd00::/16");
  wide6.oif = index;
  Route black6;
  black6.destination = prefix("fd00:1::/64");
  black6.type = RouteType::blackhole;
  ASSERT_TRUE(done({AddRoute{wide}, AddRoute{narrow}, AddRoute{black}, AddRoute{wide6}, AddRoute{black6}}).ok());
  EXPECT_EQ(kernel->lookup(address("10.2.0.1")).value(), wide);
  EXPECT_EQ(kernel->lookup(address("10.1.0.1")).value(), narrow);
  EXPECT_EQ(kernel->lookup(address("fd00::1")).value(), wide6);
  for (const char* text : {"10.1.1.1", "fd00:1::1", "192.0.2.1", "2001:db8::1"}) {
    const auto none = kernel->lookup(address(text));
    ASSERT_FALSE(none.ok()) << text;
    EXPECT_TRUE(none.error().is(Code::not_found)) << none.error().message;
  }
  EXPECT_EQ(kernel->lookup(address("127.0.0.1")).value().type, RouteType::local);
  EXPECT_EQ(kernel->lookup(address("::1"), 1).value().type, RouteType::local);
  // A filtered dump makes the kernel strict about later requests of the same socket, too.
  ASSERT_TRUE(kernel->routes({.protocol = route_protocol}).ok());
  EXPECT_EQ(kernel->lookup(address("fd00::1")).value(), wide6);
  EXPECT_EQ(kernel->lookup(address("fd00::1"), wide6.oif).value(), wide6);
  EXPECT_TRUE(kernel->lookup(address("fd00::1"), 1).error().is(Code::not_found));
}

TEST_F(NetlinkTest, NeighboursArePermanent) {
  const int index = make_veth_up();
  const Neighbour v4{index, address("10.0.0.1"), mac("02:00:00:00:00:01")};
  const Neighbour v6{index, address("fd00::1"), mac("02:00:00:00:00:01")};
  ASSERT_TRUE(done({ReplaceNeighbour{v4}, ReplaceNeighbour{v6}}).ok());
  EXPECT_THAT(kernel->neighbours(index).value(), UnorderedElementsAre(v4, v6));
  Neighbour moved = v4;
  moved.mac = mac("02:00:00:00:00:02");
  ASSERT_TRUE(done({ReplaceNeighbour{moved}, RemoveNeighbour{v6}}).ok());
  EXPECT_THAT(kernel->neighbours(0).value(), Contains(moved));
  EXPECT_THAT(kernel->neighbours(0).value(), Not(Contains(v6)));
  EXPECT_TRUE(done({RemoveNeighbour{v6}}).error().is(Code::not_found));
}

TEST_F(NetlinkTest, RulesAreOursByProtocol) {
  ASSERT_EQ(test::run_program(&host, {"ip", "rule", "add", "from", "10.0.0.9", "lookup", "100", "priority", "500"}), 0);
  const Rule v4{prefix("10.0.0.1/32"), 1000, 600};
  const Rule v6{prefix("fd00::1/128"), 100, 600};
  const Status status = done({AddRule{v4}, AddRule{v6}});
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_TRUE(done({AddRule{v4}}).error().is(Code::exists));
  EXPECT_THAT(kernel->rules(Family::v4).value(), ElementsAre(v4));
  EXPECT_THAT(kernel->rules(Family::v6).value(), ElementsAre(v6));
  EXPECT_TRUE(done({RemoveRule{Rule{prefix("10.0.0.9/32"), 100, 500}}}).error().is(Code::not_found));
  ASSERT_TRUE(done({RemoveRule{v4}, RemoveRule{v6}}).ok());
  EXPECT_THAT(kernel->rules(Family::v4).value(), IsEmpty());
}

TEST_F(NetlinkTest, ABatchGoesOnBehindAFailedRequest) {
  ASSERT_TRUE(done({veth()}).ok());
  const int index = kernel->index_of("host0").value();
  Route down;
  down.destination = prefix("10.0.0.1/32");
  down.oif = index;
  SetLink up;
  up.index = index;
  up.up = true;
  SetLink bad;  // no index
  Route unreachable;
  unreachable.destination = prefix("10.3.0.0/16");
  unreachable.oif = index;
  unreachable.gateway = address("192.0.2.1");
  Route no_device = down;
  no_device.oif = 4711;
  const std::vector<Request> batch{AddRoute{down}, bad, up, AddRoute{unreachable}, AddRoute{down}, AddRoute{no_device}};
  const auto failures = kernel->apply(batch).value();
  ASSERT_EQ(failures.size(), 4U);
  EXPECT_EQ(failures[0].index, 0U);
  EXPECT_EQ(failures[0].error.sys, ENETDOWN);
  EXPECT_TRUE(failures[0].error.is(Code::unavailable));
  EXPECT_THAT(failures[0].error.message, HasSubstr("add route 10.0.0.1/32 dev " + std::to_string(index) + ": Network is down"));
  EXPECT_EQ(failures[1].index, 1U);
  EXPECT_TRUE(failures[1].error.is(Code::invalid));
  EXPECT_EQ(failures[2].index, 3U);
  EXPECT_EQ(failures[2].error.sys, ENETUNREACH);
  EXPECT_THAT(failures[2].error.message, HasSubstr("Nexthop has invalid gateway"));  // the kernel's own words
  EXPECT_EQ(failures[3].index, 5U);
  EXPECT_EQ(failures[3].error.sys, ENODEV);
  EXPECT_THAT(ours(), ElementsAre(down));
}

TEST_F(NetlinkTest, LargeBatchesReportEveryFailure) {
  const int index = make_veth_up();
  std::vector<Request> batch;
  for (uint32_t i = 0; i < 10000; ++i) {
    Route route;
    route.destination = Prefix::host(address("10.0.0.0").plus(i / 2));
    route.oif = index;
    batch.emplace_back(AddRoute{route});
  }
  const auto failures = kernel->apply(batch).value();
  ASSERT_EQ(failures.size(), 5000U);  // the second of each pair
  for (size_t i = 0; i < failures.size(); ++i) {
    ASSERT_EQ(failures[i].index, 2 * i + 1);
    ASSERT_EQ(failures[i].error.sys, EEXIST);
  }
  EXPECT_EQ(ours().size(), 5000U);
}

TEST_F(NetlinkTest, InvalidRequestsNeverReachTheKernel) {
  CreateVeth slash = veth("a/b");
  SetLink alias;
  alias.index = 1;
  alias.alias = std::string(256, 'x');
  EXPECT_THAT(kernel->apply(std::vector<Request>{slash, alias, DeleteLink{}, DeleteGroup{0}}).value(), ::testing::SizeIs(4));
  EXPECT_TRUE(kernel->index_of(std::string(300, 'x')).error().is(Code::invalid));
  EXPECT_TRUE(kernel->index_of("").error().is(Code::invalid));
  EXPECT_TRUE(kernel->link(0).error().is(Code::invalid));
  EXPECT_TRUE(kernel->apply({}).value().empty());
}

TEST_F(NetlinkTest, MonitorTellsWhatChanged) {
  auto monitor = host.run([] {
    MonitorOptions options;
    options.addresses = true;
    return open_monitor(options);
  });
  ASSERT_TRUE(monitor.ok());
  EXPECT_THAT((*monitor)->read().value().events, IsEmpty());
  const int index = make_veth_up();
  Route black;
  black.destination = prefix("fd00:77::/122");
  black.type = RouteType::blackhole;
  Route route;
  route.destination = prefix("10.0.0.1/32");
  route.oif = index;
  const Neighbour neighbour{index, address("10.0.0.1"), mac("02:00:00:00:00:01")};
  const LinkAddress own{index, InterfaceAddress::parse("10.9.9.9/32").value()};
  ASSERT_TRUE(done({AddAddress{own}, AddRoute{black}, AddRoute{route}, ReplaceNeighbour{neighbour}, RemoveRoute{black}}).ok());
  pollfd ready{(*monitor)->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 5000), 1);
  const Events events = (*monitor)->read().value();
  EXPECT_FALSE(events.lost);
  const auto has = [&](auto&& wanted) { return std::ranges::any_of(events.events, wanted); };
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::link && !e.removed && e.link.name == "host0" && e.link.up; }));
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::address && !e.removed && e.address == own; }));
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::route && !e.removed && e.route == black; }));
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::route && e.removed && e.route == black; }));
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::route && !e.removed && e.route == route; }));
  EXPECT_TRUE(has([&](const Event& e) { return e.what == Event::What::neighbour && !e.removed && e.neighbour == neighbour; }));
  ASSERT_TRUE(done({DeleteLink{index}}).ok());
  const Events after = (*monitor)->read().value();
  EXPECT_TRUE(std::ranges::any_of(after.events, [&](const Event& e) { return e.what == Event::What::link && e.removed && e.link.index == index; }));
}

TEST_F(NetlinkTest, MonitorSaysThatEventsWereLost) {
  auto monitor = host.run([] {
    MonitorOptions options;
    options.receive_buffer = 4096;
    return open_monitor(options);
  });
  ASSERT_TRUE(monitor.ok());
  const int index = make_veth_up();
  std::vector<Request> batch;
  for (uint32_t i = 0; i < 1000; ++i) {
    Route route;
    route.destination = Prefix::host(address("10.0.0.0").plus(i));
    route.oif = index;
    batch.emplace_back(AddRoute{route});
  }
  ASSERT_TRUE(done(batch).ok());
  EXPECT_TRUE((*monitor)->read().value().lost);
  EXPECT_FALSE((*monitor)->read().value().lost);
  Route one;
  one.destination = prefix("10.200.0.1/32");
  one.oif = index;
  ASSERT_TRUE(done({AddRoute{one}}).ok());
  EXPECT_EQ((*monitor)->read().value().events.size(), 1U);
}

TEST(NetnsTest, OpensNetworkNamespacesOnly) {
  const NetnsFixture named(NetnsFixture::Kind::named);
  auto opened = open_netns(named.path());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened->inode, named.netns().inode);
  EXPECT_NE(opened->inode, current_netns_inode().value());
  EXPECT_EQ(named.run([] { return current_netns_inode().value(); }), opened->inode);
  EXPECT_TRUE(open_netns("/run/netns/firn-t-none").error().is(Code::not_found));
  for (const char* path : {"/proc/self/ns/mnt", "/etc/passwd", "/dev/null", "/tmp", ""}) {
    const auto wrong = open_netns(path);
    ASSERT_FALSE(wrong.ok()) << path;
    EXPECT_TRUE(wrong.error().is(Code::invalid)) << wrong.error().message;
  }
}

TEST(NetnsTest, AKernelStaysInTheNamespaceItWasOpenedIn) {
  const NetnsFixture first;
  const NetnsFixture second;
  auto kernel = first.kernel();
  CreateVeth create;
  create.name = "only0";
  create.peer_name = "only1";
  second.run([&] { EXPECT_TRUE(all_done(kernel->apply(std::vector<Request>{create})).ok()); });
  EXPECT_TRUE(kernel->index_of("only0").ok());
  EXPECT_TRUE(kernel->index_of("only1").ok());
  EXPECT_TRUE(second.kernel()->index_of("only0").error().is(Code::not_found));
}

}  // namespace
}  // namespace firn::netlink
