// The generated bird.conf: whole files kept beside this test, one check an option, and every text through the real `bird -p`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "lib/base/file.hpp"
#include "lib/model/bgp.hpp"
#include "routed/bird/config.hpp"
#include "routed/bird/process.hpp"

namespace firn::routed::bird {
namespace {

using testing::HasSubstr;
using testing::Not;

Address address(std::string_view text) { return Address::parse(text).value(); }
Prefix prefix(std::string_view text) { return Prefix::parse(text).value(); }

class TempDirectory {
 public:
  TempDirectory() {
    char name[] = "/tmp/firn-t-golden-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// BIRD opens its log while it parses, so the text it reads logs into the temp directory.
Status bird_accepts(Config config, const std::string& behind = {}) {
  const TempDirectory directory;
  const std::string file = directory.path() + "/bird.conf";
  const bool part = config.log_file.empty();
  if (!part) config.log_file = directory.path() + "/bird.log";
  auto rendered = render(config);
  if (!rendered) return std::move(rendered).error();
  const std::string text = (part ? "router id 192.0.2.9;\nprotocol device {}\n" : "") + rendered->text + behind;
  if (auto status = write_file_atomic(file, text, 0600); !status) return status;
  return check_with_binary("/usr/sbin/bird", file, directory.path() + "/output", std::chrono::seconds(10));
}

ResolvedPeer router(std::string name, std::string_view at, uint32_t as_number) {
  ResolvedPeer out;
  out.peer.name = std::move(name);
  out.peer.address = address(at);
  out.peer.as_number = as_number;
  return out;
}

Config base() {
  Config out;
  out.local_as = 64512;
  out.router_id = address("192.0.2.1");
  out.log_file = "/run/firn/bird/bird.log";
  return out;
}

Config with(ResolvedPeer peer) {
  Config out = base();
  out.peers = {std::move(peer)};
  return out;
}

void expect_golden(const std::string& name, const Config& config) {
  auto rendered = render(config);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  const std::string file = std::string(FIRN_GOLDEN_DIR) + "/bird/" + name + ".conf";
  if (std::getenv("FIRN_UPDATE_GOLDEN") != nullptr) {
    ASSERT_TRUE(write_file_atomic(file, rendered->text, 0644).ok());
  }
  auto kept = read_file(file);
  ASSERT_TRUE(kept.ok()) << kept.error().message;
  EXPECT_EQ(rendered->text, *kept);
  const auto status = bird_accepts(config);
  EXPECT_TRUE(status.ok()) << status.error().message;
}

TEST(BirdGolden, NoPeers) { expect_golden("no-peers", base()); }

TEST(BirdGolden, TwoRoutersOfEachFamily) {
  Config config = base();
  config.peers = {router("tor-b", "192.0.2.254", 64600), router("tor-a", "192.0.2.253", 64600),
                  router("tor-a6", "2001:db8::fd", 64600), router("tor-b6", "2001:db8::fe", 64600)};
  expect_golden("two-routers", config);
}

TEST(BirdGolden, EveryOption) {
  auto peer = router("border-1", "198.51.100.7", 4200000001);
  peer.peer.port = 1790;
  peer.peer.source = address("192.0.2.1");
  peer.peer.password_file = "/etc/firn/border.password";
  peer.password = "correct horse; battery } staple\\";
  peer.peer.multihop = 4;
  peer.peer.ttl_security = true;
  peer.peer.passive = true;
  peer.peer.hold_time = 9;
  peer.peer.keepalive_time = 3;
  peer.peer.connect_retry = 7;
  peer.peer.graceful_restart_time = 300;
  peer.peer.bfd = true;
  peer.peer.import_rules = {
      {false, prefix("10.66.0.0/16"), 16, 32}, {true, prefix("10.0.0.0/8"), 8, 24}, {true, prefix("0.0.0.0/0"), 0, 0}};
  peer.peer.export_rules = {{true, prefix("10.77.0.0/16"), 26, 26}, {true, prefix("fd00::/8"), 8, 128}};
  expect_golden("every-option", with(peer));
}

TEST(BirdGolden, UnnumberedRouteReflectorOfTheSameAs) {
  auto peer = router("rr", "fe80::1", 64512);
  peer.peer.interface = "enp1s0f0";
  peer.peer.graceful_restart = false;
  peer.peer.hold_time = 0;
  expect_golden("internal-unnumbered", with(peer));
}

TEST(BirdGolden, PartOfAnAdministratorsConfiguration) {
  Config config = with(router("tor", "192.0.2.254", 64600));
  config.log_file.clear();
  expect_golden("included", config);
}

TEST(BirdConfig, BlocksAreGivenAtTheStart) {
  const auto start = render_start({prefix("10.64.0.0/26"), prefix("fd00:64::/122"), prefix("10.64.0.64/26")});
  EXPECT_EQ(start,
            "\nprotocol static firn_kernel4_start {\n  ipv4 { preference 150; };\n  route 10.64.0.0/26 blackhole;\n"
            "  route 10.64.0.64/26 blackhole;\n}\n"
            "\nprotocol static firn_kernel6_start {\n  ipv6 { preference 150; };\n  route fd00:64::/122 blackhole;\n}\n");
  const auto status = bird_accepts(with(router("tor", "192.0.2.254", 64600)), start);
  EXPECT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(render_start({}), "");
}

TEST(BirdConfig, TheOrderOfThePeersChangesNothing) {
  Config one = base(), other = base();
  one.peers = {router("a", "192.0.2.2", 1), router("b", "192.0.2.3", 2), router("c", "192.0.2.4", 3)};
  other.peers = {one.peers[2], one.peers[0], one.peers[1]};
  EXPECT_EQ(*render(one), *render(other));
}

TEST(BirdConfig, APeersTextDependsOnNoOtherPeer) {
  Config one = with(router("b", "192.0.2.3", 2));
  Config two = one;
  two.peers.push_back(router("a", "192.0.2.2", 1));
  const std::string alone = render(one)->text;
  const auto at = alone.find("\nprotocol bgp");
  EXPECT_THAT(render(two)->text, HasSubstr(alone.substr(at)));
}

TEST(BirdConfig, ProtocolNamesGoBothWays) {
  EXPECT_EQ(protocol_of("tor-a-1"), "firn_peer_tor_a_1");
  EXPECT_EQ(peer_of("firn_peer_tor_a_1"), "tor-a-1");
  EXPECT_EQ(peer_of("firn_peer_"), std::nullopt);
  EXPECT_EQ(peer_of("firn_kernel4"), std::nullopt);
  const auto rendered = render(with(router("kernel4", "192.0.2.3", 2)));
  ASSERT_TRUE(rendered.ok());
  EXPECT_THAT(rendered->protocols,
              testing::UnorderedElementsAre("firn_device", "firn_kernel4", "firn_kernel6", "firn_peer_kernel4"));
}

TEST(BirdConfig, LongestNamesAreAccepted) {
  auto peer = router(std::string(48, 'a'), "192.0.2.3", 2);
  peer.peer.import_rules = {{true, prefix("10.0.0.0/8"), 8, 32}};
  peer.peer.export_rules = peer.peer.import_rules;
  const auto status = bird_accepts(with(peer));
  EXPECT_TRUE(status.ok()) << status.error().message;
}

struct Option {
  const char* name;
  std::function<void(ResolvedPeer&)> set;
  std::string line;         // there with the option
  std::string absent_line;  // not there with the option
};

class BirdOption : public testing::TestWithParam<Option> {};

TEST_P(BirdOption, IsWrittenAndAcceptedByBird) {
  auto peer = router("tor", "192.0.2.254", 64600);
  GetParam().set(peer);
  const Config config = with(peer);
  const auto rendered = render(config);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_THAT(rendered->text, HasSubstr(GetParam().line + "\n"));
  if (!GetParam().absent_line.empty()) {
    EXPECT_THAT(rendered->text, Not(HasSubstr(GetParam().absent_line)));
  }
  const auto status = bird_accepts(config);
  EXPECT_TRUE(status.ok()) << status.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Every, BirdOption,
    testing::Values(
        Option{"defaults", [](auto&) {}, "  graceful restart on;", "password"},
        Option{"address", [](auto& p) { p.peer.address = address("192.0.2.77"); }, "  neighbor 192.0.2.77 as 64600;", " port "},
        Option{"as_number", [](auto& p) { p.peer.as_number = 4294967294; }, "  neighbor 192.0.2.254 as 4294967294;", ""},
        Option{"port", [](auto& p) { p.peer.port = 1179; }, "  neighbor 192.0.2.254 port 1179 as 64600;", ""},
        Option{"interface", [](auto& p) { p.peer.interface = "eth0.100"; }, "  interface \"eth0.100\";", ""},
        Option{"source", [](auto& p) { p.peer.source = address("192.0.2.1"); }, "  source address 192.0.2.1;", ""},
        Option{"password", [](auto& p) { p.password = "secret'# /* x"; }, "  password \"secret'# /* x\";", ""},
        Option{"direct", [](auto&) {}, "  direct;", "multihop"},
        Option{"multihop", [](auto& p) { p.peer.multihop = 255; }, "  multihop 255;", "  direct;"},
        Option{"ttl_security", [](auto& p) { p.peer.ttl_security = true; }, "  ttl security on;", ""},
        Option{"passive", [](auto& p) { p.peer.passive = true; }, "  passive on;", ""},
        Option{"hold_time", [](auto& p) { p.peer.hold_time = 3, p.peer.keepalive_time = 1; }, "  hold time 3;\n  keepalive time 1;",
               ""},
        Option{"no_hold_time", [](auto& p) { p.peer.hold_time = 0; }, "  hold time 0;", "keepalive"},
        Option{"no_keepalive", [](auto& p) { p.peer.keepalive_time = 0; }, "  hold time 240;", "keepalive"},
        Option{"connect_retry", [](auto& p) { p.peer.connect_retry = 65535; }, "  connect retry time 65535;", ""},
        Option{"no_graceful_restart", [](auto& p) { p.peer.graceful_restart = false; }, "  graceful restart off;", "restart time"},
        Option{"graceful_restart_time", [](auto& p) { p.peer.graceful_restart_time = 4095; }, "  graceful restart time 4095;", ""},
        Option{"bfd", [](auto& p) { p.peer.bfd = true; }, "  bfd on;", ""},
        Option{"import_all", [](auto&) {}, "    import all;", "filter firn_"},
        Option{"export_blocks", [](auto&) {}, "    export where proto ~ \"firn_kernel4*\" && dest = RTD_BLACKHOLE;", ""},
        Option{"import_rule",
               [](auto& p) {
                 p.peer.import_rules = {{true, prefix("10.0.0.0/8"), 16, 24}};
               },
               "filter firn_import_tor {\n  if net ~ [ 10.0.0.0/8{16,24} ] then accept;\n  reject;\n}", "import all"},
        Option{"export_rule",
               [](auto& p) {
                 p.peer.export_rules = {{false, prefix("10.0.0.0/8"), 8, 8}};
               },
               "  if ! (proto ~ \"firn_kernel4*\" && dest = RTD_BLACKHOLE) then reject;\n  if net ~ [ 10.0.0.0/8{8,8} ] then "
               "reject;\n  reject;",
               "export where proto"},
        Option{"rule_of_the_other_family",
               [](auto& p) {
                 p.peer.import_rules = {{true, prefix("fd00::/8"), 8, 128}};
               },
               "filter firn_import_tor {\n  reject;\n}", "fd00"},
        Option{"ipv6_session",
               [](auto& p) {
                 p.peer.address = address("2001:db8::1");
                 p.peer.export_rules = {{true, prefix("fd00::/8"), 122, 122}};
               },
               "  ipv6 {\n    next hop self;\n    import all;\n    export filter firn_export_tor;\n  };", ""}),
    [](const auto& param) { return param.param.name; });

struct Refusal {
  const char* name;
  std::function<void(Config&)> spoil;
  std::vector<std::string> words;
};

class BirdRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(BirdRefusal, NamesThePeerAndTheField) {
  Config config = with(router("tor", "192.0.2.254", 64600));
  GetParam().spoil(config);
  const auto rendered = render(config);
  ASSERT_FALSE(rendered.ok());
  EXPECT_EQ(rendered.error().code, Code::invalid);
  for (const auto& word : GetParam().words) EXPECT_THAT(rendered.error().message, HasSubstr(word));
}

std::function<void(Config&)> peer_with(std::function<void(ResolvedPeer&)> change) {
  return [change = std::move(change)](Config& config) { change(config.peers[0]); };
}

INSTANTIATE_TEST_SUITE_P(
    Every, BirdRefusal,
    testing::Values(
        Refusal{"name", peer_with([](auto& p) { p.peer.name = "x { } protocol"; }), {"peer name"}},
        Refusal{
            "password_quote", peer_with([](auto& p) { p.password = "a\"; import all; \""; }), {"tor", "password_file", "quote"}},
        Refusal{"password_line", peer_with([](auto& p) { p.password = "a\nb"; }), {"tor", "password_file"}},
        Refusal{"password_long", peer_with([](auto& p) { p.password.assign(81, 'x'); }), {"tor", "password_file", "80"}},
        Refusal{"password_unread", peer_with([](auto& p) { p.peer.password_file = "/etc/x"; }), {"tor", "password_file", "empty"}},
        Refusal{"interface_quote", peer_with([](auto& p) { p.peer.interface = "e\";x"; }), {"tor", "interface"}},
        Refusal{"interface_pattern", peer_with([](auto& p) { p.peer.interface = "eth*"; }), {"tor", "interface"}},
        Refusal{"interface_long", peer_with([](auto& p) { p.peer.interface.assign(16, 'e'); }), {"tor", "interface"}},
        Refusal{"link_local", peer_with([](auto& p) { p.peer.address = address("fe80::1"); }), {"tor", "interface", "link-local"}},
        Refusal{"multicast", peer_with([](auto& p) { p.peer.address = address("224.0.0.5"); }), {"tor", "address"}},
        Refusal{"unspecified", peer_with([](auto& p) { p.peer.address = address("::"); }), {"tor", "address"}},
        Refusal{"source_family", peer_with([](auto& p) { p.peer.source = address("2001:db8::1"); }), {"tor", "source", "family"}},
        Refusal{"source_is_peer", peer_with([](auto& p) { p.peer.source = p.peer.address; }), {"tor", "source"}},
        Refusal{"as_zero", peer_with([](auto& p) { p.peer.as_number = 0; }), {"tor", "as_number"}},
        Refusal{"port_zero", peer_with([](auto& p) { p.peer.port = 0; }), {"tor", "port"}},
        Refusal{"multihop_range", peer_with([](auto& p) { p.peer.multihop = 256; }), {"tor", "multihop"}},
        Refusal{
            "multihop_interface", peer_with([](auto& p) { p.peer.multihop = 2, p.peer.interface = "eth0"; }), {"tor", "multihop"}},
        Refusal{"hold_range", peer_with([](auto& p) { p.peer.hold_time = 2; }), {"tor", "hold_time"}},
        Refusal{"keepalive_longer", peer_with([](auto& p) { p.peer.hold_time = 30; }), {"tor", "keepalive_time", "hold_time"}},
        Refusal{"retry_zero", peer_with([](auto& p) { p.peer.connect_retry = 0; }), {"tor", "connect_retry"}},
        Refusal{"restart_range", peer_with([](auto& p) { p.peer.graceful_restart_time = 4096; }), {"tor", "graceful_restart_time"}},
        Refusal{"bfd_source", peer_with([](auto& p) { p.peer.multihop = 2, p.peer.bfd = true; }), {"tor", "source", "BFD"}},
        Refusal{"import_lengths",
                peer_with([](auto& p) {
                  p.peer.import_rules = {{true, prefix("10.0.0.0/8"), 4, 8}};
                }),
                {"tor", "import_rules[0]"}},
        Refusal{"export_lengths",
                peer_with([](auto& p) {
                  p.peer.export_rules = {{true, prefix("10.0.0.0/8"), 8, 33}};
                }),
                {"tor", "export_rules[0]"}},
        Refusal{"local_as", [](Config& c) { c.local_as = 0; }, {"BGP settings", "as_number"}},
        Refusal{"router_id", [](Config& c) { c.router_id = Address(); }, {"BGP settings", "router_id"}},
        Refusal{"log_path", [](Config& c) { c.log_file = "/run/\"/x"; }, {"run directory"}},
        Refusal{"same_address", [](Config& c) { c.peers.push_back(router("tor2", "192.0.2.254", 1)); }, {"tor2", "address", "tor"}},
        Refusal{"same_name", [](Config& c) { c.peers.push_back(router("tor", "192.0.2.253", 1)); }, {"tor", "name", "twice"}}),
    [](const auto& param) { return param.param.name; });

TEST(BirdSelect, TakesThePeersOfThisNodeAndItsOwnNumbers) {
  model::BgpSettings settings;
  model::Node node;
  node.name = "h1";
  node.addresses = {address("2001:db8::1"), address("192.0.2.1"), address("192.0.2.2")};
  model::BgpPeer everywhere = router("a", "192.0.2.254", 64600).peer, here = everywhere, elsewhere = everywhere;
  here.node = "h1";
  elsewhere.node = "h2";
  auto config = select(settings, node, {everywhere, here, elsewhere});
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->peers.size(), 2U);
  EXPECT_EQ(config->router_id, address("192.0.2.1"));
  EXPECT_EQ(config->local_as, 64512U);

  node.as_number = 64999;
  settings.router_id = address("10.9.9.9");
  config = select(settings, node, {});
  EXPECT_EQ(config->router_id, address("10.9.9.9"));
  EXPECT_EQ(config->local_as, 64999U);

  settings.router_id.reset();
  node.addresses = {address("2001:db8::1")};
  const auto none = select(settings, node, {});
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("router id"));
}

TEST(Pools, BlocksThatFirnLeadsToAreNotWrittenAndUnannouncedOnesAreNotTold) {
  Config config = with(router("tor-a", "192.0.2.254", 64600));
  config.peers.push_back(router("tor-b", "2001:db8::fe", 64600));
  const std::string before = render(config).value().text;
  config.routed_by_firn = {prefix("10.66.0.0/16"), prefix("10.67.0.0/16"), prefix("fd66::/64")};
  config.unannounced = {prefix("10.66.0.0/16")};
  const std::string text = render(config).value().text;
  EXPECT_THAT(text, HasSubstr("    export where source = RTS_BGP && ! (net ~ [ 10.66.0.0/16+, 10.67.0.0/16+ ]);\n"));
  EXPECT_THAT(text, HasSubstr("    export where source = RTS_BGP && ! (net ~ [ fd66::/64+ ]);\n"));
  EXPECT_THAT(text, HasSubstr("    export where proto ~ \"firn_kernel4*\" && dest = RTD_BLACKHOLE && ! (net ~ [ 10.66.0.0/16+ ]);\n"));
  EXPECT_THAT(text, HasSubstr("    export where proto ~ \"firn_kernel6*\" && dest = RTD_BLACKHOLE;\n"));
  EXPECT_THAT(before, Not(HasSubstr("! (net")));
  EXPECT_TRUE(bird_accepts(config).ok());
}

}  // namespace
}  // namespace firn::routed::bird
