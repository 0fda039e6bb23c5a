// The records of policy: what is written reads as the same, and what would match more than its author meant is an error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/model/policy.hpp"

namespace firn::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Prefix prefix(const char* text) { return *Prefix::parse(text); }
PortMatch port(const char* text) { return *parse_port_match(text); }

template <class T, class Decode>
void round_trip(const T& record, Decode decode) {
  const std::string text = encode(record);
  auto back = decode(Source(text, true));
  ASSERT_TRUE(back.ok()) << text << ": " << back.error().message;
  EXPECT_EQ(*back, record) << text;
}

Policy full() {
  Policy out;
  out.scope = "shop";
  out.name = "web.front-1";
  out.order = 10;
  out.selector = "app == 'web'";
  out.applies_ingress = out.applies_egress = true;
  PolicyRule in;
  in.family = Family::v4;
  in.protocol = 6;
  in.source.selector = "";
  in.source.namespace_selector = "has(x)";
  in.source.nets = {prefix("10.0.0.0/8")};
  in.source.not_nets = {prefix("10.1.0.0/16"), prefix("fd00::/64")};
  in.source.ports = {port("1024-65535")};
  in.destination.ports = {port("443"), port("8000-8080"), port("http")};
  PolicyRule ping{
      .action = PolicyAction::log, .family = {}, .protocol = 58, .icmp_type = 128, .icmp_code = 0, .source = {}, .destination = {}};
  PolicyRule rest{.action = PolicyAction::pass,
                  .family = Family::v6,
                  .protocol = 89,
                  .icmp_type = {},
                  .icmp_code = {},
                  .source = {},
                  .destination = {}};
  out.ingress = {in};
  out.egress = {ping, rest,
                PolicyRule{.action = PolicyAction::deny,
                           .family = {},
                           .protocol = {},
                           .icmp_type = {},
                           .icmp_code = {},
                           .source = {},
                           .destination = {}}};
  out.note = "of \"shop\"";
  return out;
}

TEST(PolicyRecords, RoundTrip) {
  round_trip(full(), decode_policy);
  Policy global;
  global.name = "all";
  global.namespace_selector = "";
  global.applies_egress = true;
  round_trip(global, decode_policy);
  round_trip(Namespace{.name = "shop", .labels = {{"team", "a"}, {"kubernetes.io/metadata.name", "shop"}}}, decode_namespace);
  round_trip(HostEndpoint{.name = "up", .node = "n1", .interface = "eth0", .labels = {{"role", "edge"}}}, decode_host_endpoint);
  round_trip(HostEndpoint{.name = "all", .node = "n1", .interface = "*", .labels = {}}, decode_host_endpoint);
  round_trip(PolicySettings{}, decode_policy_settings);
  round_trip(PolicySettings{.default_deny = true,
                            .end_connections = false,
                            .failsafe_in = {},
                            .failsafe_out = {"udp:53"},
                            .log_group = 0,
                            .log_rate = 1},
             decode_policy_settings);
}

TEST(PolicyRecords, DefaultsAreThoseOfKubernetes) {
  auto types = [](const char* rest) {
    auto policy = decode_policy(std::string(R"({"v":1,"name":"p")") + rest + "}");
    EXPECT_TRUE(policy.ok()) << rest << (policy.ok() ? "" : policy.error().message);
    return policy.ok() ? std::pair(policy->applies_ingress, policy->applies_egress) : std::pair(false, false);
  };
  EXPECT_EQ(types(""), std::pair(true, false));
  EXPECT_EQ(types(R"(,"egress":[])"), std::pair(true, false));
  EXPECT_EQ(types(R"(,"egress":[{"action":"allow"}])"), std::pair(true, true));
  EXPECT_EQ(types(R"(,"types":["egress"])"), std::pair(false, true));
  const Namespace bare = *decode_namespace(std::string(R"({"v":1,"name":"shop"})"));
  EXPECT_EQ(bare.labels.at("kubernetes.io/metadata.name"), "shop");
  EXPECT_EQ(*decode_policy_settings(std::string(R"({"v":1})")), PolicySettings{});
}

TEST(PolicyRecords, PortsMayBeNumbers) {
  auto policy = decode_policy(
      std::string(R"({"v":1,"name":"p","ingress":[{"action":"allow","protocol":17,"destination":{"ports":[53,"443"]}}]})"));
  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_THAT(policy->ingress[0].destination.ports, ElementsAre(port("53"), port("443")));
  auto settings = decode_policy_settings(std::string(R"({"v":1,"failsafe_in":[22,"tcp:80","udp:53"]})"));
  ASSERT_TRUE(settings.ok()) << settings.error().message;
  EXPECT_THAT(settings->failsafe_in, ElementsAre("22", "80", "udp:53"));
}

// Every one of these, read generously, would match more than what is written.
TEST(PolicyRecords, NothingBadIsTakenForNothing) {
  const std::pair<const char*, const char*> rules[] = {
      {R"("allow")", "/ingress/0: must be an object"},
      {R"({})", "/ingress/0/action: missing"},
      {R"({"action":"accept"})", "/ingress/0/action: must be allow, deny, log or pass, not 'accept'"},
      {R"({"action":"allow","source":null})", "/ingress/0/source: must be an object"},
      {R"({"action":"allow","source":"10.0.0.0/8"})", "/ingress/0/source: must be an object"},
      {R"({"action":"allow","source":{"nets":[]}})", "/ingress/0/source/nets: is empty; leave it out"},
      {R"({"action":"allow","source":{"nets":null}})", "/ingress/0/source/nets: "},
      {R"({"action":"allow","source":{"nets":["10.0.0.1/8"]}})", "/ingress/0/source/nets/0: "},
      {R"({"action":"allow","source":{"selector":null}})", "/ingress/0/source/selector: "},
      {R"({"action":"allow","source":{"selector":{"app":"web"}}})", "/ingress/0/source/selector: "},
      {R"({"action":"allow","protocol":null})", "/ingress/0/protocol: "},
      {R"({"action":"allow","protocol":"TCP"})", "/ingress/0/protocol: 'TCP' is no protocol"},
      {R"({"action":"allow","protocol":256})", "/ingress/0/protocol: '256' is no protocol"},
      {R"({"action":"allow","family":"v4"})", "/ingress/0/family: must be ipv4 or ipv6"},
      {R"({"action":"allow","destination":{"ports":[80]}})", "/ingress/0/destination/ports: needs the protocol tcp, udp or sctp"},
      {R"({"action":"allow","protocol":"icmp","destination":{"ports":[80]}})", "/ingress/0/destination/ports: needs the protocol"},
      {R"({"action":"allow","protocol":"tcp","destination":{"ports":[0]}})", "/ingress/0/destination/ports/0: '0' is no port"},
      {R"({"action":"allow","protocol":"tcp","destination":{"ports":["90-80"]}})",
       "/ingress/0/destination/ports/0: '90-80' is no port"},
      {R"({"action":"allow","protocol":"tcp","source":{"ports":["http"]}})",
       "/ingress/0/source/ports/0: only ports of the destination"},
      {R"({"action":"allow","protocol":"tcp","icmp_type":8})", "/ingress/0/icmp_type: needs the protocol icmp or icmpv6"},
      {R"({"action":"allow","protocol":"icmp","icmp_code":0})", "/ingress/0/icmp_code: needs an icmp_type"},
      {R"({"action":"allow","family":"ipv6","protocol":"icmp"})", "/ingress/0/protocol: is none of ipv6"},
      {R"({"action":"allow","family":"ipv4","source":{"nets":["fd00::/8"]}})", "/ingress/0/source/nets: fd00::/8 is none of ipv4"},
  };
  for (const auto& [rule, message] : rules) {
    auto policy = decode_policy(R"({"v":1,"name":"p","ingress":[)" + std::string(rule) + "]}");
    EXPECT_FALSE(policy.ok()) << rule;
    EXPECT_THAT(policy ? "" : policy.error().message, HasSubstr(message)) << rule;
  }
  const std::pair<const char*, const char*> policies[] = {
      {R"("name":"A")", "/name: policy 'A' must be 1 to 253"},
      {R"("name":"p","namespace":"a/b")", "/namespace: namespace 'a/b' must be"},
      {R"("name":"p","namespace":"a","namespace_selector":"")", "/namespace_selector: a policy in a namespace"},
      {R"("name":"p","order":-1)", "/order: "},
      {R"("name":"p","types":[])", "/types: must name ingress, egress or both"},
      {R"("name":"p","types":["Ingress"])", "/types: must be ingress or egress, not 'Ingress'"},
      {R"("name":"p","types":["ingress"],"egress":[{"action":"allow"}])", "/egress: has rules, but types does not name egress"},
      {R"("name":"p","ingress":{})", "/ingress: "},
  };
  for (const auto& [fields, message] : policies) {
    auto policy = decode_policy(R"({"v":1,)" + std::string(fields) + "}");
    EXPECT_FALSE(policy.ok()) << fields;
    EXPECT_THAT(policy ? "" : policy.error().message, HasSubstr(message)) << fields;
  }
  auto slip = decode_policy(
      Source(std::string(R"({"v":1,"name":"p","ingress":[{"action":"allow","source":{"net":["10.0.0.0/8"]}}]})"), true));
  ASSERT_FALSE(slip.ok());
  EXPECT_THAT(slip.error().message, HasSubstr("there is no field 'net'; did you mean 'nets'?"));
}

TEST(PolicyRecords, OtherBadOnes) {
  auto message = [](const auto& result) { return result.ok() ? std::string("good") : result.error().message; };
  EXPECT_THAT(message(decode_namespace(std::string(R"({"v":1,"name":"a","labels":{"kubernetes.io/metadata.name":"b"}})"))),
              HasSubstr("is always the name"));
  EXPECT_THAT(message(decode_host_endpoint(std::string(R"({"v":1,"name":"a","node":"n","interface":"a/b"})"))),
              HasSubstr("/interface: "));
  EXPECT_THAT(message(decode_host_endpoint(std::string(R"({"v":1,"name":"a","node":"","interface":"eth0"})"))),
              HasSubstr("/node: "));
  EXPECT_THAT(message(decode_policy_settings(std::string(R"({"v":1,"failsafe_in":["icmp:1"]})"))),
              HasSubstr("/failsafe_in/0: 'icmp:1' is no port"));
  EXPECT_THAT(message(decode_policy_settings(std::string(R"({"v":1,"log_rate":0})"))), HasSubstr("/log_rate: "));
}

TEST(PolicyRecords, NamedPortsComeFromTheAnnotation) {
  Endpoint endpoint;
  EXPECT_TRUE(named_ports_of(endpoint).empty());
  endpoint.annotations["firn.io/ports"] =
      "http=8080/tcp, dns = 53/udp,plain=9,Bad=1,x=0,y=70000,z=1/icmp,=5,80=80,,a-b=1/sctp,http=01";
  EXPECT_THAT(named_ports_of(endpoint), ElementsAre(NamedPort{"http", 6, 8080}, NamedPort{"dns", 17, 53}, NamedPort{"plain", 6, 9},
                                                    NamedPort{"a-b", 132, 1}));
}

TEST(PolicyRecords, KeysAndSpelling) {
  EXPECT_EQ(keys::policy("shop", "web"), "policy/namespaced/shop/web");
  EXPECT_EQ(keys::policy("", "web"), "policy/global/web");
  EXPECT_EQ(keys::namespace_record("shop"), "namespace/shop");
  EXPECT_EQ(keys::host_endpoint("n1", "up"), "hostendpoint/n1/up");
  for (const char* text : {"1", "65535", "80-90", "http", "a-1"}) EXPECT_EQ(to_string(port(text)), text);
  for (const char* text : {"", "0", "65536", "080", "80-", "-80", "9-8", "a--b", "a-", "HTTP", "1-2-3", "abcdefghijklmnop"})
    EXPECT_FALSE(parse_port_match(text).ok()) << text;
  for (const char* text : {"tcp", "udp", "sctp", "icmp", "icmpv6", "0", "255"})
    EXPECT_EQ(protocol_name(*parse_protocol(text)), text);
  EXPECT_EQ(protocol_name(*parse_protocol("6")), "tcp");
}

}  // namespace
}  // namespace firn::model
