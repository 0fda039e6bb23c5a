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
#include "routed/bird/select.hpp"
#include "routed/bird/topology.hpp"

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
  EXPECT_EQ(session_of("firn_peer_tor_a_1"), (SessionName{SessionKind::peer, "tor-a-1"}));
  EXPECT_EQ(session_of("firn_dynamic_rack_a_12"), (SessionName{SessionKind::dynamic, "rack-a"}));
  EXPECT_EQ(session_of("firn_peer_"), std::nullopt);
  EXPECT_EQ(session_of("firn_kernel4"), std::nullopt);
  EXPECT_EQ(host_protocol_of("b.rack-1", Family::v6), "firn_node6_b.rack-1");
  EXPECT_EQ(session_of("firn_node6_b.rack-1"), (SessionName{SessionKind::node, "b.rack-1"}));
  const std::string one = std::string(60, 'a') + "-1", two = std::string(60, 'a') + "-2";
  EXPECT_LE(host_protocol_of(one, Family::v4).size(), 64U);
  EXPECT_NE(host_protocol_of(one, Family::v4), host_protocol_of(two, Family::v4));
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
        Option{"local_as", [](auto& p) { p.peer.local_as = 65010; }, "  local as 65010;", "local as 64512"},
        Option{"allow_own_as", [](auto& p) { p.peer.allow_own_as = 3; }, "  allow local as 3;", ""},
        Option{"long_lived", [](auto& p) { p.peer.long_lived_graceful_restart = true, p.peer.long_lived_stale_time = 60; },
               "  long lived graceful restart on;\n  long lived stale time 60;", ""},
        Option{"range", [](auto& p) { p.peer.range = prefix("192.0.2.0/25"), p.peer.address = Address(), p.password = "x"; },
               "  neighbor range 192.0.2.0/25 as 64600;\n  dynamic name \"firn_dynamic_tor_\";", ""},
        Option{"range_ipv6", [](auto& p) { p.peer.range = prefix("2001:db8::/64"), p.peer.address = Address(); },
               "  neighbor range 2001:db8::/64 as 64600;", "ipv4 {\n    next hop"},
        Option{"both_families", [](auto& p) { p.peer.both_families = true; },
               "  ipv6 {\n    next hop self;\n    import keep filtered on;\n    import all;\n    export where proto ~ "
               "\"firn_kernel6*\" && dest = RTD_BLACKHOLE;",
               "next hop address"},
        Option{"extended_next_hop",
               [](auto& p) {
                 p.peer.address = address("fe80::1"), p.peer.interface = "eth0",
                 p.peer.both_families = p.peer.extended_next_hop = true;
               },
               "  ipv4 {\n    next hop self;\n    extended next hop on;", ""},
        Option{"max_prefixes", [](auto& p) { p.peer.max_prefixes = 1000; }, "    import limit 1000 action restart;", ""},
        Option{"max_prefixes_warn", [](auto& p) { p.peer.max_prefixes = 1, p.peer.max_prefixes_action = model::LimitAction::warn; },
               "    import limit 1 action warn;", ""},
        Option{"max_prefixes_block",
               [](auto& p) { p.peer.max_prefixes = 1, p.peer.max_prefixes_action = model::LimitAction::block; },
               "    import limit 1 action block;", ""},
        Option{"max_prefixes_disable",
               [](auto& p) { p.peer.max_prefixes = 1, p.peer.max_prefixes_action = model::LimitAction::disable; },
               "    import limit 1 action disable;", ""},
        Option{"communities",
               [](auto& p) {
                 p.communities = {{false, 64512, 100, 0}, {true, 4200000000, 1, 2}};
               },
               "  bgp_community.add((64512,100));\n  bgp_large_community.add((4200000000,1,2));\n  accept;", ""},
        Option{"prepend", [](auto& p) { p.peer.prepend = 2; }, "  bgp_path.prepend(64512);\n  bgp_path.prepend(64512);\n  accept;",
               ""},
        Option{"med", [](auto& p) { p.peer.med = 4294967295; }, "  bgp_med = 4294967295;\n  accept;", ""},
        Option{"import_filter",
               [](auto& p) {
                 p.import_chain = {{model::FilterAction::next, {}, {model::graceful_shutdown}, {}, {}, 0, {}, 0},
                                   {model::FilterAction::accept,
                                    {{prefix("10.0.0.0/8"), 16, 24}, {prefix("fd00::/8"), 8, 64}},
                                    {},
                                    {},
                                    {},
                                    0,
                                    {},
                                    200}};
               },
               "  if (65535,0) ~ bgp_community then {\n    bgp_local_pref = 0;\n  }\n  if net ~ [ 10.0.0.0/8{16,24} ] then {\n"
               "    bgp_local_pref = 200;\n    accept;\n  }\n  reject;",
               "fd00"},
        Option{
            "export_filter",
            [](auto& p) {
              p.export_chain = {{model::FilterAction::reject, {{prefix("10.1.0.0/16"), 16, 32}}, {}, {}, {}, 0, {}, {}},
                                {model::FilterAction::accept,
                                 {},
                                 {{false, 1, 2, 0}, {true, 1, 2, 3}},
                                 {{false, 3, 4, 0}},
                                 {{true, 1, 2, 3}},
                                 1,
                                 5,
                                 {}},
                                {model::FilterAction::accept, {}, {}, {}, {}, 0, {}, {}}};
            },
            "  if net ~ [ 10.1.0.0/16{16,32} ] then reject;\n  if (1,2) ~ bgp_community || (1,2,3) ~ bgp_large_community then {\n"
            "    bgp_large_community.delete((1,2,3));\n    bgp_community.add((3,4));\n    bgp_path.prepend(64512);\n    bgp_med = "
            "5;\n    accept;\n  }\n"
            "  accept;\n  reject;",
            ""},
        Option{"filter_before_rules",
               [](auto& p) {
                 p.import_chain = {{model::FilterAction::reject, {{prefix("10.1.0.0/16"), 16, 32}}, {}, {}, {}, 0, {}, {}}};
                 p.peer.import_rules = {{true, prefix("10.0.0.0/8"), 8, 32}};
               },
               "  if net ~ [ 10.1.0.0/16{16,32} ] then reject;\n  if net ~ [ 10.0.0.0/8{8,32} ] then accept;\n  reject;", ""},
        Option{"import_all", [](auto&) {}, "    import all;", "filter firn_"},
        Option{"export_blocks", [](auto&) {}, "    export where proto ~ \"firn_kernel4*\" && dest = RTD_BLACKHOLE;", ""},
        Option{"import_rule",
               [](auto& p) {
                 p.peer.import_rules = {{true, prefix("10.0.0.0/8"), 16, 24}};
               },
               "filter firn_import4_tor {\n  if net ~ [ 10.0.0.0/8{16,24} ] then accept;\n  reject;\n}", "import all"},
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
               "filter firn_import4_tor {\n  reject;\n}", "fd00"},
        Option{"ipv6_session",
               [](auto& p) {
                 p.peer.address = address("2001:db8::1");
                 p.peer.export_rules = {{true, prefix("fd00::/8"), 122, 122}};
               },
               "  ipv6 {\n    next hop self;\n    import keep filtered on;\n    import all;\n    export filter firn_export6_tor;\n "
               " };",
               ""}),
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
        Refusal{
            "prepend_inside", peer_with([](auto& p) { p.peer.as_number = 64512, p.peer.prepend = 1; }), {"tor", "prepend", "loop"}},
        Refusal{"prepend_in_a_filter",
                peer_with(
                    [](auto& p) {
                      p.peer.as_number = 64512;
                      p.export_chain = {{model::FilterAction::accept, {}, {}, {}, {}, 1, {}, {}}};
                    }),
                {"tor", "export_filters", "loop"}},
        Refusal{"long_lived_alone",
                peer_with([](auto& p) { p.peer.graceful_restart = false, p.peer.long_lived_graceful_restart = true; }),
                {"tor", "long_lived_graceful_restart"}},
        Refusal{"extended_next_hop", peer_with([](auto& p) { p.peer.extended_next_hop = true; }), {"tor", "extended_next_hop"}},
        Refusal{"other_next_hop",
                peer_with([](auto& p) { p.peer.both_families = true, p.peer.multihop = 2; }),
                {"tor", "both_families"}},
        Refusal{
            "range_port", peer_with([](auto& p) { p.peer.range = prefix("192.0.2.0/24"), p.peer.port = 1179; }), {"tor", "port"}},
        Refusal{"range_all", peer_with([](auto& p) { p.peer.range = prefix("0.0.0.0/0"); }), {"tor", "range"}},
        Refusal{"local_as_zero", peer_with([](auto& p) { p.peer.local_as = 0; }), {"tor", "local_as"}},
        Refusal{"filter_lengths",
                peer_with(
                    [](auto& p) {
                      p.import_chain = {{model::FilterAction::accept, {{prefix("10.0.0.0/8"), 4, 8}}, {}, {}, {}, 0, {}, {}}};
                    }),
                {"tor", "import_filters"}},
        Refusal{"ecmp", [](Config& c) { c.ecmp = 0; }, {"BGP settings", "ecmp"}},
        Refusal{"host_name", [](Config& c) { c.peers[0].host = true, c.peers[0].peer.name = "x'{}"; }, {"node name"}},
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
  Records records;
  records.settings = settings;
  records.self = node;
  records.peers = {everywhere, here, elsewhere};
  auto config = select(records);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->peers.size(), 2U);
  EXPECT_EQ(config->router_id, address("192.0.2.1"));
  EXPECT_EQ(config->local_as, 64512U);

  records.self.as_number = 64999;
  records.settings.router_id = address("10.9.9.9");
  config = select(records);
  EXPECT_EQ(config->router_id, address("10.9.9.9"));
  EXPECT_EQ(config->local_as, 64999U);

  records.settings.router_id.reset();
  records.self.addresses = {address("2001:db8::1")};
  const auto none = select(records);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("router id"));

  records.settings.topology = model::Topology::mesh;
  const Address one = select(records)->router_id;
  records.self.name = "h2";
  EXPECT_NE(select(records)->router_id, one) << "each host has its own";
}

// Three hosts of a cluster as h1 sees them: h2 of the same AS, h3 of another, in both families.
Config between_hosts() {
  model::BgpSettings settings;
  settings.topology = model::Topology::mesh;
  settings.reflectors = {{"role", "reflector"}};
  settings.node_bfd = true;
  std::vector<model::Node> nodes(3);
  for (size_t i = 0; i < 3; ++i) {
    nodes[i].name = "h" + std::to_string(i + 1) + ".rack-1";
    nodes[i].addresses = {address("192.0.2." + std::to_string(i + 1)), address("2001:db8::" + std::to_string(i + 1))};
  }
  nodes[2].as_number = 64999;
  Config out = base();
  out.own_addresses = nodes[0].addresses;
  out.of_hosts = {prefix("10.64.0.0/16"), prefix("fd64::/64")};
  for (HostSession& session : possible_sessions(settings, nodes[0], nodes, {}).sessions)
    out.peers.push_back(std::move(session.peer));
  return out;
}

TEST(BirdGolden, SessionsBetweenHosts) { expect_golden("hosts", between_hosts()); }

TEST(BirdGolden, AReflectorWithAPeerThatIsToldEverything) {
  Config config = between_hosts();
  config.reflector = true;
  config.cluster_id = address("192.0.2.100");
  auto told = router("spine", "192.0.2.200", 64512);
  told.peer.reflect = told.peer.keep_next_hop = true;
  config.peers.push_back(told);
  config.peers.push_back(router("tor", "192.0.2.254", 64600));
  config.extra = {{prefix("198.51.100.53/32"), {{false, 64512, 53, 0}}}, {prefix("2001:db8:53::/48"), {}}};
  config.ecmp = 32;
  expect_golden("reflector", config);
}

TEST(BirdGolden, AHostThatIsDrained) {
  Config config = between_hosts();
  config.peers.push_back(router("tor", "192.0.2.254", 64600));
  config.drain = Drain::announce;
  expect_golden("drain-announce", config);
  config.drain = Drain::withdraw;
  expect_golden("drain-withdraw", config);
  config.drain = Drain::none;
  config.ecmp = 1;
  EXPECT_THAT(render(config)->text, HasSubstr("  merge paths off;\n"));
}

TEST(BirdConfig, BecomingAReflectorChangesNoSession) {
  const auto without_filters = [](std::string text) {
    for (size_t at = 0; (at = text.find("\nfilter ")) != std::string::npos;) text.erase(at, text.find("\n}\n", at) - at + 3);
    return text;
  };
  Config config = between_hosts();
  const std::string before = render(config)->text;
  config.reflector = true;
  const std::string after = render(config)->text;
  EXPECT_NE(before, after);
  EXPECT_EQ(without_filters(before), without_filters(after));
}

TEST(BirdSelect, ResolvesFiltersCommunitiesAndPrefixes) {
  Records records;
  records.self.name = "h1";
  records.self.addresses = {address("192.0.2.1")};
  records.self.labels = {{"rack", "r1"}, {"role", "dns"}};
  records.settings.labelled_as = {{{{"rack", "r2"}}, 65102}, {{{"rack", "r1"}}, 65101}};
  model::BgpPeer peer = router("tor", "192.0.2.254", 64600).peer;
  peer.node_selector = {{"rack", "r1"}};
  peer.export_filters = {"anycast"};
  peer.communities = {"mine", "64512:1"};
  model::BgpPeer elsewhere = router("other", "192.0.2.253", 64600).peer;
  elsewhere.node_selector = {{"rack", "r2"}};
  records.peers = {peer, elsewhere};
  records.communities["mine"] = {"mine", {"64512:1", "64512:1:2"}, ""};
  model::FilterRule rule;
  rule.add_communities = {"mine", "no-export"};
  records.filters["anycast"] = {"anycast", {rule}, ""};
  records.prefixes = {{prefix("198.51.100.53/32"), {{"role", "dns"}}, {"mine"}, ""},
                      {prefix("198.51.100.54/32"), {{"role", "web"}}, {}, ""}};
  const auto config = select(records);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->local_as, 65101U);
  ASSERT_EQ(config->peers.size(), 1U);
  const model::Community one{false, 64512, 1, 0}, two{true, 64512, 1, 2}, no_export{false, 65535, 65281, 0};
  EXPECT_EQ(config->peers[0].communities, (std::vector{one, two}));
  EXPECT_EQ(config->peers[0].export_chain.at(0).add, (std::vector{one, two, no_export}));
  ASSERT_EQ(config->extra.size(), 1U);
  EXPECT_EQ(config->extra[0].communities, (std::vector{one, two}));
  EXPECT_EQ(config->of_hosts, (std::vector{prefix("198.51.100.53/32"), prefix("198.51.100.54/32")}));
  EXPECT_TRUE(bird_accepts(*config).ok());

  records.filters.clear();
  EXPECT_THAT(select(records).error().message, HasSubstr("BGP peer tor: export_filters: there is no filter anycast"));
  records.peers[0].export_filters.clear();
  records.communities.clear();
  EXPECT_THAT(select(records).error().message, HasSubstr("BGP peer tor: communities: there is no community mine"));
}

TEST(BirdSelect, ADrainGoesByTheClockAndLastsNoLongerThanItsGrace) {
  model::Node node;
  EXPECT_EQ(drain_of(node, 1000), Drain::none);
  node.drain = model::Drain{1000, 30};
  EXPECT_EQ(drain_of(node, 1000), Drain::announce);
  EXPECT_EQ(until_next_drain(node, 1010), 20);
  EXPECT_EQ(drain_of(node, 1030), Drain::withdraw);
  EXPECT_EQ(until_next_drain(node, 10), 30) << "another host's clock is ahead";
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
  EXPECT_THAT(text,
              HasSubstr("    export where proto ~ \"firn_kernel4*\" && dest = RTD_BLACKHOLE && ! (net ~ [ 10.66.0.0/16+ ]);\n"));
  EXPECT_THAT(text, HasSubstr("    export where proto ~ \"firn_kernel6*\" && dest = RTD_BLACKHOLE;\n"));
  EXPECT_THAT(before, Not(HasSubstr("! (net")));
  EXPECT_TRUE(bird_accepts(config).ok());
}

}  // namespace
}  // namespace firn::routed::bird
