// The table's transactions as texts, and what becomes of objects that nft refuses: with a runner that answers as the test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "lib/netlink/packet_log.hpp"
#include "routed/counters.hpp"
#include "routed/nft/element_bytes.hpp"
#include "routed/nft/hold.hpp"
#include "routed/nft/table.hpp"
#include "routed/policy_copy.hpp"
#include "tests/support/manual_clock.hpp"

namespace firn::routed::nft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* at = "/proc/self/fd/6:";

Set set_of(const std::string& key, const std::string& data = "") {
  Set out;
  out.key = key;
  out.data = data;
  return out;
}

Changes example() {
  Changes out;
  out.sets["guard"] = set_of("ifname . ipv4_addr");
  out.sets["egress"] = set_of("ifname", "verdict");
  out.sets["egress"]->counter = true;
  out.chains["hook"] = Chain{"type filter hook prerouting priority -50; policy accept;", {"iifname vmap @egress", "drop"}};
  out.chains["from.1"] = Chain{"", {"ip daddr 10.0.0.1 accept"}};
  out.elements[{"guard", "\"a\" . 10.0.0.7"}] = "";
  out.elements[{"guard", "\"b\" . 10.0.0.8"}] = "";
  out.elements[{"egress", "\"a\""}] = "goto from.1";
  return out;
}

class FakeRunner final : public Runner {
 public:
  struct Asked {
    std::string text;
    Done done;
  };
  void run(Request kind, std::string text, Done done) override {
    if (kind == Request::list) return done(text == "list chains inet\n" ? existing : std::string(R"({"nftables":[]})"));
    asked.push_back({std::move(text), std::move(done)});
  }
  std::string next() const { return asked.empty() ? std::string() : asked.front().text; }
  // Line of the text that contains `what`, from 1.
  size_t line_of(const std::string& what) const {
    const std::string text = next();
    return static_cast<size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find(what)), '\n')) + 1;
  }
  // Listings are of a host without tables, unless the test says otherwise.
  std::string existing = R"({"nftables":[]})";
  void answer(Result<std::string> outcome = std::string()) {
    Asked first = std::move(asked.front());
    asked.pop_front();
    first.done(std::move(outcome));
  }
  void refuse(size_t line, const std::string& why = "Could not process rule: No such file or directory") {
    answer(make_error(Code::invalid, at + std::to_string(line) + ":1-3: Error: " + why + "\nthe line\n^^^\n"));
  }
  std::deque<Asked> asked;
};

class TableTest : public testing::Test {
 protected:
  void open() {
    table.want(example());
    table.open();
    runner.answer();
  }
  loop::Loop loop;
  test::ManualClock clock;
  FakeRunner runner;
  std::vector<std::string> failures;
  int applied = 0;
  Table table{loop, clock, runner, "firn", {[this] { ++applied; }, [this](const Error& why) { failures.push_back(why.message); }}};
};

TEST_F(TableTest, NothingIsWrittenBeforeAllIsKnown) {
  table.want(example());
  table.flush();
  EXPECT_TRUE(runner.asked.empty());
  EXPECT_FALSE(table.has({"egress", "\"a\""}));
}

TEST_F(TableTest, TheFirstTransactionReplacesTheTable) {
  table.want(example());
  table.open();
  EXPECT_EQ(runner.next(),
            "add table inet firn \n"
            "flush table inet firn \n"
            "add map inet firn egress { type ifname : verdict; counter; }\n"
            "add set inet firn guard { type ifname . ipv4_addr; }\n"
            "add chain inet firn from.1\n"
            "add chain inet firn hook { type filter hook prerouting priority -50; policy accept; }\n"
            "add rule inet firn from.1 ip daddr 10.0.0.1 accept\n"
            "add rule inet firn hook iifname vmap @egress\n"
            "add rule inet firn hook drop\n"
            "add element inet firn egress { \"a\" : goto from.1 }\n"
            "add element inet firn guard { \"a\" . 10.0.0.7,\n"
            "\"b\" . 10.0.0.8,\n"
            "}\n");
  EXPECT_FALSE(table.has({"egress", "\"a\""}));
  runner.answer();
  EXPECT_TRUE(table.has({"egress", "\"a\""}));
  EXPECT_EQ(applied, 1);
  EXPECT_TRUE(runner.asked.empty());
}

TEST_F(TableTest, AChangeIsItsOwnPartAlone) {
  open();
  Changes more;
  more.elements[{"guard", "\"c\" . 10.0.0.9"}] = "";
  table.want(more);
  table.flush();
  EXPECT_EQ(runner.next(), "add element inet firn guard { \"c\" . 10.0.0.9,\n}\n");
}

TEST_F(TableTest, ChainsThatGoAreLeftFirstAndDeletedLast) {
  open();
  Changes more;
  more.chains["from.2"] = Chain{"", {"drop"}};
  more.chains["from.1"] = std::nullopt;
  more.elements[{"egress", "\"a\""}] = "goto from.2";
  more.sets["guard"] = std::nullopt;
  more.elements[{"guard", "\"a\" . 10.0.0.7"}] = std::nullopt;
  more.elements[{"guard", "\"b\" . 10.0.0.8"}] = std::nullopt;
  table.want(more);
  table.flush();
  EXPECT_EQ(runner.next(),
            "add chain inet firn from.2\n"
            "delete element inet firn egress { \"a\" : goto from.1 }\n"
            "add rule inet firn from.2 drop\n"
            "add element inet firn egress { \"a\" : goto from.2 }\n"
            "flush chain inet firn from.1\n"
            "delete chain inet firn from.1\n"
            "delete set inet firn guard\n");
  runner.answer();
  EXPECT_EQ(table.state().elements.actual, 1U);
  EXPECT_EQ(table.state().elements.pending, 0U);
}

TEST_F(TableTest, AChangedChainIsFilledAnew) {
  open();
  Changes more;
  more.chains["from.1"] = Chain{"", {"accept"}};
  table.want(more);
  table.flush();
  EXPECT_EQ(runner.next(), "flush chain inet firn from.1\nadd rule inet firn from.1 accept\n");
}

TEST_F(TableTest, AnotherShapeOfASetTakesANewTable) {
  open();
  Changes more;
  more.sets["guard"] = set_of("ifname . ipv4_addr");
  more.sets["guard"]->interval = true;
  table.want(more);
  table.flush();
  EXPECT_THAT(runner.next(), HasSubstr("flush table inet firn"));
}

TEST_F(TableTest, WhatComesMeanwhileGoesWithTheNextTransaction) {
  table.want(example());
  table.open();
  Changes more;
  more.elements[{"egress", "\"a\""}] = "drop";
  table.want(more);
  table.flush();
  ASSERT_EQ(runner.asked.size(), 1U);
  runner.answer();
  EXPECT_FALSE(table.has({"egress", "\"a\""}));
  EXPECT_EQ(runner.next(),
            "delete element inet firn egress { \"a\" : goto from.1 }\nadd element inet firn egress { \"a\" : drop }\n");
}

TEST_F(TableTest, WhatIsRefusedIsNamedAndHoldsUpNothingElse) {
  open();
  Changes more;
  more.chains["bad"] = Chain{"", {"this is no rule"}};
  more.elements[{"egress", "\"b\""}] = "goto bad";
  more.elements[{"egress", "\"c\""}] = "accept";
  table.want(more);
  table.flush();
  runner.refuse(runner.line_of("add rule inet firn bad"), "syntax error");
  EXPECT_THAT(failures, ElementsAre(HasSubstr("nftables refuses chain bad of table inet firn: syntax error")));
  EXPECT_THAT(runner.next(), Not(HasSubstr("rule inet firn bad")));
  runner.refuse(runner.line_of("goto bad"));
  EXPECT_THAT(failures.back(), HasSubstr("element \"b\" of set egress"));
  EXPECT_THAT(runner.next(), Not(HasSubstr("bad")));
  runner.answer();
  EXPECT_TRUE(table.has({"egress", "\"c\""}));
  EXPECT_FALSE(table.has({"egress", "\"b\""}));
  EXPECT_EQ(table.state().aside, 2U);
  EXPECT_EQ(table.state().why_aside, "chain bad: syntax error");
  // Wished for otherwise, it is tried at once.
  more.chains["bad"] = Chain{"", {"accept"}};
  table.want(more);
  table.flush();
  EXPECT_THAT(runner.next(), HasSubstr("add rule inet firn bad accept"));
}

TEST_F(TableTest, ARemovalThatIsRefusedTakesANewTable) {
  open();
  Changes more;
  more.elements[{"egress", "\"a\""}] = std::nullopt;
  table.want(more);
  table.flush();
  runner.refuse(1);
  EXPECT_THAT(runner.next(), HasSubstr("flush table inet firn"));
  EXPECT_EQ(table.state().aside, 0U);
}

TEST_F(TableTest, AForeignChangeReplacesTheTable) {
  open();
  table.replace();
  EXPECT_FALSE(table.has({"egress", "\"a\""}));
  EXPECT_THAT(runner.next(), HasSubstr("flush table inet firn"));
  runner.answer();
  EXPECT_TRUE(table.has({"egress", "\"a\""}));
  EXPECT_EQ(table.state().repairs, 1U);
}

TEST_F(TableTest, AnOutcomeThatIsNotKnownIsNoOutcome) {
  open();
  Changes more;
  more.elements[{"egress", "\"c\""}] = "accept";
  table.want(more);
  table.flush();
  runner.answer(make_error(Code::unavailable, "firn-nft was ended by signal 9"));
  EXPECT_FALSE(table.is_in_place());
  EXPECT_THAT(failures, ElementsAre(HasSubstr("writing table inet firn: firn-nft was ended by signal 9")));
  table.flush();
  EXPECT_TRUE(runner.asked.empty());  // only after a while
}

TEST(RefusalTest, NamesALine) {
  const Refusal refusal = parse_refusal("/proc/self/fd/6:17:27-29: Error: Could not process rule: File exists\nadd ...\n    ^^^\n");
  EXPECT_EQ(refusal.line, 17U);
  EXPECT_EQ(refusal.reason, "Could not process rule: File exists");
  EXPECT_EQ(parse_refusal("Error: syntax error").line, 0U);
  EXPECT_EQ(parse_refusal("").line, 0U);
  EXPECT_EQ(parse_refusal("x:y: Error: z").line, 0U);
}

TEST_F(TableTest, AChainKeepsItsHookAndTheRestIsMadeAnew) {
  runner.existing = R"({"nftables":[{"metainfo":{}},
    {"chain":{"family":"inet","table":"firn","name":"hook","type":"filter","hook":"prerouting","prio":-50,"policy":"accept"}},
    {"chain":{"family":"inet","table":"firn","name":"theirs","type":"filter","hook":"input","prio":0,"policy":"drop"}},
    {"chain":{"family":"inet","table":"firn","name":"from.9"}},
    {"chain":{"family":"inet","table":"other","name":"from.8"}},
    {"chain":{"family":"ip","table":"firn","name":"from.7"}},
    {"map":{"family":"inet","table":"firn","name":"egress"}},
    {"set":{"family":"inet","table":"firn","name":"guard"}}]})";
  table.want(example());
  table.open();
  EXPECT_TRUE(
      runner.next().starts_with("add table inet firn \n"
                                "flush table inet firn \n"
                                "delete map inet firn egress\n"
                                "delete set inet firn guard\n"
                                "delete chain inet firn from.9\n"
                                "delete chain inet firn theirs\n"
                                "add map inet firn egress "))
      << runner.next();
  // Another priority than it had: only a new table will do.
  runner.refuse(runner.line_of("add chain inet firn hook"), "Could not process rule: Operation not supported");
  EXPECT_TRUE(failures.empty());
  EXPECT_TRUE(runner.next().starts_with("add table inet firn \ndelete table inet firn \nadd table inet firn \nadd map"));
  runner.answer();
  EXPECT_TRUE(table.has({"egress", "\"a\""}));
}

TEST_F(TableTest, AListingThatIsNoneIsNoReasonToWrite) {
  runner.existing = "nonsense";
  table.want(example());
  table.open();
  EXPECT_TRUE(runner.asked.empty());
  EXPECT_THAT(failures, ElementsAre(HasSubstr("looking at table inet firn")));
}

TEST(HoldTest, TheBitLivesBetweenTwoChainsOnly) {
  const HoldSettings settings{.group = 7, .mark = 16};
  const std::string text = hold_table(settings);
  EXPECT_THAT(text, HasSubstr("{ flags owner; }"));
  EXPECT_THAT(text, HasSubstr("iifgroup 7 meta mark & 16 == 0 counter drop"));
  EXPECT_THAT(text, HasSubstr("iifgroup 7 meta mark set meta mark & 4294967279"));
  Chain chain{"", {"iifgroup != 7 accept", "drop"}};
  EXPECT_TRUE(mark_chain("egress_hook", chain, settings));
  EXPECT_THAT(chain.rules, ElementsAre("iifgroup != 7 accept", "meta mark set meta mark | 16", "drop"));
  EXPECT_FALSE(mark_chain("guard", chain, settings));
  EXPECT_EQ(chain.rules.size(), 3U);
}

TEST(CountersTest, AreOfRulesAndInterfaces) {
  Counters out;
  ASSERT_TRUE(take_listing(R"({"nftables":[{"metainfo":{}},
    {"rule":{"chain":"a","comment":"NetworkPolicy x/y in 1","expr":[{"match":{}},{"counter":{"packets":2,"bytes":20}},{"accept":null}]}},
    {"rule":{"chain":"a","comment":"NetworkPolicy x/y in 1","expr":[{"counter":{"packets":1,"bytes":5}}]}},
    {"rule":{"chain":"a","expr":[{"counter":{"packets":9,"bytes":9}}]}}]})",
                           out));
  ASSERT_TRUE(take_listing(R"({"nftables":[{"map":{"name":"egress","elem":[
    [{"elem":{"val":"firn1","counter":{"packets":3,"bytes":30}}},{"accept":null}]]}}]})",
                           out));
  EXPECT_EQ(out.rules, (std::map<std::string, Counter>{{"NetworkPolicy x/y in 1", {3, 25}}}));
  EXPECT_EQ(out.interfaces.at("firn1").egress, (Counter{3, 30}));
  for (const char* wrong : {"", "[]", "{}", "{\"nftables\":{}}"}) EXPECT_FALSE(take_listing(wrong, out)) << wrong;
}

TEST(PacketSummaryTest, TellsAsMuchAsThereIs) {
  const auto bytes = [](std::string_view hex) {
    std::vector<uint8_t> out;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
      out.push_back(static_cast<uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return out;
  };
  const std::string tcp =
      "4500003c0001400040060000"
      "0a2c00070a2c0008"
      "9c4000500000000000000000a0020000";
  auto packet = netlink::summarize(bytes(tcp));
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->source.to_string(), "10.44.0.7");
  EXPECT_EQ(packet->destination.to_string(), "10.44.0.8");
  EXPECT_EQ(packet->protocol, 6);
  EXPECT_EQ(packet->destination_port, 80);
  EXPECT_EQ(packet->flags, "SYN");
  EXPECT_EQ(packet->bytes, 60U);
  const auto whole = bytes(tcp);
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto cut = netlink::summarize({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_EQ(cut.has_value(), length >= 20) << length;
  }
  packet = netlink::summarize(bytes("6000000000083aff" + std::string(31, '0') + "1" + std::string(31, '0') + "28000000000000000"));
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->destination.to_string(), "::2");
  EXPECT_EQ(packet->icmp_type, 128);
  EXPECT_FALSE(netlink::summarize(bytes("70")));
}

TEST(PolicyCopyTest, ComesBackAsItWas) {
  const PolicyRecords records{{"policy/global/a", "{\n}"}, {"namespace/x", ""}, {"published/n/h", std::string("\0\n", 2)}};
  const std::string text = encode_policy_copy(records);
  EXPECT_EQ(decode_policy_copy(text).value(), records);
  EXPECT_TRUE(decode_policy_copy(encode_policy_copy({})).value().empty());
  for (size_t length = 0; length < text.size(); ++length) {
    const auto cut = decode_policy_copy(std::string_view(text).substr(0, length));
    EXPECT_TRUE(!cut || cut->size() < records.size());
  }
  for (const char* wrong : {"", "firn policy 2\n", "firn policy 1\n18446744073709551615 1\na",
                            "firn policy 1\n1 18446744073709551615\nab", "firn policy 1\n-1 2\nab\n", "firn policy 1\n1 1\nabc"}) {
    EXPECT_FALSE(decode_policy_copy(wrong)) << wrong;
  }
}

TEST(ElementBytes, AreWhatTheKernelKeeps) {
  const auto bytes = [](std::string_view text) { return std::string(text); };
  EXPECT_EQ(*bytes_of("ipv4_addr", "10.44.0.7"), bytes({"\x0a\x2c\x00\x07", 4}));
  EXPECT_EQ(*bytes_of("inet_service", "80"), bytes({"\x00\x50", 2}));
  EXPECT_EQ(*bytes_of("ipv4_addr . inet_proto . inet_service", "10.44.0.7 . 6 . 80"),
            bytes({"\x0a\x2c\x00\x07\x06\x00\x00\x00\x00\x50\x00\x00", 12}));
  EXPECT_EQ(bytes_of("ifname . ether_addr . ipv6_addr", "\"f1\" . 02:00:00:00:00:01 . fd00::1")->size(), 16U + 8 + 16);
  EXPECT_EQ(bytes_of("ifname", "\"f1\"")->substr(0, 3), bytes({"f1\0", 3}));
  const uint32_t number = 17;
  EXPECT_EQ(*bytes_of("typeof numgen inc mod 2 . ip saddr", "17 . 10.44.0.7"),
            std::string(reinterpret_cast<const char*>(&number), 4) + bytes({"\x0a\x2c\x00\x07", 4}));
  for (const char* wrong : {"10.44.0", "10.44.0.7 . 80", "fd00::1", ""}) EXPECT_FALSE(bytes_of("ipv4_addr", wrong)) << wrong;
  EXPECT_FALSE(bytes_of("inet_service", "65536"));
  EXPECT_FALSE(bytes_of("ifname", "\"sixteen-letters-x\""));
  EXPECT_FALSE(bytes_of("mark", "1"));
}

TEST(ElementBytes, OfTransactionsThatChangeElementsAlone) {
  SetMap sets;
  ChainMap chains;
  ElementMap elements;
  sets.set_actual({{"guard", set_of("ipv4_addr")}, {"ranges", set_of("ipv4_addr")}, {"egress", set_of("ifname", "verdict")}});
  sets.want("guard", set_of("ipv4_addr"));
  Set ranges = set_of("ipv4_addr");
  ranges.interval = true;
  sets.set_actual({{"guard", set_of("ipv4_addr")}, {"ranges", ranges}, {"egress", set_of("ifname", "verdict")}});
  sets.want("ranges", ranges);
  sets.want("egress", set_of("ifname", "verdict"));
  chains.set_actual({});
  elements.set_actual({{{"guard", "10.0.0.1"}, ""}});
  elements.want({"guard", "10.0.0.2"}, "");
  elements.want({"egress", "\"a\""}, "goto from.1");
  const auto step = incremental("firn", sets, chains, elements, {});
  ASSERT_TRUE(step);
  EXPECT_EQ(step->bytes, std::string("\0\x04"
                                     "firn",
                                     6) +
                             std::string("-\0\x05guard\0\x04\x0a\0\0\x01n\0\0", 17) +
                             std::string("+\0\x06"
                                         "egress\0\x10"
                                         "a",
                                         12) +
                             std::string(15, '\0') +
                             std::string("g\0\x06"
                                         "from.1",
                                         9) +
                             std::string("+\0\x05guard\0\x04\x0a\0\0\x02n\0\0", 17));
  EXPECT_THAT(step->text, HasSubstr("add element inet firn guard"));
  // With a range, and with a chain, nft's text is all there is.
  elements.want({"ranges", "10.0.0.0/24"}, "");
  EXPECT_EQ(incremental("firn", sets, chains, elements, {})->bytes, "");
  elements.unwant({"ranges", "10.0.0.0/24"});
  chains.want("from.1", Chain{});
  EXPECT_EQ(incremental("firn", sets, chains, elements, {})->bytes, "");
}

}  // namespace
}  // namespace firn::routed::nft
