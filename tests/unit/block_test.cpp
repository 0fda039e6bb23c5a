#include "ipam/block.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace firn::ipam {
namespace {

model::Block block_of(const char* prefix) { return fresh_block(*Prefix::parse(prefix), "web", model::Use::routed); }
Address ip(const char* text) { return *Address::parse(text); }

TEST(Block, AFreshOneHasEveryAddressFree) {
  const model::Block block = block_of("10.0.0.0/26");
  EXPECT_EQ(free_count(block), 64u);
  EXPECT_TRUE(is_free(block, 0));
  EXPECT_TRUE(is_free(block, 63));
  EXPECT_FALSE(is_free(block, 64));
  EXPECT_EQ(free_count(block_of("fd00::/112")), 65536u);
  EXPECT_EQ(free_count(block_of("10.0.0.7/32")), 1u);
}

TEST(Block, ReuseIsFirstInFirstOut) {
  model::Block block = block_of("10.0.0.0/30");
  for (const char* expected : {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}) EXPECT_EQ(take_first(block, 0, {}), ip(expected));
  EXPECT_EQ(take_first(block, 0, {}), std::nullopt);
  EXPECT_TRUE(give_back(block, ip("10.0.0.2"), 100));
  EXPECT_TRUE(give_back(block, ip("10.0.0.0"), 101));
  EXPECT_TRUE(give_back(block, ip("10.0.0.3"), 102));
  EXPECT_EQ(take_first(block, 200, {}), ip("10.0.0.2"));
  EXPECT_EQ(take_first(block, 200, {}), ip("10.0.0.0"));
  EXPECT_EQ(take_first(block, 200, {}), ip("10.0.0.3"));
}

TEST(Block, CoolingAddressesAreNotTaken) {
  model::Block block = block_of("10.0.0.0/31");
  take_first(block, 0, {});
  take_first(block, 0, {});
  give_back(block, ip("10.0.0.1"), 100);
  give_back(block, ip("10.0.0.0"), 110);
  EXPECT_EQ(take_first(block, 99, {}), std::nullopt);
  EXPECT_EQ(oldest_release(block, {}), 100);
  EXPECT_EQ(oldest_release(block, [](const Address& a) { return a == *Address::parse("10.0.0.0"); }), 110);
  EXPECT_EQ(take_first(block, 100, {}), ip("10.0.0.1"));
  EXPECT_EQ(take_first(block, 100, {}), std::nullopt);
}

TEST(Block, AddressesThatAreNotAllowedStayInTheirPlace) {
  model::Block block = block_of("10.0.0.0/29");
  const Allowed odd = [](const Address& a) { return (a.value() & 1) != 0; };
  EXPECT_EQ(take_first(block, 0, odd), ip("10.0.0.1"));
  EXPECT_EQ(take_first(block, 0, odd), ip("10.0.0.3"));
  EXPECT_EQ(free_count(block), 6u);
  EXPECT_EQ(take_first(block, 0, {}), ip("10.0.0.0"));
  EXPECT_EQ(take_first(block, 0, {}), ip("10.0.0.2"));
  EXPECT_EQ(oldest_release(block, [](const Address&) { return false; }), std::nullopt);
}

TEST(Block, TakesOneFromTheMiddleOfARun) {
  model::Block block = block_of("10.0.0.0/29");
  EXPECT_TRUE(take(block, ip("10.0.0.4")));
  EXPECT_FALSE(take(block, ip("10.0.0.4")));
  EXPECT_FALSE(take(block, ip("10.0.0.8"))) << "of the next block";
  EXPECT_FALSE(take(block, ip("fd00::1")));
  EXPECT_EQ(block.free, (std::vector<model::FreeRun>{{0, 3, 0}, {5, 7, 0}}));
}

TEST(Block, GivingBackTwiceChangesNothing) {
  model::Block block = block_of("10.0.0.0/29");
  EXPECT_FALSE(give_back(block, ip("10.0.0.1"), 5));
  EXPECT_FALSE(give_back(block, ip("10.0.1.1"), 5));
  EXPECT_EQ(block, block_of("10.0.0.0/29"));
}

TEST(Block, NeighboursReleasedInTheSameSecondShareARun) {
  model::Block block = block_of("10.0.0.0/30");
  for (int i = 0; i < 4; ++i) take_first(block, 0, {});
  give_back(block, ip("10.0.0.1"), 7);
  give_back(block, ip("10.0.0.2"), 7);
  give_back(block, ip("10.0.0.3"), 8);
  EXPECT_EQ(block.free, (std::vector<model::FreeRun>{{1, 2, 7}, {3, 3, 8}}));
}

TEST(Block, AClockSetBackDoesNotHideWhatHasCooled) {
  model::Block block = block_of("10.0.0.0/31");
  take_first(block, 0, {});
  take_first(block, 0, {});
  give_back(block, ip("10.0.0.0"), 5000);
  give_back(block, ip("10.0.0.1"), 100);
  EXPECT_EQ(take_first(block, 100, {}), ip("10.0.0.1"));
}

TEST(Block, QueuesFromAStoreAreChecked) {
  model::Block block = block_of("10.0.0.0/30");
  EXPECT_TRUE(check_queue(block).ok());
  block.free = {{0, 1, 0}, {1, 2, 0}};
  EXPECT_EQ(check_queue(block).error().message, "10.0.0.1 is in the free queue twice");
  block.free = {{0, 4, 0}};
  EXPECT_FALSE(check_queue(block).ok());
  block.free = {{3, 2, 0}};
  EXPECT_FALSE(check_queue(block).ok());
  EXPECT_FALSE(check_queue(block_of("10.0.0.0/8")).ok());
}

TEST(Block, RebuildingKeepsTheOrderAndReleasesTheMissing) {
  model::Block block = block_of("10.0.0.0/29");
  block.free = {{4, 4, 10}, {2, 3, 11}, {2, 2, 12}, {40, 41, 1}};
  std::vector<bool> held(8);
  held[3] = held[0] = true;
  rebuild_queue(block, held, 99);
  EXPECT_EQ(block.free, (std::vector<model::FreeRun>{{4, 4, 10}, {2, 2, 11}, {1, 1, 99}, {5, 7, 99}}));
  EXPECT_TRUE(check_queue(block).ok());
}

// Random operations against a plain queue of addresses: same answers, same order, same counts.
TEST(Block, BehavesLikeAQueue) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    model::Block block = block_of("10.9.0.0/27");
    std::deque<std::pair<uint32_t, int64_t>> queue;
    for (uint32_t i = 0; i < 32; ++i) queue.emplace_back(i, 0);
    std::vector<uint32_t> held;
    int64_t now = 1000;
    for (int step = 0; step < 2000; ++step) {
      now += random() % 3;
      const int64_t before = now - 20;
      if (random() % 2 == 0) {
        const uint32_t parity = random() % 3;  // 2: everything is allowed
        const auto right = [&](uint32_t ordinal) { return parity == 2 || ordinal % 2 == parity; };
        const auto expected =
            std::find_if(queue.begin(), queue.end(), [&](const auto& e) { return e.second <= before && right(e.first); });
        const auto got =
            take_first(block, before, [&](const Address& a) { return right(static_cast<uint32_t>(block.prefix.offset_of(a))); });
        ASSERT_EQ(got.has_value(), expected != queue.end()) << "seed " << seed << " step " << step;
        if (got) {
          ASSERT_EQ(*got, block.prefix.at(expected->first)) << "seed " << seed << " step " << step;
          held.push_back(expected->first);
          queue.erase(expected);
        }
      } else if (!held.empty()) {
        const size_t which = random() % held.size();
        ASSERT_TRUE(give_back(block, block.prefix.at(held[which]), now));
        queue.emplace_back(held[which], now);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
      }
      ASSERT_EQ(free_count(block), queue.size());
      ASSERT_TRUE(check_queue(block).ok());
    }
  }
}

}  // namespace
}  // namespace firn::ipam
