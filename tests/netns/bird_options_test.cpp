// Options of peers with real BIRD at both ends: what the router hears of us, and what of it we believe.
#include "tests/netns/bird_host.hpp"

namespace firn::routed::bird {
namespace {

// What the router has of a prefix, once it has it.
std::string learned(Host& host, const Router& router, const std::string& prefix) {
  host.until([&] { return router.ask("show route " + prefix).find(prefix) != std::string::npos; });
  return router.ask("show route " + prefix + " all");
}

TEST_F(Bird, CommunitiesPrependAndMedAreHeard) {
  const Router one(router1, "10.0.1.2", router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].communities = {{false, 64512, 100, 0}, {true, 64512, 1, 2}};
  host.config.peers[0].peer.prepend = 2;
  host.config.peers[0].peer.med = 77;
  host.config.extra = {{prefix("198.51.100.53/32"), {{false, 64512, 53, 0}}}};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  const std::string block = learned(host, one, "10.77.0.0/26");
  EXPECT_THAT(block, HasSubstr("BGP.as_path: 64512 64512 64512")) << host.why();
  EXPECT_THAT(block, HasSubstr("BGP.community: (64512,100)"));
  EXPECT_THAT(block, HasSubstr("BGP.large_community: (64512, 1, 2)"));
  EXPECT_THAT(block, HasSubstr("BGP.med: 77"));
  const std::string extra = learned(host, one, "198.51.100.53/32");
  EXPECT_THAT(extra, HasSubstr("(64512,53) (64512,100)"));
  EXPECT_FALSE(has_route(host.netns, "198.51.100.53", "proto bird")) << "a prefix that is announced is no route of the kernel";
}

TEST_F(Bird, ANamedFilterDecidesBeforeTheRules) {
  const Router one(router1, "10.0.1.2",
                   "protocol static { ipv4;\n route 10.200.0.0/24 blackhole { bgp_community.add((64600,1)); };\n route "
                   "10.201.0.0/24 blackhole;\n"
                   " route 10.202.0.0/24 blackhole;\n}\n" +
                       router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  Rule preferred{
      model::FilterAction::accept, {}, {{false, 64600, 1, 0}}, {{false, 64512, 9, 0}}, {{false, 64600, 1, 0}}, 0, {}, 300};
  host.config.peers[0].import_chain = {preferred};
  host.config.peers[0].peer.import_rules = {{true, prefix("10.201.0.0/24"), 24, 24}};
  host.want();
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24") && has_route(host.netns, "10.201.0.0/24"); }))
      << host.why();
  EXPECT_FALSE(has_route(host.netns, "10.202.0.0/24"));
  const std::string route = host.ask("show route 10.200.0.0/24 all");
  EXPECT_THAT(route, HasSubstr("BGP.local_pref: 300"));
  EXPECT_THAT(route, HasSubstr("BGP.community: (64512,9)"));
  // What was rejected is counted.
  const auto session = host.session("one");
  ASSERT_EQ(session->channels.size(), 1U);
  EXPECT_EQ(session->channels[0].imported, 2U);
  EXPECT_EQ(session->channels[0].filtered, 1U);
}

TEST_F(Bird, PathsWithOurOwnAsAreAcceptedWhenAllowed) {
  const std::string through_us =
      "protocol bgp h { local as 64600; neighbor 10.0.1.1 as 64512; direct; connect delay time 1; connect retry time 2;\n"
      "ipv4 { next hop self; import all; export filter { bgp_path.prepend(64512); bgp_path.prepend(64700); accept; }; }; }\n";
  const Router one(router1, "10.0.1.2", "protocol static { ipv4; route 10.200.0.0/24 blackhole; }\n" + through_us);
  const Router two(router2, "10.0.2.2", two_networks + router_session("h", "10.0.2.1"));
  host.config.peers = {peer("one", "10.0.1.2"), peer("two", "10.0.2.2")};
  host.want();
  ASSERT_TRUE(host.until_established("one")) << host.why();
  // The other router's are there, so ours would be too.
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.201.0.0/24"); }));
  EXPECT_THAT(host.ask("show route protocol firn_peer_one"), Not(HasSubstr("10.200.0.0/24")));
  host.config.peers[0].peer.allow_own_as = 1;
  host.want();
  EXPECT_TRUE(host.until([&] { return host.ask("show route protocol firn_peer_one").find("10.200.0.0/24") != std::string::npos; }))
      << host.why();
}

TEST_F(Bird, APeerThatSendsTooMuchIsLimited) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.max_prefixes = 1;
  const auto imported = [&] {
    const auto session = host.session("one");
    return session && session->established() && !session->channels.empty() ? session->channels[0].imported : 0;
  };
  host.config.peers[0].peer.max_prefixes_action = model::LimitAction::warn;
  host.want();
  ASSERT_TRUE(host.until([&] { return imported() == 2; })) << host.why();
  host.config.peers[0].peer.max_prefixes_action = model::LimitAction::disable;
  host.want();
  ASSERT_TRUE(host.until([&] {
    const auto session = host.session("one");
    return session && !session->established() && session->last_error.find("limit") != std::string::npos;
  })) << host.session("one")->last_error;
  EXPECT_TRUE(host.until([&] { return !has_route(host.netns, "10.200.0.0/24"); }));
}

// A router that sends more than it may, until its `excess` is disabled.
constexpr const char* one_too_many =
    "protocol static allowed { ipv4; route 10.200.0.0/24 blackhole; }\n"
    "protocol static excess { ipv4; route 10.201.0.0/24 blackhole; }\n";

TEST_F(Bird, OfAPeerThatIsBlockedTheRestIsNotTaken) {
  const Router one(router1, "10.0.1.2", one_too_many + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.max_prefixes = 1;
  host.config.peers[0].peer.max_prefixes_action = model::LimitAction::block;
  host.want();
  // Which of the two comes first is BIRD's affair.
  const auto taken = [&] { return int{has_route(host.netns, "10.200.0.0/24")} + int{has_route(host.netns, "10.201.0.0/24")}; };
  ASSERT_TRUE(host.until([&] { return taken() > 0; })) << host.why();
  const auto since = host.session("one")->since;
  // The second one was sent with the first: what is to come has come when a block of ours has made the way there.
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26"); }));
  EXPECT_EQ(taken(), 1);
  const auto session = host.session("one");
  ASSERT_TRUE(session && session->established());
  ASSERT_EQ(session->channels.size(), 1U);
  EXPECT_EQ(session->channels[0].imported, 1U);
  EXPECT_EQ(session->since, since) << "the session is left alone";
}

TEST_F(Bird, APeerThatIsRestartedIsTriedAgain) {
  const Router one(router1, "10.0.1.2", one_too_many + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.max_prefixes = 1;
  host.config.peers[0].peer.max_prefixes_action = model::LimitAction::restart;
  host.want();
  ASSERT_TRUE(host.until([&] {
    const auto session = host.session("one");
    return session && !session->established() && session->last_error.find("limit") != std::string::npos;
  })) << host.why();
  EXPECT_TRUE(host.until([&] { return !has_route(host.netns, "10.200.0.0/24") && !has_route(host.netns, "10.201.0.0/24"); }));
  // Nobody touches the session here: it comes again by itself, and stays once the router keeps to the limit.
  EXPECT_THAT(one.ask("disable excess"), HasSubstr("disabled"));
  EXPECT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24"); })) << host.session("one")->last_error;
  EXPECT_TRUE(host.established("one"));
}

TEST_F(Bird, ALongLivedRouteOutlivesItsRouter) {
  const std::string lives = "graceful restart time 1; long lived graceful restart on; long lived stale time 3600;";
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1", lives));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.long_lived_graceful_restart = true;
  host.want();
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24"); })) << host.why();
  end_process(one.pid());
  ASSERT_TRUE(host.until([&] { return !host.established("one"); }));
  // The second of the graceful restart is over when the route is marked.
  EXPECT_TRUE(host.until([&] { return host.ask("show route 10.200.0.0/24 all").find("(65535,6)") != std::string::npos; }))
      << host.ask("show route 10.200.0.0/24 all");
  EXPECT_TRUE(has_route(host.netns, "10.200.0.0/24"));
}

TEST_F(Bird, WhoeverConnectsFromTheRangeIsANeighbour) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("rack-a", "10.0.1.2")};
  host.config.peers[0].peer.range = prefix("10.0.1.0/24");
  host.config.peers[0].peer.address = Address();
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24", "via 10.0.1.2"); })) << host.why();
  EXPECT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26"); }));
  const auto sessions = host.supervisor->sessions();
  ASSERT_TRUE(sessions.ok());
  const auto child = std::find_if(sessions->begin(), sessions->end(), [](const Session& s) { return s.established(); });
  ASSERT_NE(child, sessions->end());
  EXPECT_EQ(session_of(child->protocol), (SessionName{SessionKind::dynamic, "rack-a"}));
  EXPECT_EQ(host.supervisor->announced(child->protocol).value(), std::vector<Prefix>{prefix("10.77.0.0/26")});
}

TEST_F(Bird, OneSessionCarriesBothFamilies) {
  const Router one(
      router1, "10.0.1.2",
      "protocol bgp h { local as 64600; neighbor 10.0.1.1 as 64512; direct; connect delay time 1; connect retry time 2;\n"
      "ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n");
  host.config.peers = {peer("one", "10.0.1.2")};
  host.config.peers[0].peer.both_families = true;
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ip(host.netns, {"-6", "route", "add", "blackhole", "fd77::/122", "proto", "241"});
  EXPECT_THAT(learned(host, one, "10.77.0.0/26"), HasSubstr("BGP.next_hop: 10.0.1.1")) << host.why();
  EXPECT_THAT(learned(host, one, "fd77::/122"), HasSubstr("BGP.next_hop: fd00:0:0:1::1"));
}

TEST_F(Bird, ADrainIsAnnouncedAndThenWithdrawnWithoutAFlap) {
  const Router one(router1, "10.0.1.2", two_networks + router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  learned(host, one, "10.77.0.0/26");
  const auto since = host.session("one")->since;
  host.config.drain = Drain::announce;
  host.want();
  EXPECT_TRUE(host.until([&] { return one.ask("show route 10.77.0.0/26 all").find("(65535,0)") != std::string::npos; }))
      << host.why();
  host.config.drain = Drain::withdraw;
  host.want();
  EXPECT_TRUE(host.until([&] { return !has_route(router1, "10.77.0.0/26"); }));
  EXPECT_TRUE(has_route(host.netns, "10.200.0.0/24")) << "what was learned stays";
  host.config.drain = Drain::none;
  host.want();
  EXPECT_TRUE(host.until([&] { return has_route(router1, "10.77.0.0/26"); }));
  EXPECT_EQ(host.session("one")->since, since);
}

TEST_F(Bird, ANeighbourThatIsDrainedIsRecognisedByAllItsRoutes) {
  const Router one(router1, "10.0.1.2",
                   "protocol static leaving { ipv4; route 10.200.0.0/24 blackhole { bgp_community.add((65535,0)); }; }\n"
                   "protocol static staying { ipv4; route 10.201.0.0/24 blackhole; }\n" +
                       router_session("h", "10.0.1.1"));
  host.config.peers = {peer("one", "10.0.1.2")};
  host.want();
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.200.0.0/24") && has_route(host.netns, "10.201.0.0/24"); }))
      << host.why();
  EXPECT_FALSE(host.supervisor->says_farewell(protocol_of("one")).value());
  one.ask("disable staying");
  EXPECT_TRUE(host.until([&] { return host.supervisor->says_farewell(protocol_of("one")).value(); }));
  EXPECT_TRUE(has_route(host.netns, "10.200.0.0/24"));
}

// Two hosts and a reflector of the cluster's own, each with real BIRD: the third announces what the first has, and nothing of its
// own.
TEST_F(Bird, AnotherHostIsBelievedInThePoolsAlone) {
  const Router other(
      router1, "10.0.1.2",
      "protocol static { ipv4;\n route 10.77.1.0/26 blackhole;\n route 10.200.0.0/24 blackhole;\n route 0.0.0.0/0 blackhole;\n}\n"
      "protocol bgp h { local as 64512; neighbor 10.0.1.1 as 64512; multihop 64; source address 10.0.1.2; connect delay time 1;\n"
      "connect retry time 2; ipv4 { import all; export where source = RTS_STATIC; }; }\n");
  ResolvedPeer session = peer("h2.rack-1", "10.0.1.2");
  session.host = true;
  session.peer.as_number = 64512;
  session.peer.multihop = 64;
  session.peer.source = address("10.0.1.1");
  host.config.of_hosts = {prefix("10.77.0.0/16")};
  host.config.peers = {session};
  host.want();
  ip(host.netns, {"route", "add", "blackhole", "10.77.0.0/26", "proto", "241"});
  ASSERT_TRUE(host.until([&] { return has_route(host.netns, "10.77.1.0/26", "via 10.0.1.2"); })) << host.why();
  EXPECT_THAT(learned(host, other, "10.77.0.0/26"), HasSubstr("BGP.next_hop: 10.0.1.1"));
  EXPECT_FALSE(has_route(host.netns, "10.200.0.0/24"));
  EXPECT_FALSE(has_route(host.netns, "default", "proto bird"));
  EXPECT_EQ(host.supervisor->announced("firn_node4_h2.rack-1").value(), std::vector<Prefix>{prefix("10.77.0.0/26")});
}

}  // namespace
}  // namespace firn::routed::bird
