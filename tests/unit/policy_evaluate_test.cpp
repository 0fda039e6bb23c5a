// What a set of policies decides about a packet: the sentences at the head of lib/model/policy.hpp, one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/policy/evaluate.hpp"

namespace firn::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

model::Endpoint container(const char* space, const char* name, const char* address, Labels labels) {
  model::Endpoint out;
  out.network = "net";
  out.container_id = name;
  out.ifname = "eth0";
  out.pod_namespace = space;
  out.pod_name = name;
  out.addresses = {*Address::parse(address)};
  out.labels = std::move(labels);
  return out;
}
End end_of(const model::Endpoint& endpoint, const char* node = "n1") {
  return {.address = endpoint.addresses.front(), .endpoint = &endpoint, .host_endpoint = nullptr, .node = node};
}
End outside(const char* address) {
  return {.address = *Address::parse(address), .endpoint = nullptr, .host_endpoint = nullptr, .node = {}};
}

// From text, as records are written.
model::Policy policy(const std::string& fields) {
  auto out = model::decode_policy(model::Source("{\"v\":1," + fields + "}", true));
  EXPECT_TRUE(out.ok()) << fields << (out ? "" : ": " + out.error().message);
  return out.ok() ? *out : model::Policy();
}
Evaluator evaluator(std::vector<model::Policy> policies, const model::PolicySettings& settings = {},
                    const std::vector<model::Namespace>& namespaces = {}) {
  auto out = Evaluator::make(std::move(policies), namespaces, settings);
  EXPECT_TRUE(out.ok()) << out.error().message;
  return *std::move(out);
}

Packet tcp(uint16_t port) {
  return {.protocol = 6, .source_port = 40000, .destination_port = port, .icmp_type = 0, .icmp_code = 0};
}
Packet udp(uint16_t port) {
  return {.protocol = 17, .source_port = 40000, .destination_port = port, .icmp_type = 0, .icmp_code = 0};
}
Packet icmp(uint8_t protocol, uint8_t type, uint8_t code = 0) {
  return {.protocol = protocol, .source_port = 0, .destination_port = 0, .icmp_type = type, .icmp_code = code};
}

const model::Endpoint web = container("shop", "web", "10.0.0.1", {{"app", "web"}});
const model::Endpoint db = container("shop", "db", "10.0.0.2", {{"app", "db"}});
const model::Endpoint spy = container("other", "spy", "10.0.0.3", {{"app", "web"}});
const model::Endpoint bare = container("", "bare", "10.0.0.4", {});

TEST(Evaluate, NothingIsForbiddenUntilAPolicySelects) {
  const Evaluator none = evaluator({});
  EXPECT_TRUE(none.judge(end_of(web), end_of(db), tcp(5432)).allowed());
  EXPECT_EQ(none.judge(end_of(web), end_of(db), tcp(5432)).ingress.ground, Ground::by_default);
  EXPECT_EQ(none.judge(outside("192.0.2.1"), end_of(db), tcp(5432)).egress.ground, Ground::nobody);
  const Evaluator some = evaluator({policy(R"("name":"p","namespace":"shop","selector":"app == 'db'","types":["ingress"])")});
  const Verdict verdict = some.judge(end_of(web), end_of(db), tcp(5432));
  EXPECT_FALSE(verdict.allowed());
  EXPECT_EQ(verdict.ingress.ground, Ground::no_rule);
  EXPECT_EQ(verdict.ingress.path.size(), 1U);
  // The other direction is not selected, nor is anybody else.
  EXPECT_TRUE(some.judge(end_of(db), end_of(web), tcp(80)).allowed());
  EXPECT_TRUE(some.judge(end_of(web), end_of(spy), tcp(80)).allowed());
}

TEST(Evaluate, TheDefaultMayBeToDenyContainersButNotHosts) {
  model::PolicySettings settings;
  settings.default_deny = true;
  const Evaluator deny = evaluator({}, settings);
  const Verdict verdict = deny.judge(end_of(web), end_of(db), tcp(1));
  EXPECT_FALSE(verdict.egress.allowed);
  EXPECT_FALSE(verdict.ingress.allowed);
  const model::HostEndpoint up{.name = "up", .node = "n2", .interface = "eth0", .labels = {}};
  const End host{.address = *Address::parse("192.0.2.2"), .endpoint = nullptr, .host_endpoint = &up, .node = "n2"};
  EXPECT_TRUE(deny.judge(outside("192.0.2.1"), host, tcp(1)).allowed());
}

TEST(Evaluate, PoliciesDecideByOrderThenScopeThenName) {
  const Evaluator all = evaluator({policy(R"("name":"b","order":5)"), policy(R"("name":"a","namespace":"shop","order":5)"),
                                   policy(R"("name":"z","order":1)"), policy(R"("name":"a","order":5)"),
                                   policy(R"("name":"c","namespace":"alpha","order":5)")});
  std::vector<std::string> names;
  for (const model::Policy& one : all.policies()) names.push_back(one.scope + "/" + one.name);
  EXPECT_THAT(names, ElementsAre("/z", "/a", "/b", "alpha/c", "shop/a"));
  EXPECT_THAT(all.selecting(Direction::ingress, end_of(web)), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(all.selecting(Direction::egress, end_of(web)), IsEmpty());
}

TEST(Evaluate, TheFirstRuleThatMatchesDecides) {
  const Evaluator rules =
      evaluator({policy(R"("name":"p","order":1,"types":["ingress"],"ingress":[
      {"action":"log","source":{"nets":["192.0.2.0/24"]}},
      {"action":"deny","source":{"nets":["192.0.2.128/25"]}},
      {"action":"allow","protocol":"tcp","source":{"nets":["192.0.2.0/24"]},"destination":{"ports":[80]}},
      {"action":"pass","protocol":"udp"}])"),
                 policy(R"("name":"q","order":2,"ingress":[{"action":"allow","protocol":"udp","destination":{"ports":[53]}}])")});
  const auto decide = [&](const char* from, const Packet& packet) {
    return rules.judge(outside(from), end_of(web), packet).ingress;
  };
  Decision decision = decide("192.0.2.1", tcp(80));
  EXPECT_TRUE(decision.allowed);
  EXPECT_EQ(decision.ground, Ground::rule);
  ASSERT_EQ(decision.path.size(), 1U);
  EXPECT_EQ(decision.path[0].rule, 2U);
  EXPECT_THAT(decision.path[0].logged, ElementsAre(0));
  decision = decide("192.0.2.200", tcp(80));
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.path.back().rule, 1U);
  // What no rule of the first decides, the second may; what passes as well.
  decision = decide("198.51.100.1", udp(53));
  EXPECT_TRUE(decision.allowed);
  ASSERT_EQ(decision.path.size(), 2U);
  EXPECT_EQ(decision.path[0].rule, 3U);
  EXPECT_EQ(decision.path[1].rule, 0U);
  decision = decide("198.51.100.1", tcp(53));
  EXPECT_EQ(decision.ground, Ground::no_rule);
  EXPECT_EQ(decision.path.size(), 2U);
}

TEST(Evaluate, APassInTheLastPolicyHasTheDefault) {
  const std::string fields = R"("name":"p","ingress":[{"action":"pass","protocol":"udp"}])";
  EXPECT_TRUE(evaluator({policy(fields)}).judge(end_of(web), end_of(db), udp(1)).allowed());
  EXPECT_FALSE(evaluator({policy(fields)}).judge(end_of(web), end_of(db), tcp(1)).allowed());
  model::PolicySettings settings;
  settings.default_deny = true;
  EXPECT_FALSE(evaluator({policy(fields)}, settings).judge(outside("192.0.2.1"), end_of(db), udp(1)).allowed());
  // It is the last policy that counts, not any one.
  EXPECT_FALSE(evaluator({policy(fields), policy(R"("name":"q")")}).judge(end_of(web), end_of(db), udp(1)).allowed());
}

TEST(Evaluate, SenderAndReceiverBothDecide) {
  const Evaluator both = evaluator({policy(R"("name":"out","namespace":"shop","selector":"app == 'web'","types":["egress"],
                                               "egress":[{"action":"allow","destination":{"selector":"app == 'db'"}}])"),
                                    policy(R"("name":"in","namespace":"shop","selector":"app == 'db'",
                                               "ingress":[{"action":"allow","protocol":"tcp","destination":{"ports":[5432]}}])")});
  EXPECT_TRUE(both.judge(end_of(web), end_of(db), tcp(5432)).allowed());
  const Verdict closed = both.judge(end_of(web), end_of(db), tcp(22));
  EXPECT_TRUE(closed.egress.allowed);
  EXPECT_FALSE(closed.ingress.allowed);
  EXPECT_FALSE(both.judge(end_of(web), end_of(spy), tcp(5432)).egress.allowed);
}

TEST(Evaluate, SelectorsMeanTheirNamespaceUnlessTheySayOtherwise) {
  const auto from = [](const std::string& source, const std::string& scope = R"("namespace":"shop",)") {
    return evaluator({policy(scope + R"("name":"p","ingress":[{"action":"allow","source":)" + source + "}]")}, {},
                     {model::Namespace{.name = "other", .labels = {{"team", "b"}}}});
  };
  const auto allows = [](const Evaluator& rules, const End& source) { return rules.judge(source, end_of(db), tcp(1)).allowed(); };
  const Evaluator own = from(R"({"selector":"app == 'web'"})");
  EXPECT_TRUE(allows(own, end_of(web)));
  EXPECT_FALSE(allows(own, end_of(spy)));
  EXPECT_FALSE(allows(own, outside("10.0.0.1")));  // the address alone makes nobody a member
  const Evaluator global = from(R"({"selector":"app == 'web'"})", "");
  EXPECT_TRUE(allows(global, end_of(spy)));
  EXPECT_FALSE(allows(global, end_of(bare)));
  const Evaluator team = from(R"({"namespace_selector":"team == 'b'"})");
  EXPECT_TRUE(allows(team, end_of(spy)));
  EXPECT_FALSE(allows(team, end_of(web)));
  const Evaluator named = from(R"({"namespace_selector":"kubernetes.io/metadata.name == 'default'"})");
  EXPECT_TRUE(allows(named, end_of(bare)));  // which has neither a namespace nor a record of one
  EXPECT_FALSE(allows(named, end_of(spy)));
  const Evaluator both = from(R"({"selector":"app == 'db'","namespace_selector":"team == 'b'"})");
  EXPECT_FALSE(allows(both, end_of(spy)));
  const Evaluator nets = from(R"({"selector":"app == 'web'","nets":["10.0.0.0/30"],"not_nets":["10.0.0.1/32"]})", "");
  EXPECT_FALSE(allows(nets, end_of(web)));
  EXPECT_TRUE(allows(nets, end_of(spy)));
}

TEST(Evaluate, GlobalPoliciesMayBeOfSomeNamespaces) {
  const Evaluator rules = evaluator({policy(
      R"("name":"p","namespace_selector":"kubernetes.io/metadata.name in {'shop', 'default'}","selector":"!has(app) || app == 'db'")")});
  EXPECT_FALSE(rules.judge(outside("192.0.2.1"), end_of(db), tcp(1)).allowed());
  EXPECT_FALSE(rules.judge(outside("192.0.2.1"), end_of(bare), tcp(1)).allowed());
  EXPECT_TRUE(rules.judge(outside("192.0.2.1"), end_of(web), tcp(1)).allowed());
  EXPECT_TRUE(rules.judge(outside("192.0.2.1"), end_of(spy), tcp(1)).allowed());
}

TEST(Evaluate, ProtocolsPortsAndFamilies) {
  model::Endpoint named = container("shop", "named", "10.0.0.9", {});
  named.annotations["firn.io/ports"] = "http=8080/tcp,dns=53/udp";
  model::Endpoint six = container("shop", "six", "fd00::9", {});
  const auto allows = [&](const std::string& rule, const Packet& packet, bool v6 = false) {
    const Evaluator rules = evaluator({policy(R"("name":"p","ingress":[{"action":"allow",)" + rule + "}]")});
    return rules.judge(outside(v6 ? "2001:db8::1" : "192.0.2.1"), end_of(v6 ? six : named), packet).allowed();
  };
  EXPECT_TRUE(allows(R"("protocol":"tcp","destination":{"ports":["80-90"]})", tcp(90)));
  EXPECT_FALSE(allows(R"("protocol":"tcp","destination":{"ports":["80-90"]})", tcp(91)));
  EXPECT_FALSE(allows(R"("protocol":"tcp","destination":{"ports":["80-90"]})", udp(80)));
  EXPECT_TRUE(allows(R"("protocol":"tcp","destination":{"ports":["http"]})", tcp(8080)));
  EXPECT_FALSE(allows(R"("protocol":"tcp","destination":{"ports":["http"]})", tcp(80)));
  EXPECT_FALSE(allows(R"("protocol":"tcp","destination":{"ports":["dns"]})", tcp(53)));
  EXPECT_TRUE(allows(R"("protocol":"udp","destination":{"ports":["dns"]})", udp(53)));
  EXPECT_TRUE(allows(R"("protocol":"tcp","source":{"ports":[40000]})", tcp(1)));
  EXPECT_FALSE(allows(R"("protocol":"tcp","source":{"ports":[40001]})", tcp(1)));
  EXPECT_TRUE(allows(R"("protocol":"icmp","icmp_type":8,"icmp_code":0)", icmp(1, 8)));
  EXPECT_FALSE(allows(R"("protocol":"icmp","icmp_type":8,"icmp_code":0)", icmp(1, 8, 1)));
  EXPECT_TRUE(allows(R"("protocol":"icmpv6","icmp_type":128)", icmp(58, 128), true));
  EXPECT_FALSE(allows(R"("protocol":"icmpv6","icmp_type":128)", icmp(58, 129), true));
  EXPECT_TRUE(allows(R"("family":"ipv6")", tcp(1), true));
  EXPECT_FALSE(allows(R"("family":"ipv4")", tcp(1), true));
  EXPECT_TRUE(allows(R"("protocol":89)", Packet{.protocol = 89}));
  EXPECT_FALSE(allows(R"("source":{"nets":["0.0.0.0/0"]})", tcp(1), true));
  EXPECT_TRUE(allows(R"("source":{"not_nets":["0.0.0.0/0"]})", tcp(1), true));
}

TEST(Evaluate, WhatNoPolicyIsAskedAbout) {
  const Evaluator shut = evaluator({policy(R"("name":"p","types":["ingress","egress"])")});
  const Verdict self = shut.judge(end_of(web), end_of(web), tcp(1));
  EXPECT_TRUE(self.allowed());
  EXPECT_EQ(self.ingress.ground, Ground::itself);
  EXPECT_EQ(shut.judge(end_of(web), end_of(db), icmp(58, 135)).ingress.ground, Ground::link);
  const End own_host{.address = *Address::parse("192.0.2.1"), .endpoint = nullptr, .host_endpoint = nullptr, .node = "n1"};
  EXPECT_EQ(shut.judge(own_host, end_of(web), tcp(1)).ingress.ground, Ground::same_host);
  EXPECT_FALSE(shut.judge(own_host, end_of(web, "n2"), tcp(1)).allowed());
  EXPECT_FALSE(shut.judge(end_of(web), own_host, tcp(1)).egress.allowed);
  model::Endpoint foreign = web;
  foreign.kind = model::EndpointKind::address;
  EXPECT_EQ(shut.judge(outside("192.0.2.9"), end_of(foreign), tcp(1)).ingress.ground, Ground::nobody);
}

TEST(Evaluate, InterfacesOfHosts) {
  const model::HostEndpoint up{.name = "up", .node = "n2", .interface = "eth0", .labels = {{"role", "edge"}}};
  const End host{.address = *Address::parse("192.0.2.2"), .endpoint = nullptr, .host_endpoint = &up, .node = "n2"};
  const Evaluator shut = evaluator({policy(R"("name":"p","selector":"role == 'edge'","types":["ingress","egress"])")});
  EXPECT_EQ(shut.judge(outside("198.51.100.1"), host, tcp(80)).ingress.ground, Ground::no_rule);
  EXPECT_EQ(shut.judge(outside("198.51.100.1"), host, tcp(22)).ingress.ground, Ground::failsafe);
  EXPECT_EQ(shut.judge(host, outside("198.51.100.1"), udp(53)).egress.ground, Ground::failsafe);
  EXPECT_FALSE(shut.judge(host, outside("198.51.100.1"), tcp(22)).allowed());
  EXPECT_EQ(shut.judge(host, outside("198.51.100.1"), {.protocol = 17, .source_port = 68, .destination_port = 67}).egress.ground,
            Ground::link);
  EXPECT_FALSE(
      shut.judge(outside("198.51.100.1"), host, {.protocol = 17, .source_port = 68, .destination_port = 67}).ingress.allowed);
  EXPECT_EQ(shut.judge(outside("2001:db8::1"), host, icmp(58, 134)).ingress.ground, Ground::link);
  // Its own containers are behind it, those of others come by the interface.
  EXPECT_EQ(shut.judge(end_of(web, "n2"), host, tcp(80)).ingress.ground, Ground::same_host);
  EXPECT_EQ(shut.judge(end_of(web, "n1"), host, tcp(80)).ingress.ground, Ground::no_rule);
  // Neither policies of namespaces nor those that select by namespace reach it.
  const Evaluator others =
      evaluator({policy(R"("name":"p","namespace":"default")"), policy(R"("name":"q","namespace_selector":"")")});
  EXPECT_TRUE(others.judge(outside("198.51.100.1"), host, tcp(80)).allowed());
}

TEST(Evaluate, WhatCannotBeReadIsNamed) {
  auto bad = Evaluator::make(
      {policy(R"("name":"p","namespace":"shop","ingress":[{"action":"allow","source":{"selector":"app ="}}])")}, {}, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_THAT(bad.error().message, HasSubstr("NetworkPolicy shop/p: /ingress/0/source/selector: column 5: "));
}

}  // namespace
}  // namespace firn::policy
