// The parser of BIRD's control protocol, on what BIRD 2.0.12 was seen to write and on what it must never write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routed/bird/reply.hpp"

namespace firn::routed::bird {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Reply reply_of(std::string_view text) {
  ReplyParser parser;
  const auto status = parser.feed(text);
  EXPECT_TRUE(status.ok()) << status.error().message;
  auto reply = parser.next();
  EXPECT_TRUE(reply.has_value());
  return reply.value_or(Reply{});
}

constexpr std::string_view sessions_text =
    "2002-Name       Proto      Table      State  Since         Info\n"
    "1002-firn_peer_tor_a BGP        ---        up     2026-11-22 08:10:59  Established   \n"
    "1006-  Description:    x\n"
    "   BGP state:          Established\n"
    "     Neighbor address: 192.0.2.254\n"
    "     Neighbor AS:      64600\n"
    "     Local AS:         64512\n"
    "     Neighbor ID:      192.0.2.254\n"
    "     Neighbor capabilities\n"
    "       Multiprotocol\n"
    "         AF announced: ipv4\n"
    "     Session:          external AS4\n"
    "     Hold timer:       182.120/240\n"
    "     Keepalive timer:  7.120/80\n"
    "     Last error:       Socket: Connection refused\n"
    "   Channel ipv4\n"
    "     State:          UP\n"
    "     Table:          master4\n"
    "     Routes:         3 imported, 2 filtered, 1 exported, 4 preferred\n"
    "     Route change stats:     received   rejected   filtered    ignored   accepted\n"
    "       Import updates:              0          0          0          0          0\n"
    " \n"
    "1002-firn_peer_tor_b BGP        ---        start  08:10:59.123  Active        Received: Cease\n"
    "1006-  BGP state:          Active\n"
    "     Neighbor address: fe80::1%eth0\n"
    "   Channel ipv6\n"
    "     State:          DOWN\n"
    " \n"
    "0000 \n";

TEST(BirdReply, SessionsWithTheirChannels) {
  const auto sessions = parse_sessions(reply_of(sessions_text));
  ASSERT_TRUE(sessions.ok()) << sessions.error().message;
  ASSERT_EQ(sessions->size(), 2U);
  const Session& a = (*sessions)[0];
  EXPECT_EQ(a.protocol, "firn_peer_tor_a");
  EXPECT_EQ(a.kind, "BGP");
  EXPECT_EQ(a.state, "up");
  EXPECT_EQ(a.since, "2026-11-22 08:10:59");
  EXPECT_EQ(a.info, "Established");
  EXPECT_TRUE(a.established());
  EXPECT_EQ(a.neighbor_address, "192.0.2.254");
  EXPECT_EQ(a.neighbor_as, 64600U);
  EXPECT_EQ(a.local_as, 64512U);
  EXPECT_EQ(a.hold_time, 240);
  EXPECT_EQ(a.keepalive_time, 80);
  EXPECT_EQ(a.last_error, "Socket: Connection refused");
  EXPECT_THAT(a.channels, ElementsAre(Channel{"ipv4", "UP", 3, 2, 1, 4}));
  const Session& b = (*sessions)[1];
  EXPECT_EQ(b.since, "08:10:59.123");
  EXPECT_EQ(b.info, "Active        Received: Cease");
  EXPECT_FALSE(b.established());
  EXPECT_EQ(b.neighbor_address, "fe80::1%eth0");
  EXPECT_THAT(b.channels, ElementsAre(Channel{"ipv6", "DOWN", 0, 0, 0, 0}));
}

TEST(BirdReply, AnyCutOfTheBytesGivesTheSame) {
  const Reply whole = reply_of(sessions_text);
  for (size_t cut = 1; cut < sessions_text.size(); ++cut) {
    ReplyParser parser;
    ASSERT_TRUE(parser.feed(sessions_text.substr(0, cut)).ok());
    ASSERT_FALSE(parser.next().has_value());
    ASSERT_TRUE(parser.feed(sessions_text.substr(cut)).ok());
    auto reply = parser.next();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->lines, whole.lines);
  }
}

TEST(BirdReply, SeveralRepliesAndNoticesBetweenThem) {
  ReplyParser parser;
  ASSERT_TRUE(parser.feed("0001 BIRD 2.0.12 ready.\r\n+Config timeout expired, starting undo\n0003 Reconfigured\n00").ok());
  EXPECT_EQ(parser.next()->code(), 1);
  const auto second = parser.next();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->code(), 3);
  EXPECT_EQ(second->last(), "Reconfigured");
  EXPECT_THAT(second->notices, ElementsAre("Config timeout expired, starting undo"));
  EXPECT_FALSE(parser.next().has_value());
}

TEST(BirdReply, StatusInWords) {
  auto status = parse_status(reply_of(
      "1000-BIRD 2.0.12\n1011-Router ID is 10.0.0.1\n Hostname is vm\n Current server time is 2026-11-22 08:11:00.704\n"
      " Last reboot on 2026-11-22 08:10:59.331\n Last reconfiguration on 2026-11-22 08:11:59.331\n"
      "0024-Graceful restart recovery in progress\n   Waiting for 2 channels to recover\n0013 Daemon is up and running\n"));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->version, "2.0.12");
  EXPECT_EQ(status->router_id, "10.0.0.1");
  EXPECT_EQ(status->last_reboot, "2026-11-22 08:10:59.331");
  EXPECT_EQ(status->last_reconfiguration, "2026-11-22 08:11:59.331");
  EXPECT_EQ(status->graceful_restart, "Graceful restart recovery in progress; Waiting for 2 channels to recover");
  EXPECT_TRUE(status->running);
}

TEST(BirdReply, Routes) {
  const auto routes =
      parse_routes(reply_of("1007-Table master4:\n 10.77.0.0/26         blackhole [firn_kernel4 2026-11-22 08:00:00] * (200)\n"
                            " 10.77.0.64/26        unicast [a 08:00:00] * (100) [AS64600i]\n \tvia 192.0.2.254 on eth0\n"
                            "                      unicast [b 08:00:00] (100) [AS64600i]\n \tvia 192.0.2.253 on eth0\n \n"
                            " Table master6:\n fd00::/122           blackhole [firn_kernel6 08:00:00] * (200)\n0000 \n"));
  ASSERT_TRUE(routes.ok()) << routes.error().message;
  EXPECT_THAT(*routes, ElementsAre(*Prefix::parse("10.77.0.0/26"), *Prefix::parse("10.77.0.64/26"), *Prefix::parse("fd00::/122")));
  EXPECT_TRUE(parse_routes(reply_of("8001 Network not found\n"))->empty());
  EXPECT_TRUE(parse_routes(reply_of("0000 \n"))->empty());
}

TEST(BirdReply, RefusalsKeepBirdsWordsAndPlace) {
  const Reply reply = reply_of("0002-Reading configuration from /x\n8002 /x:3:4 syntax error\n");
  EXPECT_TRUE(reply.failed());
  const Error error = refusal("check of the configuration", reply);
  EXPECT_EQ(error.code, Code::invalid);
  EXPECT_THAT(error.message, HasSubstr("/x:3:4 syntax error"));
  EXPECT_EQ(refusal("x", reply_of("8007 Access denied\n")).code, Code::denied);
  EXPECT_EQ(parse_sessions(reply_of("9001 syntax error\n")).error().code, Code::invalid);
  EXPECT_TRUE(parse_sessions(reply_of("8003 No protocols match\n"))->empty());
}

TEST(BirdReply, WhatIsNotTheProtocolIsRefusedForGood) {
  for (const std::string_view text :
       {"HTTP/1.1 400 Bad Request\n", "\n", "001 x\n", "00a1 x\n", "0001\n", " nothing before\n", "0001xready\n"}) {
    ReplyParser parser;
    const auto status = parser.feed(text);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.error().code, Code::invalid);
    EXPECT_FALSE(parser.feed("0000 \n").ok()) << "out of step: stays refused";
    EXPECT_FALSE(parser.next().has_value());
  }
}

TEST(BirdReply, SizesAreBounded) {
  ReplyParser long_line(ReplyParser::Limits{10, 100, 1000});
  EXPECT_FALSE(long_line.feed("0001-12345678").ok());
  ReplyParser many_lines(ReplyParser::Limits{100, 3, 1000});
  EXPECT_FALSE(many_lines.feed("1002-a\n b\n c\n d\n").ok());
  ReplyParser many_notices(ReplyParser::Limits{100, 3, 1000});
  EXPECT_FALSE(many_notices.feed("+a\n+b\n+c\n+d\n").ok());
  ReplyParser many_bytes(ReplyParser::Limits{100, 100, 20});
  EXPECT_FALSE(many_bytes.feed("1002-aaaaaaa\n bbbbbbbbbbb\n").ok());
}

TEST(BirdReply, RowsThatAreNoneAreRefused) {
  EXPECT_FALSE(parse_sessions(reply_of("1002-only three words\n0000 \n")).ok());
  EXPECT_FALSE(parse_sessions(reply_of("1006-  BGP state: up\n0000 \n")).ok());
  EXPECT_FALSE(parse_routes(reply_of("1007-10.0.0.1/8 blackhole\n0000 \n")).ok());
  EXPECT_FALSE(parse_status(reply_of("0013 Daemon is up and running\n")).ok());
}

TEST(BirdRoutes, EntriesHaveAWayAndSayWhetherTheyAreUsed) {
  ReplyParser parser;
  ASSERT_TRUE(parser
                  .feed("1007-Table master4:\n"
                        " 10.200.0.0/24        unicast [firn_peer_one 2026-11-24 12:00:00] * (100) [AS64600i]\n"
                        " \tvia 10.0.1.2 on h1\n"
                        " \tvia 10.0.2.2 on h2\n"
                        " 10.201.0.0/24        blackhole [firn_peer_one 2026-11-24 12:00:00] (100) [AS64600i]\n"
                        "                      unicast [firn_peer_one 2026-11-24 12:00:00] (100) [AS64600i]\n"
                        " \tvia 10.0.3.2 on h3\n"
                        "0000 \n")
                  .ok());
  const auto entries = parse_route_entries(*parser.next());
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ(*entries, (std::vector<RouteEntry>{{Prefix::parse("10.200.0.0/24").value(), "10.0.1.2 on h1", true},
                                               {Prefix::parse("10.201.0.0/24").value(), "blackhole", false}}));
  ASSERT_TRUE(parser.feed("1007-nonsense here\n0000 \n").ok());
  EXPECT_TRUE(parse_route_entries(*parser.next()).error().is(Code::invalid));
  ASSERT_TRUE(parser.feed("9001 syntax error\n").ok());
  EXPECT_FALSE(parse_route_entries(*parser.next()).ok());
}

}  // namespace
}  // namespace firn::routed::bird
