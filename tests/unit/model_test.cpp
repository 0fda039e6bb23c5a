#include <gtest/gtest.h>

#include "lib/model/bgp.hpp"
#include "lib/model/bgp_policy.hpp"
#include "lib/model/bgp_status.hpp"
#include "lib/model/grace.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"
#include "lib/model/records.hpp"

namespace firn::model {
namespace {

Prefix prefix(const char* text) { return *Prefix::parse(text); }
Address address(const char* text) { return *Address::parse(text); }

template <class T, class Decode>
void round_trip(const T& record, Decode decode) {
  const std::string text = encode(record);
  auto back = decode(text);
  ASSERT_TRUE(back.ok()) << text << ": " << back.error().message;
  EXPECT_EQ(*back, record) << text;
}

TEST(Records, RoundTrip) {
  round_trip(Pool{.name = "web", .cidr = prefix("10.0.0.0/16"), .block_size = 26, .node_selector = {{"rack", "a"}}, .disabled = true}, decode_pool);
  round_trip(Pool{.name = "far",
                  .cidr = prefix("10.1.0.0/16"),
                  .block_size = 26,
                  .node_selector = {},
                  .mode = RoutingMode::vxlan,
                  .cross_subnet = true,
                  .advertise = false,
                  .strict = true,
                  .status_when_low = true,
                  .overhead = 50},
             decode_pool);
  round_trip(Pool{.name = "near", .cidr = prefix("10.2.0.0/16"), .block_size = 26, .node_selector = {}, .mode = RoutingMode::direct}, decode_pool);
  round_trip(Pool{.name = "less", .cidr = prefix("10.3.0.0/16"), .block_size = 26, .node_selector = {}, .shrinking_to = prefix("10.3.0.0/17"), .moving_from = {"a", "b"}}, decode_pool);
  round_trip(Reservation{.cidr = prefix("10.0.0.0/30"), .note = "routers \"a\""}, decode_reservation);
  round_trip(Block{.prefix = prefix("fd00::/122"), .pool = "web6", .use = Use::bridged, .free = {{3, 63, 0}, {0, 2, 1700000000}}}, decode_block);
  round_trip(Claim{.prefix = prefix("10.0.0.0/26"), .pool = "web", .node = "n1", .use = Use::routed, .claimed_at = 5}, decode_claim);
  round_trip(Lease{.address = address("10.0.0.1"), .handle = "net/abc/eth0", .pool = "web", .block = prefix("10.0.0.0/26")}, decode_lease);
  Endpoint e;
  e.network = "net";
  e.container_id = "abc";
  e.ifname = "eth0";
  e.netns = "/run/netns/x";
  e.netns_inode = 4026532000;
  e.boot_id = "b";
  e.host_ifname = "firn12345678901";
  e.mac = *Mac::parse("02:00:00:00:00:01");
  e.mtu = 1450;
  e.addresses = {address("10.0.0.1"), address("fd00::1")};
  e.created_at = 1700000000;
  e.pod_namespace = "default";
  e.pod_name = "web-1";
  e.labels = {{"app", "web"}};
  e.annotations = {{"example.org/x", "line\nbreak"}};
  round_trip(e, decode_endpoint);
  round_trip(ClusterSettings{.node_grace = 3600}, decode_cluster_settings);
  round_trip(Fence{.from = 100, .why = "removed"}, decode_fence);
  round_trip(Fence{.from = 100, .why = "late", .beat = 40, .boot_id = "b", .boot_from = 70}, decode_fence);
  round_trip(Promise{.node = "n1", .generation = 7, .grace = 3600}, decode_promise);
  round_trip(Node{.name = "n1", .machine_id = "m", .addresses = {address("192.0.2.1")}, .labels = {{"a", "b"}}, .as_number = 65001, .joined_at = 1}, decode_node);
  BgpPeer p;
  p.name = "tor-a";
  p.address = address("192.0.2.254");
  p.as_number = 65000;
  p.multihop = 2;
  p.password_file = "/etc/firn/tor-a.password";
  p.import_rules = {{false, prefix("10.0.0.0/8"), 8, 32}, {true, prefix("0.0.0.0/0"), 0, 24}};
  round_trip(p, decode_bgp_peer);
  p.address = Address();
  p.range = prefix("192.0.2.0/24");
  p.node_selector = {{"rack", "r1"}};
  p.local_as = 65010;
  p.allow_own_as = 2;
  p.long_lived_graceful_restart = p.both_families = p.extended_next_hop = p.reflect = p.keep_next_hop = true;
  p.long_lived_stale_time = 60;
  p.max_prefixes = 10;
  p.max_prefixes_action = LimitAction::block;
  p.communities = {"64512:1", "mine"};
  p.prepend = 3;
  p.med = 0;
  p.import_filters = {"a"};
  p.export_filters = {"b", "c"};
  round_trip(p, decode_bgp_peer);
  BgpSettings settings;
  settings.as_number = 4200000000;
  settings.router_id = address("192.0.2.1");
  round_trip(settings, decode_bgp_settings);
  settings.labelled_as = {{{{"rack", "r1"}}, 65101}};
  settings.topology = Topology::automatic;
  settings.reflectors = {{"role", "reflector"}};
  settings.cluster_id = address("192.0.2.100");
  settings.ecmp = 32;
  settings.mesh_limit = 5;
  settings.node_password_file = "/etc/firn/p";
  settings.node_bfd = true;
  settings.node_hold_time = 9;
  round_trip(settings, decode_bgp_settings);
  FilterRule rule;
  rule.prefixes = {{prefix("10.0.0.0/8"), 8, 24}};
  rule.communities = {"64512:1"};
  rule.add_communities = {"no-export"};
  rule.remove_communities = {"1:2:3"};
  rule.prepend = 1;
  rule.med = 4294967295;
  rule.local_pref = 0;
  round_trip(BgpFilter{"f", {rule, {FilterAction::reject, {}, {}, {}, {}, 0, {}, {}}}, "why"}, decode_bgp_filter);
  round_trip(BgpCommunity{"mine", {"64512:666", "1:2:3", "no-export"}, ""}, decode_bgp_community);
  round_trip(BgpPrefix{prefix("198.51.100.0/24"), {{"role", "dns"}}, {"mine"}, "why"}, decode_bgp_prefix);
  round_trip(BgpTopology{Topology::reflectors}, decode_bgp_topology);
  round_trip(BgpReady{"a", "reflectors-12"}, decode_bgp_ready);
  Node drained{.name = "n1", .machine_id = "m", .addresses = {address("192.0.2.1")}, .labels = {}, .as_number = {}, .joined_at = 1};
  drained.drain = Drain{5, 60};
  round_trip(drained, decode_node);
  BgpStatus status{"a", 5, "running", "", "mesh", true, "none", 3, {{"peer", "tor-a", "192.0.2.1", 65000, "Active", 4, 1, 2, 3, "why"}}};
  round_trip(status, decode_bgp_status);
  round_trip(DrainReport{"a", {{"b", 5}}, {}}, decode_drain_report);
  round_trip(DrainReport{"a", {}, DrainReport::Own{7, true, {"b"}, {"c"}, {"tor-a"}}}, decode_drain_report);
}

TEST(Records, CommunitiesAreSpelledOneWay) {
  EXPECT_EQ(parse_community("64512:100").value(), (Community{false, 64512, 100, 0}));
  EXPECT_EQ(parse_community("4294967295:0:7").value(), (Community{true, 4294967295, 0, 7}));
  EXPECT_EQ(to_string(parse_community("no-export").value()), "65535:65281");
  for (const char* bad : {"", "1", "1:", ":1", "1:2:", "1:2:3:4", "65536:1", "1:65536", "01:2", "a:b", "1:2 ", "-1:2", "4294967296:1:1", "mine"})
    EXPECT_FALSE(parse_community(bad).ok()) << bad;
  EXPECT_TRUE(check_community_text("mine").ok());
  EXPECT_FALSE(check_community_text("Mine").ok());
}

TEST(Records, AFilterRuleThatSaysNothingIsAnError) {
  const auto message = [](const std::string& rule) {
    const auto filter = decode_bgp_filter(R"({"v":1,"name":"f","rules":[)" + rule + "]}");
    return filter.ok() ? std::string("accepted") : filter.error().message;
  };
  EXPECT_EQ(message(R"({"action":"accept"})"), "accepted");
  EXPECT_NE(message(R"({"action":"next"})").find("/rules/0: a rule with the action next"), std::string::npos);
  EXPECT_NE(message(R"({"action":"reject","med":1})").find("/rules/0: a rule that rejects"), std::string::npos);
  EXPECT_NE(message(R"({"action":"maybe"})").find("/rules/0/action"), std::string::npos);
  EXPECT_NE(message(R"({"action":"accept","prefixes":[{"within":"10.0.0.0/8","least":4}]})").find("/rules/0/prefixes/0"), std::string::npos);
  EXPECT_NE(message(R"({"action":"accept","add_communities":["1:70000"]})").find("/rules/0/add_communities"), std::string::npos);
  EXPECT_NE(message("").find("/rules"), std::string::npos);
}

TEST(Records, HostileTextNamesThePlace) {
  const auto message = [](const auto& result) { return result.ok() ? std::string("accepted") : result.error().message; };
  EXPECT_NE(message(decode_pool(R"({"v":2,"name":"a","cidr":"10.0.0.0/8","block_size":26})")).find("/v"), std::string::npos);
  EXPECT_NE(message(decode_pool(R"({"v":1,"name":"A!","cidr":"10.0.0.0/8","block_size":26})")).find("pool name"), std::string::npos);
  EXPECT_NE(message(decode_pool(R"({"v":1,"name":"a","cidr":"10.0.0.0/8","block_size":8})")).find("/block_size"), std::string::npos);
  EXPECT_NE(message(decode_pool(R"({"v":1,"name":"a","cidr":"10.0.0.0/8","block_size":26,"mode":"ipip"})")).find("/mode: must be bgp, direct or vxlan"), std::string::npos);
  for (const char* free : {"64", "0-64", "2-1", "0 ", " 0", "0  1", "0-", "-1", "0@", "0@-1", "0@9999999999999", "0,1", "x", "4294967296"}) {
    const std::string text = R"({"v":1,"prefix":"10.0.0.0/26","pool":"a","use":"routed","free":")" + std::string(free) + "\"}";
    EXPECT_NE(message(decode_block(text)).find("/free: run "), std::string::npos) << free;
  }
  EXPECT_NE(message(decode_block(R"({"v":1,"prefix":"10.0.0.0/26","pool":"a","use":"routed","free":[]})")).find("/free"), std::string::npos);
  EXPECT_NE(message(decode_block(R"({"v":1,"prefix":"10.0.0.0/8","pool":"a","use":"routed","free":""})")).find("/prefix"), std::string::npos);
  EXPECT_NE(message(decode_lease(R"({"v":1,"address":"10.1.0.1","handle":"h","pool":"a","block":"10.0.0.0/26"})")).find("/address"), std::string::npos);
  EXPECT_NE(message(decode_endpoint(R"({"v":1,"kind":"interface","network":"../x","container_id":"a","ifname":"e","boot_id":"b","addresses":[],"created_at":1})")).find("/network"), std::string::npos);
  EXPECT_NE(message(decode_bgp_peer(R"({"v":1,"name":"a","address":"10.0.0.1","as_number":0})")).find("/as_number"), std::string::npos);
  EXPECT_NE(message(decode_bgp_peer(R"({"v":1,"name":"a","address":"10.0.0.1","as_number":1,"hold_time":2})")).find("/hold_time"), std::string::npos);
  EXPECT_FALSE(decode_node("[]").ok());
  EXPECT_FALSE(decode_node("").ok());
}

TEST(Records, AStrictSourceHoldsNothingUnknown) {
  const std::string text = R"({"v":1,"name":"a","cidr":"10.0.0.0/8","node_selector":{"any":"word"},"blockSize":24})";
  const auto lenient = decode_pool(text);
  ASSERT_TRUE(lenient.ok());
  EXPECT_EQ(lenient->block_size, 26);  // nobody said
  const auto message = [](auto decode, const std::string& source) {
    const auto record = decode(Source(source, true));
    return record.ok() ? std::string("accepted") : record.error().message;
  };
  EXPECT_EQ(message(decode_pool, text), "/blockSize: there is no field 'blockSize'; did you mean 'block_size'?");
  EXPECT_EQ(message(decode_reservation, R"({"v":1,"cidr":"10.0.0.0/8","owner":"me"})"), "/owner: there is no field 'owner'; known here: cidr, note");
  // A slip comes before what is missing because of it, and a decoder that stopped half way in a rule does not call the rest unknown.
  EXPECT_EQ(message(decode_reservation, R"({"v":1,"cdir":"10.0.0.0/8"})"), "/cdir: there is no field 'cdir'; did you mean 'cidr'?");
  EXPECT_EQ(message(decode_bgp_peer, R"({"v":1,"name":"a","address":"10.0.0.1","as_number":1,"import_rules":[{"within":"0.0.0.0/0","least":0,"most":8}]})"),
            "/import_rules/0/accept: missing");
  EXPECT_EQ(decode_bgp_peer(R"({"v":1,"name":"a","address":"10.0.0.1","as_number":1,"hold_time":30})")->keepalive_time, 10);
}

TEST(Keys, SortAsAddressesDo) {
  EXPECT_EQ(keys::prefix_key(prefix("10.0.0.0/26")), "4-0a000000-1a");
  EXPECT_LT(keys::lease(address("9.255.255.255")), keys::lease(address("10.0.0.0")));
  EXPECT_LT(keys::lease(address("255.0.0.0")), keys::lease(address("::1")));
  EXPECT_EQ(keys::block(Use::routed, "web", prefix("10.0.0.0/26")), "block/routed/web/4-0a000000-1a");
}

TEST(Names, FollowTheirRules) {
  EXPECT_TRUE(check_object_name("pool name", "rack-1.web").ok());
  for (const char* bad : {"", "-a", "a-", "A", "a/b", "a b"}) EXPECT_FALSE(check_object_name("pool name", bad).ok()) << bad;
  EXPECT_FALSE(check_object_name("pool name", std::string(64, 'a')).ok());
  EXPECT_TRUE(check_cni_name("network", "Net_1.x-y").ok());
  for (const char* bad : {"", "_a", ".a", "a/b", "a b", "a\n"}) EXPECT_FALSE(check_cni_name("network", bad).ok()) << bad;
  EXPECT_TRUE(check_peer_name("tor-a").ok());
  EXPECT_FALSE(check_peer_name("1tor").ok());
}

}  // namespace
}  // namespace firn::model
