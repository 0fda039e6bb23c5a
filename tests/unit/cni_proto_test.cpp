// What comes in and goes out of the CNI plugins: environment, CNI_ARGS, configuration, results, versions. No kernel, no store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "cni-plugin/proto/config.hpp"
#include "cni-plugin/proto/spelling.hpp"

namespace firn::cni {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Variables variables(std::map<std::string, std::string> table) {
  return [table = std::move(table)](const char* name) -> const char* {
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second.c_str();
  };
}

Environment environment(Verb verb) {
  Environment out;
  out.verb = verb;
  out.container_id = "c1";
  out.ifname = "eth0";
  return out;
}

// A configuration with members added to the least there can be.
std::string config(const std::string& more, const std::string& version = "1.0.0") {
  return R"({"cniVersion":")" + version + R"(","name":"net","type":"firn")" + (more.empty() ? "" : "," + more) + "}";
}

Outcome<Config> parse(const std::string& more, Verb verb = Verb::add, const std::string& version = "1.1.0") {
  return parse_config(config(more, version), environment(verb), Reader::firn);
}

// Code and message of what must be a fault.
std::pair<int, std::string> fault_of(const std::string& more, Verb verb = Verb::add, const std::string& version = "1.1.0") {
  auto parsed = parse(more, verb, version);
  if (parsed) return {0, "accepted"};
  return {static_cast<int>(parsed.fault().code), parsed.fault().message};
}

TEST(Environment, EachVerbNeedsItsVariables) {
  auto out = read_environment(variables({{"CNI_COMMAND", "ADD"}}));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.fault().code, FaultCode::invalid_environment);
  EXPECT_EQ(out.fault().message, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing");
  EXPECT_TRUE(
      read_environment(variables({{"CNI_COMMAND", "DEL"}, {"CNI_CONTAINERID", "a"}, {"CNI_NETNS", ""}, {"CNI_IFNAME", "eth0"}})));
  EXPECT_TRUE(read_environment(variables({{"CNI_COMMAND", "GC"}})));
  EXPECT_TRUE(read_environment(variables({{"CNI_COMMAND", "STATUS"}, {"CNI_CONTAINERID", ""}})));
  EXPECT_EQ(read_environment(variables({}))->verb, Verb::none);
  EXPECT_THAT(read_environment(variables({{"CNI_COMMAND", "UPDATE"}})).fault().message, HasSubstr("UPDATE"));
}

TEST(Environment, NamesAreChecked) {
  const auto code = [](const std::string& id, const std::string& ifname) {
    auto out =
        read_environment(variables({{"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", id}, {"CNI_NETNS", "/x"}, {"CNI_IFNAME", ifname}}));
    return out ? 0 : static_cast<int>(out.fault().code);
  };
  EXPECT_EQ(code("c1", "eth0"), 0);
  EXPECT_EQ(code("../../etc", "eth0"), 4);
  EXPECT_EQ(code("-c", "eth0"), 4);
  EXPECT_EQ(code(std::string(300, 'a'), "eth0"), 4);
  EXPECT_EQ(code("c1", "fifteen-bytes-1"), 0);
  EXPECT_EQ(code("c1", "sixteen-bytes-12"), 4);
  EXPECT_EQ(code("c1", ".."), 4);
  EXPECT_EQ(code("c1", "a/b"), 4);
  EXPECT_EQ(code("c1", "a:b"), 4);
  EXPECT_EQ(code("c1", "a b"), 4);
}

TEST(CniArgs, ReadsWhatRuntimesSend) {
  auto out = parse_cni_args(
      "IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u=1;"
      "IP=10.1.2.3/24;MAC=02:00:00:00:00:01;AND_MORE=x;");
  ASSERT_TRUE(out);
  EXPECT_EQ(out->pod_namespace, "prod");
  EXPECT_EQ(out->pod_name, "web-0");
  EXPECT_EQ(out->pod_uid, "u=1");
  EXPECT_EQ(out->ip->to_string(), "10.1.2.3");
  EXPECT_EQ(out->mac->to_string(), "02:00:00:00:00:01");
}

TEST(CniArgs, UnknownKeysNeedIgnoreUnknown) {
  EXPECT_TRUE(parse_cni_args(""));
  EXPECT_TRUE(parse_cni_args(";;"));
  EXPECT_TRUE(parse_cni_args("FOO=1;IgnoreUnknown=true"));
  for (const char* bad : {"FOO=1", "FOO=1;IgnoreUnknown=0", "=1", "IP", "IP=10.0.0.256", "MAC=zz", "IP=;"}) {
    auto out = parse_cni_args(bad);
    ASSERT_FALSE(out) << bad;
    EXPECT_EQ(out.fault().code, FaultCode::invalid_environment) << bad;
    EXPECT_THAT(out.fault().message, HasSubstr("CNI_ARGS")) << bad;
  }
  EXPECT_FALSE(parse_cni_args("K8S_POD_NAME=" + std::string(5000, 'x')));
}

TEST(Version, GateOfEachVerb) {
  for (const char* good : {"0.3.1", "0.4.0", "1.0.0", "1.1.0"}) EXPECT_TRUE(parse("", Verb::add, good)) << good;
  for (const char* bad : {"0.1.0", "0.2.0", "0.3.0", "1.2.0", "1.0", "x", ""}) {
    EXPECT_EQ(fault_of("", Verb::add, bad).first, 1) << bad;
    EXPECT_EQ(fault_of("", Verb::del, bad).first, 1) << bad;
  }
  EXPECT_EQ(fault_of("", Verb::check, "0.3.1").first, 1);
  EXPECT_EQ(fault_of("", Verb::gc, "1.0.0").first, 1);
  EXPECT_EQ(fault_of("", Verb::status, "1.0.0").first, 1);
  EXPECT_EQ(version_json("0.4.0"), R"({"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]})");
  EXPECT_THAT(version_json(""), HasSubstr(R"("cniVersion":"1.1.0")"));
}

TEST(Config, DefaultsAndEveryField) {
  auto out = parse("");
  ASSERT_TRUE(out) << out.fault().message;
  EXPECT_EQ(out->mtu, 0);
  EXPECT_EQ(out->host_prefix, "firn");
  EXPECT_EQ(out->state_dir, "/var/lib/firn");
  EXPECT_EQ(out->ipam.type, "firn-ipam");
  EXPECT_FALSE(out->forwarding);

  out = parse(R"("mtu":9000,"hostPrefix":"cali","stateDir":"/x/y/","forwarding":true,"requireDaemon":true,"daemonSocket":"/r/s","policyTimeout":250,
    "dns":{"nameservers":["10.0.0.10"],"domain":"a.b","search":["b"],"options":["ndots:5"]},
    "ipam":{"type":"firn-ipam","subnet":"10.1.0.0/16","rangeStart":"10.1.1.0","rangeEnd":"10.1.1.255","gateway":"10.1.0.1",
            "routes":[{"dst":"10.0.0.0/8"}],"cooldown":5})");
  ASSERT_TRUE(out) << out.fault().message;
  EXPECT_EQ(out->mtu, 9000);
  EXPECT_EQ(out->policy_timeout, 250);
  EXPECT_EQ(out->host_prefix, "cali");
  EXPECT_EQ(out->state_dir, "/x/y");
  EXPECT_TRUE(out->forwarding);
  EXPECT_TRUE(out->require_daemon);
  EXPECT_EQ(out->daemon_socket, "/r/s");
  EXPECT_EQ(out->ipam.cooldown, 5);
  ASSERT_EQ(out->ipam.sets.size(), 1u);
  EXPECT_EQ(out->ipam.sets[0][0].first->to_string(), "10.1.1.0");
  EXPECT_EQ(out->ipam.routes[0].destination.to_string(), "10.0.0.0/8");
  EXPECT_EQ(out->dns.options[0], "ndots:5");
}

TEST(Config, WhatARuntimePutsInIsPassedOver) {
  EXPECT_TRUE(parse(R"("capabilities":{"ips":true},"runtimeConfig":{"infinibandGUID":"c2:11:22:33:44:55:66:77"},"args":{"podman_labels":{}},
    "cni.dev/valid-attachments":null,"io.vendor/thing":1,"kubeconfig":"/x","delegates":[])"));
  EXPECT_TRUE(parse(R"("ipMasq":false)"));
}

TEST(Config, SlipsOfThePenAreNamed) {
  EXPECT_EQ(fault_of(R"("hostPrefx":"a")"),
            std::make_pair(7, std::string("/hostPrefx: is not a field; did you mean \"hostPrefix\"?")));
  EXPECT_EQ(fault_of(R"("MTU":1500)").first, 7);
  EXPECT_EQ(fault_of(R"("Ipam":{})").first, 7);
  EXPECT_THAT(fault_of(R"("ipam":{"subnett":"10.0.0.0/8"})").second, HasSubstr("did you mean \"subnet\""));
  EXPECT_THAT(fault_of(R"("ipam":{"dataDir":"/x","subnet":"10.0.0.0/8"})").second, HasSubstr("there are type, subnet"));
}

TEST(Config, RefusesWithThePlace) {
  struct Case {
    const char* more;
    int code;
    const char* says;
  };
  const Case cases[] = {
      {R"("mtu":"1500")", 7, "/mtu"},
      {R"("mtu":100)", 7, "/mtu"},
      {R"("mtu":70000)", 7, "/mtu"},
      {R"("hostPrefix":"toolong")", 7, "/hostPrefix"},
      {R"("hostPrefix":"a/b")", 7, "/hostPrefix"},
      {R"("stateDir":"relative")", 7, "/stateDir"},
      {R"("stateDir":"/a/../b")", 7, "/stateDir"},
      {R"("forwarding":"yes")", 7, "/forwarding"},
      {R"("requireDaemon":1)", 7, "/requireDaemon"},
      {R"("daemonSocket":"x")", 7, "/daemonSocket"},
      {R"("policyTimeout":0)", 7, "/policyTimeout"},
      {R"("ipMasq":true)", 2, "/ipMasq"},
      {R"("prevResult":{"cniVersion":"1.0.0"})", 7, "first plugin"},
      {R"("ipam":[])", 7, "/ipam"},
      {R"("ipam":{"type":"../evil"})", 7, "/ipam/type"},
      {R"("ipam":{"type":"firn-ipam","subnet":"10.0.0.1/24"})", 7, "/ipam/subnet"},
      {R"("ipam":{"subnet":"10.0.0.0/33"})", 7, "/ipam/subnet"},
      {R"("ipam":{"subnet":7})", 7, "/ipam/subnet"},
      {R"("ipam":{"subnet":"127.0.0.0/8"})", 7, "127.0.0.0/8"},
      {R"("ipam":{"rangeStart":"10.0.0.1"})", 7, "needs \"subnet\""},
      {R"("ipam":{"subnet":"10.0.0.0/24","rangeStart":"10.0.1.1"})", 7, "not inside"},
      {R"("ipam":{"subnet":"10.0.0.0/24","rangeStart":"10.0.0.9","rangeEnd":"10.0.0.3"})", 7, "before rangeStart"},
      {R"("ipam":{"subnet":"10.0.0.0/24","ranges":[[{"subnet":"10.0.1.0/24"}]]})", 7, "one of the two"},
      {R"("ipam":{"subnet":"10.0.0.0/24","pools":["a"]})", 7, "cannot stand beside"},
      {R"("ipam":{"pools":["A B"]})", 7, "/ipam/pools"},
      {R"("ipam":{"ranges":[[]]})", 7, "/ipam/ranges/0"},
      {R"("ipam":{"ranges":[[{"subnet":"10.0.0.0/24","rangestart":"10.0.0.9"}]]})", 7, "did you mean \"rangeStart\""},
      {R"("ipam":{"ranges":[[{"subnet":"10.0.0.0/24"},{"subnet":"fd00::/64"}]]})", 7, "two families"},
      {R"("ipam":{"ranges":[[{"subnet":"10.0.0.0/8"}],[{"subnet":"10.1.0.0/16"}]]})", 7, "overlap"},
      {R"("ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"x"}]})", 7, "/ipam/routes/0/dst"},
      {R"("ipam":{"subnet":"10.0.0.0/24","routes":[{"dst":"10.0.0.0/8","gw":"10.0.0.1"}]})", 2, "gw 10.0.0.1"},
      {R"("ipam":{"subnet":"10.0.0.0/24","cooldown":-1})", 7, "/ipam/cooldown"},
      {R"("runtimeConfig":{"ips":["nonsense"]})", 7, "/runtimeConfig/ips"},
      {R"("runtimeConfig":{"ips":["10.0.0.1","10.0.0.1/8"]})", 7, "twice"},
      {R"("runtimeConfig":{"mac":"01:00:5e:00:00:01"})", 7, "/runtimeConfig/mac"},
      {R"("runtimeConfig":{"ipRanges":[{"subnet":"10.0.0.0/8"}]})", 7, "/runtimeConfig/ipRanges"},
      {R"("runtimeConfig":{"dns":[]})", 7, "/runtimeConfig/dns"},
      {R"("args":{"cni":{"labels":[{"key":"a"}]}})", 7, "/args/cni/labels/0/value"},
      {R"("args":{"cni":{"ips":"10.0.0.1"}})", 7, "/args/cni/ips"},
  };
  for (const Case& c : cases) {
    const auto [code, message] = fault_of(c.more);
    EXPECT_EQ(code, c.code) << c.more << " -> " << message;
    EXPECT_THAT(message, HasSubstr(c.says)) << c.more;
  }
}

TEST(Config, BrokenStdin) {
  for (const char* text : {"", "{", "[]", "null", "\"x\"", "{\"a\":\"\xff\"}", "{} trailing"}) {
    auto out = parse_config(text, environment(Verb::add), Reader::firn);
    ASSERT_FALSE(out) << text;
    EXPECT_EQ(out.fault().code, FaultCode::undecodable) << text;
  }
  const std::string deep(100000, '[');
  EXPECT_EQ(parse_config(deep, environment(Verb::add), Reader::firn).fault().code, FaultCode::undecodable);
  for (const char* text :
       {R"({"cniVersion":"1.0.0"})", R"({"cniVersion":"1.0.0","name":""})", R"({"cniVersion":"1.0.0","name":"a/b"})",
        R"({"cniVersion":"1.0.0","name":5})", R"({"cniVersion":1,"name":"a"})"}) {
    EXPECT_EQ(parse_config(text, environment(Verb::add), Reader::firn).fault().code, FaultCode::invalid_config) << text;
  }
}

TEST(Config, DelReadsOnlyWhatItNeeds) {
  auto out = parse(R"("mtu":"junk","hostPrefix":"far too long","prevResult":{"ips":7},"runtimeConfig":3,"ipMasq":true,
    "ipam":{"type":"firn-ipam","subnet":"garbage","stateDir":"/s"})",
                   Verb::del);
  ASSERT_TRUE(out) << out.fault().message;
  EXPECT_EQ(out->state_dir, "/s");
  EXPECT_EQ(out->host_prefix, "firn");
}

TEST(Config, WishesOfContainerdWithCapitals) {
  auto out = parse(R"("runtimeConfig":{"IPs":["10.1.2.3/24","fd00::5"],"Mac":"02:00:00:00:00:07",
      "IpRanges":[[{"Subnet":"10.1.0.0/16","RangeStart":"10.1.2.0","RangeEnd":"","Gateway":""}]],
      "DNS":{"Servers":["10.0.0.10"],"Searches":["svc"],"Options":["ndots:5"]},
      "io.kubernetes.cri.pod-annotations":{"a":"1","big":")" +
                   std::string(5000, 'x') + R"("}},
    "args":{"cni":{"labels":[{"key":"app","value":"web"}],"ips":["10.9.9.9"]}})");
  ASSERT_TRUE(out) << out.fault().message;
  const Wishes& w = out->wishes;
  ASSERT_EQ(w.ips.size(), 2u);
  EXPECT_EQ(w.ips[0].to_string(), "10.1.2.3");
  EXPECT_EQ(w.mac->to_string(), "02:00:00:00:00:07");
  EXPECT_EQ(w.ip_ranges[0][0].first->to_string(), "10.1.2.0");
  EXPECT_FALSE(w.ip_ranges[0][0].last);
  EXPECT_THAT(w.dns.nameservers, ElementsAre("10.0.0.10"));
  EXPECT_THAT(w.dns.search, ElementsAre("svc"));
  EXPECT_EQ(w.labels.at("app"), "web");
  EXPECT_EQ(w.annotations.at("a"), "1");
  EXPECT_EQ(w.annotations_left_out, 1u);
}

TEST(Wishes, PortsAndBandwidth) {
  const auto wishes = [](const std::string& runtime) { return parse(R"("runtimeConfig":{)" + runtime + "}"); };
  const auto good = wishes(R"("PortMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"UDP","HostIP":""},
      {"hostPort":53,"containerPort":53,"protocol":"sctp","hostIP":"2001:db8::1"},{"hostPort":9,"containerPort":9},
      {"hostPort":9,"containerPort":9,"protocol":"tcp"}],"bandwidth":{"ingressRate":8000,"ingressBurst":2147483647})");
  ASSERT_TRUE(good) << good.fault().message;
  const std::vector<model::PublishedPort>& ports = good->wishes.ports;
  ASSERT_EQ(ports.size(), 3u) << "the same twice is once";
  EXPECT_EQ(to_string(ports[0]), "8080->80/udp");
  EXPECT_EQ(to_string(ports[1]), "[2001:db8::1]:53->53/sctp");
  EXPECT_EQ(ports[2].protocol, 6);
  EXPECT_EQ(good->wishes.bandwidth, (model::Bandwidth{.ingress = {8000, 2147483647}, .egress = {}}));
  const std::pair<const char*, const char*> bad[] = {
      {R"("portMappings":[{"hostPort":0,"containerPort":80}])", "/runtimeConfig/portMappings/0/hostPort"},
      {R"("portMappings":[{"hostPort":80,"containerPort":65536}])", "/runtimeConfig/portMappings/0/containerPort"},
      {R"("portMappings":[{"hostPort":"80","containerPort":80}])", "/runtimeConfig/portMappings/0/hostPort"},
      {R"("portMappings":[{"containerPort":80}])", "/runtimeConfig/portMappings/0/hostPort"},
      {R"("portMappings":[{"hostPort":1,"containerPort":1,"protocol":"icmp"}])", "/runtimeConfig/portMappings/0/protocol"},
      {R"("portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"host"}])", "/runtimeConfig/portMappings/0/hostIP"},
      {R"("portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"127.0.0.1"}])", "not published on the loopback"},
      {R"("portMappings":[{"hostPort":1,"containerPort":1,"hostIP":"ff02::1"}])", "is no address of a host"},
      {R"("portMappings":[{"hostPort":1,"containerPort":1},{"hostPort":1,"containerPort":2}])", "1->2/tcp takes the place of 1->1/tcp"},
      {R"("portMappings":{})", "/runtimeConfig/portMappings"},
      {R"("bandwidth":{"egressRate":-1})", "/runtimeConfig/bandwidth/egressRate"},
      {R"("bandwidth":{"egressRate":8000,"egressBurst":8})", "egressRate: the burst in bits must be between"},
      {R"("bandwidth":[])", "/runtimeConfig/bandwidth"}};
  for (const auto& [runtime, place] : bad) {
    const auto refused = wishes(runtime);
    ASSERT_FALSE(refused) << runtime;
    EXPECT_EQ(refused.fault().code, FaultCode::invalid_config);
    EXPECT_THAT(refused.fault().message, HasSubstr(place));
  }
}

TEST(Config, PrecedenceOfAddressWishes) {
  Environment env = environment(Verb::add);
  env.args = *parse_cni_args("IP=10.3.3.3;MAC=02:00:00:00:00:03");
  const auto ip = [&](const std::string& more) {
    return parse_config(config(more), env, Reader::firn)->wishes.ips.at(0).to_string();
  };
  EXPECT_EQ(ip(R"("runtimeConfig":{"ips":["10.1.1.1"]},"args":{"cni":{"ips":["10.2.2.2"]}})"), "10.1.1.1");
  EXPECT_EQ(ip(R"("args":{"cni":{"ips":["10.2.2.2"]}})"), "10.2.2.2");
  EXPECT_EQ(ip(""), "10.3.3.3");
  EXPECT_EQ(parse_config(config(R"("runtimeConfig":{"mac":"02:00:00:00:00:01"})"), env, Reader::firn)->wishes.mac->to_string(),
            "02:00:00:00:00:01");
  EXPECT_EQ(parse_config(config(""), env, Reader::firn)->wishes.mac->to_string(), "02:00:00:00:00:03");
}

TEST(Config, ValidAttachmentsOfGc) {
  EXPECT_FALSE(parse("", Verb::gc)->valid_attachments);
  auto null = parse(R"("cni.dev/valid-attachments":null)", Verb::gc);
  EXPECT_TRUE(null->valid_attachments && null->valid_attachments->empty() && null->valid_attachments_null);
  auto none = parse(R"("cni.dev/valid-attachments":[])", Verb::gc);
  EXPECT_TRUE(none->valid_attachments && none->valid_attachments->empty() && !none->valid_attachments_null);
  auto both = parse(R"("cni.dev/valid-attachments":[{"containerID":"b","ifname":"eth0"}],
                       "cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}])",
                    Verb::gc);
  EXPECT_THAT(*both->valid_attachments, ElementsAre(Attachment{"a", "eth0"}, Attachment{"b", "eth0"}));
  EXPECT_EQ(fault_of(R"("cni.dev/valid-attachments":[{"containerID":"b"}])", Verb::gc).first, 7);
  EXPECT_EQ(fault_of(R"("cni.dev/valid-attachments":{})", Verb::gc).first, 7);
}

TEST(Config, CheckNeedsASoundPrevResult) {
  EXPECT_EQ(fault_of("", Verb::check).first, 7);
  EXPECT_THAT(fault_of(R"("prevResult":{"ips":[{"address":"x"}]})", Verb::check).second, HasSubstr("/prevResult/ips/0/address"));
  EXPECT_THAT(fault_of(R"("prevResult":{"ips":[{"address":"10.0.0.1/32","interface":3}]})", Verb::check).second,
              HasSubstr("interface 3 of 0"));
  auto out =
      parse(R"("prevResult":{"interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.0.0.1/32","interface":0}]})",
            Verb::check);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->prev_result->ips[0].address.to_string(), "10.0.0.1/32");
}

TEST(Config, FirnIpamMindsOnlyItsOwnObject) {
  const std::string text = config(R"("mtu":"junk","ipMasq":true,"isGateway":true,"bridge":"br0","hostPrefx":"x",
    "prevResult":{"ips":[]},"stateDir":"/of-another","ipam":{"type":"firn-ipam","subnet":"10.0.0.0/24","stateDir":"/mine"})");
  auto out = parse_config(text, environment(Verb::add), Reader::ipam);
  ASSERT_TRUE(out) << out.fault().message;
  EXPECT_EQ(out->state_dir, "/mine");
}

CniResult sample() {
  CniResult r;
  r.interfaces = {{"firnabc", "ee:ee:ee:ee:ee:ee", "", 1500}, {"eth0", "02:00:00:00:00:01", "/ns", 1500}};
  r.ips = {{{*Address::parse("10.0.0.5"), 32}, *Address::parse("169.254.1.1"), 1},
           {{*Address::parse("fd00::5"), 128}, std::nullopt, 1}};
  ResultRoute route{.destination = *Prefix::parse("0.0.0.0/0"), .gateway = *Address::parse("169.254.1.1")};
  route.table = 1003;
  r.routes = {route};
  return r;
}

TEST(ResultText, InEachVersion) {
  EXPECT_EQ(
      write_result(sample(), Version::v0_4_0),
      R"({"cniVersion":"0.4.0","interfaces":[{"name":"firnabc","mac":"ee:ee:ee:ee:ee:ee"},{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/ns"}],)"
      R"("ips":[{"version":"4","interface":1,"address":"10.0.0.5/32","gateway":"169.254.1.1"},{"version":"6","interface":1,"address":"fd00::5/128"}],)"
      R"("routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],"dns":{}})");
  EXPECT_EQ(
      write_result(sample(), Version::v1_0_0),
      R"({"cniVersion":"1.0.0","interfaces":[{"name":"firnabc","mac":"ee:ee:ee:ee:ee:ee"},{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/ns"}],)"
      R"("ips":[{"interface":1,"address":"10.0.0.5/32","gateway":"169.254.1.1"},{"interface":1,"address":"fd00::5/128"}],)"
      R"("routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}]})");
  EXPECT_THAT(write_result(sample(), Version::v1_1_0), HasSubstr(R"("mtu":1500,"sandbox":"/ns")"));
  EXPECT_THAT(write_result(sample(), Version::v1_1_0), HasSubstr(R"("table":1003)"));
  EXPECT_EQ(write_result({}, Version::v1_1_0), R"({"cniVersion":"1.1.0"})");
}

TEST(ResultText, ReadsBackWhatItWrites) {
  const std::string text = write_result(sample(), Version::v1_1_0);
  auto document = json::Document::parse(text);
  ASSERT_TRUE(document);
  auto back = parse_result(document->root());
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, sample());
}

TEST(ResultText, ToleratesWhatPluginsPrint) {
  auto document = json::Document::parse(R"({"ips":[{"version":"4","address":"10.0.0.5/24","gateway":"","interface":-1}],
    "routes":[{"dst":"10.0.0.7/8"}],"dns":{},"interfaces":null})");
  auto parsed = parse_result(document->root());
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->ips[0].interface, -1);
  EXPECT_EQ(parsed->routes[0].destination.to_string(), "10.0.0.0/8");
}

TEST(FaultText, RoundTrip) {
  const Fault f = fault(FaultCode::try_again, "no \"addresses\"", "later");
  const std::string text = error_json(f, "1.0.0");
  EXPECT_EQ(text, R"({"cniVersion":"1.0.0","code":11,"msg":"no \"addresses\"","details":"later"})");
  auto back = parse_error_json(text);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->code, FaultCode::try_again);
  EXPECT_EQ(back->details, "later");
  EXPECT_TRUE(parse_error_json(R"({"code":7,"msg":"of a Go plugin"})"));
  EXPECT_FALSE(parse_error_json("not json"));
  EXPECT_FALSE(parse_error_json("{}"));
}

TEST(FaultText, CodesOfErrorsBelow) {
  EXPECT_EQ(lease_fault(make_error(Code::exhausted, "")).code, FaultCode::try_again);
  EXPECT_EQ(lease_fault(make_error(Code::conflict, "")).code, FaultCode::address_conflict);
  EXPECT_EQ(lease_fault(make_error(Code::invalid, "")).code, FaultCode::invalid_config);
  EXPECT_EQ(lease_fault(make_error(Code::io, "")).code, FaultCode::state);
  EXPECT_EQ(state_fault(make_error(Code::unavailable, "")).code, FaultCode::try_again);
  EXPECT_EQ(kernel_fault(make_error(Code::denied, "")).code, FaultCode::denied);
  EXPECT_EQ(kernel_fault(make_error(Code::io, "")).code, FaultCode::kernel);
}

TEST(Spelling, FindsNearWordsOnly) {
  const std::string_view words[] = {"mtu", "hostPrefix", "ipam"};
  EXPECT_EQ(nearest("hostprefix", words), "hostPrefix");
  EXPECT_EQ(nearest("hstPrefx", words), "hostPrefix");
  EXPECT_EQ(nearest("ipams", words), "ipam");
  EXPECT_EQ(nearest("prefix", words), "");
  EXPECT_EQ(nearest(std::string(1000, 'a'), words), "");
}

}  // namespace
}  // namespace firn::cni
