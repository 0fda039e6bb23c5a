// The real firn and firn-ipam, run as a container runtime runs them, in network namespaces of the test: a "host" and its
// containers. Root is needed; the reference plugins are Debian's containernetworking-plugins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "ipam/records.hpp"
#include "lib/model/keys.hpp"
#include "tests/netns/cni_host.hpp"

namespace firn::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* two_families =
    R"("ipam":{"type":"firn-ipam","ranges":[[{"subnet":"10.99.0.0/24"}],[{"subnet":"fd00:99::/112"}]]})";
constexpr const char* one_family = R"("ipam":{"type":"firn-ipam","subnet":"10.99.0.0/24"})";

class Cni : public testing::Test {
 protected:
  CniHost host;
  NetnsFixture a, b;

  Reply must_add(const std::string& id, const NetnsFixture& ns, const std::string& conf, const std::string& ifname = "eth0") {
    Reply reply = host.firn("ADD", id, ns.path(), conf, ifname);
    EXPECT_EQ(reply.status, 0) << reply.out << reply.err;
    return reply;
  }
  void must(const Reply& reply) { EXPECT_EQ(reply.status, 0) << reply.out << reply.err; }
  static bool ping(const NetnsFixture& from, const std::string& to) {
    return run_program(&from, {"/usr/bin/ping", "-q", "-c", "1", "-W", "3", to}) == 0;
  }
};

TEST_F(Cni, ContainersReachEachOtherAndTheHostInBothFamilies) {
  const std::string conf = host.config(two_families);
  must_add("a", a, conf);
  const Reply second = must_add("b", b, conf);
  const std::string v4 = second.ip(0), v6 = second.ip(1);
  EXPECT_EQ(v4, "10.99.0.1");
  EXPECT_TRUE(ping(a, v4));
  EXPECT_TRUE(ping(a, v6));
  EXPECT_TRUE(ping(host.netns(), v4));
  EXPECT_TRUE(ping(host.netns(), v6));
  must(host.firn("CHECK", "b", b.path(), host.with_prev(conf, second.out)));
  must(host.firn("DEL", "b", b.path(), conf));
  EXPECT_FALSE(run_program(&a, {"/usr/bin/ping", "-q", "-c", "1", "-W", "1", v4}) == 0);
  EXPECT_FALSE(b.kernel()->link("eth0"));
  EXPECT_EQ(host.endpoints().size(), 1u);
}

TEST_F(Cni, OneFamilyAloneHasNothingOfTheOther) {
  must_add("a", a, host.config(one_family));
  EXPECT_EQ(a.read("/proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "1");
  must_add("b", b, host.config(R"("ipam":{"subnet":"fd00:98::/112"})"));
  EXPECT_EQ(b.read("/proc/sys/net/ipv6/conf/eth0/disable_ipv6"), "0");
  EXPECT_EQ(b.read("/proc/sys/net/ipv6/conf/eth0/accept_ra"), "0");
  EXPECT_EQ(b.read("/proc/sys/net/ipv6/conf/eth0/accept_dad"), "0");
  EXPECT_TRUE(b.kernel()->routes({.family = Family::v4})->empty());
  EXPECT_TRUE(ping(host.netns(), "fd00:98::"));
}

TEST_F(Cni, ResultInTheAskedVersion) {
  for (const char* version : {"0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    const std::string conf = host.config(one_family, version);
    const Reply reply = must_add("a", a, conf);
    EXPECT_THAT(reply.out, StartsWith("{\"cniVersion\":\"" + std::string(version) + "\""));
    must(host.firn("DEL", "a", a.path(), conf));
  }
  EXPECT_THAT(host.firn("VERSION", "", "", R"({"cniVersion":"0.4.0"})").out,
              HasSubstr(R"("supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"])"));
}

TEST_F(Cni, MtuIsThatOfTheDefaultRoute) {
  host.ip({"link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "up1"});
  host.ip({"link", "set", "up0", "up"});
  host.ip({"link", "set", "up1", "up"});
  host.ip({"address", "add", "192.168.7.2/24", "dev", "up0"});
  host.ip({"route", "add", "default", "via", "192.168.7.1"});
  must_add("a", a, host.config(one_family));
  EXPECT_EQ(a.kernel()->link("eth0")->mtu, 1400);
  must_add("b", b, host.config(std::string(R"("mtu":9000,)") + one_family));
  EXPECT_EQ(b.kernel()->link("eth0")->mtu, 9000);
}

TEST_F(Cni, ForwardingOnTheHostButNotInTheContainer) {
  EXPECT_EQ(host.netns().read("/proc/sys/net/ipv6/conf/all/forwarding"), "0");
  must_add("a", a, host.config(two_families));
  EXPECT_EQ(host.netns().read("/proc/sys/net/ipv4/ip_forward"), "1");
  EXPECT_EQ(host.netns().read("/proc/sys/net/ipv6/conf/all/forwarding"), "1");
  EXPECT_EQ(a.read("/proc/sys/net/ipv4/conf/eth0/forwarding"), "0");
  must_add("b", b, host.config(std::string(R"("forwarding":true,)") + two_families));
  EXPECT_EQ(b.read("/proc/sys/net/ipv4/conf/eth0/forwarding"), "1");
  EXPECT_EQ(b.read("/proc/sys/net/ipv6/conf/all/forwarding"), "1");
}

TEST_F(Cni, SecondInterfaceAnswersByTheInterfaceThatWasAsked) {
  const std::string first = host.config(two_families);
  const std::string second =
      host.config(R"("ipam":{"ranges":[[{"subnet":"10.98.0.0/24"}],[{"subnet":"fd00:98::/112"}]]})", "1.1.0", "other");
  must_add("a", a, first);
  const Reply reply = must_add("a", a, second, "net1");
  EXPECT_THAT(reply.out, HasSubstr(R"("table":)"));
  EXPECT_TRUE(ping(host.netns(), reply.ip(0)));
  EXPECT_TRUE(ping(host.netns(), reply.ip(1)));
  must(host.firn("CHECK", "a", a.path(), host.with_prev(second, reply.out), "net1"));
  EXPECT_EQ(a.kernel()->rules(Family::v4)->size(), 1u);
  EXPECT_EQ(a.kernel()->rules(Family::v6)->size(), 1u);
  must(host.firn("DEL", "a", a.path(), second, "net1"));
  EXPECT_TRUE(a.kernel()->rules(Family::v4)->empty());
  EXPECT_TRUE(a.kernel()->rules(Family::v6)->empty());
  EXPECT_TRUE(ping(host.netns(), "10.99.0.0"));
}

TEST_F(Cni, ConfiguredRoutesInsteadOfTheDefault) {
  const std::string conf =
      host.config(R"("ipam":{"subnet":"10.99.0.0/24","routes":[{"dst":"10.0.0.0/8"},{"dst":"198.51.100.0/24"}]})");
  const Reply reply = must_add("a", a, conf);
  EXPECT_THAT(reply.out,
              HasSubstr(R"("routes":[{"dst":"10.0.0.0/8","gw":"169.254.1.1"},{"dst":"198.51.100.0/24","gw":"169.254.1.1"}])"));
  EXPECT_FALSE(a.kernel()->lookup(*Address::parse("203.0.113.9")));
  EXPECT_TRUE(a.kernel()->lookup(*Address::parse("198.51.100.9")));
  must(host.firn("CHECK", "a", a.path(), host.with_prev(conf, reply.out)));
}

TEST_F(Cni, ReferencePluginsWorkBehindIt) {
  const std::string conf = host.config(one_family, "1.0.0");
  Reply reply = must_add("a", a, conf);
  const std::string behind[] = {
      R"({"type":"portmap","capabilities":{"portMappings":true},"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]})",
      R"({"type":"bandwidth","ingressRate":8000000,"ingressBurst":8000000,"egressRate":8000000,"egressBurst":8000000)",
      R"({"type":"tuning","sysctl":{"net.ipv4.conf.eth0.log_martians":"1"},"mtu":1300)",
      R"({"type":"firewall","backend":"iptables")",
  };
  std::vector<std::string> configs;
  for (const std::string& plugin : behind) {
    const std::string type = plugin.substr(9, plugin.find('"', 9) - 9);
    configs.push_back(plugin + R"(,"cniVersion":"1.0.0","name":"net")");
    Reply next = host.run("/usr/lib/cni/" + type, "ADD", "a", a.path(), configs.back() + ",\"prevResult\":" + reply.out + "}");
    ASSERT_EQ(next.status, 0) << type << ": " << next.out << next.err;
    reply = next;
  }
  EXPECT_EQ(a.kernel()->link("eth0")->mtu, 1300);
  EXPECT_TRUE(ping(host.netns(), "10.99.0.0"));
  must(host.firn("CHECK", "a", a.path(), host.with_prev(conf, reply.out)));
  for (size_t i = std::size(behind); i-- > 0;) {
    const std::string type = behind[i].substr(9, behind[i].find('"', 9) - 9);
    Reply gone = host.run("/usr/lib/cni/" + type, "DEL", "a", a.path(), configs[i] + ",\"prevResult\":" + reply.out + "}");
    EXPECT_EQ(gone.status, 0) << type << ": " << gone.out << gone.err;
  }
  must(host.firn("DEL", "a", a.path(), conf));
}

TEST_F(Cni, OtherIpamPluginsServeIt) {
  const std::string data = host.directory() + "/host-local";
  const std::string local = host.config(
      R"("ipam":{"type":"host-local","dataDir":")" + data + R"(","subnet":"10.97.0.0/24","routes":[{"dst":"0.0.0.0/0"}]})",
      "1.0.0");
  const Reply reply = must_add("a", a, local);
  EXPECT_EQ(reply.ip(0), "10.97.0.2");
  EXPECT_TRUE(ping(host.netns(), "10.97.0.2"));
  must(host.firn("CHECK", "a", a.path(), host.with_prev(local, reply.out)));
  // A later step fails: what host-local gave out is given back.
  const size_t held = host.files(data + "/net");
  host.ip_in(b, {"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"});
  EXPECT_EQ(host.firn("ADD", "b", b.path(), local).code(), 4);
  EXPECT_EQ(host.files(data + "/net"), held);
  EXPECT_EQ(host.endpoints().size(), 1u);
  must(host.firn("DEL", "a", a.path(), local));
  EXPECT_EQ(host.files(data + "/net"), held - 1);
  EXPECT_TRUE(host.endpoints().empty());

  NetnsFixture c;
  const std::string fixed =
      host.config(R"("ipam":{"type":"static","addresses":[{"address":"10.96.0.7/24"},{"address":"fd00:96::7/64"}]})", "1.0.0");
  must_add("c", c, fixed);
  EXPECT_TRUE(ping(host.netns(), "10.96.0.7"));
  EXPECT_TRUE(ping(host.netns(), "fd00:96::7"));
  must(host.firn("DEL", "c", c.path(), fixed));

  const Reply none = host.firn("ADD", "c", c.path(), host.config(R"("ipam":{"type":"no-such-plugin"})"));
  EXPECT_EQ(none.code(), 104);
  EXPECT_THAT(none.out, HasSubstr("no-such-plugin is not in CNI_PATH"));
  const Reply daemonless = host.firn("ADD", "c", c.path(), host.config(R"("ipam":{"type":"dhcp"})", "1.0.0"));
  EXPECT_NE(daemonless.status, 0);
  EXPECT_THAT(daemonless.out, HasSubstr("IPAM plugin dhcp"));
  EXPECT_FALSE(c.kernel()->link("eth0"));
}

TEST_F(Cni, TwoNetworksOfOtherIpamPluginsNeverShareAnAddress) {
  const auto conf = [&](const std::string& name) {
    return host.config(R"("ipam":{"type":"host-local","dataDir":")" + host.directory() + R"(/host-local","subnet":"10.97.0.0/24"})",
                       "1.0.0", name);
  };
  EXPECT_EQ(must_add("a", a, conf("one")).ip(0), "10.97.0.2");
  const std::string before = host.snapshot();
  const Reply second = host.firn("ADD", "b", b.path(), conf("two"));
  EXPECT_EQ(second.code(), 101) << second.out;
  EXPECT_THAT(second.out, HasSubstr("10.97.0.2 for two/b/eth0 is held by one/a/eth0"));
  EXPECT_EQ(host.snapshot(), before);
  EXPECT_FALSE(std::filesystem::exists(host.directory() + "/host-local/two/10.97.0.2"));
  EXPECT_TRUE(ping(host.netns(), "10.97.0.2"));
}

// An IPAM plugin that writes down what it is asked, and refuses a verb while a file of that name is there.
class NotingIpam {
 public:
  explicit NotingIpam(const CniHost& host) : directory_(host.directory()) {
    const std::string program = directory_ + "/noting";
    CniHost::write(program, "#!/bin/sh\ncd " + directory_ + R"( && echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>asked
[ ! -e "refuse-$CNI_COMMAND" ] || { echo '{"code":99,"msg":"refused"}'; exit 1; }
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.90.0.'"$CNI_CONTAINERID"'/24"}]}'
)");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  }
  std::vector<std::string> path() const { return {"CNI_PATH=" + directory_}; }
  void refuse(const std::string& verb, bool yes) const {
    if (yes) CniHost::write(directory_ + "/refuse-" + verb, "");
    else std::filesystem::remove(directory_ + "/refuse-" + verb);
  }
  std::string asked() const {
    std::ifstream file(directory_ + "/asked");
    std::string out((std::istreambuf_iterator<char>(file)), {});
    std::filesystem::remove(directory_ + "/asked");
    return out;
  }

 private:
  std::string directory_;
};

TEST_F(Cni, GcGivesBackWhatAnotherIpamPluginHolds) {
  const NotingIpam noting(host);
  const auto call = [&](const std::string& verb, const std::string& id, const std::string& netns, const std::string& more) {
    return host.firn(verb, id, netns, host.config(more + R"("ipam":{"type":"noting"})"), "eth0", noting.path());
  };
  must(call("ADD", "1", a.path(), ""));
  must(call("ADD", "2", b.path(), ""));
  EXPECT_EQ(noting.asked(), "ADD 1 eth0\nADD 2 eth0\n");
  const std::string valid = R"("cni.dev/valid-attachments":[{"containerID":"2","ifname":"eth0"}],)";
  // What cannot be given back stays recorded, for the next GC.
  noting.refuse("DEL", true);
  EXPECT_EQ(call("GC", "", "", valid).code(), 99);
  EXPECT_EQ(host.endpoints().size(), 2u);
  noting.refuse("DEL", false);
  (void)noting.asked();
  must(call("GC", "", "", valid));
  EXPECT_EQ(noting.asked(), "DEL 1 eth0\nGC  eth0\n");
  ASSERT_EQ(host.endpoints().size(), 1u);
  EXPECT_EQ(host.endpoints()[0].container_id, "2");
  EXPECT_TRUE(ping(host.netns(), "10.90.0.2"));
}

TEST_F(Cni, FirnIpamServesTheReferenceBridge) {
  const std::string conf =
      R"({"cniVersion":"1.0.0","name":"br","type":"bridge","bridge":"br0","isGateway":true,"ipam":{"type":"firn-ipam","stateDir":")" +
      host.state() + R"(","subnet":"10.95.0.0/24","routes":[{"dst":"0.0.0.0/0"}]}})";
  const Reply first = host.run("/usr/lib/cni/bridge", "ADD", "a", a.path(), conf);
  ASSERT_EQ(first.status, 0) << first.out << first.err;
  const Reply second = host.run("/usr/lib/cni/bridge", "ADD", "b", b.path(), conf);
  ASSERT_EQ(second.status, 0) << second.out << second.err;
  EXPECT_EQ(first.ip(0), "10.95.0.2");  // .0 is the network, .1 the gateway
  EXPECT_EQ(second.ip(0), "10.95.0.3");
  EXPECT_THAT(first.out, HasSubstr("10.95.0.2/24"));
  EXPECT_TRUE(ping(a, "10.95.0.3"));
  EXPECT_TRUE(ping(a, "10.95.0.1"));
  EXPECT_EQ(host.run("/usr/lib/cni/bridge", "CHECK", "a", a.path(), host.with_prev(conf, first.out)).status, 0);
  EXPECT_EQ(host.run("/usr/lib/cni/bridge", "DEL", "a", a.path(), conf).status, 0);
  EXPECT_EQ(host.run("/usr/lib/cni/bridge", "DEL", "b", b.path(), conf).status, 0);
  EXPECT_TRUE(host.endpoints().empty());
}

TEST_F(Cni, FirnIpamServesMacvlan) {
  host.ip({"link", "add", "m0", "type", "veth", "peer", "name", "m1"});
  host.ip({"link", "set", "m0", "up"});
  const std::string conf =
      R"({"cniVersion":"1.0.0","name":"mv","type":"macvlan","master":"m0","ipam":{"type":"firn-ipam","stateDir":")" + host.state() +
      R"(","ranges":[[{"subnet":"10.94.0.0/24","rangeStart":"10.94.0.50","gateway":"10.94.0.50"}]]}})";
  const Reply reply = host.run("/usr/lib/cni/macvlan", "ADD", "a", a.path(), conf);
  ASSERT_EQ(reply.status, 0) << reply.out << reply.err;
  EXPECT_EQ(reply.ip(0), "10.94.0.51");
  EXPECT_EQ(host.run("/usr/lib/cni/macvlan", "DEL", "a", a.path(), conf).status, 0);
  EXPECT_TRUE(host.endpoints().empty());
}

TEST_F(Cni, FirnIpamByItself) {
  const std::string conf = R"({"cniVersion":"1.1.0","name":"x","type":"bridge","ipam":{"type":"firn-ipam","stateDir":")" +
                           host.state() + R"(","subnet":"10.93.0.0/29"}})";
  const auto call = [&](const std::string& verb, const std::string& id, const std::string& text) {
    return host.run(host.binaries() + "/firn-ipam", verb, id, "/var/run/netns/none", text);
  };
  must(call("STATUS", "", conf));
  const Reply first = call("ADD", "1", conf);
  EXPECT_EQ(first.out, R"({"cniVersion":"1.1.0","ips":[{"address":"10.93.0.2/29","gateway":"10.93.0.1"}]})");
  EXPECT_EQ(call("ADD", "1", conf).out, first.out);
  must(call("CHECK", "1", conf));
  for (const char* id : {"2", "3", "4", "5"}) must(call("ADD", id, conf));
  EXPECT_EQ(call("ADD", "6", conf).code(), 11);
  EXPECT_EQ(call("STATUS", "", conf).code(), 50);
  const Reply swept =
      call("GC", "", conf.substr(0, conf.size() - 1) + R"(,"cni.dev/valid-attachments":[{"containerID":"2","ifname":"eth0"}]})");
  must(swept);
  EXPECT_THAT(swept.err, HasSubstr("released 4 attachments"));
  EXPECT_EQ(host.endpoints().size(), 1u);
  EXPECT_EQ(call("CHECK", "1", conf).code(), 103);
  must(call("DEL", "2", conf));
  must(call("DEL", "2", conf));
  EXPECT_TRUE(host.endpoints().empty());
}

TEST_F(Cni, FirnIpamUnderAnotherFileName) {
  const std::string other = host.directory() + "/company-ipam";
  std::filesystem::copy_file(host.binaries() + "/firn-ipam", other);
  const auto conf = [&](const std::string& more) {
    return R"({"cniVersion":"1.1.0","name":"x","type":"bridge","ipam":{"type":"company-ipam","stateDir":")" + host.state() +
           R"(","subnet":"10.93.0.0/24")" + more + "}}";
  };
  const Reply reply = host.run(other, "ADD", "1", "/var/run/netns/none", conf(R"(,"rangeStart":"10.93.0.9")"));
  must(reply);
  EXPECT_EQ(reply.ip(0), "10.93.0.9");
  EXPECT_EQ(host.run(other, "ADD", "2", "/var/run/netns/none", conf(R"(,"rangeStrat":"10.93.0.9")")).code(), 7);
  must(host.run(other, "DEL", "1", "/var/run/netns/none", conf("")));
  EXPECT_TRUE(host.endpoints().empty());
}

TEST_F(Cni, WhatCannotBeIsRefusedAndChangesNothing) {
  must_add("a", a, host.config(one_family));
  const std::string before = host.snapshot();
  const std::string good = host.config(one_family);
  const std::string own = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(host.netns().fd());
  struct Case {
    std::string what, id, netns, ifname, text;
    int code;
  };
  const Case cases[] = {
      {"netns gone", "x", "/run/netns/none", "eth0", good, 3},
      {"netns a plain file", "x", "/etc/hosts", "eth0", good, 4},
      {"netns a directory", "x", "/etc", "eth0", good, 4},
      {"another kind of namespace", "x", "/proc/self/ns/uts", "eth0", good, 4},
      {"the host's own namespace", "x", own, "eth0", good, 4},
      {"no netns", "x", "", "eth0", good, 4},
      {"container id", "../x", b.path(), "eth0", good, 4},
      {"interface name", "x", b.path(), "eth0/../x", good, 4},
      {"long interface name", "x", b.path(), "sixteen-bytes-12", good, 4},
      {"interface exists", "x", b.path(), "lo", good, 4},
      {"empty stdin", "x", b.path(), "eth0", "", 6},
      {"no JSON", "x", b.path(), "eth0", "hello", 6},
      {"huge", "x", b.path(), "eth0", std::string(2 << 20, ' ') + good, 6},
      {"deep", "x", b.path(), "eth0", std::string(1 << 19, '['), 6},
      {"version", "x", b.path(), "eth0", host.config(one_family, "9.9.9"), 1},
      {"network name", "x", b.path(), "eth0", host.config(one_family, "1.0.0", "a/../b"), 7},
      {"not first", "x", b.path(), "eth0", host.config(std::string(R"("prevResult":{},)") + one_family), 7},
      {"masquerading", "x", b.path(), "eth0", host.config(std::string(R"("ipMasq":true,)") + one_family), 2},
      {"no pool", "x", b.path(), "eth0", host.config(R"("ipam":{"pools":["nowhere"]})"), 7},
      {"no pools at all", "x", b.path(), "eth0", host.config(R"("ipam":{})"), 7},
      {"overlapping subnet", "x", b.path(), "eth0", host.config(R"("ipam":{"subnet":"10.0.0.0/8"})"), 7},
      {"subnet with loopback", "x", b.path(), "eth0", host.config(R"("ipam":{"subnet":"96.0.0.0/3"})"), 7},
      {"range with link-local", "x", b.path(), "eth0", host.config(R"("ipam":{"ranges":[[{"subnet":"8000::/1"}]]})"), 7},
      {"small MTU with IPv6", "x", b.path(), "eth0", host.config(std::string(R"("mtu":1279,)") + two_families), 7},
      {"address elsewhere", "x", b.path(), "eth0",
       host.config(std::string(R"("runtimeConfig":{"ips":["10.1.1.1"]},)") + one_family), 7},
      {"address taken", "x", b.path(), "eth0", host.config(std::string(R"("runtimeConfig":{"ips":["10.99.0.0"]},)") + one_family),
       101},
      {"route of another family", "x", b.path(), "eth0",
       host.config(R"("ipam":{"subnet":"10.99.0.0/24","routes":[{"dst":"::/0"}]})"), 7},
      {"the same again, otherwise", "a", a.path(), "eth0", host.config(std::string(R"("mtu":1400,)") + one_family), 105},
      {"the same elsewhere", "a", b.path(), "eth0", good, 105},
  };
  for (const Case& c : cases) {
    const Reply reply = host.firn("ADD", c.id, c.netns, c.text, c.ifname);
    EXPECT_EQ(reply.status, 1) << c.what;
    EXPECT_EQ(reply.code(), c.code) << c.what << ": " << reply.out;
    EXPECT_EQ(host.snapshot(), before) << c.what;
    EXPECT_FALSE(b.kernel()->link("eth0")) << c.what;
  }
  EXPECT_EQ(host.firn("FLY", "x", b.path(), good).code(), 4);
  EXPECT_EQ(host.firn("ADD", "x", b.path(), good, "eth0", {"CNI_ARGS=FOO=1"}).code(), 4);
  EXPECT_EQ(host.snapshot(), before);
}

TEST_F(Cni, StateThatCannotBeUsedIsSaidSo) {
  const std::string file = host.directory() + "/file";
  host.write(file, "x");
  const std::string in_file = host.config_at(file + "/state", one_family);
  EXPECT_EQ(host.firn("ADD", "a", a.path(), in_file).code(), 102);
  EXPECT_EQ(host.firn("STATUS", "", "", in_file).code(), 50);
  must_add("a", a, host.config(one_family));
  host.write(host.state() + "/node.db", std::string(8192, 'x'));
  const Reply damaged = host.firn("ADD", "b", b.path(), host.config(one_family));
  EXPECT_EQ(damaged.code(), 102) << damaged.out;
  EXPECT_FALSE(b.kernel()->link("eth0"));
}

TEST_F(Cni, TheFirstPacketToAContainerArrives) {
  const std::string conf = host.config(two_families);
  for (int i = 0; i < 60; ++i) {
    EXPECT_TRUE(ping(host.netns(), must_add("a", a, conf).ip(i % 2))) << "of attach " << i;
    must(host.firn("DEL", "a", a.path(), conf));
  }
}

TEST_F(Cni, RepeatedAddIsTheSameOrTakesOver) {
  const std::string conf = host.config(two_families);
  const Reply first = must_add("a", a, conf);
  EXPECT_EQ(must_add("a", a, conf).out, first.out);
  EXPECT_EQ(host.links(), 1u);
  // As a killed ADD leaves it: a record without link.
  host.ip({"link", "delete", first.host_ifname()});
  const Reply again = must_add("a", a, conf);
  EXPECT_TRUE(ping(host.netns(), again.ip(0)));
  EXPECT_EQ(host.endpoints().size(), 1u);
  // Half-made: a part of it is missing.
  host.ip_in(a, {"route", "delete", "default"});
  const Reply third = must_add("a", a, conf);
  EXPECT_TRUE(ping(host.netns(), third.ip(0)));
  // A link without record: the state was lost.
  host.remove_state();
  EXPECT_TRUE(ping(host.netns(), must_add("a", a, conf).ip(0)));
  EXPECT_EQ(host.links(), 1u);
}

TEST_F(Cni, RepeatedAddNeverDestroysWhatOnlyChanged) {
  const std::string conf = host.config(two_families);
  const auto in_a = [&](std::vector<std::string> arguments) { ASSERT_EQ(host.ip_in(a, std::move(arguments)), 0); };
  const std::string link = must_add("a", a, conf).host_ifname();
  const auto refused = [&](const std::string& text, const char* says) {
    const std::string before = host.snapshot();
    const int index = a.kernel()->link("eth0")->index;
    const Reply again = host.firn("ADD", "a", a.path(), text);
    EXPECT_EQ(again.code(), 105) << again.out;
    EXPECT_THAT(again.out, HasSubstr(says));
    EXPECT_EQ(host.snapshot(), before);
    EXPECT_EQ(a.kernel()->link("eth0")->index, index);
  };
  // As tuning does it.
  in_a({"link", "set", "eth0", "mtu", "1400"});
  refused(conf, "MTU 1400");
  in_a({"link", "set", "eth0", "mtu", "1500"});
  host.sysctl("/proc/sys/net/ipv4/conf/" + link + "/rp_filter", "0");
  refused(conf, "rp_filter");
  host.sysctl("/proc/sys/net/ipv4/conf/" + link + "/rp_filter", "1");
  refused(host.config(std::string(R"("forwarding":true,)") + two_families), "forwarding");
  // Other routes than it was made with, or moved to another table as sbr does.
  refused(host.config(R"("ipam":{"ranges":[[{"subnet":"10.99.0.0/24"}],[{"subnet":"fd00:99::/112"}]],)"
                      R"("routes":[{"dst":"10.0.0.0/8"}]})"),
          "route 10.0.0.0/8");
  in_a({"route", "delete", "default"});
  in_a({"route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink", "table", "100"});
  refused(conf, "default route");
  in_a({"route", "add", "default", "via", "169.254.1.1", "dev", "eth0", "onlink", "proto", "241"});
  must_add("a", a, conf);
  // As an ADD leaves it that was killed between the host's side and the container's.
  in_a({"link", "set", "eth0", "down"});
  in_a({"address", "flush", "dev", "eth0"});
  EXPECT_TRUE(ping(host.netns(), must_add("a", a, conf).ip(0)));
  EXPECT_EQ(host.endpoints().size(), 1u);
}

TEST_F(Cni, DelIsIdempotentWhateverIsLeft) {
  const std::string conf = host.config(two_families);
  must(host.firn("DEL", "never", a.path(), conf));
  must_add("a", a, conf);
  must(host.firn("DEL", "a", a.path(), host.config(std::string(R"("prevResult":{"ips":"garbage"},"mtu":"x",)") + two_families)));
  must(host.firn("DEL", "a", a.path(), conf));
  EXPECT_TRUE(host.endpoints().empty());
  EXPECT_EQ(host.links(), 0u);
  // The same container again, on the leftover of the last DEL.
  must_add("a", a, conf);
  must(host.firn("DEL", "a", "", conf));
  EXPECT_EQ(host.links(), 0u);
  // That DEL could not enter the namespace: its eth0 is still there, dead.
  const Reply again = must_add("a", a, conf);
  EXPECT_TRUE(ping(host.netns(), again.ip(0)));
  must(host.firn("DEL", "a", "/run/netns/gone", host.config(std::string(R"("hostPrefix":"other",)") + two_families)));
  EXPECT_EQ(host.links(), 0u);
  {
    NetnsFixture gone;
    must_add("g", gone, conf);
  }
  must(host.firn("DEL", "g", "/run/netns/gone", conf));
  EXPECT_TRUE(host.endpoints().empty());
  // Not ours: left alone.
  host.ip_in(b, {"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"});
  must(host.firn("DEL", "b", b.path(), conf));
  EXPECT_TRUE(b.kernel()->link("eth0"));
}

TEST_F(Cni, DeadLinksDoNotPileUp) {
  const std::string conf = host.config(one_family);
  for (int i = 0; i < 600; ++i) {
    must_add("a", a, conf);
    must(host.firn("DEL", "a", a.path(), conf));
  }
  EXPECT_LT(host.netns().kernel()->links()->size(), 514u);
  must(host.firn("GC", "", "", host.config(std::string(R"("cni.dev/valid-attachments":[],)") + one_family)));
  EXPECT_EQ(host.netns().kernel()->links()->size(), 1u);
}

TEST_F(Cni, CheckFindsEachSingleDamage) {
  struct Case {
    const char* says;
    std::function<void(const std::string& link, const Reply& added)> damage;
  };
  const auto host_ip = [&](std::vector<std::string> arguments) { host.ip(std::move(arguments)); };
  const auto in_a = [&](std::vector<std::string> arguments) { host.ip_in(a, std::move(arguments)); };
  const Case cases[] = {
      {"address 10.99.",
       [&](auto&, auto& r) {
         in_a({"address", "delete", r.ip(0) + "/32", "dev", "eth0"});
       }},
      {"address fd00",
       [&](auto&, auto& r) {
         in_a({"address", "delete", r.ip(1) + "/128", "dev", "eth0"});
       }},
      {"default route",
       [&](auto&, auto&) {
         in_a({"route", "delete", "default"});
       }},
      {"default route",
       [&](auto&, auto&) {
         in_a({"-6", "route", "delete", "default"});
       }},
      {"neighbour 169.254.1.1",
       [&](auto&, auto&) {
         in_a({"neigh", "delete", "169.254.1.1", "dev", "eth0"});
       }},
      {"is down",
       [&](auto&, auto&) {
         in_a({"link", "set", "eth0", "down"});
       }},
      {"is down",
       [&](auto& link, auto&) {
         host_ip({"link", "set", link, "down"});
       }},
      {"MTU 1300",
       [&](auto&, auto&) {
         in_a({"link", "set", "eth0", "mtu", "1300"});
       }},
      {"MAC",
       [&](auto&, auto&) {
         in_a({"link", "set", "eth0", "address", "02:00:00:00:00:99"});
       }},
      {"route 10.99.",
       [&](auto& link, auto& r) {
         host_ip({"route", "delete", r.ip(0), "dev", link});
       }},
      {"neighbour 10.99.",
       [&](auto& link, auto& r) {
         host_ip({"neigh", "delete", r.ip(0), "dev", link});
       }},
      {"rp_filter", [&](auto& link, auto&) { host.sysctl("/proc/sys/net/ipv4/conf/" + link + "/rp_filter", "0"); }},
      {"accept_ra", [&](auto& link, auto&) { host.sysctl("/proc/sys/net/ipv6/conf/" + link + "/accept_ra", "1"); }},
      {"is missing",
       [&](auto& link, auto&) {
         host_ip({"link", "delete", link});
       }},
      {"no record", [&](auto&, auto&) { host.release("net/a/eth0"); }},
  };
  const std::string conf = host.config(two_families);
  for (const Case& c : cases) {
    const Reply added = must_add("a", a, conf);
    must(host.firn("CHECK", "a", a.path(), host.with_prev(conf, added.out)));
    c.damage(added.host_ifname(), added);
    const Reply reply = host.firn("CHECK", "a", a.path(), host.with_prev(conf, added.out));
    EXPECT_EQ(reply.code(), 103) << c.says << reply.out;
    EXPECT_THAT(reply.out, HasSubstr(c.says));
    must(host.firn("DEL", "a", a.path(), conf));
  }
}

TEST_F(Cni, GcReleasesWhatIsNotNamed) {
  const std::string conf = host.config(two_families);
  const auto gc = [&](const std::string& more) {
    return host.firn("GC", "", "", host.config((more.empty() ? "" : more + ",") + two_families));
  };
  must_add("a", a, conf);
  must_add("b", b, conf);
  must_add("o", a, host.config(R"("ipam":{"subnet":"10.98.0.0/24"})", "1.1.0", "other"), "net1");
  must(gc(""));
  EXPECT_EQ(host.endpoints().size(), 3u);
  {
    NetnsFixture gone;
    must_add("g", gone, conf);
  }
  // null: only what has no namespace any more.
  EXPECT_THAT(gc(R"("cni.dev/valid-attachments":null)").err, HasSubstr("released 1 attachments"));
  EXPECT_EQ(host.endpoints().size(), 3u);
  EXPECT_THAT(gc(R"("cni.dev/attachments":[{"containerID":"a","ifname":"eth0"}])").err, HasSubstr("released 1 attachments"));
  EXPECT_FALSE(b.kernel()->link("eth0"));
  EXPECT_TRUE(a.kernel()->link("eth0"));
  // A lost state directory: links without record go, but not those that the runtime calls valid.
  must_add("b", b, conf);
  host.remove_state();
  EXPECT_THAT(gc(R"("cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}])").err,
              HasSubstr("removed 1 links without record"));
  EXPECT_TRUE(a.kernel()->link("eth0"));
  EXPECT_TRUE(a.kernel()->link("net1"));
  EXPECT_FALSE(b.kernel()->link("eth0"));
}

TEST_F(Cni, StatusTellsTheTruth) {
  const std::string small = host.config(R"("ipam":{"subnet":"10.92.0.0/30"})");
  must(host.firn("STATUS", "", "", small));
  for (int i = 0; i < 4; ++i) {
    NetnsFixture gone;
    must_add("c" + std::to_string(i), gone, small);
  }
  const Reply full = host.firn("ADD", "x", a.path(), small);
  EXPECT_EQ(full.code(), 11) << full.out;
  const Reply status = host.firn("STATUS", "", "", small);
  EXPECT_EQ(status.code(), 50);
  EXPECT_THAT(status.out, HasSubstr("net-10.92.0.0-30"));
  const Reply daemon = host.firn(
      "STATUS", "", "", host.config(R"("requireDaemon":true,"daemonSocket":"/nowhere/routed.sock",)" + std::string(one_family)));
  EXPECT_EQ(daemon.code(), 51);
  EXPECT_THAT(daemon.out, HasSubstr("/nowhere/routed.sock"));
  const Reply delegate = host.firn("STATUS", "", "", host.config(R"("ipam":{"type":"host-local"})"));
  EXPECT_EQ(delegate.code(), 50) << delegate.out;
}

// What firn-routed notes in the node store; pools that did not ask for it are as before.
TEST_F(Cni, StatusOfAPoolThatWantsToBeToldOfItsEnd) {
  const std::string conf = host.config(R"("ipam":{"pools":["web","more"]})"), web = host.config(R"("ipam":{"pools":["web"]})");
  const auto write = [&](const std::function<void(kv::Transaction&)>& change) {
    std::filesystem::create_directories(host.state());
    auto store = ipam::open_node_store({host.state() + "/node.db"});
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)
                    ->transact([&](kv::Transaction& tx) -> Status {
                      change(tx);
                      return {};
                    })
                    .ok());
  };
  const auto put_pool = [](kv::Transaction& tx, const std::string& name, const Prefix& cidr, bool told) {
    model::Pool pool;
    pool.name = name;
    pool.cidr = cidr;
    pool.block_size = 30;
    pool.status_when_low = told;
    tx.put(model::keys::pool(name), model::encode(pool));
    (void)ipam::records::adopt_block(tx, name, model::Use::routed, Prefix::of(cidr.address(), 30)).value();
  };
  const Prefix first = *Prefix::parse("10.92.0.0/29"), second = *Prefix::parse("10.93.0.0/29");
  write([&](kv::Transaction& tx) {
    put_pool(tx, "web", first, true);
    put_pool(tx, "more", second, false);
    tx.put(model::keys::low(model::Use::routed, "web"), "");
    tx.put(model::keys::low(model::Use::routed, "more"), "");
  });
  must(host.firn("STATUS", "", "", web));
  must_add("c", a, web);
  const Reply low = host.firn("STATUS", "", "", web);
  EXPECT_EQ(low.code(), 51) << low.out;
  EXPECT_THAT(low.out, HasSubstr("pool web: this host has no spare block, and there is none to claim"));
  must(host.firn("STATUS", "", "", conf));
  write([](kv::Transaction& tx) { tx.erase(model::keys::low(model::Use::routed, "web")); });
  must(host.firn("STATUS", "", "", web));
}

TEST_F(Cni, WishesOfTheRuntime) {
  const std::string conf = host.config(std::string(R"("runtimeConfig":{"IPs":["10.99.0.77"],"Mac":"02:00:00:00:00:77",
      "DNS":{"Servers":["10.0.0.10"]},"io.kubernetes.cri.pod-annotations":{"team":"blue"}},
      "args":{"cni":{"labels":[{"key":"app","value":"web"}]}},)") +
                                       two_families);
  const Reply reply = host.firn("ADD", "a", a.path(), conf, "eth0",
                                {"CNI_ARGS=K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_UID=u;IgnoreUnknown=1;OTHER=x;"});
  must(reply);
  EXPECT_EQ(reply.ip(0), "10.99.0.77");
  EXPECT_THAT(reply.out, HasSubstr(R"("dns":{"nameservers":["10.0.0.10"]})"));
  EXPECT_EQ(a.kernel()->link("eth0")->mac.to_string(), "02:00:00:00:00:77");
  const auto records = host.endpoints();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].pod_namespace, "prod");
  EXPECT_EQ(records[0].pod_name, "web-0");
  EXPECT_EQ(records[0].labels.at("app"), "web");
  EXPECT_EQ(records[0].annotations.at("team"), "blue");
  // Podman's way: an address in CNI_ARGS; nerdctl's: ranges from the runtime.
  const Reply podman =
      host.firn("ADD", "b", b.path(), host.config(one_family), "eth0", {"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.99.0.88"});
  EXPECT_EQ(podman.ip(0), "10.99.0.88");
  NetnsFixture c;
  const Reply ranged =
      must_add("c", c, host.config(std::string(R"("runtimeConfig":{"ipRanges":[[{"subnet":"10.99.0.128/25"}]]},)") + one_family));
  EXPECT_EQ(ranged.ip(0), "10.99.0.128");
}

TEST_F(Cni, FirnIpamKeepsGatewayAndLengthWithinBoundsOfTheRuntime) {
  const auto add = [&](const std::string& id, const std::string& more, const std::string& ipam) {
    const std::string conf = R"({"cniVersion":"1.1.0","name":"x","type":"bridge",)" + more +
                             R"("ipam":{"type":"firn-ipam","stateDir":")" + host.state() + "\"," + ipam + "}}";
    return host.run(host.binaries() + "/firn-ipam", "ADD", id, "/var/run/netns/none", conf);
  };
  const std::string subnet = R"("subnet":"10.93.0.0/24","gateway":"10.93.0.130")";
  const auto wish = [](const std::string& range) { return R"("runtimeConfig":{"ipRanges":[[)" + range + "]]},"; };
  EXPECT_THAT(add("1", wish(R"({"subnet":"10.93.0.128/25"})"), subnet).out,
              HasSubstr(R"({"address":"10.93.0.128/24","gateway":"10.93.0.130"})"));
  EXPECT_EQ(add("2", wish(R"({"subnet":"10.93.0.128/25","rangeStart":"10.93.0.130"})"), subnet).ip(0), "10.93.0.131");
  EXPECT_EQ(add("3", wish(R"({"subnet":"10.93.0.0/24","rangeStart":"10.93.0.99","rangeEnd":"10.93.0.99"})"), subnet).ip(0),
            "10.93.0.99");
  // A subnet of one address has no other to be its gateway.
  EXPECT_THAT(add("4", "", R"("subnet":"10.92.0.7/32")").out, HasSubstr(R"("ips":[{"address":"10.92.0.7/32"}])"));
  EXPECT_THAT(add("5", "", R"("subnet":"fd00:92::7/128")").out, HasSubstr(R"("ips":[{"address":"fd00:92::7/128"}])"));
}

TEST_F(Cni, RangesAreTriedInTheirOrder) {
  const std::string conf =
      host.config(R"("ipam":{"ranges":[[{"subnet":"10.91.0.0/24","rangeStart":"10.91.0.9","rangeEnd":"10.91.0.9"},
                                                           {"subnet":"10.91.0.0/24","rangeStart":"10.91.0.20","rangeEnd":"10.91.0.20"}]]})");
  EXPECT_EQ(must_add("a", a, conf).ip(0), "10.91.0.9");
  EXPECT_EQ(must_add("b", b, conf).ip(0), "10.91.0.20");
  NetnsFixture c;
  EXPECT_EQ(host.firn("ADD", "c", c.path(), conf).code(), 11);
  // An address that is asked for decides the range, also among several of one subnet.
  must(host.firn("DEL", "b", b.path(), conf));
  const auto asking = [&](const std::string& address) {
    return R"("runtimeConfig":{"ips":[")" + address + "\"]}," + conf.substr(conf.find("\"ipam\""));
  };
  const auto config = [&](const std::string& more) { return host.config(more.substr(0, more.size() - 1)); };
  EXPECT_EQ(host.firn("ADD", "c", c.path(), config(asking("10.91.0.20"))).ip(0), "10.91.0.20");
  EXPECT_EQ(host.firn("ADD", "b", b.path(), config(asking("10.91.0.30"))).code(), 7);
}

TEST_F(Cni, ManyAtOnce) {
  constexpr int count = 24;
  std::vector<std::unique_ptr<NetnsFixture>> containers;
  for (int i = 0; i < count; ++i) containers.push_back(std::make_unique<NetnsFixture>());
  const std::string conf = host.config(two_families);
  for (int round = 0; round < 3; ++round) {
    std::vector<Reply> replies(count);
    const auto all = [&](const std::string& verb) {
      std::vector<std::thread> threads;
      for (int i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(i);
        threads.emplace_back([&, i, at] { replies[at] = host.firn(verb, "c" + std::to_string(i), containers[at]->path(), conf); });
      }
      for (std::thread& thread : threads) thread.join();
      for (const Reply& reply : replies) must(reply);
    };
    all("ADD");
    std::set<std::string> addresses;
    for (const Reply& reply : replies) addresses.insert(reply.ip(0));
    EXPECT_EQ(addresses.size(), static_cast<size_t>(count));
    EXPECT_EQ(host.links(), static_cast<size_t>(count));
    all("DEL");
    EXPECT_TRUE(host.endpoints().empty());
    EXPECT_EQ(host.links(), 0u);
  }
}

TEST_F(Cni, AnAnswerThatNobodyCanReadIsNoSuccess) {
  const std::string ipam = R"({"cniVersion":"1.1.0","name":"x","type":"bridge","ipam":{"type":"firn-ipam","stateDir":")" +
                           host.state() + R"(","subnet":"10.93.0.0/29"}})";
  for (const char* output : {"/dev/full", CniHost::without_reader}) {
    for (const bool interface : {true, false}) {
      const std::string program = host.binaries() + (interface ? "/firn" : "/firn-ipam");
      const std::string conf = interface ? host.config(two_families) : ipam;
      EXPECT_EQ(host.run(program, "ADD", "a", a.path(), conf, "eth0", {}, output).status, 1) << output;
      EXPECT_TRUE(host.endpoints().empty());
      EXPECT_EQ(host.links(), 0u);
      // The answer about one that another ADD has made.
      const Reply first = host.run(program, "ADD", "a", a.path(), conf);
      must(first);
      EXPECT_EQ(host.run(program, "ADD", "a", a.path(), conf, "eth0", {}, output).status, 1) << output;
      EXPECT_EQ(host.run(program, "ADD", "a", a.path(), conf).out, first.out);
      must(host.run(program, "DEL", "a", a.path(), conf));
    }
  }
}

TEST_F(Cni, TellsWhoItIs) {
  const Reply about = host.run(host.binaries() + "/firn", "", "", "", "");
  EXPECT_EQ(about.status, 0);
  EXPECT_THAT(about.err, HasSubstr("0.3.1, 0.4.0, 1.0.0, 1.1.0"));
}

}  // namespace
}  // namespace firn::test
