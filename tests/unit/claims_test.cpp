#include "ipam/claims.hpp"
#include "ipam/mirror.hpp"
#include "ipam/pools.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/block.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace keys = model::keys;
constexpr model::Use routed = model::Use::routed;

class ClaimsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster = open_store(directory.file("cluster.db"));
    node = open_store(directory.file("node.db"));
  }
  void reserve(const std::string& cidr) {
    put(*cluster, keys::reservation(net(cidr)), model::encode(model::Reservation{net(cidr), "router"}));
  }
  // The first blocks of the pool 10.0.0.0/16, for node x.
  void claim_first(const std::string& pool, unsigned count) {
    const auto done = cluster->transact([&](kv::Transaction& tx) -> Status {
      for (unsigned i = 0; i < count; ++i) {
        const Prefix prefix = Prefix::of(ip("10.0.0.0").plus(64 * i), 26);
        tx.put(keys::claim(pool, prefix), model::encode(model::Claim{prefix, pool, "x", routed, 0}));
      }
      return {};
    });
    ASSERT_TRUE(done.ok());
  }
  std::string claim(const std::string& node_name, const std::string& pool, std::optional<Address> wanted = std::nullopt,
                    model::Use use = routed) {
    const auto claimed = claim_block(*cluster, {node_name}, pool, use, wanted, 1);
    return claimed ? claimed->prefix.to_string() : "error: " + claimed.error().message;
  }

  TemporaryDirectory directory;
  std::unique_ptr<kv::Store> cluster, node;
  test::ManualClock clock;
};

TEST_F(ClaimsTest, ValidationNamesTheField) {
  EXPECT_TRUE(validate(make_pool("web", "10.0.0.0/16", 26)).ok());
  EXPECT_TRUE(validate(make_pool("web", "fd00::/48", 116)).ok());
  EXPECT_TRUE(validate(make_pool("web", "10.0.0.1/32", 32)).ok());
  const auto message = [](const model::Pool& pool) { return validate(pool).error().message; };
  EXPECT_THAT(message(make_pool("Web", "10.0.0.0/16", 26)), HasSubstr("pool name"));
  EXPECT_THAT(message(make_pool("net-a", "10.0.0.0/16", 26)), HasSubstr("name: names that begin with \"net-\""));
  EXPECT_THAT(message(make_pool("web", "10.0.0.0/16", 19)), HasSubstr("block_size: must be 20 to 32 for IPv4, not 19"));
  EXPECT_THAT(message(make_pool("web", "fd00::/48", 115)), HasSubstr("block_size: must be 116 to 128 for IPv6"));
  EXPECT_THAT(message(make_pool("web", "10.0.0.0/28", 26)), HasSubstr("block_size: a block of /26 is larger than the pool"));
  for (const char* cidr :
       {"224.0.0.0/16", "127.0.0.0/16", "169.254.0.0/16", "0.0.0.0/0", "ff00::/16", "fe80::/64", "0.0.0.0/1", "96.0.0.0/3",
        "128.0.0.0/1", "0.1.0.0/16", "192.0.0.0/2", "224.0.0.0/3", "::/0", "::/64", "::1/128", "8000::/1"}) {
    EXPECT_THAT(message(make_pool("web", cidr, net(cidr).address().is_v4() ? 26 : 122)), HasSubstr("cidr: ")) << cidr;
  }
}

TEST_F(ClaimsTest, PoolsHaveUniqueNamesAndAddresses) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  EXPECT_EQ(create_pool(*cluster, make_pool("web", "10.9.0.0/16", 26)).error().code, Code::exists);
  const auto overlapping = create_pool(*cluster, make_pool("db", "10.0.4.0/24", 26));
  EXPECT_EQ(overlapping.error().code, Code::conflict);
  EXPECT_EQ(overlapping.error().message, "pool db (10.0.4.0/24) overlaps with pool web (10.0.0.0/16)");
  EXPECT_TRUE(create_pool(*cluster, make_pool("db", "10.1.0.0/16", 26)).ok());
}

TEST_F(ClaimsTest, CidrAndBlockSizeOfAPoolNeverChange) {
  model::Pool pool = make_pool("web", "10.0.0.0/16", 26);
  EXPECT_EQ(update_pool(*cluster, pool).error().code, Code::not_found);
  ASSERT_TRUE(create_pool(*cluster, pool).ok());
  pool.disabled = true;
  pool.node_selector = {{"rack", "1"}};
  pool.mode = model::RoutingMode::vxlan;
  pool.cross_subnet = pool.strict = true;
  pool.advertise = false;
  EXPECT_TRUE(update_pool(*cluster, pool).ok());
  EXPECT_EQ((*cluster->get(keys::pool("web")))->value, model::encode(pool));
  model::Pool moved = pool;
  moved.cidr = net("10.1.0.0/16");
  EXPECT_THAT(update_pool(*cluster, moved).error().message, HasSubstr("cidr: cannot change from 10.0.0.0/16"));
  moved = pool;
  moved.block_size = 27;
  EXPECT_THAT(update_pool(*cluster, moved).error().message, HasSubstr("block_size: cannot change from 26"));
  moved = pool;
  moved.mode = model::RoutingMode::direct;
  EXPECT_THAT(update_pool(*cluster, moved).error().message, HasSubstr("cross_subnet: belongs to mode vxlan, not direct"));
}

TEST_F(ClaimsTest, TheLowestUnclaimedBlockIsClaimed) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/29", 31)).ok());
  EXPECT_EQ(claim("a", "web"), "10.0.0.0/31");
  EXPECT_EQ(claim("b", "web", ip("10.0.0.5")), "10.0.0.4/31");
  EXPECT_EQ(claim("b", "web", ip("10.0.0.4")), "10.0.0.4/31") << "the owner may claim again";
  EXPECT_EQ(claim("a", "web"), "10.0.0.2/31");
  EXPECT_EQ(claim("a", "web"), "10.0.0.6/31");
  EXPECT_THAT(claim("a", "web"), HasSubstr("every block of pool web (10.0.0.0/29) is claimed or reserved"));
  EXPECT_THAT(claim("a", "web", ip("10.0.0.5")), HasSubstr("is owned by node b"));
  EXPECT_THAT(claim("b", "web", ip("10.0.0.5"), model::Use::bridged), HasSubstr("a block has one use"));
  EXPECT_THAT(claim("a", "web", ip("10.0.1.5")), HasSubstr("is not inside pool web"));
  EXPECT_THAT(claim("a", "none"), HasSubstr("pool none does not exist"));
  EXPECT_EQ(claims_of(*cluster, "a")->size(), 3u);
  const auto claims = claims_of(*cluster, "b");
  ASSERT_EQ(claims->size(), 1u);
  model::Claim stranger = claims->at(0);
  stranger.node = "a";
  EXPECT_EQ(give_up_block(*cluster, stranger).error().code, Code::conflict);
  EXPECT_TRUE(give_up_block(*cluster, claims->at(0)).ok());
  EXPECT_TRUE(give_up_block(*cluster, claims->at(0)).ok());
  EXPECT_EQ(claim("a", "web"), "10.0.0.4/31");
}

TEST_F(ClaimsTest, InALargePoolEveryNodeHasPlacesOfItsOwn) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  claim_first("web", 31);
  EXPECT_EQ(claim("a", "web"), "10.0.7.192/26") << "the lowest, as long as it is among the first";
  const std::string one = claim("a", "web"), two = claim("b", "web");
  EXPECT_THAT((std::vector{one, two}), ::testing::Each(::testing::AllOf(::testing::StartsWith("10.0."), ::testing::Ne("10.0.8.0/26"))));
  EXPECT_NE(one, two);
}

TEST_F(ClaimsTest, ManyClaimsAndLargeReservations) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  claim_first("web", 700);
  reserve("10.0.175.128/25");
  reserve("10.0.176.0/20");
  reserve("10.0.192.64/26");
  reserve("10.0.192.128/25");
  for (const char* rest : {"10.0.193.0/24", "10.0.194.0/23", "10.0.196.0/22", "10.0.200.0/21", "10.0.208.0/20", "10.0.224.0/19"}) reserve(rest);
  EXPECT_EQ(claim("b", "web"), "10.0.175.0/26") << "every claim is read before a pool is called full";
  EXPECT_EQ(claim("b", "web"), "10.0.175.64/26");
  EXPECT_EQ(claim("b", "web"), "10.0.192.0/26");
  EXPECT_THAT(claim("b", "web"), HasSubstr("every block of pool web"));
  ASSERT_TRUE(create_pool(*cluster, make_pool("six", "fd00::/48", 122)).ok());
  reserve("fd00::/49");
  EXPECT_EQ(claim("b", "six"), "fd00:0:0:8000::/122");
  reserve("fd00:0:0:8000::/49");
  EXPECT_THAT(claim("b", "six"), HasSubstr("every block of pool six"));
}

TEST_F(ClaimsTest, SelectorsAndDisabledPools) {
  model::Pool pool = make_pool("web", "10.0.0.0/16", 26);
  pool.node_selector = {{"rack", "1"}};
  ASSERT_TRUE(create_pool(*cluster, pool).ok());
  EXPECT_THAT(claim("a", "web"), HasSubstr("has not joined"));
  model::Node record;
  record.name = "a";
  record.machine_id = "m";
  record.labels = {{"rack", "2"}};
  put(*cluster, keys::node("a"), model::encode(record));
  EXPECT_EQ(claim_block(*cluster, {"a"}, "web", routed, std::nullopt, 1).error().code, Code::denied);
  EXPECT_THAT(claim("a", "web"), HasSubstr("rack=1"));
  record.labels = {{"rack", "1"}};
  put(*cluster, keys::node("a"), model::encode(record));
  EXPECT_EQ(claim("a", "web"), "10.0.0.0/26");
  pool.disabled = true;
  ASSERT_TRUE(update_pool(*cluster, pool).ok());
  EXPECT_EQ(claim_block(*cluster, {"a"}, "web", routed, std::nullopt, 1).error().code, Code::denied);
}

TEST_F(ClaimsTest, MirrorCopiesPoolsReservationsAndClaims) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  reserve("10.0.0.0/30");
  claim("a", "web");
  claim("b", "web");
  EXPECT_TRUE(*mirror(*cluster, *node, "a"));
  EXPECT_FALSE(*mirror(*cluster, *node, "a"));
  EXPECT_THAT(keys_below(*node, "pool/"), ElementsAre("pool/web"));
  EXPECT_EQ(keys_below(*node, "reservation/").size(), 1u);
  EXPECT_THAT(keys_below(*node, "block/"), ElementsAre(keys::block(routed, "web", net("10.0.0.0/26"))));
  EXPECT_EQ(keys_below(*node, "available/").size(), 1u);
  erase(*cluster, keys::reservation(net("10.0.0.0/30")));
  EXPECT_TRUE(*mirror(*cluster, *node, "a"));
  EXPECT_THAT(keys_below(*node, "reservation/"), IsEmpty());
}

TEST_F(ClaimsTest, MirrorSaysWhatEncapsulationAdds) {
  const auto overhead = [&] {
    EXPECT_TRUE(mirror(*cluster, *node, "a").ok());
    return model::decode_pool((*node->get(keys::pool("web")))->value)->overhead;
  };
  model::Pool pool = make_pool("web", "10.0.0.0/16", 26);
  ASSERT_TRUE(create_pool(*cluster, pool).ok());
  EXPECT_EQ(overhead(), 0);
  pool.mode = model::RoutingMode::vxlan;
  ASSERT_TRUE(update_pool(*cluster, pool).ok());
  model::Node record{"a", "m", {ip("192.0.2.1"), ip("2001:db8::1")}, {}, std::nullopt, 1};
  put(*cluster, keys::node("a"), model::encode(record));
  EXPECT_EQ(overhead(), 50);
  record = {"b", "m", {ip("2001:db8::2")}, {}, std::nullopt, 1};
  put(*cluster, keys::node("b"), model::encode(record));
  EXPECT_EQ(overhead(), 70);
  EXPECT_EQ(model::decode_pool((*cluster->get(keys::pool("web")))->value)->overhead, 0) << "the copy alone";
}

TEST_F(ClaimsTest, MirrorNeverFreesALeasedAddress) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  claim("a", "web");
  put(*node, keys::lease(ip("10.0.0.3")), model::encode(model::Lease{ip("10.0.0.3"), "app/x/eth0", "web", net("10.0.0.0/26")}));
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  const auto block = model::decode_block((*node->get(keys::block(routed, "web", net("10.0.0.0/26"))))->value);
  EXPECT_FALSE(is_free(*block, 3));
  EXPECT_EQ(free_count(*block), 63u);
  erase(*cluster, keys::pool("web"));
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  const auto pool = model::decode_pool((*node->get(keys::pool("web")))->value);
  EXPECT_TRUE(pool->disabled) << "its addresses live on, no new one is leased";
}

TEST_F(ClaimsTest, MirrorRefusesAPoolThatOverlapsWithASubnetAndCopiesTheRest) {
  Options options;
  options.boot_id = "boot";
  Allocator allocator(*node, clock, options);
  ASSERT_TRUE(allocator.subnet_pool(net("10.0.0.0/24")).ok());
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  ASSERT_TRUE(create_pool(*cluster, make_pool("zoo", "10.1.0.0/16", 26)).ok());
  const auto mirrored = mirror(*cluster, *node, "a");
  ASSERT_FALSE(mirrored.ok());
  EXPECT_THAT(mirrored.error().message, HasSubstr("pool web (10.0.0.0/16) overlaps with pool net-10.0.0.0-24"));
  EXPECT_THAT(keys_below(*node, "pool/"), ElementsAre("pool/net-10.0.0.0-24", "pool/zoo"));
}

TEST_F(ClaimsTest, ASingleHostClaimsWhenItsBlocksAreFull) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/30", 31)).ok());
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  Options options;
  options.boot_id = "boot";
  options.more_blocks = single_host_blocks(*cluster, *node, "a", clock, options.cooldown);
  Allocator allocator(*node, clock, options);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(allocator.lease(make_endpoint(std::to_string(i)), routed, {from_pool("web")}).ok()) << i;
  }
  EXPECT_EQ(claims_of(*cluster, "a")->size(), 2u);
  const auto full = allocator.lease(make_endpoint("x"), routed, {from_pool("web")});
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, Code::exhausted);
  ASSERT_TRUE(allocator.release("app/1/eth0").ok());
  EXPECT_EQ(allocator.lease(make_endpoint("x"), routed, {from_pool("web")})->addresses.at(0), ip("10.0.0.1"));
}

TEST_F(ClaimsTest, ProcessesThatFindTheBlocksFullTogetherClaimOne) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  const model::Pool pool = make_pool("web", "10.0.0.0/16", 26);
  const auto one = single_host_blocks(*cluster, *node, "a", clock, std::chrono::seconds(60));
  const auto two = single_host_blocks(*cluster, *node, "a", clock, std::chrono::seconds(60));
  EXPECT_EQ(*one(pool, routed, std::nullopt), net("10.0.0.0/26"));
  EXPECT_EQ(*two(pool, routed, std::nullopt), net("10.0.0.0/26")) << "claimed, and not yet in the node store";
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  const auto three = single_host_blocks(*cluster, *node, "a", clock, std::chrono::seconds(60));
  EXPECT_EQ(*three(pool, routed, std::nullopt), net("10.0.0.0/26")) << "in the node store, and free";
  EXPECT_EQ(*three(pool, routed, std::nullopt), net("10.0.0.64/26")) << "offered once";
  EXPECT_EQ(*three(pool, routed, ip("10.0.9.1")), net("10.0.9.0/26"));
  EXPECT_EQ(*three(pool, model::Use::bridged, std::nullopt), net("10.0.0.128/26"));
}

TEST_F(ClaimsTest, DeletingAPoolInUseIsRefusedWithItsHolders) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  Options options;
  options.boot_id = "boot";
  options.more_blocks = single_host_blocks(*cluster, *node, "a", clock, options.cooldown);
  Allocator allocator(*node, clock, options);
  for (int i = 0; i < 22; ++i) ASSERT_TRUE(allocator.lease(make_endpoint(std::to_string(i)), routed, {from_pool("web")}).ok());
  const auto refused = delete_pool(*cluster, *node, "web", "a");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("in use by 22 addresses: app/0/eth0 (10.0.0.0), app/1/eth0 (10.0.0.1)"));
  EXPECT_THAT(refused.error().message, HasSubstr("and 2 more"));
  EXPECT_FALSE(model::decode_pool((*cluster->get(keys::pool("web")))->value)->disabled) << "a refusal leaves it as it was";
  for (int i = 0; i < 22; ++i) ASSERT_TRUE(allocator.release("app/" + std::to_string(i) + "/eth0").ok());
  EXPECT_TRUE(delete_pool(*cluster, *node, "web", "a").ok());
  for (const char* left : {"pool/", "claim/"}) EXPECT_THAT(keys_below(*cluster, left), IsEmpty());
  for (const char* left : {"pool/", "block/", "available/", "lease/"}) EXPECT_THAT(keys_below(*node, left), IsEmpty());
  EXPECT_EQ(delete_pool(*cluster, *node, "web", "a").error().code, Code::not_found);
}

TEST_F(ClaimsTest, ALargePoolIsDeletedInBatches) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  for (int i = 0; i < 250; ++i) claim("a", "web");
  ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
  EXPECT_TRUE(delete_pool(*cluster, *node, "web", "a").ok());
  EXPECT_THAT(keys_below(*cluster, "claim/"), IsEmpty());
  EXPECT_THAT(keys_below(*node, "block/"), IsEmpty());
}

TEST_F(ClaimsTest, DeletingAPoolWithBlocksOfAnotherNodeIsRefused) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  claim("b", "web");
  EXPECT_THAT(delete_pool(*cluster, *node, "web", "a").error().message, HasSubstr("in use on node b"));
}

TEST_F(ClaimsTest, ASubnetPoolIsDeletedHere) {
  Options options;
  options.boot_id = "boot";
  Allocator allocator(*node, clock, options);
  ASSERT_TRUE(allocator.subnet_pool(net("10.0.0.0/24")).ok());
  ASSERT_TRUE(allocator.lease(make_endpoint("x"), routed, {from_pool("net-10.0.0.0-24")}).ok());
  EXPECT_THAT(delete_pool(*cluster, *node, "net-10.0.0.0-24", "a").error().message, HasSubstr("app/x/eth0"));
  ASSERT_TRUE(allocator.release("app/x/eth0").ok());
  EXPECT_TRUE(delete_pool(*cluster, *node, "net-10.0.0.0-24", "a").ok());
  EXPECT_THAT(keys_below(*node, "pool/"), IsEmpty());
  EXPECT_THAT(keys_below(*node, "block/"), IsEmpty());
}

TEST_F(ClaimsTest, DamagedRecordsAreNamed) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/30", 31)).ok());
  put(*cluster, keys::claim("web", net("10.0.0.0/31")), "{}");
  EXPECT_EQ(claim("a", "web"), "10.0.0.2/31") << "its key alone keeps a damaged claim's block taken";
  EXPECT_THAT(claim("a", "web", ip("10.0.0.1")), HasSubstr("the record " + keys::claim("web", net("10.0.0.0/31"))));
  EXPECT_FALSE(mirror(*cluster, *node, "a").ok());
  EXPECT_FALSE(delete_pool(*cluster, *node, "web", "a").ok());
}

}  // namespace
}  // namespace firn::ipam
