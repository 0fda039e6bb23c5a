// Publication and the cluster as a whole: ipam/publish, ipam/across.
#include "ipam/across.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "ipam/pools.hpp"
#include "ipam/publish.hpp"
#include "tests/support/limited_store.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace keys = model::keys;
constexpr model::Use routed = model::Use::routed;

class AcrossTest : public ::testing::Test {
 protected:
  void SetUp() override {
    below = open_store(directory.file("cluster.db"));
    cluster = std::make_unique<test::LimitedStore>(*below);
    node = open_store(directory.file("node.db"));
    for (const char* name : {"a", "b"})
      put(*below, keys::node(name),
          model::encode(
              model::Node{.name = name, .machine_id = "m", .addresses = {}, .labels = {}, .as_number = {}, .joined_at = 1}));
    ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
    ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, std::nullopt, 1).ok());
    ASSERT_TRUE(claim_block(*cluster, {"b"}, "web", routed, std::nullopt, 1).ok());
    ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
    Options options;
    options.boot_id = "boot";
    allocator = std::make_unique<Allocator>(*node, clock, options);
  }
  void lease(const std::string& container) {
    model::Endpoint endpoint = make_endpoint(container);
    endpoint.netns = "/run/netns/" + container;
    ASSERT_TRUE(allocator->lease(endpoint, routed, {from_pool("web")}).ok());
  }
  void publish_here() { ASSERT_TRUE(publish_all(*cluster, model::Identity{.name = "a"}, *endpoints_to_publish(*node)).ok()); }
  void elsewhere(const std::string& on, const std::string& container, const std::string& address) {
    model::Endpoint endpoint = make_endpoint(container);
    endpoint.boot_id = "boot";
    endpoint.addresses = {ip(address)};
    put(*below, keys::published_endpoint(on, model::handle_of(endpoint)), model::encode(endpoint));
  }
  std::vector<std::string> problems() {
    const auto found = check_across(*cluster, *node, "a");
    EXPECT_TRUE(found.ok());
    std::vector<std::string> out;
    for (const Problem& one : *found)
      out.push_back(std::string(to_string(one.kind)) + " " + one.object + (one.fixable ? " *" : "") + ": " + one.words);
    return out;
  }

  TemporaryDirectory directory;
  test::ManualClock clock;
  std::unique_ptr<kv::Store> below, node;
  std::unique_ptr<test::LimitedStore> cluster;
  std::unique_ptr<Allocator> allocator;
};

TEST_F(AcrossTest, EndpointsArePublishedInBatchesAndOnlyTheDifference) {
  std::map<std::string, std::string> many;
  for (int i = 0; i < 250; ++i) {
    model::Endpoint endpoint = make_endpoint("c" + std::to_string(i));
    endpoint.boot_id = "boot";
    many[model::handle_of(endpoint)] = model::encode(endpoint);
  }
  auto done = publish_all(*cluster, model::Identity{.name = "a"}, many);
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->written, 250u);
  EXPECT_EQ(keys_below(*below, "published/a/").size(), 250u);
  many.erase("app/c7/eth0");
  many["app/c8/eth0"] = many["app/c9/eth0"];
  done = publish_all(*cluster, model::Identity{.name = "a"}, many);
  EXPECT_EQ(done->written, 1u);
  EXPECT_EQ(done->erased, 1u);
  EXPECT_EQ(publish_all(*cluster, model::Identity{.name = "a"}, many)->written, 0u);
  EXPECT_EQ(publish(*cluster, model::Identity{.name = "a"}, {{"app/c1/eth0", std::nullopt}, {"app/c1/eth1", "x"}})->erased, 1u);
  EXPECT_EQ(publish_all(*cluster, model::Identity{.name = "nobody"}, many).error().code, Code::not_found);
  EXPECT_THAT(keys_below(*below, "published/nobody/"), IsEmpty());
  EXPECT_EQ(*unpublish_node(*cluster, "a"), 249u);
}

// What broke off half-way is completed by the next comparison.
TEST_F(AcrossTest, APublicationThatBreaksOffIsCompletedByTheNext) {
  for (int i = 0; i < 60; ++i) lease(std::to_string(i));
  for (const bool written : {false, true}) {
    test::LimitedStore dying(*below);
    dying.break_at(1, written);
    EXPECT_FALSE(publish_all(dying, model::Identity{.name = "a"}, *endpoints_to_publish(*node)).ok());
    publish_here();
    EXPECT_THAT(problems(), IsEmpty());
    ASSERT_TRUE(unpublish_node(*cluster, "a").ok());
  }
}

TEST_F(AcrossTest, WhatOnlyTheHostCanUseIsNotPublished) {
  lease("x");
  publish_here();
  const auto published = model::decode_endpoint((*below->get(keys::published_endpoint("a", "app/x/eth0")))->value);
  EXPECT_EQ(published->netns, "");
  EXPECT_THAT(published->addresses, ElementsAre(ip("10.0.0.0")));
}

TEST_F(AcrossTest, UseOfThePoolsByHost) {
  lease("x");
  lease("y");
  publish_here();
  elsewhere("b", "z", "10.0.0.64");
  elsewhere("b", "borrower", "10.0.0.9");
  const auto across = read_across(*cluster);
  ASSERT_TRUE(across.ok());
  const auto use = use_of(*across);
  ASSERT_EQ(use.size(), 1u);
  EXPECT_EQ(use[0].blocks, 4u);
  EXPECT_EQ(use[0].claimed, 2u);
  EXPECT_EQ(use[0].used, 4u);
  EXPECT_EQ(use[0].borrowed, 1u);
  const NodeUse& a = use[0].nodes.at("a");
  EXPECT_EQ(a.used, 2u);
  EXPECT_EQ(a.lent, 1u);
  EXPECT_EQ(a.free(), 61u);
  EXPECT_EQ(use[0].nodes.at("b").borrowed, 1u);
  EXPECT_EQ(use[0].nodes.at("b").free(), 63u);
}

TEST_F(AcrossTest, EveryContradictionIsFoundAndTheSafeOnesAreFixed) {
  lease("x");
  lease("y");
  publish_here();
  EXPECT_THAT(problems(), IsEmpty());

  elsewhere("b", "twin", "10.0.0.0");    // of a's block, and a's container has it
  elsewhere("b", "lost", "10.0.0.200");  // of no claimed block
  elsewhere("b", "other", "192.0.2.1");  // of no pool: not the cluster's
  elsewhere("gone", "ghost", "10.0.0.65");
  put(*below, keys::claim("web", net("10.0.0.128/26")),
      model::encode(model::Claim{net("10.0.0.128/26"), "web", "gone", routed, 1}));
  put(*below, keys::claim("old", net("10.9.0.0/26")), model::encode(model::Claim{net("10.9.0.0/26"), "old", "b", routed, 1}));
  put(*below, keys::claim("web", net("10.0.0.0/27")), model::encode(model::Claim{net("10.0.0.0/27"), "web", "b", routed, 1}));
  erase(*below, keys::published_endpoint("a", "app/y/eth0"));
  elsewhere("a", "ended", "10.0.0.5");
  put(*below, keys::published_endpoint("b", "app/bad/eth0"), "{}");
  EXPECT_THAT(
      problems(),
      testing::UnorderedElementsAre(
          HasSubstr("damaged published/b/app/bad/eth0: in the cluster store"),
          AllOf(HasSubstr("blocks-overlap 10.0.0.0/27"), HasSubstr("claimed by node b, and node a has 10.0.0.0/26")),
          HasSubstr("claim-without-node 10.0.0.128/26: of pool web is claimed by node gone"),
          HasSubstr("block-outside-pool 10.9.0.0/26: of pool old is claimed by node b, and no pool has its addresses"),
          HasSubstr("address-in-two-places 10.0.0.0: is used by app/x/eth0 on node a and by app/twin/eth0 on node b"),
          HasSubstr("published-outside-block 10.0.0.200: is used by app/lost/eth0 on node b, in a block that nobody has claimed"),
          HasSubstr(
              "published-outside-block 10.0.0.65: is used by app/ghost/eth0 on node gone, in block 10.0.0.64/26, which node b"),
          HasSubstr("published-outside-block 10.0.0.0"), HasSubstr("published-outside-block 10.0.0.5"),
          HasSubstr("published-without-node gone *: has published 1 endpoints"), HasSubstr("publication-missing app/y/eth0 *"),
          HasSubstr("publication-stale app/ended/eth0 *")));
  erase(*below, keys::claim("web", net("10.0.0.0/27")));
  const auto report = fix_across(*cluster, *node, model::Identity{.name = "a"});
  ASSERT_TRUE(report.ok()) << report.error().message;
  std::vector<std::string> fixed;
  for (const Problem& one : report->fixed) fixed.emplace_back(to_string(one.kind));
  EXPECT_THAT(fixed, testing::UnorderedElementsAre("published-without-node", "publication-missing", "publication-stale",
                                                   "published-outside-block"));
  EXPECT_EQ(report->left.size(), 6u);
  EXPECT_EQ(keys_below(*below, "published/a/").size(), 2u);
}

TEST_F(AcrossTest, APoolThatWasLeftHalfWayIsCompleted) {
  model::Pool pool = make_pool("new", "10.1.0.0/24", 26);
  pool.moving_from = {"old"};
  put(*below, keys::pool("new"), model::encode(pool));
  put(*below, keys::claim("old", net("10.1.0.0/26")), model::encode(model::Claim{net("10.1.0.0/26"), "old", "b", routed, 1}));
  EXPECT_THAT(problems(), ElementsAre(HasSubstr("pool-incomplete new *: takes blocks over from old")));
  EXPECT_EQ(fix_across(*cluster, *node, model::Identity{.name = "a"})->left.size(), 0u);
  EXPECT_THAT(keys_below(*below, "claim/new/"), ElementsAre(keys::claim("new", net("10.1.0.0/26"))));
}

}  // namespace
}  // namespace firn::ipam
