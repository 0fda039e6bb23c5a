// Who has moved away from a host in drain, by the sessions that BIRD has.
#include "routed/farewell.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routed/bird/config.hpp"

namespace firn::routed {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr const char *b4 = "firn_node4_b", *b6 = "firn_node6_b", *c4 = "firn_node4_c";

bird::Session session(const std::string& protocol, bool up = true) {
  bird::Session out;
  out.protocol = protocol;
  out.bgp_state = up ? "Established" : "Active";
  return out;
}

TEST(Farewell, AHostIsLeftOnceEverySessionWithItSaysFarewell) {
  const Drains drains{{"b", 7}, {"c", 8}};
  EXPECT_THAT(protocols_of({{"b", 7}}), ElementsAre(b4, b6));
  bird::Report report;
  EXPECT_THAT(left_by(drains, report), IsEmpty()) << "a host that is no neighbour is not left";
  report.sessions = {session(b4), session(b6), session(c4)};
  EXPECT_THAT(left_by(drains, report), IsEmpty());
  report.farewells = {b4, c4};
  EXPECT_THAT(left_by(drains, report), ElementsAre(Pair("c", 8)));
  report.farewells = {b4, b6, c4};
  EXPECT_THAT(left_by(drains, report), ElementsAre(Pair("b", 7), Pair("c", 8)));
  report.sessions = {session(b4), session(b6, false), session(c4, false)};
  report.farewells = {b4};
  EXPECT_THAT(left_by(drains, report), ElementsAre(Pair("b", 7))) << "a session that is down brings nothing";
}

TEST(Farewell, ADrainGoesOnWhenAllNeighboursAreHostsThatMoved) {
  bird::Report report;
  report.sessions = {session(b4), session(b6), session(c4), session("firn_node4_d", false)};
  const std::vector<std::string> hosts{"b", "c", "d"};
  const auto only_b = [](const std::string& host) { return host == "b"; };
  const auto everybody = [](const std::string&) { return true; };
  auto own = ask_around(7, report, hosts, only_b);
  EXPECT_EQ(own.since, 7);
  EXPECT_THAT(own.moved, ElementsAre("b"));
  EXPECT_THAT(own.awaited, ElementsAre("c"));
  EXPECT_FALSE(own.withdrawn);
  EXPECT_TRUE(ask_around(7, report, hosts, everybody).withdrawn);
  report.sessions.push_back(session(bird::protocol_of("tor-a")));
  report.sessions.push_back(session("firn_dynamic_rack_1"));
  report.sessions.push_back(session("firn_dynamic_rack_2"));
  own = ask_around(7, report, hosts, everybody);
  EXPECT_THAT(own.unasked, ElementsAre("rack", "tor-a"));
  EXPECT_FALSE(own.withdrawn) << "they have the whole grace";
}

TEST(Farewell, WithoutNeighboursThereIsNobodyToWaitFor) {
  EXPECT_TRUE(ask_around(7, {}, {"b"}, [](const std::string&) { return false; }).withdrawn);
}

}  // namespace
}  // namespace firn::routed
