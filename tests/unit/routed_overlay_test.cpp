// Overlay: from pools, nodes, claims, links and addresses to what leads to the blocks of other hosts.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "routed/compute.hpp"

namespace firn::routed {
namespace {

using model::RoutingMode;

Address address(std::string_view text) { return *Address::parse(text); }
Prefix prefix(std::string_view text) { return *Prefix::parse(text); }

netlink::Link ethernet(int index, const std::string& name, bool up = true) {
  netlink::Link out;
  out.index = index;
  out.name = name;
  out.up = up;
  out.mtu = 1500;
  return out;
}

netlink::Link vxlan(int index, Family underlay, const Mac& mac) {
  netlink::Link out = ethernet(index, std::string(vxlan_name(underlay)));
  out.kind = "vxlan";
  out.mac = mac;
  out.vxlan = netlink::Vxlan{.vni = vxlan_vni, .port = vxlan_port, .local = address(underlay == Family::v4 ? "192.0.2.1" : "2001:db8:1::1")};
  return out;
}

model::Node node(const std::string& name, const std::vector<std::string>& addresses) {
  model::Node out;
  out.name = name;
  for (const auto& one : addresses) out.addresses.push_back(address(one));
  return out;
}

model::Pool pool(const std::string& name, std::string_view cidr, RoutingMode mode, bool cross_subnet = false) {
  model::Pool out;
  out.name = name;
  out.cidr = prefix(cidr);
  out.mode = mode;
  out.cross_subnet = cross_subnet;
  return out;
}

model::Claim claim(const std::string& pool, std::string_view block, const std::string& owner, model::Use use = model::Use::routed) {
  model::Claim out;
  out.pool = pool;
  out.prefix = prefix(block);
  out.node = owner;
  out.use = use;
  return out;
}

// This host is a (192.0.2.1/24 and 2001:db8:1::1/64 on eth0); b is its neighbour, c is elsewhere, d has IPv6 alone.
struct OverlayTest : testing::Test {
  OverlayTest() {
    overlay.set_link(ethernet(2, "eth0"));
    overlay.set_address({2, *InterfaceAddress::parse("192.0.2.1/24")}, true);
    overlay.set_address({2, *InterfaceAddress::parse("2001:db8:1::1/64")}, true);
    view.self = "a";
    view.nodes = {node("a", {"192.0.2.1", "2001:db8:1::1"}), node("b", {"192.0.2.2", "2001:db8:1::2"}), node("c", {"198.51.100.3"}),
                  node("d", {"2001:db8:2::4"})};
  }
  void take() {
    overlay.set_cluster(view);
    overlay.settle();
  }
  std::optional<netlink::Route> route(std::string_view block) const { return overlay.route_to(prefix(block)); }
  void add_devices() {
    overlay.set_link(vxlan(8, Family::v4, vxlan_mac("a")));
    overlay.set_link(vxlan(9, Family::v6, vxlan_mac("a")));
    overlay.settle();
  }

  Overlay overlay;
  ClusterView view;
};

TEST_F(OverlayTest, BlocksOfBgpPoolsAndThisHostsOwnAreNotItsBusiness) {
  view.pools = {pool("web", "10.1.0.0/16", RoutingMode::bgp), pool("near", "10.2.0.0/16", RoutingMode::direct)};
  view.claims = {claim("web", "10.1.0.0/26", "b"), claim("near", "10.2.0.0/26", "a"), claim("near", "10.2.0.64/26", "b", model::Use::bridged)};
  take();
  for (const char* block : {"10.1.0.0/26", "10.2.0.0/26", "10.2.0.64/26"}) EXPECT_FALSE(route(block).has_value()) << block;
  EXPECT_EQ(overlay.wish(), Overlay::Wish{});
  EXPECT_EQ(overlay.unreachable(), 0U);
}

TEST_F(OverlayTest, DirectLeadsToTheOwnersAddressOnTheSharedLink) {
  view.pools = {pool("near", "10.2.0.0/16", RoutingMode::direct), pool("near6", "fd02::/112", RoutingMode::direct)};
  view.claims = {claim("near", "10.2.0.64/26", "b"), claim("near6", "fd02::40/122", "b"), claim("near", "10.2.0.5/32", "b")};
  take();
  ASSERT_TRUE(route("10.2.0.64/26").has_value());
  EXPECT_EQ(route("10.2.0.64/26")->oif, 2);
  EXPECT_EQ(route("10.2.0.64/26")->gateway, address("192.0.2.2"));
  EXPECT_FALSE(route("10.2.0.64/26")->onlink);
  EXPECT_EQ(route("fd02::40/122")->gateway, address("2001:db8:1::2"));
  EXPECT_EQ(route("10.2.0.5/32")->gateway, address("192.0.2.2")) << "a borrowed address is a block like any other";
  EXPECT_EQ(overlay.wish(), Overlay::Wish{}) << "no link, no entries";
}

TEST_F(OverlayTest, DirectWithoutASharedLayer2IsNamed) {
  view.pools = {pool("near", "10.2.0.0/16", RoutingMode::direct)};
  view.claims = {claim("near", "10.2.0.64/26", "c")};
  take();
  EXPECT_FALSE(route("10.2.0.64/26").has_value());
  EXPECT_EQ(overlay.unreachable(), 1U);
  EXPECT_NE(overlay.trouble().find("block 10.2.0.64/26 of pool near has no route: node c (198.51.100.3) is on no layer 2"), std::string::npos)
      << overlay.trouble();
  overlay.set_link(ethernet(3, "eth1"));
  overlay.set_address({3, *InterfaceAddress::parse("198.51.100.1/24")}, true);
  EXPECT_EQ(overlay.settle(), std::set{prefix("10.2.0.64/26")});
  EXPECT_EQ(route("10.2.0.64/26")->oif, 3);
  EXPECT_EQ(overlay.unreachable(), 0U);
}

TEST_F(OverlayTest, VxlanWantsLinksFirstAndEverythingElseOnceTheyAreThere) {
  view.pools = {pool("far", "10.3.0.0/16", RoutingMode::vxlan), pool("far6", "fd03::/112", RoutingMode::vxlan)};
  view.claims = {claim("far", "10.3.0.0/26", "b"), claim("far", "10.3.0.64/26", "c"), claim("far", "10.3.0.128/26", "d"),
                 claim("far6", "fd03::/122", "b")};
  take();
  const auto& links = overlay.wish().links;
  ASSERT_EQ(links.size(), 2U);
  const OverlayLink& four = links.at("firn-vxlan");
  EXPECT_EQ(four.mtu, 1450);
  EXPECT_EQ(four.mac, vxlan_mac("a"));
  EXPECT_EQ(four.vxlan, (netlink::Vxlan{vxlan_vni, 4789, address("192.0.2.1"), false, std::nullopt}));
  EXPECT_EQ(links.at("firn-vxlan6").mtu, 1430);
  EXPECT_EQ(links.at("firn-vxlan6").vxlan.local, address("2001:db8:1::1"));
  EXPECT_FALSE(route("10.3.0.0/26").has_value());
  EXPECT_EQ(overlay.unreachable(), 4U);

  overlay.set_link(vxlan(8, Family::v4, vxlan_mac("a")));
  overlay.set_link(vxlan(9, Family::v6, vxlan_mac("a")));
  EXPECT_EQ(overlay.settle().size(), 4U);
  EXPECT_EQ(overlay.unreachable(), 0U);
  EXPECT_EQ(route("10.3.0.0/26")->oif, 8) << "also to a neighbour: cross_subnet is off";
  EXPECT_EQ(route("10.3.0.0/26")->gateway, address("192.0.2.2"));
  EXPECT_TRUE(route("10.3.0.0/26")->onlink);
  EXPECT_EQ(route("10.3.0.64/26")->gateway, address("198.51.100.3"));
  EXPECT_EQ(route("10.3.0.128/26")->oif, 9);
  EXPECT_EQ(route("10.3.0.128/26")->gateway, vxlan_mac("d").link_local()) << "an IPv4 block over IPv6";
  EXPECT_EQ(route("fd03::/122")->oif, 8);
  EXPECT_EQ(route("fd03::/122")->gateway, vxlan_mac("b").link_local()) << "an IPv6 block over IPv4";
  const Overlay::Wish& wish = overlay.wish();
  EXPECT_EQ(wish.forwards.size(), 3U);
  EXPECT_EQ(wish.forwards.at({8, vxlan_mac("c")}).destination, address("198.51.100.3"));
  EXPECT_EQ(wish.forwards.at({9, vxlan_mac("d")}).destination, address("2001:db8:2::4"));
  EXPECT_EQ(wish.neighbours.size(), 5U);
  EXPECT_EQ(wish.neighbours.at({8, address("192.0.2.2")}).mac, vxlan_mac("b"));
  EXPECT_EQ(wish.neighbours.at({9, vxlan_mac("d").link_local()}).mac, vxlan_mac("d"));

  overlay.remove_link(8);
  overlay.settle();
  EXPECT_FALSE(route("10.3.0.0/26").has_value());
  EXPECT_TRUE(route("10.3.0.128/26").has_value());
}

TEST_F(OverlayTest, CrossSubnetEncapsulatesOnlyWhereThereIsNoSharedLayer2) {
  view.pools = {pool("far", "10.3.0.0/16", RoutingMode::vxlan, true)};
  view.claims = {claim("far", "10.3.0.0/26", "b"), claim("far", "10.3.0.64/26", "c")};
  take();
  add_devices();
  EXPECT_EQ(route("10.3.0.0/26")->oif, 2);
  EXPECT_EQ(route("10.3.0.64/26")->oif, 8);
  overlay.set_link(ethernet(2, "eth0", false));
  overlay.settle();
  EXPECT_EQ(route("10.3.0.0/26")->oif, 8) << "the shared link is down";
}

TEST_F(OverlayTest, AModeChangesWhileThePoolIsInUse) {
  view.pools = {pool("web", "10.1.0.0/16", RoutingMode::bgp)};
  view.claims = {claim("web", "10.1.0.0/26", "b")};
  take();
  add_devices();
  EXPECT_FALSE(route("10.1.0.0/26").has_value());
  view.pools[0].mode = RoutingMode::direct;
  overlay.set_cluster(view);
  EXPECT_EQ(overlay.settle().size(), 1U);
  EXPECT_EQ(route("10.1.0.0/26")->oif, 2);
  view.pools[0].mode = RoutingMode::vxlan;
  take();
  EXPECT_EQ(route("10.1.0.0/26")->oif, 8);
  EXPECT_FALSE(overlay.wish().links.empty());
  view.pools[0].mode = RoutingMode::direct;
  take();
  EXPECT_EQ(route("10.1.0.0/26")->oif, 2);
  EXPECT_TRUE(overlay.wish().links.empty());
  view.claims.clear();
  take();
  EXPECT_FALSE(route("10.1.0.0/26").has_value());
}

TEST_F(OverlayTest, AClaimOutsideItsPoolOrOfAnUnknownNodeIsNoRoute) {
  view.pools = {pool("near", "10.2.0.0/16", RoutingMode::direct)};
  view.claims = {claim("near", "0.0.0.0/0", "b"), claim("near", "192.0.2.0/24", "b"), claim("gone", "10.9.0.0/26", "b"),
                 claim("near", "10.2.0.0/26", "nobody")};
  take();
  for (const auto& one : view.claims) EXPECT_FALSE(overlay.route_to(one.prefix).has_value()) << one.prefix.to_string();
  EXPECT_NE(overlay.trouble().find("node nobody has no address in the cluster"), std::string::npos) << overlay.trouble();
}

TEST_F(OverlayTest, TheOrderOfInputsDoesNotMatter) {
  view.pools = {pool("far", "10.3.0.0/16", RoutingMode::vxlan, true), pool("near", "10.2.0.0/16", RoutingMode::direct)};
  view.claims = {claim("far", "10.3.0.0/26", "b"), claim("far", "10.3.0.64/26", "c"), claim("far", "10.3.0.128/26", "d"),
                 claim("near", "10.2.0.0/26", "b"), claim("near", "10.2.0.64/26", "a")};
  take();
  add_devices();
  std::mt19937 random(7);
  for (int attempt = 0; attempt < 50; ++attempt) {
    Overlay other;
    std::vector<std::function<void()>> steps;
    steps.push_back([&] { other.set_self("a"); });
    for (const auto& one : view.pools) steps.push_back([&] { other.set_pool(one.name, &one); });
    for (const auto& one : view.nodes) steps.push_back([&] { other.set_node(one.name, &one); });
    for (const auto& one : view.claims) steps.push_back([&] { other.set_claim(one.pool, one.prefix, &one); });
    steps.push_back([&] { other.set_link(ethernet(2, "eth0")); });
    steps.push_back([&] { other.set_address({2, *InterfaceAddress::parse("192.0.2.1/24")}, true); });
    steps.push_back([&] { other.set_address({2, *InterfaceAddress::parse("2001:db8:1::1/64")}, true); });
    steps.push_back([&] { other.set_link(vxlan(8, Family::v4, vxlan_mac("a"))); });
    steps.push_back([&] { other.set_link(vxlan(9, Family::v6, vxlan_mac("a"))); });
    std::shuffle(steps.begin(), steps.end(), random);
    std::map<Prefix, Overlay::Route> told;
    for (const auto& step : steps) {
      step();
      for (const Prefix& block : other.settle()) told[block] = other.route_to(block);
    }
    EXPECT_EQ(other.wish(), overlay.wish());
    for (const auto& one : view.claims) {
      EXPECT_EQ(other.route_to(one.prefix), overlay.route_to(one.prefix)) << one.prefix.to_string();
      EXPECT_EQ(told[one.prefix], overlay.route_to(one.prefix)) << one.prefix.to_string() << ": every change is told";
    }
  }
}

TEST(ComputeOverlay, ABlockOfThisHostComesBeforeAnotherHostsClaim) {
  Compute compute;
  compute.set_link(ethernet(2, "eth0"));
  compute.overlay().set_address({2, *InterfaceAddress::parse("192.0.2.1/24")}, true);
  model::Block own;
  own.prefix = prefix("10.2.0.64/26");
  own.pool = "near";
  compute.set_block("k", &own);
  compute.overlay().set_cluster({"a",
                                 {pool("near", "10.2.0.0/16", RoutingMode::direct)},
                                 {node("a", {"192.0.2.1"}), node("b", {"192.0.2.2"})},
                                 {claim("near", "10.2.0.64/26", "b"), claim("near", "10.2.0.7/32", "b")}});
  Changes changes = compute.take_changes();
  EXPECT_EQ(changes.routes.at({own.prefix, 0})->type, netlink::RouteType::blackhole);
  EXPECT_EQ(changes.routes.at({prefix("10.2.0.7/32"), host_block_metric})->gateway, address("192.0.2.2"));
  compute.set_block("k", nullptr);
  changes = compute.take_changes();
  EXPECT_EQ(changes.routes.at({own.prefix, 0})->gateway, address("192.0.2.2"));
}

}  // namespace
}  // namespace firn::routed
