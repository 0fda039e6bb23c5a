// Compute: what this host should have, from endpoints, blocks and links; whatever the order in which they came.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "routed/blocks.hpp"
#include "routed/compute.hpp"

namespace firn::routed {
namespace {

Address address(std::string_view text) { return *Address::parse(text); }
Prefix prefix(std::string_view text) { return *Prefix::parse(text); }

netlink::Link veth(int index, const std::string& name, bool up = true) {
  netlink::Link out;
  out.index = index;
  out.name = name;
  out.kind = "veth";
  out.up = up;
  out.alias = "firn:net/" + name + "/eth0";
  return out;
}

model::Endpoint endpoint(const std::string& host_ifname, const std::vector<std::string>& addresses) {
  model::Endpoint out;
  out.network = "net";
  out.container_id = host_ifname;
  out.ifname = "eth0";
  out.host_ifname = host_ifname;
  out.mac = *Mac::parse("02:00:00:00:00:01");
  for (const auto& one : addresses) out.addresses.push_back(address(one));
  return out;
}

model::Block block(std::string_view cidr, model::Use use = model::Use::routed) {
  model::Block out;
  out.prefix = prefix(cidr);
  out.pool = "default";
  out.use = use;
  return out;
}

TEST(Compute, EndpointOnALiveLinkHasRouteAndNeighbourInBothFamilies) {
  Compute compute;
  const auto one = endpoint("firn1", {"10.0.0.1", "fd00::1"});
  compute.set_endpoint("a", &one);
  EXPECT_TRUE(compute.routes().empty());
  compute.set_link(veth(7, "firn1"));
  ASSERT_EQ(compute.routes().size(), 2U);
  const auto& route = compute.routes().at({prefix("10.0.0.1/32"), 0});
  EXPECT_EQ(route.oif, 7);
  EXPECT_EQ(route.protocol, 241);
  EXPECT_EQ(route.scope, 253);
  EXPECT_EQ(compute.routes().at({prefix("fd00::1/128"), 0}).scope, 0);
  ASSERT_EQ(compute.neighbours().size(), 2U);
  EXPECT_EQ(compute.neighbours().at({7, address("10.0.0.1")}).mac.to_string(), "02:00:00:00:00:01");
  const Changes changes = compute.take_changes();
  EXPECT_EQ(changes.routes.size(), 2U);
  EXPECT_TRUE(compute.take_changes().routes.empty());
}

TEST(Compute, DownDeadForeignOrMissingLinksCarryNothing) {
  const auto one = endpoint("firn1", {"10.0.0.1"});
  for (const int bad : {0, 1, 2}) {
    Compute compute;
    compute.set_endpoint("a", &one);
    compute.set_link(veth(7, "firn1"));
    ASSERT_EQ(compute.routes().size(), 1U);
    auto link = veth(7, "firn1");
    if (bad == 0) link.up = false;
    if (bad == 1) link.group = netlink::dead_group;
    if (bad == 2) link.kind = "";
    compute.set_link(link);
    EXPECT_TRUE(compute.routes().empty()) << bad;
    EXPECT_TRUE(compute.neighbours().empty()) << bad;
    EXPECT_EQ(compute.dead_links(), bad == 1 ? 1U : 0U);
  }
}

TEST(Compute, LinkThatComesBackUnderAnotherIndexMovesTheRoute) {
  Compute compute;
  const auto one = endpoint("firn1", {"10.0.0.1"});
  compute.set_endpoint("a", &one);
  compute.set_link(veth(7, "firn1"));
  compute.remove_link(7);
  compute.set_link(veth(9, "firn1"));
  EXPECT_EQ(compute.routes().at({prefix("10.0.0.1/32"), 0}).oif, 9);
  EXPECT_EQ(compute.neighbours().size(), 1U);
  EXPECT_TRUE(compute.neighbours().contains({9, address("10.0.0.1")}));
}

TEST(Compute, RenamedLinkIsNotTakenForItsOldName) {
  Compute compute;
  const auto one = endpoint("firn1", {"10.0.0.1"});
  compute.set_endpoint("a", &one);
  compute.set_link(veth(7, "firn1"));
  compute.set_link(veth(7, "other"));
  EXPECT_TRUE(compute.routes().empty());
}

TEST(Compute, OnlyRoutedBlocksAreBlackholes) {
  Compute compute;
  const auto routed = block("10.0.0.0/26"), bridged = block("10.0.1.0/26", model::Use::bridged);
  const auto six = block("fd00::/122");
  compute.set_block("r", &routed);
  compute.set_block("b", &bridged);
  compute.set_block("6", &six);
  ASSERT_EQ(compute.routes().size(), 2U);
  const auto& route = compute.routes().at({prefix("10.0.0.0/26"), 0});
  EXPECT_EQ(route.type, netlink::RouteType::blackhole);
  EXPECT_EQ(route.oif, 0);
  compute.set_block("r", nullptr);
  EXPECT_EQ(compute.routes().size(), 1U);
}

TEST(Compute, BlockOfOneAddressLivesBesideItsEndpoint) {
  Compute compute;
  const auto single = block("10.0.0.1/32");
  const auto one = endpoint("firn1", {"10.0.0.1"});
  compute.set_block("r", &single);
  compute.set_endpoint("a", &one);
  compute.set_link(veth(7, "firn1"));
  EXPECT_EQ(compute.routes().size(), 2U);
  EXPECT_EQ(compute.routes().at({prefix("10.0.0.1/32"), 0}).type, netlink::RouteType::unicast);
  EXPECT_EQ(compute.routes().at({prefix("10.0.0.1/32"), host_block_metric}).type, netlink::RouteType::blackhole);
}

TEST(Compute, AddressGivenTwiceGoesToOneAndFallsToTheOther) {
  Compute compute;
  const auto first = endpoint("firn1", {"10.0.0.1"}), second = endpoint("firn2", {"10.0.0.1"});
  compute.set_link(veth(7, "firn1"));
  compute.set_link(veth(8, "firn2"));
  compute.set_endpoint("b", &second);
  compute.set_endpoint("a", &first);
  EXPECT_EQ(compute.routes().at({prefix("10.0.0.1/32"), 0}).oif, 7);
  EXPECT_EQ(compute.neighbours().size(), 1U);
  compute.set_endpoint("a", nullptr);
  EXPECT_EQ(compute.routes().at({prefix("10.0.0.1/32"), 0}).oif, 8);
}

TEST(Compute, AddressesOfOtherPluginsInterfacesAreNotRouted) {
  Compute compute;
  auto one = endpoint("", {"10.0.0.1"});
  one.kind = model::EndpointKind::address;
  compute.set_endpoint("a", &one);
  EXPECT_TRUE(compute.routes().empty());
  EXPECT_EQ(compute.endpoints(), 0U);
}

// Whatever the order, with detours: the same wish, and the changes handed out add up to it.
TEST(Compute, OrderOfInputsDoesNotMatter) {
  std::mt19937 random(241);
  Routes expected;
  for (int run = 0; run < 50; ++run) {
    Compute compute;
    Routes followed;
    std::vector<std::function<void()>> steps;
    for (int i = 0; i < 12; ++i) {
      const std::string name = "firn" + std::to_string(i);
      steps.emplace_back([&compute, i, name] { compute.set_link(veth(10 + i, name, i % 5 != 0)); });
      steps.emplace_back([&compute, i, name] {
        const auto one = endpoint(name, {"10.0.0." + std::to_string(i / 2), "fd00::" + std::to_string(i)});
        compute.set_endpoint("h" + std::to_string(i), &one);
      });
      steps.emplace_back([&compute, i] {
        const auto one = block("10.0." + std::to_string(i) + ".0/26");
        compute.set_block("k" + std::to_string(i), &one);
      });
    }
    std::shuffle(steps.begin(), steps.end(), random);
    const auto play = [&] {
      for (const auto& step : steps) {
        step();
        for (auto& [key, route] : compute.take_changes().routes) {
          if (route) followed.insert_or_assign(key, *route);
          else followed.erase(key);
        }
      }
    };
    play();
    for (int i = 0; i < 12; i += 3) compute.remove_link(10 + i), compute.set_endpoint("h" + std::to_string(i), nullptr);
    play();
    EXPECT_EQ(followed, compute.routes());
    if (run == 0) expected = compute.routes();
    EXPECT_EQ(compute.routes(), expected);
  }
}

TEST(Blocks, SpareIsWantedForPoolsInUseOnly) {
  const auto with_free = [](std::string_view cidr, std::string pool, uint32_t last_free) {
    auto out = block(cidr);
    out.pool = std::move(pool);
    out.free = {{0, last_free, 0}};
    return out;
  };
  EXPECT_TRUE(pools_without_spare({}).empty());
  EXPECT_TRUE(pools_without_spare({with_free("10.0.0.0/30", "idle", 3)}).empty());
  const std::vector<model::Block> used{with_free("10.0.0.0/30", "busy", 2), with_free("10.0.1.0/30", "fine", 1),
                                       with_free("10.0.1.4/30", "fine", 3)};
  EXPECT_EQ(pools_without_spare(used), (std::vector<Shortage>{{"busy", model::Use::routed}}));
}

TEST(Blocks, EmptyOnesBeyondTheHighWaterMarkGoBack) {
  const auto block = [](const char* prefix, uint32_t free, int64_t released, const char* pool = "web") {
    return model::Block{*Prefix::parse(prefix), pool, model::Use::routed, {{0, free, released}}};
  };
  std::vector<model::Block> blocks{block("10.0.0.0/30", 2, 0), block("10.0.0.4/30", 3, 0), block("10.0.0.8/30", 3, 50)};
  EXPECT_TRUE(blocks_above_high_water(blocks, 100).empty());
  blocks.push_back(block("10.0.0.12/30", 3, 0));
  blocks.push_back(block("10.0.0.16/30", 3, 0, "other"));
  auto back = blocks_above_high_water(blocks, 100);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].prefix.to_string(), "10.0.0.12/30");
  // One that still cools is kept, and counts.
  back = blocks_above_high_water(blocks, 10);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].prefix.to_string(), "10.0.0.12/30");
}

}  // namespace
}  // namespace firn::routed
