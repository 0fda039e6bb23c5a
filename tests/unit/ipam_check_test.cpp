#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "ipam/block.hpp"
#include "ipam/check.hpp"
#include "ipam/claims.hpp"
#include "ipam/grace.hpp"
#include "ipam/mirror.hpp"
#include "ipam/pools.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace keys = model::keys;
constexpr model::Use routed = model::Use::routed;

// Three containers attached from one pool of the cluster, everything in order.
class IpamCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster = open_store(directory.file("cluster.db"));
    node = open_store(directory.file("node.db"));
    ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 28)).ok());
    ASSERT_TRUE(mirror(*cluster, *node, "a").ok());
    surroundings.cluster = cluster.get();
    surroundings.self.name = "a";
    surroundings.boot_id = "boot-1";
    surroundings.namespace_alive = [this](const model::Endpoint& e) { return gone.count(e.container_id) == 0; };
    for (const char* name : {"x", "y", "z"}) ASSERT_NE(attach(name), "");
    ASSERT_THAT(found(), IsEmpty());
  }

  std::string attach(const std::string& name) {
    Options options;
    options.boot_id = surroundings.boot_id;
    options.namespace_alive = surroundings.namespace_alive;
    options.more_blocks = single_host_blocks(*cluster, *node, "a", clock, options.cooldown);
    model::Endpoint endpoint = make_endpoint(name);
    endpoint.netns = "/run/netns/" + name;
    auto leased = Allocator(*node, clock, options).lease(endpoint, routed, {from_pool("web")});
    return leased ? leased->addresses.at(0).to_string() : "";
  }
  std::vector<std::string> found() {
    std::vector<std::string> out;
    const auto problems = check(*node, surroundings);
    EXPECT_TRUE(problems.ok()) << problems.error().message;
    if (!problems) return out;
    for (const Problem& p : *problems) {
      out.push_back(std::string(to_string(p.kind)) + " " + p.object + (p.fixable ? "" : " (not fixable)"));
    }
    return out;
  }
  FixReport fixed() {
    auto report = fix(*node, surroundings, clock);
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report ? std::move(*report) : FixReport{};
  }
  void expect_fixed(const std::string& problem) {
    EXPECT_THAT(found(), Contains(problem));
    EXPECT_THAT(fixed().fixed, Not(IsEmpty()));
    EXPECT_THAT(found(), IsEmpty());
  }
  model::Block block() { return *model::decode_block((*node->get(block_key))->value); }
  std::optional<std::string> value(const std::string& key) {
    const auto entry = node->get(key);
    return entry && *entry ? std::optional((*entry)->value) : std::nullopt;
  }

  TemporaryDirectory directory;
  std::unique_ptr<kv::Store> cluster, node;
  test::ManualClock clock;
  std::set<std::string> gone;
  Surroundings surroundings;
  const std::string block_key = keys::block(routed, "web", net("10.0.0.0/28"));
  const std::string available_key = keys::available(routed, "web", net("10.0.0.0/28"));
  const std::string lease_key = keys::lease(ip("10.0.0.1"));
  const std::string endpoint_key = "endpoint/app/y/eth0";
};

TEST_F(IpamCheckTest, ALeakedLeaseIsGivenBack) {
  erase(*node, endpoint_key);
  expect_fixed("lease-without-endpoint 10.0.0.1");
  EXPECT_TRUE(is_free(block(), 1));
}

TEST_F(IpamCheckTest, AnEndpointGetsItsLeaseBack) {
  const auto lease = value(lease_key);
  erase(*node, lease_key);
  EXPECT_THAT(found(), Contains("neither-free-nor-leased 10.0.0.0/28 (routed, pool web)"));
  expect_fixed("endpoint-without-lease app/y/eth0");
  EXPECT_EQ(value(lease_key), lease);
}

TEST_F(IpamCheckTest, AnAddressThatIsFreeAndLeasedStaysLeased) {
  model::Block doubled = block();
  give_back(doubled, ip("10.0.0.1"), 5);
  put(*node, block_key, model::encode(doubled));
  expect_fixed("free-and-leased 10.0.0.1");
  EXPECT_FALSE(is_free(block(), 1));
}

TEST_F(IpamCheckTest, LostAddressesComeBack) {
  model::Block lossy = block();
  take(lossy, ip("10.0.0.9"));
  put(*node, block_key, model::encode(lossy));
  expect_fixed("neither-free-nor-leased 10.0.0.0/28 (routed, pool web)");
  EXPECT_TRUE(is_free(block(), 9));
}

TEST_F(IpamCheckTest, AMissingBlockIsMadeAgain) {
  erase(*node, block_key);
  EXPECT_THAT(found(), Contains("address-outside-block 10.0.0.1"));
  EXPECT_THAT(found(), Contains("claim-without-block 10.0.0.0/28"));
  expect_fixed("available-stale routed/web/4-0a000000-1c");
  EXPECT_EQ(free_count(block()), 13u);
  EXPECT_EQ(attach("new"), "10.0.0.3");
}

TEST_F(IpamCheckTest, AvailableKeys) {
  erase(*node, available_key);
  expect_fixed("available-missing routed/web/4-0a000000-1c");
  put(*node, "available/routed/web/4-0a000010-1c", "");
  expect_fixed("available-stale routed/web/4-0a000010-1c");
  EXPECT_TRUE(value(available_key).has_value());
  put(*node, available_key, "1700000001");
  expect_fixed("available-stale routed/web/4-0a000000-1c");
  put(*node, available_key, "nonsense");
  EXPECT_THAT(found(), IsEmpty()) << "a hint that cannot be read is none";
}

TEST_F(IpamCheckTest, DamagedBlocksAndLeasesAreMadeAgain) {
  put(*node, block_key, "{\"v\":1");
  expect_fixed("damaged " + block_key);
  EXPECT_EQ(free_count(block()), 13u);
  put(*node, lease_key, "?");
  expect_fixed("damaged " + lease_key);
  EXPECT_EQ(model::decode_lease(*value(lease_key))->handle, "app/y/eth0");
  put(*node, keys::lease(ip("10.0.0.9")), "?");
  expect_fixed("damaged " + keys::lease(ip("10.0.0.9")));
  put(*node, "block/routed/web/nonsense", "?");
  expect_fixed("damaged block/routed/web/nonsense");
}

TEST_F(IpamCheckTest, DamagedPoolsAreCopiedAgain) {
  const auto pool = value("pool/web");
  put(*node, "pool/web", "?");
  expect_fixed("damaged pool/web");
  EXPECT_EQ(value("pool/web"), pool);
  put(*node, "pool/net-10.8.0.0-24", "?");
  expect_fixed("damaged pool/net-10.8.0.0-24");
  EXPECT_EQ(model::decode_pool(*value("pool/net-10.8.0.0-24"))->cidr, net("10.8.0.0/24"));
  put(*node, "pool/lost", "?");
  EXPECT_THAT(found(), ElementsAre("damaged pool/lost (not fixable)"));
  fixed();
  EXPECT_EQ(value("pool/lost"), "?") << "what cannot be repaired is left alone";
}

TEST_F(IpamCheckTest, ADamagedEndpointKeepsItsAddressesUntilItIsSurelyUnused) {
  put(*node, endpoint_key, "?");
  EXPECT_THAT(found(), ElementsAre("damaged " + endpoint_key + " (not fixable)"));
  EXPECT_EQ(fixed().left.size(), 1u);
  EXPECT_TRUE(value(lease_key).has_value());
  surroundings.live = {"app/x/eth0", "app/y/eth0", "app/z/eth0"};
  EXPECT_THAT(found(), ElementsAre("damaged " + endpoint_key + " (not fixable)")) << "its interface is there";
  surroundings.live = {"app/x/eth0", "app/z/eth0"};
  expect_fixed("damaged " + endpoint_key);
  EXPECT_FALSE(value(lease_key).has_value());
  EXPECT_TRUE(is_free(block(), 1));
}

TEST_F(IpamCheckTest, AfterABootDamagedEndpointsAreDropped) {
  put(*node, endpoint_key, "?");
  surroundings.boot_id = "boot-2";
  expect_fixed("damaged " + endpoint_key);
  EXPECT_EQ(value("boot"), "boot-2");
  EXPECT_EQ(attach("new"), "10.0.0.3");
}

TEST_F(IpamCheckTest, EndpointsWhoseNamespaceIsGone) {
  gone = {"y", "z"};
  surroundings.live = {"app/x/eth0", "app/z/eth0"};
  EXPECT_THAT(found(), ElementsAre("namespace-gone app/y/eth0")) << "z still has an interface";
  fixed();
  EXPECT_FALSE(value(endpoint_key).has_value());
  EXPECT_FALSE(value(lease_key).has_value());
  EXPECT_TRUE(value("endpoint/app/z/eth0").has_value());
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(IpamCheckTest, TwoEndpointsWithOneAddress) {
  model::Endpoint second = make_endpoint("twin");
  second.netns = "/run/netns/twin";
  second.addresses = {ip("10.0.0.1")};
  second.created_at = clock.unix_seconds() + 5;
  put(*node, "endpoint/app/twin/eth0", model::encode(second));
  EXPECT_THAT(found(), Contains("address-conflict 10.0.0.1 (not fixable)"));
  fixed();
  EXPECT_EQ(model::decode_lease(*value(lease_key))->handle, "app/y/eth0") << "who had it first keeps it";
  gone = {"twin"};
  fixed();
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(IpamCheckTest, AnAddressOfAnotherIpamPluginThatIsHeldTwice) {
  model::Endpoint foreign = make_endpoint("foreign");
  foreign.netns = "/run/netns/foreign";
  foreign.boot_id = "boot-1";
  foreign.leased = false;
  foreign.addresses = {ip("10.9.0.1")};
  put(*node, keys::endpoint("app/foreign/eth0"), model::encode(foreign));
  EXPECT_THAT(found(), Contains(testing::HasSubstr("endpoint-without-lease app/foreign/eth0")));
  fixed();
  EXPECT_THAT(found(), IsEmpty());
  foreign.addresses = {ip("10.0.0.0")};
  put(*node, keys::endpoint("app/foreign/eth0"), model::encode(foreign));
  EXPECT_THAT(found(), Contains("address-conflict 10.0.0.0 (not fixable)"));
}

TEST_F(IpamCheckTest, BlocksAndClaims) {
  erase(*cluster, keys::claim("web", net("10.0.0.0/28")));
  expect_fixed("block-without-claim 10.0.0.0/28");
  EXPECT_EQ(claims_of(*cluster, "a")->size(), 1u) << "its addresses are in use: the node claims it";
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.40"), 1).ok());
  expect_fixed("claim-without-block 10.0.0.32/28");
  ASSERT_TRUE(give_up_block(*cluster, model::Claim{net("10.0.0.32/28"), "web", "a", routed, 1}).ok());
  expect_fixed("block-without-claim 10.0.0.32/28");
  EXPECT_EQ(keys_below(*node, "block/").size(), 1u) << "an unused block goes";
  erase(*cluster, keys::claim("web", net("10.0.0.0/28")));
  ASSERT_TRUE(claim_block(*cluster, {"b"}, "web", routed, ip("10.0.0.0"), 1).ok());
  EXPECT_EQ(fixed().left.size(), 1u) << "another node has it: a person must decide";
  EXPECT_TRUE(value(lease_key).has_value());
}

TEST_F(IpamCheckTest, OverlappingBlocks) {
  const Prefix prefix = net("10.0.0.0/28");
  put(*node, keys::block(model::Use::bridged, "web", prefix), model::encode(fresh_block(prefix, "web", model::Use::bridged)));
  put(*node, keys::available(model::Use::bridged, "web", prefix), "");
  EXPECT_THAT(found(), Contains(HasSubstr("blocks-overlap")));
  fixed();
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_EQ(keys_below(*node, "block/").size(), 1u);
}

TEST_F(IpamCheckTest, InterfacesWithoutEndpoint) {
  surroundings.live = {"app/x/eth0", "app/lost/eth0"};
  EXPECT_THAT(found(), ElementsAre("interface-without-endpoint app/lost/eth0 (not fixable)"));
}

TEST_F(IpamCheckTest, TheDefaultLooksAtTheNamespacePath) {
  surroundings.namespace_alive = nullptr;
  EXPECT_THAT(found(), ElementsAre("namespace-gone app/x/eth0", "namespace-gone app/y/eth0", "namespace-gone app/z/eth0"));
  model::Endpoint own = make_endpoint("y");
  own.addresses = {ip("10.0.0.1")};
  own.netns = "/proc/self/ns/net";
  put(*node, endpoint_key, model::encode(own));
  EXPECT_THAT(found(), ElementsAre("namespace-gone app/x/eth0", "namespace-gone app/z/eth0"));
  own.netns_inode = 1;
  put(*node, endpoint_key, model::encode(own));
  EXPECT_THAT(found(), Contains("namespace-gone app/y/eth0")) << "another namespace is at the path";
  own.netns_inode = 0;
  own.netns = directory.file("node.db");
  put(*node, endpoint_key, model::encode(own));
  EXPECT_THAT(found(), Contains("namespace-gone app/y/eth0")) << "not a namespace";
}

// Whatever is changed at random, a fix leaves a store that is whole, and the live containers with their addresses.
TEST_F(IpamCheckTest, FixesRandomDamage) {
  for (int i = 0; i < 20; ++i) ASSERT_NE(attach("c" + std::to_string(i)), "");
  std::map<std::string, std::string> endpoints;
  for (const std::string& key : keys_below(*node, "endpoint/")) endpoints[key] = *value(key);
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    for (int hits = 0; hits < 5; ++hits) {
      std::vector<std::string> all;
      for (const char* prefix : {"block/", "lease/", "available/"}) {
        for (std::string& key : keys_below(*node, prefix)) all.push_back(std::move(key));
      }
      const std::string& key = all[random() % all.size()];
      if (random() % 2 == 0) {
        erase(*node, key);
      } else {
        std::string text = *value(key);
        if (!text.empty()) text[random() % text.size()] = static_cast<char>('0' + random() % 75);
        put(*node, key, text);
      }
    }
    clock.advance(std::chrono::seconds(1));
    fixed();
    ASSERT_THAT(found(), IsEmpty()) << "seed " << seed;
    for (const auto& [key, endpoint] : endpoints) {
      ASSERT_EQ(value(key), endpoint) << "seed " << seed;
      const auto decoded = model::decode_endpoint(endpoint);
      const auto lease = model::decode_lease(*value(keys::lease(decoded->addresses.at(0))));
      ASSERT_EQ(lease->handle, model::handle_of(*decoded)) << "seed " << seed;
    }
    ASSERT_EQ(keys_below(*node, "lease/").size(), endpoints.size()) << "seed " << seed;
  }
}

TEST_F(IpamCheckTest, ADamagedFileIsReplacedAndLiveAddressesStayHeld) {
  const std::string path = directory.file("node.db");
  model::Endpoint live = make_endpoint("y");
  live.netns = "/run/netns/y";
  live.addresses = {ip("10.0.0.1")};
  node.reset();
  std::ofstream(path, std::ios::trunc) << std::string(8192, 'x');
  kv::LmdbOptions opening;
  opening.path = path;
  ASSERT_FALSE(kv::open_lmdb(opening).ok());
  const auto aside = reset_node_store(path, cluster.get(), "a", "boot-1", {live}, clock);
  ASSERT_TRUE(aside.ok()) << aside.error().message;
  EXPECT_EQ(*aside, path + ".damaged-1");
  node = open_store(path);
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_EQ(value("self"), "a");
  EXPECT_EQ(attach("one"), "10.0.0.0");
  EXPECT_EQ(attach("two"), "10.0.0.2");
  EXPECT_EQ(model::decode_lease(*value(lease_key))->block, net("10.0.0.0/28"));
}

// The fence goes with the file. What the host has promised stands in the cluster.
TEST_F(IpamCheckTest, AFileThatWasReplacedLeasesNothingBeforeTheNextBeatIfTheHostPromisedSo) {
  const auto promised = cluster->transact([&](kv::Transaction& tx) -> Status {
    model::Node record;
    record.name = "a";
    record.addresses = {ip("192.0.2.1")};
    record.generation = 3;
    tx.put(keys::node("a"), model::encode(record));
    tx.put(keys::settings, model::encode(model::ClusterSettings{600}));
    tx.put(keys::promise("a"), model::encode(model::Promise{"a", 3, 600}));
    return {};
  });
  ASSERT_TRUE(promised.ok());
  const std::string path = directory.file("node.db");
  node.reset();
  ASSERT_TRUE(reset_node_store(path, cluster.get(), "a", "boot-1", {}, clock).ok());
  node = open_store(path);
  EXPECT_EQ(attach("one"), "");
  EXPECT_THAT(value("fence").value_or(""), HasSubstr("has not reached the cluster since the node store was made anew"));
  ASSERT_TRUE(extend_fence(*node, {600, 600}, moment(clock, "boot-1")).ok());
  EXPECT_EQ(attach("one"), "10.0.0.0");
  clock.advance(std::chrono::seconds(600));
  EXPECT_EQ(attach("two"), "");
}

}  // namespace
}  // namespace firn::ipam
