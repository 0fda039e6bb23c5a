// Which hosts speak with each other, and how one plan of sessions hands over to the next.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routed/bird/handover.hpp"
#include "routed/bird/topology.hpp"

namespace firn::routed::bird {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

Address address(std::string_view text) { return Address::parse(text).value(); }

std::vector<model::Node> hosts(size_t count, size_t reflectors) {
  std::vector<model::Node> out(count);
  for (size_t i = 0; i < count; ++i) {
    out[i].name = "h" + std::to_string(i);
    out[i].addresses = {Address::v4(0x0a000001 + static_cast<uint32_t>(i))};
    if (i < reflectors) out[i].labels = {{"role", "reflector"}};
  }
  return out;
}

model::BgpSettings settings_of(model::Topology topology) {
  model::BgpSettings out;
  out.topology = topology;
  out.reflectors = {{"role", "reflector"}};
  out.mesh_limit = 8;
  return out;
}

TEST(Topology, EveryPairComesToTheSameAnswerAtBothEnds) {
  const auto nodes = hosts(6, 2);
  for (const auto topology : {model::Topology::peers, model::Topology::mesh, model::Topology::reflectors}) {
    const auto settings = settings_of(topology);
    const Shape shape = shape_of(settings, nodes, {}).value();
    std::set<std::pair<std::string, std::string>> pairs;
    for (const auto& self : nodes) {
      for (const auto& session : possible_sessions(settings, self, nodes, {}).sessions) {
        if (connects(shape, is_reflector(settings, self), session.reflects)) pairs.emplace(self.name, session.peer.peer.name);
      }
    }
    for (const auto& [a, b] : pairs) EXPECT_TRUE(pairs.contains({b, a})) << a << " " << b;
    // A mesh of six; two reflectors with each other and with four hosts.
    const size_t expected = topology == model::Topology::mesh ? 30 : topology == model::Topology::reflectors ? 2 * (1 + 2 * 4) : 0;
    EXPECT_EQ(pairs.size(), expected) << to_string(topology);
  }
}

TEST(Topology, AutomaticChangesAboveTheLimitAndBackWellBelowIt) {
  const auto settings = settings_of(model::Topology::automatic);
  const model::BgpTopology mesh{model::Topology::mesh}, reflectors{model::Topology::reflectors};
  EXPECT_EQ(shape_of(settings, hosts(8, 2), {}).value(), Shape::mesh);
  EXPECT_EQ(shape_of(settings, hosts(9, 2), mesh).value(), Shape::reflectors);
  EXPECT_EQ(shape_of(settings, hosts(7, 2), reflectors).value(), Shape::reflectors);
  EXPECT_EQ(shape_of(settings, hosts(7, 2), mesh).value(), Shape::mesh);
  EXPECT_EQ(shape_of(settings, hosts(6, 2), reflectors).value(), Shape::mesh);
  EXPECT_EQ(shape_of(settings, hosts(20, 0), reflectors).value(), Shape::mesh) << "nobody could reflect";
  const auto none = shape_of(settings_of(model::Topology::reflectors), hosts(3, 0), {});
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("no node has the labels"));
}

TEST(Topology, ThePlanFollowsTheReflectorsAndNotWhoComesAndGoes) {
  const auto settings = settings_of(model::Topology::reflectors);
  auto nodes = hosts(6, 2);
  const std::string plan = plan_of(settings, Shape::reflectors, nodes);
  std::swap(nodes[0], nodes[5]);
  EXPECT_EQ(plan_of(settings, Shape::reflectors, nodes), plan);
  EXPECT_EQ(plan_of(settings, Shape::reflectors, hosts(60, 2)), plan);
  EXPECT_NE(plan_of(settings, Shape::reflectors, hosts(6, 3)), plan);
  EXPECT_EQ(plan_of(settings, Shape::mesh, hosts(6, 3)), "mesh");
}

TEST(Topology, SessionsGoBetweenAddressesThatBothHave) {
  auto nodes = hosts(4, 0);
  nodes[0].addresses = {address("fe80::1"), address("10.0.0.1"), address("fd00::1")};
  nodes[1].addresses = {address("10.0.0.2"), address("10.9.0.2"), address("fd00::2")};
  nodes[2].addresses = {address("127.0.0.1")};
  nodes[3].addresses = {address("10.0.0.2")};
  auto settings = settings_of(model::Topology::mesh);
  settings.labelled_as = {{{{"rack", "r2"}}, 65102}};
  nodes[1].labels = {{"rack", "r2"}};
  const auto all = possible_sessions(settings, nodes[0], nodes, {});
  ASSERT_EQ(all.sessions.size(), 2U);
  EXPECT_EQ(all.sessions[0].peer.peer.address, address("10.0.0.2"));
  EXPECT_EQ(all.sessions[0].peer.peer.source, address("10.0.0.1"));
  EXPECT_EQ(all.sessions[0].peer.peer.as_number, 65102U);
  EXPECT_EQ(all.sessions[1].peer.peer.address, address("fd00::2"));
  ASSERT_EQ(all.notes.size(), 1U);
  EXPECT_THAT(all.notes[0], HasSubstr("no session with node h3: its address 10.0.0.2 is also that of node h1"));
  EXPECT_EQ(possible_sessions(settings, nodes[0], nodes, {address("10.0.0.2")}).sessions.size(), 1U) << "a peer has that address";
}

Session session(std::string protocol, bool up, uint64_t imported = 0) {
  Session out;
  out.protocol = std::move(protocol);
  out.bgp_state = up ? "Established" : "Active";
  out.channels = {{"ipv4", up ? "UP" : "DOWN", imported, 0, 0, 0}};
  return out;
}

TEST(Handover, SettlesWhenEverySessionIsUpAndQuiet) {
  Settling settling;
  const TimePoint start{};
  const std::vector<std::string> wanted = {"a", "b"};
  const auto look = [&](int at, std::vector<Session> sessions) {
    return settling.look("mesh", wanted, sessions, start + seconds(at));
  };
  EXPECT_FALSE(look(0, {session("a", true, 1)}));
  EXPECT_FALSE(look(10, {session("a", true, 1), session("b", false)}));
  EXPECT_FALSE(look(11, {session("a", true, 1), session("b", true)}));
  EXPECT_FALSE(look(15, {session("a", true, 1), session("b", true, 7)})) << "routes are still coming";
  EXPECT_FALSE(look(19, {session("a", true, 1), session("b", true, 7)}));
  EXPECT_TRUE(look(20, {session("a", true, 1), session("b", true, 7)}));
  EXPECT_FALSE(settling.look("other", wanted, {session("a", true, 1), session("b", true, 7)}, start + seconds(21)));
}

TEST(Handover, RoutesThatNeverRestAndSessionsThatNeverComeDoNotHoldItUpForEver) {
  const std::vector<std::string> wanted = {"a", "b"};
  Settling busy, broken, alone;
  bool busy_settled = false, broken_settled = false;
  for (int at = 0; at <= 70; ++at) {
    const TimePoint now = TimePoint{} + seconds(at);
    busy_settled = busy.look("mesh", wanted, {session("a", true, static_cast<uint64_t>(at)), session("b", true)}, now);
    EXPECT_EQ(busy_settled, at >= 30) << at;
    broken_settled = broken.look("mesh", wanted, {session("a", true), session("b", false)}, now);
    EXPECT_EQ(broken_settled, at >= 60) << at;
    EXPECT_FALSE(alone.look("mesh", wanted, {session("a", false)}, now));
  }
  EXPECT_TRUE(alone.look("peers", {}, {}, {})) << "nothing is wanted";
}

TEST(Handover, AnOldSessionStaysUntilBothEndsAreReady) {
  const std::vector<OldSession> old = {{"firn_node4_b", "b", true}, {"firn_node4_c", "c", true}, {"firn_node4_d", "d", false}};
  const auto kept = [&](std::map<std::string, std::string> ready) { return still_needed(old, "new", "a", ready); };
  EXPECT_EQ(kept({}).size(), 3U);
  EXPECT_EQ(kept({{"b", "new"}, {"c", "new"}, {"d", "new"}}).size(), 3U) << "we are not ready";
  EXPECT_EQ(kept({{"a", "old"}, {"b", "new"}}).size(), 3U);
  EXPECT_EQ(kept({{"a", "new"}, {"b", "new"}, {"c", "old"}}), (std::set<std::string>{"firn_node4_c"})) << "d is down";
}

TEST(Handover, TheConfigurationSaysWhichSessionsThereWere) {
  Config config;
  config.local_as = 64512;
  config.router_id = address("10.0.0.1");
  const auto nodes = hosts(2, 0);
  auto other = nodes[1];
  other.name = "b.rack-1";
  for (auto& s : possible_sessions(settings_of(model::Topology::mesh), nodes[0], {nodes[0], other, hosts(3, 0)[2]}, {}).sessions)
    config.peers.push_back(s.peer);
  ResolvedPeer tor;
  tor.peer.name = "node4-x";
  tor.peer.address = address("192.0.2.1");
  tor.peer.as_number = 1;
  config.peers.push_back(tor);
  EXPECT_EQ(host_protocols_in(render(config)->text), (std::set<std::string>{"firn_node4_b.rack-1", "firn_node4_h2"}));
  EXPECT_TRUE(host_protocols_in("").empty());
}

}  // namespace
}  // namespace firn::routed::bird
