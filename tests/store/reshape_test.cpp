// Pools that are resized, split and merged while hosts lease from them: on a store that holds to an etcd's limits and breaks off
// where the test wants it, on a real etcd, and at random with several hosts.
#include "ipam/reshape.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "ipam/block.hpp"
#include "ipam/check.hpp"
#include "ipam/claims.hpp"
#include "ipam/give_back.hpp"
#include "ipam/loans.hpp"
#include "ipam/mirror.hpp"
#include "ipam/ownership.hpp"
#include "ipam/pools.hpp"
#include "lib/kv/etcd/etcd_store.hpp"
#include "tests/support/etcd_fixture.hpp"
#include "tests/support/limited_store.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace keys = model::keys;
constexpr model::Use routed = model::Use::routed;
constexpr std::chrono::seconds cooldown{60};

std::vector<kv::Entry> entries_in(kv::Store& store, std::string_view prefix) {
  auto listing = store.range(prefix);
  EXPECT_TRUE(listing.ok());
  return listing ? std::move(listing->entries) : std::vector<kv::Entry>();
}
std::vector<model::Pool> pools_in(kv::Store& store) {
  std::vector<model::Pool> out;
  for (const kv::Entry& entry : entries_in(store, keys::pools)) out.push_back(*model::decode_pool(entry.value));
  return out;
}
std::vector<model::Claim> claims_in(kv::Store& store) {
  std::vector<model::Claim> out;
  for (const kv::Entry& entry : entries_in(store, keys::claims)) {
    out.push_back(*model::decode_claim(entry.value));
    EXPECT_EQ(entry.key, keys::claim(out.back().pool, out.back().prefix));
  }
  return out;
}

// One host: its node store, what it leases with, and what its daemon does.
struct Host {
  Host(std::string the_name, const std::string& path, kv::Store& the_cluster, const Clock& the_clock)
      : name(std::move(the_name)), node(open_store(path)), cluster(the_cluster), clock(the_clock) {
    options.boot_id = "boot";
    options.more_blocks = single_host_blocks(cluster, *node, name, clock, cooldown);
    allocator = std::make_unique<Allocator>(*node, clock, options);
  }
  Status follow() {
    auto copied = mirror(cluster, *node, name);
    if (!copied) return std::move(copied).error();
    auto given = give_back_closed(cluster, *node, name, clock.unix_seconds(), cooldown);
    if (!given) return std::move(given).error();
    auto again = mirror(cluster, *node, name);
    if (!again) return std::move(again).error();
    return {};
  }
  Result<model::Endpoint> lease(const std::string& container, const std::string& pool) {
    return allocator->lease(make_endpoint(container), routed, {from_pool(pool)});
  }
  std::string take(const std::string& container, const std::string& pool) {
    auto leased = lease(container, pool);
    return leased ? leased->addresses.at(0).to_string() : "error: " + leased.error().message;
  }
  void drop(const std::string& container) { EXPECT_TRUE(allocator->release("app/" + container + "/eth0").ok()); }
  std::vector<std::string> problems() {
    Surroundings around;
    around.cluster = &cluster;
    around.self = {name};
    around.boot_id = "boot";
    around.namespace_alive = [](const model::Endpoint&) { return true; };
    std::vector<std::string> out;
    auto found = check(*node, around);
    if (!found) return {found.error().message};
    for (const Problem& problem : *found) {
      if (problem.kind != ProblemKind::namespace_gone) out.push_back(problem.object + " " + problem.words);
    }
    return out;
  }

  std::string name;
  std::unique_ptr<kv::Store> node;
  kv::Store& cluster;
  const Clock& clock;
  Options options;
  std::unique_ptr<Allocator> allocator;
};

class ReshapeTest : public testing::TestWithParam<bool> {
 protected:
  // One etcd for all tests of the program; each has a prefix of its own.
  static inline std::unique_ptr<test::EtcdFixture> server;

  void SetUp() override {
    if (GetParam()) {
      static int count = 0;
      if (server == nullptr) server = std::make_unique<test::EtcdFixture>();
      kv::EtcdOptions opening;
      opening.endpoints = server->endpoints();
      opening.prefix = "/reshape/" + std::to_string(++count) + "/";
      opening.deadline = std::chrono::seconds(30);
      auto opened = kv::open_etcd(opening);
      ASSERT_TRUE(opened.ok()) << opened.error().message;
      below = std::move(*opened);
    } else {
      below = open_store(directory.file("cluster.db"));
    }
    cluster = std::make_unique<test::LimitedStore>(*below);
  }
  static void TearDownTestSuite() { server.reset(); }

  std::unique_ptr<Host> host(const std::string& name) {
    auto made = std::make_unique<Host>(name, directory.file(name + ".db"), *cluster, clock);
    EXPECT_TRUE(made->follow().ok());
    return made;
  }
  void claim_many(const std::string& node, const std::string& pool, unsigned first, unsigned count) {
    const model::Pool at = *model::decode_pool((*below->get(keys::pool(pool)))->value);
    for (unsigned done = 0; done < count;) {
      const unsigned batch = std::min(count - done, 100u);
      const auto put = below->transact([&](kv::Transaction& tx) -> Status {
        for (unsigned i = 0; i < batch; ++i) {
          const Prefix prefix = Prefix::of(at.cidr.address().plus(64 * (first + done + i)), 26);
          tx.put(keys::claim(pool, prefix), model::encode(model::Claim{prefix, pool, node, routed, 1}));
        }
        return {};
      });
      ASSERT_TRUE(put.ok()) << put.error().message;
      done += batch;
    }
  }
  std::string pool_text(const std::string& name) {
    const auto entry = below->get(keys::pool(name));
    return entry.ok() && *entry ? model::decode_pool((*entry)->value)->cidr.to_string() : "none";
  }

  TemporaryDirectory directory;
  test::ManualClock clock;
  std::unique_ptr<kv::Store> below;
  std::unique_ptr<test::LimitedStore> cluster;
};

TEST_P(ReshapeTest, APoolIsExtendedAtOnce) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/26", 26)).ok());
  ASSERT_TRUE(create_pool(*cluster, make_pool("next", "10.0.1.0/24", 26)).ok());
  auto a = host("a");
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(a->lease(std::to_string(i), "web").ok());
  EXPECT_THAT(a->take("more", "web"), HasSubstr("every block of pool web"));
  EXPECT_EQ(resize_pool(*cluster, "web", net("10.0.0.0/23")).error().message,
            "pool web (10.0.0.0/23) overlaps with pool next (10.0.1.0/24)");
  EXPECT_THAT(resize_pool(*cluster, "web", net("10.2.0.0/24")).error().message, HasSubstr("neither contains 10.0.0.0/26"));
  EXPECT_THAT(resize_pool(*cluster, "none", net("10.2.0.0/24")).error().message, HasSubstr("there is no pool none"));
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/24")).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(a->take("more", "web"), "10.0.0.64");
  EXPECT_THAT(a->problems(), IsEmpty());
}

TEST_P(ReshapeTest, APoolShrinksWhenThePartThatGoesIsEmpty) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  auto a = host("a");
  auto b = host("b");
  EXPECT_EQ(a->take("low", "web"), "10.0.0.0");
  ASSERT_TRUE(b->allocator->lease(make_endpoint("high"), routed, {the_address("web", "10.0.0.200")}).ok());
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.129"), 1).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_THAT(resize_pool(*cluster, "web", net("10.0.0.0/27")).error().message, HasSubstr("larger than the pool"));
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
  EXPECT_EQ(finish_shrinking(*cluster, "web")->size(), 2u);
  EXPECT_THAT(claim_block(*cluster, {"c"}, "web", routed, ip("10.0.0.129"), 1).error().message, HasSubstr("gives up"));
  EXPECT_THAT(split_pool(*cluster, "web", {{"a", {}}, {"b", {}}}).error().message, HasSubstr("shrinks to 10.0.0.0/25"));

  ASSERT_TRUE(a->follow().ok());  // its block there is empty
  EXPECT_EQ(finish_shrinking(*cluster, "web")->size(), 1u);
  EXPECT_EQ(claims_in(*below).size(), 2u);
  // The container that lives there goes on; no new one comes.
  EXPECT_EQ(b->take("early", "web"), "10.0.0.192") << "b has not heard of it yet";
  ASSERT_TRUE(b->follow().ok());
  EXPECT_EQ(b->take("late", "web"), "10.0.0.64");
  EXPECT_EQ(pool_text("web"), "10.0.0.0/24");
}

TEST_P(ReshapeTest, NothingIsLeasedInThePartThatGoesAndWhatCoolsThereIsAwaited) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  auto a = host("a");
  ASSERT_TRUE(a->allocator->lease(make_endpoint("high"), routed, {the_address("web", "10.0.0.200")}).ok());
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(a->take("one", "web"), "10.0.0.0") << "not of the block that is there";
  EXPECT_THAT(a->allocator->lease(make_endpoint("two"), routed, {the_address("web", "10.0.0.201")}).error().message,
              HasSubstr("lies in the part that its pool gives up"));
  a->drop("high");
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(pool_text("web"), "10.0.0.0/24") << "the address cools";
  clock.advance(std::chrono::seconds(61));
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(pool_text("web"), "10.0.0.0/25");
  EXPECT_THAT(a->problems(), IsEmpty());
  ASSERT_TRUE(create_pool(*cluster, make_pool("other", "10.0.0.128/25", 26)).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(a->take("three", "other"), "10.0.0.128");
}

TEST_P(ReshapeTest, AShrinkingIsEndedWithThePoolsOwnCidr) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  auto a = host("a");
  ASSERT_TRUE(a->allocator->lease(make_endpoint("high"), routed, {the_address("web", "10.0.0.200")}).ok());
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
  ASSERT_TRUE(a->follow().ok());
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/24")).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ(a->take("one", "web"), "10.0.0.192");
  EXPECT_FALSE(pools_in(*below).at(0).shrinking_to.has_value());
}

TEST_P(ReshapeTest, ALargePoolIsSplitAndMergedAndEverythingFollows) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/16", 26)).ok());
  claim_many("a", "web", 0, 300);
  claim_many("b", "web", 512, 300);
  auto a = host("a");
  auto off = host("b");
  EXPECT_EQ(a->take("x", "web"), "10.0.0.0");
  EXPECT_EQ(a->take("y", "web"), "10.0.0.1");
  EXPECT_EQ(off->take("z", "web"), "10.0.128.0");
  a->drop("y");
  const auto lease = (*a->node->get(keys::lease(ip("10.0.0.0"))))->value;
  EXPECT_THAT(split_pool(*cluster, "web", {{"web", net("10.0.0.0/17")}, {"far", net("10.0.128.0/18")}}).error().message,
              HasSubstr("leave out some of 10.0.0.0/16"));
  EXPECT_THAT(split_pool(*cluster, "web", {{"one", {}}, {"two", {}}, {"three", {}}}).error().message, HasSubstr("not 3"));
  EXPECT_THAT(split_pool(*cluster, "web", {{"one", net("10.0.0.0/16")}, {"two", net("10.0.0.0/17")}}).error().message,
              HasSubstr("overlap"));
  const auto parts = split_pool(*cluster, "web", {{"web", {}}, {"far", {}}});
  ASSERT_TRUE(parts.ok()) << parts.error().message;
  EXPECT_EQ(keys_below(*below, keys::claims_of("web")).size(), 300u);
  EXPECT_EQ(keys_below(*below, keys::claims_of("far")).size(), 300u);
  ASSERT_TRUE(a->follow().ok());
  EXPECT_EQ((*a->node->get(keys::lease(ip("10.0.0.0"))))->value, lease) << "the part with the old name keeps its records";
  EXPECT_EQ(a->take("more", "web"), "10.0.0.2") << "what was released cools on";

  // This host was off: it leases from the blocks it had, under their old name, and follows when it is back.
  EXPECT_EQ(off->take("w", "web"), "10.0.128.1");
  ASSERT_TRUE(off->follow().ok());
  const auto fresh = off->lease("v", "web");
  ASSERT_TRUE(fresh.ok()) << fresh.error().message;
  EXPECT_TRUE(net("10.0.0.0/17").contains(fresh->addresses.at(0))) << "a block of the part that has the name now";
  EXPECT_EQ(off->take("u", "far"), "10.0.128.2");
  EXPECT_THAT(keys_below(*off->node, keys::blocks_of(routed, "far")).size(), 300u);
  EXPECT_EQ(model::decode_lease((*off->node->get(keys::lease(ip("10.0.128.0"))))->value)->pool, "far");
  off->drop("z");
  EXPECT_THAT(a->problems(), IsEmpty());
  EXPECT_THAT(off->problems(), IsEmpty());

  EXPECT_THAT(merge_pools(*cluster, {"web"}, "all").error().message, HasSubstr("2 to 32 pools"));
  EXPECT_THAT(merge_pools(*cluster, {"web", "none"}, "all").error().message, HasSubstr("there is no pool none"));
  model::Pool other = pools_in(*below).at(0);
  other.strict = true;
  ASSERT_TRUE(update_pool(*cluster, other).ok());
  EXPECT_THAT(merge_pools(*cluster, {"web", "far"}, "all").error().message, HasSubstr("settings of the pools web and far differ"));
  other.strict = false;
  ASSERT_TRUE(update_pool(*cluster, other).ok());
  const auto whole = merge_pools(*cluster, {"web", "far"}, "all");
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->cidr, net("10.0.0.0/16"));
  EXPECT_EQ(keys_below(*below, keys::claims_of("all")).size(), 601u);
  ASSERT_TRUE(a->follow().ok());
  ASSERT_TRUE(off->follow().ok());
  EXPECT_EQ(model::decode_lease((*a->node->get(keys::lease(ip("10.0.0.0"))))->value)->pool, "all");
  for (Host* one : {a.get(), off.get()}) EXPECT_THAT(one->problems(), IsEmpty());
  EXPECT_THAT(keys_below(*a->node, "pool/"), ElementsAre("pool/all"));
  a->drop("x");
  EXPECT_EQ(off->take("t", "all"), fresh->addresses.at(0).plus(1).to_string());
}

// firnctl runs beside a daemon that gives a spare block back: by the time firnctl looks at it the daemon may have claimed it anew.
TEST_P(ReshapeTest, WhatTheDaemonGivesBackIsLeftToIt) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.64"), 1).ok());
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.192"), 1).ok());
  auto a = host("a");
  auto spare = select_blocks(*a->node, false);
  ASSERT_EQ(spare->size(), 2u);
  ASSERT_TRUE(mark_unused(*a->node, *spare, "a", clock.unix_seconds()).ok());
  ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
  ASSERT_TRUE(a->follow().ok());
  const auto left = claims_in(*below);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].prefix, net("10.0.0.64/26")) << "the other lies in the part that the pool gives up";
  EXPECT_THAT(keys_below(*a->node, "returned/"), ElementsAre(keys::returned_block(net("10.0.0.64/26"))));
  EXPECT_EQ(pool_text("web"), "10.0.0.0/25");
  // The daemon, as in its next round.
  const auto given = give_up(*cluster, *mark_closed(*cluster, *a->node, "a", clock.unix_seconds()));
  ASSERT_EQ(given.given.size(), 1u);
  ASSERT_TRUE(forget(*a->node, given.given).ok());
  EXPECT_THAT(claims_in(*below), IsEmpty());
}

TEST_P(ReshapeTest, ABlockOnItsWayBackIsGivenUpUnderItsNewName) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.192"), 1).ok());
  auto a = host("a");
  ASSERT_TRUE(mark_unused(*a->node, *select_blocks(*a->node, false), "a", clock.unix_seconds()).ok());
  ASSERT_TRUE(split_pool(*cluster, "web", {{"web", {}}, {"far", {}}}).ok());
  ASSERT_EQ(claims_in(*below).at(0).pool, "far");
  const auto given = give_up(*cluster, *mark_closed(*cluster, *a->node, "a", clock.unix_seconds()));
  ASSERT_EQ(given.given.size(), 1u);
  EXPECT_THAT(claims_in(*below), IsEmpty());
  ASSERT_TRUE(forget(*a->node, given.given).ok());
  ASSERT_TRUE(a->follow().ok());
  EXPECT_THAT(keys_below(*a->node, "block/"), IsEmpty());
}

TEST_P(ReshapeTest, ALoanLivesThroughASplitAndAMergeAndIsGivenBack) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.129"), 1).ok());
  const auto known = below->transact([&](kv::Transaction& tx) -> Status {
    tx.put(keys::beat("a"), "alive");
    tx.put(keys::node("b"), model::encode(model::Node{"b", "", {ip("192.0.2.2")}, {}, {}, 1}));
    return {};
  });
  ASSERT_TRUE(known.ok());
  auto a = host("a");
  auto b = host("b");
  ASSERT_TRUE(ask_for_address(*cluster, {"b"}, "web", {"a"}, 0).ok());
  const model::Ask ask{"a", "b", "web", 0};
  const auto lent = set_aside(*a->node, ask, clock.unix_seconds(), moment(clock, "boot-1"));
  ASSERT_TRUE(lent.ok() && *lent);
  ASSERT_TRUE(lend(*cluster, {"a"}, ask, *lent, 1).ok());
  ASSERT_TRUE(b->follow().ok());
  EXPECT_EQ(b->take("x", "web"), "10.0.0.191");

  ASSERT_TRUE(split_pool(*cluster, "web", {{"web", {}}, {"far", {}}}).ok());
  for (Host* one : {a.get(), b.get()}) ASSERT_TRUE(one->follow().ok());
  auto loans = select_blocks(*b->node, true);
  ASSERT_EQ(loans->size(), 1u);
  EXPECT_EQ(loans->at(0).pool, "far");
  EXPECT_THAT(select_blocks(*b->node, false).value(), IsEmpty());
  EXPECT_THAT(a->lease("y", "far")->addresses, ElementsAre(ip("10.0.0.128")));

  // The merging breaks off when the pools are merged and no claim has followed; just then the address comes back.
  test::LimitedStore dying(*below);
  dying.break_at(1, true);
  EXPECT_FALSE(merge_pools(dying, {"web", "far"}, "all").ok());
  EXPECT_EQ(keys_below(*below, keys::claims_of("far")).size(), 2u);
  b->drop("x");
  clock.advance(std::chrono::seconds(61));
  ASSERT_TRUE(mark_unused(*b->node, *loans, "b", clock.unix_seconds() - 60).ok());
  const auto given = give_up(*cluster, *mark_closed(*cluster, *b->node, "b", clock.unix_seconds() - 60));
  ASSERT_EQ(given.given.size(), 1u);
  ASSERT_TRUE(forget(*b->node, given.given).ok());
  EXPECT_THAT(keys_below(*below, keys::returns_to("a")), ElementsAre(keys::return_of("a", ip("10.0.0.191"))));
  EXPECT_EQ(claims_in(*below).size(), 1u);

  ASSERT_TRUE(finish_moving(*cluster, "all").ok());
  for (Host* one : {a.get(), b.get()}) ASSERT_TRUE(one->follow().ok());
  EXPECT_EQ(keys_below(*a->node, "lent/").size(), 1u) << "until the lender has read the note";
  ASSERT_TRUE(take_back(*a->node, {ip("10.0.0.191")}).ok());
  ASSERT_TRUE(end_returns(*cluster, "a", {ip("10.0.0.191")}).ok());
  EXPECT_THAT(select_blocks(*b->node, true).value(), IsEmpty());
  ASSERT_TRUE(a->allocator->lease(make_endpoint("z"), routed, {the_address("all", "10.0.0.191")}).ok());
  for (Host* one : {a.get(), b.get()}) EXPECT_THAT(one->problems(), IsEmpty());
}

TEST_P(ReshapeTest, PoolsThatAreNoCidrTogetherAreNotMerged) {
  for (const auto& [name, cidr] :
       std::map<std::string, std::string>{{"a", "10.0.0.0/24"}, {"b", "10.0.2.0/24"}, {"c", "10.0.1.0/24"}}) {
    ASSERT_TRUE(create_pool(*cluster, make_pool(name, cidr, 26)).ok());
  }
  ASSERT_TRUE(create_pool(*cluster, make_pool("d", "10.0.3.0/24", 27)).ok());
  ASSERT_TRUE(create_pool(*cluster, make_pool("six", "fd00::/64", 122)).ok());
  const auto why = [&](const std::vector<std::string>& names, const std::string& into) {
    const auto merged = merge_pools(*cluster, names, into);
    return merged ? "merged" : merged.error().message;
  };
  EXPECT_THAT(why({"a", "b"}, "x"), HasSubstr("(10.0.0.0/24, 10.0.2.0/24) are together no CIDR"));
  EXPECT_THAT(why({"b", "c"}, "x"), HasSubstr("are together no CIDR")) << "neighbours, but on no boundary";
  EXPECT_THAT(why({"b", "d"}, "x"), HasSubstr("pool b has blocks of /26, pool d of /27"));
  EXPECT_THAT(why({"a", "six"}, "x"), HasSubstr("IPv4 and of IPv6"));
  EXPECT_THAT(why({"a", "c"}, "b"), HasSubstr("pool b exists already"));
  EXPECT_THAT(why({"a", "a"}, "b"), HasSubstr("named twice"));
  EXPECT_THAT(why({"a", "c"}, "net-x"), HasSubstr("net-"));
  EXPECT_EQ(pools_in(*below).size(), 5u);
  EXPECT_EQ(why({"a", "c"}, "a"), "merged");
  EXPECT_EQ(pool_text("a"), "10.0.0.0/23");
}

// Whatever the moment at which the one who does it is gone, before a commit or after it: what is there is sound, and doing the rest
// completes it.
TEST_P(ReshapeTest, AKillAtAnyBatchIsCompletedLater) {
  for (int commit = 1; commit < 8; ++commit) {
    for (const bool written : {false, true}) {
      SCOPED_TRACE(std::to_string(commit) + (written ? " written" : ""));
      for (const std::string prefix : {"pool/", "claim/"}) {
        while (true) {
          std::vector<std::string> some = keys_below(*below, prefix);
          if (some.empty()) break;
          some.resize(std::min<size_t>(some.size(), 100));
          ASSERT_TRUE(below
                          ->transact([&](kv::Transaction& tx) -> Status {
                            for (const std::string& key : some) tx.erase(key);
                            return {};
                          })
                          .ok());
        }
      }
      ASSERT_TRUE(create_pool(*below, make_pool("web", "10.0.0.0/17", 26)).ok());
      claim_many("a", "web", 100, 45);
      claim_many("b", "web", 256, 45);
      test::LimitedStore dying(*below);
      dying.break_at(commit, written);
      const bool done = split_pool(dying, "web", {{"one", {}}, {"two", {}}}).ok();
      EXPECT_TRUE(done || commit < 6);
      const bool begun = pool_text("web") == "none";
      EXPECT_EQ(begun, done || commit > 1 || written);
      std::set<Prefix> seen;
      for (const model::Claim& claim : claims_in(*below)) EXPECT_TRUE(seen.insert(claim.prefix).second);
      EXPECT_EQ(seen.size(), 90u);
      if (!begun) continue;
      // A new block is claimed of a part only when it is complete.
      for (const model::Pool& pool : pools_in(*below)) {
        const auto claimed = claim_block(*below, {"c"}, pool.name, routed, std::nullopt, 1);
        EXPECT_EQ(claimed.ok(), pool.moving_from.empty()) << pool.name;
        if (claimed) {
          EXPECT_TRUE(seen.insert(claimed->prefix).second);
        } else {
          EXPECT_THAT(claimed.error().message, HasSubstr("'firnctl pool resume' completes it"));
        }
        const auto removed = delete_pool(*below, *below, pool.name, "a");
        EXPECT_FALSE(removed.ok());
      }
      // Nor is a block that a host has under its new name claimed a second time, whoever has it under the old one.
      const model::Block block = fresh_block(net("10.0.25.0/26"), "one", routed);
      const Settled own = settle_blocks(*below, {"a"}, {block}, 1);
      EXPECT_TRUE(own.claimed.empty() && own.lost.empty() && !own.refused);
      const Settled other = settle_blocks(*below, {"b"}, {block}, 1);
      ASSERT_EQ(other.lost.size(), 1u);
      EXPECT_EQ(other.lost[0].owner, "a");
      for (const std::string name : {"one", "two"}) ASSERT_TRUE(finish_moving(*cluster, name).ok());
      for (const model::Pool& pool : pools_in(*below)) EXPECT_TRUE(pool.moving_from.empty());
      for (const model::Claim& claim : claims_in(*below)) {
        EXPECT_EQ(claim.pool, net("10.0.0.0/18").contains(claim.prefix) ? "one" : "two");
      }
      EXPECT_EQ(claims_in(*below).size(), seen.size());
    }
  }
}

TEST_P(ReshapeTest, AKillWhileABlockIsGivenBackLosesAndDoublesNothing) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  auto a = host("a");
  for (int commit = 1; commit < 6; ++commit) {
    for (const bool of_node : {false, true}) {
      for (const bool written : {false, true}) {
        SCOPED_TRACE(std::to_string(commit) + (of_node ? " node" : " cluster") + (written ? " written" : ""));
        ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/24")).ok());
        ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.129"), 1).ok());
        ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.192"), 1).ok());
        ASSERT_TRUE(a->follow().ok());
        ASSERT_EQ(keys_below(*a->node, "block/").size(), 2u);
        ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
        ASSERT_TRUE(mirror(*cluster, *a->node, "a").ok());
        test::LimitedStore node(*a->node), shared(*below);
        (of_node ? node : shared).break_at(commit, written);
        const auto given = give_back_closed(shared, node, "a", clock.unix_seconds(), cooldown);
        // What another node could claim is nothing that this host could lease.
        std::set<Prefix> claimed;
        for (const model::Claim& claim : claims_in(*below)) claimed.insert(claim.prefix);
        ASSERT_TRUE(mirror(*cluster, *a->node, "a").ok());
        for (const kv::Entry& entry : entries_in(*a->node, keys::blocks)) {
          EXPECT_TRUE(claimed.contains(model::decode_block(entry.value)->prefix));
        }
        ASSERT_TRUE(a->follow().ok());
        EXPECT_EQ(pool_text("web"), "10.0.0.0/25");
        EXPECT_THAT(claims_in(*below), IsEmpty());
        EXPECT_THAT(keys_below(*a->node, "block/"), IsEmpty());
        EXPECT_THAT(keys_below(*a->node, keys::returned.data()), IsEmpty());
      }
    }
  }
}

// A view of the cluster from before a block was given back does not bring the block back.
TEST_P(ReshapeTest, AnOldViewOfTheClusterAdoptsNothing) {
  ASSERT_TRUE(create_pool(*cluster, make_pool("web", "10.0.0.0/24", 26)).ok());
  auto a = host("a");
  ASSERT_TRUE(claim_block(*cluster, {"a"}, "web", routed, ip("10.0.0.129"), 1).ok());
  ASSERT_TRUE(a->follow().ok());
  // Between the two halves of mirror(), its reading of the cluster and its writing here, the block leaves.
  class Slow final : public kv::Store {
   public:
    Slow(kv::Store& below, std::function<void()> after) : below_(below), after_(std::move(after)) {}
    Result<kv::Revision> transact(const Body& body) override {
      auto done = below_.transact(body);
      if (auto meanwhile = std::exchange(after_, nullptr)) meanwhile();
      return done;
    }
    Result<std::optional<kv::Entry>> get(std::string_view key) override { return below_.get(key); }
    Result<kv::Listing> range(std::string_view prefix) override { return below_.range(prefix); }
    Result<int> watch_fd() override { return below_.watch_fd(); }
    Result<kv::Changes> changes(kv::Revision after, std::string_view prefix) override { return below_.changes(after, prefix); }
    Result<kv::LeaseId> grant(std::chrono::seconds ttl) override { return below_.grant(ttl); }
    Result<std::chrono::seconds> keep_alive(kv::LeaseId lease) override { return below_.keep_alive(lease); }
    Status revoke(kv::LeaseId lease) override { return below_.revoke(lease); }

   private:
    kv::Store& below_;
    std::function<void()> after_;
  };
  Slow slow(*cluster, [&] {
    ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/25")).ok());
    ASSERT_TRUE(a->follow().ok());
    ASSERT_TRUE(resize_pool(*cluster, "web", net("10.0.0.0/24")).ok());
    ASSERT_TRUE(claim_block(*cluster, {"b"}, "web", routed, ip("10.0.0.129"), 1).ok());
  });
  ASSERT_TRUE(mirror(slow, *a->node, "a").ok());
  EXPECT_THAT(keys_below(*a->node, "block/"), IsEmpty());
}

// Several hosts lease, release, claim, follow or do not, while the pools are reshaped at random and what does it dies at random. No
// address ever has two holders, no block two owners; in the end everything agrees.
TEST_P(ReshapeTest, AtRandomNoAddressHasTwoHolders) {
  const unsigned seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](unsigned count) { return static_cast<unsigned>(random() % count); };
  ASSERT_TRUE(create_pool(*cluster, make_pool("p0", "10.0.0.0/23", 29)).ok());
  std::vector<std::unique_ptr<Host>> hosts;
  for (const char* name : {"a", "b", "c"}) hosts.push_back(host(name));
  std::map<std::string, std::pair<Host*, Address>> held;  // by container
  std::map<Address, std::string> holder;
  int leased = 0, reshaped = 0;
  const int rounds = GetParam() ? 250 : 600;
  for (int round = 0; round < rounds; ++round) {
    clock.advance(std::chrono::seconds(pick(20)));
    Host& at = *hosts[pick(3)];
    const auto pools = pools_in(*below);
    ASSERT_FALSE(pools.empty());
    const model::Pool& pool = pools[pick(static_cast<unsigned>(pools.size()))];
    const unsigned dice = pick(20);
    if (dice < 8) {
      const std::string container = "c" + std::to_string(round);
      auto got = at.lease(container, pool.name);
      if (!got) continue;
      ++leased;
      const Address address = got->addresses.at(0);
      const auto [other, alone] = holder.emplace(address, container);
      ASSERT_TRUE(alone) << address.to_string() << " is held by " << other->second << ", and leased to " << container;
      held.emplace(container, std::pair(&at, address));
    } else if (dice < 14 && !held.empty()) {
      auto one = std::next(held.begin(), static_cast<std::ptrdiff_t>(pick(static_cast<unsigned>(held.size()))));
      one->second.first->drop(one->first);
      holder.erase(one->second.second);
      held.erase(one);
    } else if (dice < 16) {
      if (pick(4) != 0) {
        ASSERT_TRUE(at.follow().ok());
      } else {
        test::LimitedStore dying(*below);
        dying.break_at(1 + static_cast<int>(pick(3)), pick(2) == 0);
        static_cast<void>(mirror(dying, *at.node, at.name));
        static_cast<void>(give_back_closed(dying, *at.node, at.name, clock.unix_seconds(), cooldown));
      }
    } else {
      test::LimitedStore dying(*below);
      if (pick(3) == 0) dying.break_at(1 + static_cast<int>(pick(3)), pick(2) == 0);
      const std::string fresh = "p" + std::to_string(round);
      bool done = false;
      if (dice == 16) {
        done = split_pool(dying, pool.name, {{pick(2) == 0 ? pool.name : fresh + "a", {}}, {fresh + "b", {}}}).ok();
      } else if (dice == 17 && pools.size() > 1) {
        const model::Pool& other = pools[pick(static_cast<unsigned>(pools.size()))];
        done = merge_pools(dying, {pool.name, other.name}, pick(2) == 0 ? fresh : pool.name).ok();
      } else if (dice == 18) {
        const int length = pool.cidr.length() + (pick(2) == 0 ? 1 : -1);
        const Address base = pool.cidr.address().plus(length > pool.cidr.length() && pick(2) == 0 ? pool.cidr.count() / 2 : 0);
        if (length >= 22) done = resize_pool(dying, pool.name, Prefix::of(base, length)).ok();
      } else {
        for (const model::Pool& each : pools) static_cast<void>(finish_moving(dying, each.name));
        static_cast<void>(finish_all_shrinking(dying));
      }
      reshaped += done ? 1 : 0;
    }
    std::set<Prefix> claimed;
    for (const model::Claim& claim : claims_in(*below)) {
      ASSERT_TRUE(claimed.insert(claim.prefix).second) << claim.prefix.to_string() << " has two owners";
    }
  }
  EXPECT_GT(leased, rounds / 20);
  EXPECT_GT(reshaped, rounds / 100);
  for (const model::Pool& pool : pools_in(*below)) ASSERT_TRUE(finish_moving(*cluster, pool.name).ok());
  clock.advance(std::chrono::seconds(100));
  for (auto& one : hosts) ASSERT_TRUE(one->follow().ok());
  for (auto& one : hosts) EXPECT_THAT(one->problems(), IsEmpty());
  for (const auto& [container, where] : held) {
    const auto lease = where.first->allocator->holder(where.second);
    ASSERT_TRUE(lease.ok() && *lease);
    EXPECT_EQ((*lease)->handle, "app/" + container + "/eth0");
    where.first->drop(container);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ReshapeTest, testing::Bool(),
                         [](const auto& about) { return std::string(about.param ? "etcd" : "file"); });

}  // namespace
}  // namespace firn::ipam
