#include "ipam/allocator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "ipam/block.hpp"
#include "ipam/grace.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace keys = model::keys;

class AllocatorTest : public ::testing::Test {
 protected:
  void SetUp() override { store = open_store(directory.file("node.db")); }

  Options options(const std::string& boot = "boot-1") {
    Options out;
    out.boot_id = boot;
    out.namespace_alive = [this](const model::Endpoint& e) { return alive.count(e.container_id) != 0; };
    return out;
  }
  void add_pool(const model::Pool& pool) { put(*store, keys::pool(pool.name), model::encode(pool)); }
  void add_block(const std::string& pool, const std::string& prefix, model::Use use = model::Use::routed) {
    put(*store, keys::block(use, pool, net(prefix)), model::encode(fresh_block(net(prefix), pool, use)));
    put(*store, keys::available(use, pool, net(prefix)), "");
  }
  void reserve(const std::string& cidr) {
    put(*store, keys::reservation(net(cidr)), model::encode(model::Reservation{net(cidr), ""}));
  }
  std::string lease(Allocator& allocator, const std::string& container, const AddressRequest& request,
                    model::Use use = model::Use::routed) {
    auto endpoint = allocator.lease(make_endpoint(container), use, {request});
    return endpoint ? endpoint->addresses.at(0).to_string() : "error: " + endpoint.error().message;
  }

  TemporaryDirectory directory;
  std::unique_ptr<kv::Store> store;
  test::ManualClock clock;
  std::set<std::string> alive;
};

TEST_F(AllocatorTest, LeasesAndRecordsTheEndpointInOnePiece) {
  Allocator allocator(*store, clock, options());
  const auto pool = allocator.subnet_pool(net("10.1.0.0/16"));
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  EXPECT_EQ(pool->name, "net-10.1.0.0-16");
  EXPECT_EQ(pool->block_size, 26);
  const auto endpoint = allocator.lease(make_endpoint("one"), model::Use::routed, {from_pool(pool->name)});
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().message;
  EXPECT_EQ(endpoint->addresses, std::vector{ip("10.1.0.0")});
  EXPECT_EQ(endpoint->boot_id, "boot-1");
  EXPECT_TRUE(endpoint->leased);
  const auto found = allocator.find("app/one/eth0");
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ(**found, *endpoint);
  const auto holder = allocator.holder(ip("10.1.0.0"));
  ASSERT_TRUE(holder.ok() && holder->has_value());
  EXPECT_EQ((*holder)->handle, "app/one/eth0");
  EXPECT_EQ((*holder)->block, net("10.1.0.0/26"));
  EXPECT_EQ(allocator.endpoints("app")->size(), 1u);
  EXPECT_THAT(*allocator.endpoints("ap"), IsEmpty()) << "a network's name is not a prefix of another's";
}

TEST_F(AllocatorTest, ASecondLeaseForAHandleIsRefused) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  lease(allocator, "one", from_pool(pool));
  const auto again = allocator.lease(make_endpoint("one"), model::Use::routed, {from_pool(pool)});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_EQ(keys_below(*store, "lease/").size(), 1u);
}

TEST_F(AllocatorTest, ReleaseIsIdempotentAndCools) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/30"))->name;
  EXPECT_EQ(lease(allocator, "a", from_pool(pool)), "10.1.0.0");
  const auto released = allocator.release("app/a/eth0");
  ASSERT_TRUE(released.ok() && released->has_value());
  EXPECT_EQ((*released)->addresses, std::vector{ip("10.1.0.0")});
  ASSERT_TRUE(allocator.release("app/a/eth0").ok());
  EXPECT_FALSE(allocator.release("app/a/eth0")->has_value());
  EXPECT_THAT(keys_below(*store, "lease/"), IsEmpty());
  EXPECT_THAT(keys_below(*store, "endpoint/"), IsEmpty());
  EXPECT_EQ(lease(allocator, "b", from_pool(pool)), "10.1.0.1");
  EXPECT_EQ(lease(allocator, "c", from_pool(pool)), "10.1.0.2");
  EXPECT_EQ(lease(allocator, "d", from_pool(pool)), "10.1.0.3");
  EXPECT_EQ(lease(allocator, "e", from_pool(pool)), "10.1.0.0") << "cooling, but nothing else is free";
  EXPECT_THAT(lease(allocator, "f", from_pool(pool)), HasSubstr("no free address for routed use in pool net-10.1.0.0-30"));
  EXPECT_THAT(keys_below(*store, "available/"), IsEmpty());
  allocator.release("app/c/eth0").value();
  EXPECT_EQ(keys_below(*store, "available/").size(), 1u);
  EXPECT_EQ(lease(allocator, "f", from_pool(pool)), "10.1.0.2");
}

TEST_F(AllocatorTest, CooldownEndsAfterItsTime) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/30"))->name;
  for (const char* name : {"a", "b", "c"}) lease(allocator, name, from_pool(pool));
  allocator.release("app/b/eth0").value();
  clock.advance(std::chrono::seconds(60));
  EXPECT_EQ(lease(allocator, "d", from_pool(pool)), "10.1.0.3") << "the queue comes first";
  EXPECT_EQ(lease(allocator, "e", from_pool(pool)), "10.1.0.1");
}

TEST_F(AllocatorTest, BlocksThatCoolAreMarkedAndComeBack) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/29"), 31)->name;
  const auto hint = [&](const char* block) { return (*store->get(keys::available(model::Use::routed, pool, net(block))))->value; };
  for (const char* name : {"a", "b"}) lease(allocator, name, from_pool(pool));
  allocator.release("app/a/eth0").value();
  EXPECT_EQ(hint("10.1.0.0/31"), std::to_string(clock.unix_seconds()));
  clock.advance(std::chrono::seconds(10));
  allocator.release("app/b/eth0").value();
  EXPECT_EQ(lease(allocator, "c", from_pool(pool)), "10.1.0.2");
  clock.advance(std::chrono::seconds(50));
  EXPECT_EQ(lease(allocator, "d", from_pool(pool)), "10.1.0.0") << "the mark is of the first release";
  EXPECT_EQ(lease(allocator, "e", from_pool(pool)), "10.1.0.3");
  EXPECT_EQ(hint("10.1.0.0/31"), std::to_string(clock.unix_seconds() - 50));
  clock.advance(std::chrono::seconds(10));
  EXPECT_EQ(lease(allocator, "f", from_pool(pool)), "10.1.0.1");
}

TEST_F(AllocatorTest, TheOldestCoolingAddressOfAllPoolsIsTaken) {
  add_pool(make_pool("a", "10.1.0.0/31", 31));
  add_pool(make_pool("b", "10.2.0.0/31", 31));
  add_block("a", "10.1.0.0/31");
  add_block("b", "10.2.0.0/31");
  Allocator allocator(*store, clock, options());
  AddressRequest both = from_pool("a");
  both.pools.push_back("b");
  for (const char* name : {"1", "2", "3", "4"}) lease(allocator, name, both);
  for (const char* name : {"4", "1", "3", "2"}) {
    clock.advance(std::chrono::seconds(1));
    allocator.release(std::string("app/") + name + "/eth0").value();
  }
  EXPECT_EQ(lease(allocator, "5", both), "10.2.0.1");
  EXPECT_EQ(lease(allocator, "6", both), "10.1.0.0");
  EXPECT_EQ(lease(allocator, "7", both), "10.2.0.0");
  EXPECT_EQ(lease(allocator, "8", both), "10.1.0.1");
}

TEST_F(AllocatorTest, DualStackIsAllOrNothing) {
  Allocator allocator(*store, clock, options());
  const std::string four = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  const auto six = allocator.subnet_pool(net("fd00:1::/127"));
  ASSERT_TRUE(six.ok()) << six.error().message;
  EXPECT_EQ(six->name, "net-fd00-1---127");
  EXPECT_EQ(six->block_size, 127);
  const std::vector both{from_pool(four), from_pool(six->name, Family::v6)};
  const auto endpoint = allocator.lease(make_endpoint("one"), model::Use::routed, both);
  ASSERT_TRUE(endpoint.ok()) << endpoint.error().message;
  EXPECT_EQ(endpoint->addresses, (std::vector{ip("10.1.0.0"), ip("fd00:1::")}));
  ASSERT_TRUE(allocator.lease(make_endpoint("two"), model::Use::routed, both).ok());
  const auto third = allocator.lease(make_endpoint("three"), model::Use::routed, both);
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, Code::exhausted);
  EXPECT_EQ(keys_below(*store, "lease/").size(), 4u);
  EXPECT_EQ(lease(allocator, "four", from_pool(four)), "10.1.0.2") << "nothing of the failed lease is left";
}

TEST_F(AllocatorTest, StaticAddresses) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  EXPECT_EQ(lease(allocator, "one", the_address(pool, "10.1.7.7")), "10.1.7.7");
  model::Endpoint holder = make_endpoint("pod");
  holder.pod_namespace = "default";
  holder.pod_name = "web-1";
  ASSERT_TRUE(allocator.lease(holder, model::Use::routed, {the_address(pool, "10.1.7.8")}).ok());
  const auto taken = allocator.lease(make_endpoint("two"), model::Use::routed, {the_address(pool, "10.1.7.8")});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Code::conflict);
  EXPECT_EQ(taken.error().message, "10.1.7.8 is leased by app/pod/eth0 (pod default/web-1)");
  EXPECT_EQ(allocator.lease(make_endpoint("two"), model::Use::routed, {the_address(pool, "10.2.0.1")}).error().code, Code::invalid);
  EXPECT_EQ(allocator.lease(make_endpoint("two"), model::Use::bridged, {the_address(pool, "10.1.7.9")}).error().code,
            Code::conflict)
      << "a block has one use";
  reserve("10.1.9.0/24");
  EXPECT_THAT(lease(allocator, "two", the_address(pool, "10.1.9.1")), HasSubstr("10.1.9.1 cannot be leased: it is reserved"));
  const auto twice =
      allocator.lease(make_endpoint("two"), model::Use::routed, {the_address(pool, "10.1.8.1"), the_address(pool, "10.1.8.1")});
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(keys_below(*store, "lease/").size(), 2u);
  EXPECT_EQ(lease(allocator, "three", from_pool(pool)), "10.1.7.0") << "owned blocks are filled before new ones are taken";
}

TEST_F(AllocatorTest, BoundsReservationsAndExclusions) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  AddressRequest request = from_pool(pool);
  request.first = ip("10.1.3.250");
  request.last = ip("10.1.4.2");
  request.excluded = {ip("10.1.3.255")};
  reserve("10.1.3.252/31");
  std::vector<std::string> got;
  for (int i = 0; i < 6; ++i) got.push_back(lease(allocator, std::to_string(i), request));
  EXPECT_THAT(got, ElementsAre("10.1.3.250", "10.1.3.251", "10.1.3.254", "10.1.4.0", "10.1.4.1", "10.1.4.2"));
  EXPECT_THAT(lease(allocator, "more", request), HasSubstr("between 10.1.3.250 and 10.1.4.2"));
  EXPECT_EQ(lease(allocator, "any", from_pool(pool)), "10.1.3.192");
}

TEST_F(AllocatorTest, BridgedSubnetsKeepTheirNetworkAndBroadcastAddress) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/29"))->name;
  AddressRequest request = from_pool(pool);
  request.excluded = {ip("10.1.0.1")};
  std::vector<std::string> got;
  for (int i = 0; i < 5; ++i) got.push_back(lease(allocator, std::to_string(i), request, model::Use::bridged));
  EXPECT_THAT(got, ElementsAre("10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"));
  EXPECT_THAT(lease(allocator, "more", request, model::Use::bridged), HasSubstr("no free address for bridged use"));
  EXPECT_THAT(lease(allocator, "fix", the_address(pool, "10.1.0.7"), model::Use::bridged), HasSubstr("broadcast address"));
  const auto usage = allocator.usage();
  ASSERT_TRUE(usage.ok());
  EXPECT_EQ(usage->at(0).capacity, 6u);
  EXPECT_EQ(usage->at(0).used, 5u);
}

TEST_F(AllocatorTest, ARoutedHostPrefixIsAWholePool) {
  Allocator allocator(*store, clock, options());
  const auto pool = allocator.subnet_pool(net("10.1.0.9/32"));
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  EXPECT_EQ(pool->block_size, 32);
  EXPECT_EQ(lease(allocator, "one", from_pool(pool->name)), "10.1.0.9");
  EXPECT_THAT(lease(allocator, "two", from_pool(pool->name)), HasSubstr("no free address"));
}

TEST_F(AllocatorTest, AReservationLargerThanAllBlocksIsSteppedOver) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("fd00::/48"))->name;
  reserve("fd00::/50");
  EXPECT_EQ(lease(allocator, "one", from_pool(pool, Family::v6)), "fd00:0:0:4000::");
}

TEST_F(AllocatorTest, SubnetPoolsDoNotOverlap) {
  Allocator allocator(*store, clock, options());
  add_pool(make_pool("web", "10.2.0.0/16", 26));
  ASSERT_TRUE(allocator.subnet_pool(net("10.1.0.0/16")).ok());
  ASSERT_TRUE(allocator.subnet_pool(net("10.1.0.0/16")).ok()) << "the same again is the same pool";
  for (const char* cidr : {"10.1.4.0/24", "10.0.0.0/8", "10.2.3.0/24"}) {
    const auto overlapping = allocator.subnet_pool(net(cidr));
    ASSERT_FALSE(overlapping.ok());
    EXPECT_EQ(overlapping.error().code, Code::conflict) << cidr;
  }
  EXPECT_THAT(allocator.subnet_pool(net("10.2.3.0/24")).error().message, HasSubstr("overlaps with pool web (10.2.0.0/16)"));
  EXPECT_EQ(allocator.subnet_pool(net("10.1.0.0/16"), 28).error().code, Code::conflict);
  EXPECT_EQ(allocator.subnet_pool(net("10.3.0.0/28"), 26).error().code, Code::invalid);
  EXPECT_EQ(allocator.subnet_pool(net("10.3.0.0/28"))->block_size, 28);
  EXPECT_EQ(allocator.subnet_pool(net("224.0.0.0/24")).error().code, Code::invalid);
}

TEST_F(AllocatorTest, PoolsAreTriedInOrderAndDisabledOnesSkipped) {
  model::Pool closed = make_pool("closed", "10.1.0.0/24", 26);
  closed.disabled = true;
  add_pool(closed);
  add_pool(make_pool("small", "10.2.0.0/31", 31));
  add_pool(make_pool("large", "10.3.0.0/24", 26));
  add_block("closed", "10.1.0.0/26");
  add_block("small", "10.2.0.0/31");
  add_block("large", "10.3.0.0/26");
  Allocator allocator(*store, clock, options());
  AddressRequest request;
  request.pools = {"closed", "small", "large"};
  std::vector<std::string> got;
  for (int i = 0; i < 3; ++i) got.push_back(lease(allocator, std::to_string(i), request));
  EXPECT_THAT(got, ElementsAre("10.2.0.0", "10.2.0.1", "10.3.0.0"));
  EXPECT_THAT(lease(allocator, "x", from_pool("closed")), HasSubstr("pool closed is disabled"));
  EXPECT_EQ(allocator.lease(make_endpoint("x"), model::Use::routed, {the_address("closed", "10.1.0.1")}).error().code,
            Code::denied);
  EXPECT_EQ(allocator.lease(make_endpoint("x"), model::Use::routed, {from_pool("none")}).error().code, Code::not_found);
  EXPECT_EQ(allocator.lease(make_endpoint("x"), model::Use::routed, {from_pool("large", Family::v6)}).error().code, Code::invalid);
  EXPECT_EQ(allocator.lease(make_endpoint("x"), model::Use::routed, {AddressRequest{}}).error().code, Code::invalid);
}

TEST_F(AllocatorTest, BlocksOfClusterPoolsComeFromTheSource) {
  add_pool(make_pool("web", "10.1.0.0/24", 31));
  Options with = options();
  int asked = 0;
  with.more_blocks = [&](const model::Pool& pool, model::Use, const std::optional<Address>& wanted) -> Result<Prefix> {
    EXPECT_EQ(pool.name, "web");
    if (wanted) return Prefix::of(*wanted, 31);
    if (asked == 2) return make_error(Code::exhausted, "no more blocks");
    return Prefix::of(ip("10.1.0.0").plus(static_cast<unsigned>(2 * asked++)), 31);
  };
  Allocator allocator(*store, clock, with);
  std::vector<std::string> got;
  for (int i = 0; i < 4; ++i) got.push_back(lease(allocator, std::to_string(i), from_pool("web")));
  EXPECT_THAT(got, ElementsAre("10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.3"));
  EXPECT_EQ(asked, 2);
  EXPECT_THAT(lease(allocator, "more", from_pool("web")), HasSubstr("pool web: no more blocks"));
  EXPECT_EQ(lease(allocator, "fix", the_address("web", "10.1.0.9")), "10.1.0.9");
  allocator.release("app/2/eth0").value();
  EXPECT_EQ(lease(allocator, "again", from_pool("web")), "10.1.0.8") << "free in the block of the fixed address";
  EXPECT_EQ(lease(allocator, "cooling", from_pool("web")), "10.1.0.2");
}

TEST_F(AllocatorTest, ASourceThatCannotBeReachedIsSaidSo) {
  add_pool(make_pool("web", "10.1.0.0/24", 31));
  Options with = options();
  with.more_blocks = [](const model::Pool&, model::Use, const std::optional<Address>&) -> Result<Prefix> {
    return make_error(Code::unavailable, "the cluster store does not answer");
  };
  Allocator allocator(*store, clock, with);
  const auto failed = allocator.lease(make_endpoint("x"), model::Use::routed, {from_pool("web")});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::unavailable);
  add_block("web", "10.1.0.0/31");
  EXPECT_EQ(lease(allocator, "x", from_pool("web")), "10.1.0.0") << "owned blocks go on working";
}

TEST_F(AllocatorTest, CanLeaseTellsWithoutLeasing) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/31"))->name;
  EXPECT_TRUE(allocator.can_lease(model::Use::routed, {from_pool(pool)}).ok());
  EXPECT_THAT(keys_below(*store, "lease/"), IsEmpty());
  EXPECT_THAT(keys_below(*store, "block/"), IsEmpty());
  lease(allocator, "1", from_pool(pool));
  EXPECT_FALSE(allocator.can_lease(model::Use::routed, {from_pool(pool), from_pool(pool)}).ok()) << "only one is left";
  lease(allocator, "2", from_pool(pool));
  const auto full = allocator.can_lease(model::Use::routed, {from_pool(pool)});
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().code, Code::exhausted);
  allocator.release("app/1/eth0").value();
  EXPECT_TRUE(allocator.can_lease(model::Use::routed, {from_pool(pool)}).ok()) << "a cooling address is good enough";
}

TEST_F(AllocatorTest, ForeignAddressesAreRecordedAndNotFreed) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  lease(allocator, "one", from_pool(pool));
  model::Endpoint foreign = make_endpoint("foreign");
  foreign.addresses = {ip("10.9.0.1"), ip("10.1.0.0")};
  const auto leased = allocator.record(foreign);
  EXPECT_EQ(leased.error().code, Code::conflict);
  EXPECT_THAT(leased.error().message, HasSubstr("10.1.0.0 for app/foreign/eth0 is held by app/one/eth0"));
  EXPECT_FALSE(allocator.find("app/foreign/eth0")->has_value());
  foreign.addresses = {ip("10.9.0.1"), ip("10.9.0.2")};
  ASSERT_TRUE(allocator.record(foreign).ok());
  EXPECT_EQ(allocator.record(foreign).error().code, Code::exists);
  model::Endpoint second = make_endpoint("second", "other");
  second.addresses = {ip("10.9.0.2")};
  EXPECT_EQ(allocator.record(second).error().code, Code::conflict);
  second.addresses = {ip("10.9.0.20")};
  EXPECT_TRUE(allocator.record(second).ok());
  EXPECT_FALSE((*allocator.find("app/foreign/eth0"))->leased);
  allocator.release("app/foreign/eth0").value();
  EXPECT_TRUE(allocator.holder(ip("10.1.0.0"))->has_value());
}

TEST_F(AllocatorTest, ForeignAddressesAreNotLeasedWhileTheyAreRecorded) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/29"), 30)->name;
  lease(allocator, "one", from_pool(pool));  // 10.1.0.0, and with it the first block
  model::Endpoint foreign = make_endpoint("foreign");
  ASSERT_TRUE(allocator.record(foreign).ok()) << "while the other plugin is asked";
  // One in an owned block, one in a block that is taken later, one of nowhere.
  foreign.addresses = {ip("10.1.0.1"), ip("10.1.0.5"), ip("10.9.0.1")};
  ASSERT_TRUE(allocator.record(foreign).ok());
  AddressRequest wanted = from_pool(pool);
  wanted.address = ip("10.1.0.1");
  const auto refused = allocator.lease(make_endpoint("static"), model::Use::routed, {wanted});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("app/foreign/eth0"));
  std::vector<std::string> given;
  for (int i = 0; i < 5; ++i) {
    const auto got = allocator.lease(make_endpoint("c" + std::to_string(i)), model::Use::routed, {from_pool(pool)});
    ASSERT_TRUE(got.ok()) << got.error().message;
    given.push_back(got->addresses[0].to_string());
  }
  EXPECT_THAT(given, testing::ElementsAre("10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.6", "10.1.0.7"));
  EXPECT_EQ(allocator.lease(make_endpoint("more"), model::Use::routed, {from_pool(pool)}).error().code, Code::exhausted);
  // After a boot the books are made anew from the endpoints.
  Options booted = options();
  booted.boot_id = "boot-2";
  booted.namespace_alive = [](const model::Endpoint&) { return true; };
  Allocator later(*store, clock, booted);
  ASSERT_TRUE(later.begin_boot().ok());
  EXPECT_EQ(later.lease(make_endpoint("more"), model::Use::routed, {from_pool(pool)}).error().code, Code::exhausted);
  ASSERT_TRUE(later.release("app/foreign/eth0").ok());
  const auto freed = later.lease(make_endpoint("more"), model::Use::routed, {from_pool(pool), from_pool(pool)});
  ASSERT_TRUE(freed.ok()) << freed.error().message;
  EXPECT_THAT(freed->addresses, testing::UnorderedElementsAre(ip("10.1.0.1"), ip("10.1.0.5")));
}

TEST_F(AllocatorTest, ReleaseLeavesWhatAnotherHandleHolds) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/16"))->name;
  lease(allocator, "one", from_pool(pool));
  model::Endpoint liar = make_endpoint("liar");
  liar.addresses = {ip("10.1.0.0"), ip("10.1.0.1")};
  liar.boot_id = "boot-1";
  put(*store, "endpoint/app/liar/eth0", model::encode(liar));
  ASSERT_TRUE(allocator.release("app/liar/eth0").ok());
  EXPECT_EQ((*allocator.holder(ip("10.1.0.0")))->handle, "app/one/eth0");
  EXPECT_EQ(lease(allocator, "two", from_pool(pool)), "10.1.0.1");
}

TEST_F(AllocatorTest, ANewBootDropsWhatWentWithTheOldOne) {
  std::string pool;
  {
    Allocator before(*store, clock, options());
    pool = before.subnet_pool(net("10.1.0.0/28"))->name;
    for (const char* name : {"gone", "stays", "gone-too"}) lease(before, name, from_pool(pool));
  }
  alive = {"stays"};
  Allocator after(*store, clock, options("boot-2"));
  EXPECT_EQ(after.endpoints()->size(), 3u) << "reading changes nothing";
  EXPECT_EQ(lease(after, "new", from_pool(pool)), "10.1.0.3");
  const auto endpoints = after.endpoints();
  ASSERT_EQ(endpoints->size(), 2u);
  for (const model::Endpoint& endpoint : *endpoints) EXPECT_EQ(endpoint.boot_id, "boot-2");
  EXPECT_FALSE(after.holder(ip("10.1.0.0"))->has_value());
  EXPECT_TRUE(after.holder(ip("10.1.0.1"))->has_value());
  alive.clear();
  EXPECT_EQ(lease(after, "newer", from_pool(pool)), "10.1.0.4");
  EXPECT_EQ(after.endpoints()->size(), 3u) << "only once a boot";
}

TEST_F(AllocatorTest, AStoreRolledBackByAPowerCutIsRebuiltFromItsEndpoints) {
  std::string pool;
  {
    Allocator before(*store, clock, options());
    pool = before.subnet_pool(net("10.1.0.0/28"))->name;
    for (const char* name : {"a", "b", "c"}) lease(before, name, from_pool(pool));
  }
  // A block older than its leases, a lease without endpoint, an endpoint without lease, a missing available/ key.
  put(*store, keys::block(model::Use::routed, pool, net("10.1.0.0/28")),
      model::encode(fresh_block(net("10.1.0.0/28"), pool, model::Use::routed)));
  erase(*store, keys::lease(ip("10.1.0.1")));
  erase(*store, "endpoint/app/c/eth0");
  erase(*store, keys::available(model::Use::routed, pool, net("10.1.0.0/28")));
  alive = {"a", "b"};
  Allocator after(*store, clock, options("boot-2"));
  std::set<std::string> got;
  for (int i = 0; i < 14; ++i) got.insert(lease(after, std::to_string(i), from_pool(pool)));
  EXPECT_EQ(got.size(), 14u);
  EXPECT_EQ(got.count("10.1.0.0") + got.count("10.1.0.1"), 0u);
  EXPECT_THAT(lease(after, "more", from_pool(pool)), HasSubstr("no free address"));
}

TEST_F(AllocatorTest, ALiveEndpointGetsItsLostBlockBack) {
  std::string pool;
  {
    Allocator before(*store, clock, options());
    pool = before.subnet_pool(net("10.1.0.0/24"))->name;
    lease(before, "a", the_address(pool, "10.1.0.70"));
  }
  erase(*store, keys::block(model::Use::routed, pool, net("10.1.0.64/26")));
  erase(*store, keys::available(model::Use::routed, pool, net("10.1.0.64/26")));
  alive = {"a"};
  Allocator after(*store, clock, options("boot-2"));
  ASSERT_TRUE(after.begin_boot().ok());
  EXPECT_THAT(lease(after, "b", the_address(pool, "10.1.0.70")), HasSubstr("is leased by app/a/eth0"));
  EXPECT_EQ(lease(after, "c", from_pool(pool)), "10.1.0.64");
}

TEST_F(AllocatorTest, WithoutABootIdNothingIsLeased) {
  Allocator allocator(*store, clock, Options{});
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/24"))->name;
  EXPECT_THAT(lease(allocator, "a", from_pool(pool)), HasSubstr("without the id of this boot"));
  EXPECT_FALSE(allocator.release("app/a/eth0").ok());
  EXPECT_TRUE(current_boot_id().ok());
}

// Whatever is in a record that cannot be used: the message names its key, and nothing is leased or freed because of it.
TEST_F(AllocatorTest, DamagedRecordsStopWhatNeedsThem) {
  Allocator allocator(*store, clock, options());
  const std::string pool = allocator.subnet_pool(net("10.1.0.0/24"))->name;
  lease(allocator, "one", from_pool(pool));
  const std::string block_key = keys::block(model::Use::routed, pool, net("10.1.0.0/26"));
  const std::string lease_key = keys::lease(ip("10.1.0.0"));
  const std::string other = model::encode(fresh_block(net("10.1.0.64/26"), pool, model::Use::routed));
  for (const std::string& key : {block_key, lease_key, std::string("endpoint/app/one/eth0")}) {
    const std::string good = (*store->get(key))->value;
    for (const std::string& bad : {std::string(), std::string("{"), std::string("{}"), std::string("{\"v\":2}"), other}) {
      put(*store, key, bad);
      const auto released = allocator.release("app/one/eth0");
      ASSERT_FALSE(released.ok()) << key << " " << bad;
      EXPECT_THAT(released.error().message, HasSubstr("the record " + key + " cannot be used"));
      EXPECT_THAT(released.error().message, HasSubstr("firnctl ipam check"));
      EXPECT_EQ(keys_below(*store, "lease/").size(), 1u);
    }
    put(*store, key, good);
  }
  put(*store, block_key, "{}");
  EXPECT_THAT(lease(allocator, "two", from_pool(pool)), HasSubstr(block_key));
  put(*store, keys::pool(pool), "nonsense");
  EXPECT_THAT(lease(allocator, "two", from_pool(pool)), HasSubstr("the record pool/" + pool));
  Allocator after(*store, clock, options("boot-2"));
  EXPECT_THAT(lease(after, "two", from_pool(pool)), HasSubstr("cannot be used")) << "also when a boot is taken over";
}

// Random operations of two allocators on one store against a model of queues: the same addresses in the same order.
TEST_F(AllocatorTest, BehavesLikeItsModel) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    store = open_store(directory.file("model-" + std::to_string(seed)));
    auto second = open_store(directory.file("model-" + std::to_string(seed)));
    Allocator allocators[] = {Allocator(*store, clock, options()), Allocator(*second, clock, options())};
    const std::string pool = allocators[0].subnet_pool(net("10.7.0.0/27"), 29)->name;
    std::mt19937 random(seed);
    struct Free {
      Address address;
      int64_t released;
    };
    std::map<Prefix, std::deque<Free>> blocks;
    std::map<std::string, Address> held;
    for (int step = 0; step < 600; ++step) {
      clock.advance(std::chrono::seconds(random() % 20));
      Allocator& allocator = allocators[random() % 2];
      if (held.empty() || random() % 5 < 3) {
        std::optional<Address> expected;
        const auto take_from = [&](Prefix prefix, int64_t before) {
          auto& queue = blocks[prefix];
          const auto at = std::find_if(queue.begin(), queue.end(), [&](const Free& f) { return f.released <= before; });
          if (at == queue.end()) return false;
          expected = at->address;
          queue.erase(at);
          return true;
        };
        for (auto& [prefix, queue] : blocks) {
          if (!expected) take_from(prefix, clock.unix_seconds() - 60);
        }
        for (unsigned i = 0; i < 4 && !expected; ++i) {
          const Prefix prefix = Prefix::of(ip("10.7.0.0").plus(8 * i), 29);
          if (blocks.count(prefix) != 0) continue;
          for (unsigned j = 0; j < 8; ++j) blocks[prefix].push_back({prefix.at(j), 0});
          take_from(prefix, 0);
        }
        if (!expected) {
          std::optional<int64_t> oldest;
          Prefix where;
          for (const auto& [prefix, queue] : blocks) {
            for (const Free& f : queue) {
              if (oldest && f.released >= *oldest) continue;
              oldest = f.released;
              where = prefix;
            }
          }
          if (oldest) take_from(where, *oldest);
        }
        const std::string name = std::to_string(step);
        auto got = allocator.lease(make_endpoint(name), model::Use::routed, {from_pool(pool)});
        ASSERT_EQ(got.ok(), expected.has_value()) << "seed " << seed << " step " << step;
        if (!got) continue;
        ASSERT_EQ(got->addresses.at(0), *expected) << "seed " << seed << " step " << step;
        held.emplace(model::handle_of(*got), *expected);
      } else {
        auto which = held.begin();
        std::advance(which, static_cast<std::ptrdiff_t>(random() % held.size()));
        const auto released = allocator.release(which->first);
        ASSERT_TRUE(released.ok() && released->has_value());
        for (auto& [prefix, queue] : blocks) {
          if (prefix.contains(which->second)) queue.push_back({which->second, clock.unix_seconds()});
        }
        held.erase(which);
      }
      std::set<Address> addresses;
      for (const auto& [handle, address] : held) ASSERT_TRUE(addresses.insert(address).second) << address.to_string() << " twice";
      if (step % 50 == 0) {
        const auto usage = allocator.usage();
        ASSERT_TRUE(usage.ok());
        ASSERT_EQ(usage->at(0).used, held.size());
        ASSERT_EQ(usage->at(0).blocks, blocks.size());
        ASSERT_EQ(keys_below(*store, "lease/").size(), held.size());
      }
    }
  }
}

// A host that is cut off: no beat moves its fence, and somebody sets its clock.
class FenceTest : public AllocatorTest {
 protected:
  static constexpr int64_t grace = 600;
  void SetUp() override {
    AllocatorTest::SetUp();
    add_pool(make_pool("web", "10.0.0.0/24", 26));
    add_block("web", "10.0.0.0/26");
    ASSERT_TRUE(extend_fence(*store, {grace, grace}, moment(clock, "boot-1")).ok());
    begun = clock.unix_seconds();
  }
  std::string lease_in(const std::string& boot) {
    Allocator allocator(*store, clock, options(boot));
    return lease(allocator, "c" + std::to_string(++containers), from_pool("web"));
  }
  int64_t begun = 0;
  int containers = 0;
};

TEST_F(FenceTest, AClockThatIsSetBackDoesNotDelayIt) {
  clock.advance(std::chrono::seconds(grace - 1));
  clock.set_unix_seconds(begun - 100'000);
  EXPECT_EQ(lease_in("boot-1"), "10.0.0.0");
  clock.advance(std::chrono::seconds(1));
  EXPECT_THAT(lease_in("boot-1"), HasSubstr("has not reached the cluster for 600 s, the grace of nodes"));
  ASSERT_TRUE(extend_fence(*store, {grace, grace}, moment(clock, "boot-1")).ok());
  EXPECT_EQ(lease_in("boot-1"), "10.0.0.1");
}

TEST_F(FenceTest, AClockThatIsSetForwardBringsIt) {
  clock.set_unix_seconds(begun + grace);
  EXPECT_THAT(lease_in("boot-1"), HasSubstr("the grace of nodes"));
}

TEST_F(FenceTest, OverARebootTheWallClockCounts) {
  clock.advance(std::chrono::seconds(grace - 100));
  clock.reboot();
  EXPECT_EQ(lease_in("boot-2"), "10.0.0.0");
  clock.advance(std::chrono::seconds(100));
  EXPECT_THAT(lease_in("boot-2"), HasSubstr("the grace of nodes"));
}

TEST_F(FenceTest, AClockThatWentBackOverARebootIsNotBelieved) {
  clock.reboot();
  clock.set_unix_seconds(begun - 1);
  EXPECT_THAT(lease_in("boot-2"), HasSubstr("its clock says an earlier time than before it was started anew"));
  clock.set_unix_seconds(begun);
  EXPECT_EQ(lease_in("boot-2"), "10.0.0.0");
}

// As an older firn wrote it.
TEST_F(FenceTest, WithoutABootTheWallClockCounts) {
  put(*store, std::string(keys::fence), R"({"v":1,"from":)" + std::to_string(begun + grace) + R"(,"why":"late"})");
  clock.set_unix_seconds(begun - 1);
  EXPECT_EQ(lease_in("boot-1"), "10.0.0.0");
  clock.set_unix_seconds(begun + grace);
  EXPECT_THAT(lease_in("boot-1"), HasSubstr("late"));
}

}  // namespace
}  // namespace firn::ipam
