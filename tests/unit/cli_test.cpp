// The pure parts of firnctl: what people type, tables, the daemon's replies, the command tree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/command.hpp"
#include "cli/completion.hpp"
#include "cli/daemon_view.hpp"
#include "cli/parse.hpp"
#include "cli/table.hpp"

namespace firn::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string rule_round(const std::string& text) {
  auto rule = parse_rule(text);
  return rule ? rule_text(*rule) : "error: " + rule.error().message;
}

TEST(ParseRule, ReadsLengthsAsRoutersDo) {
  const auto exact = parse_rule("accept 10.44.0.0/16").value();
  EXPECT_TRUE(exact.accept);
  EXPECT_EQ(exact.least, 16);
  EXPECT_EQ(exact.most, 16);
  const auto le = parse_rule("reject 10.0.0.0/8 le 24").value();
  EXPECT_FALSE(le.accept);
  EXPECT_EQ(le.least, 8);
  EXPECT_EQ(le.most, 24);
  const auto ge = parse_rule("accept fd00::/8 ge 64").value();
  EXPECT_EQ(ge.least, 64);
  EXPECT_EQ(ge.most, 128);
  const auto both = parse_rule("  accept   10.0.0.0/8 le 28 ge 16 ").value();
  EXPECT_EQ(both.least, 16);
  EXPECT_EQ(both.most, 28);
}

TEST(ParseRule, IsWrittenAsItWasRead) {
  for (const char* text : {"accept 10.44.0.0/16", "reject 10.0.0.0/8 le 24", "accept fd00::/8 ge 64",
                           "accept 10.0.0.0/8 ge 16 le 28", "accept 0.0.0.0/0 ge 0", "accept 10.0.0.1/32"}) {
    EXPECT_EQ(rule_round(text), text);
  }
}

TEST(ParseRule, RefusesWhatNoPrefixCanMatch) {
  for (const char* text :
       {"", "accept", "permit 10.0.0.0/8", "accept 10.0.0.1/8", "accept 10.0.0.0/8 le", "accept 10.0.0.0/8 le 4",
        "accept 10.0.0.0/8 le 33", "accept 10.0.0.0/8 ge 24 le 16", "accept 10.0.0.0/8 le 24 le 26", "accept 10.0.0.0/8 eq 16"}) {
    const auto rule = parse_rule(text);
    ASSERT_FALSE(rule) << text;
    EXPECT_TRUE(rule.error().is(Code::invalid)) << text;
  }
}

TEST(ParseAsNumber, TakesPlainAndDotted) {
  EXPECT_EQ(parse_as_number("65001").value(), 65001u);
  EXPECT_EQ(parse_as_number("1.10").value(), 65546u);
  EXPECT_EQ(parse_as_number("4294967294").value(), 4294967294u);
  for (const char* text :
       {"", "0", "-1", "23456", "4294967295", "1.65536", "65536.1", "1.", ".1", "as65001", "99999999999999999999"}) {
    EXPECT_FALSE(parse_as_number(text)) << text;
  }
}

TEST(ParseSelector, ReadsLabels) {
  const auto labels = parse_selector("rack=r1,zone=").value();
  EXPECT_EQ(labels.at("rack"), "r1");
  EXPECT_EQ(labels.at("zone"), "");
  EXPECT_EQ(labels_text(labels), "rack=r1,zone=");
  EXPECT_TRUE(parse_selector("").value().empty());
  for (const char* text : {"rack", "=r1", "rack=r1,rack=r2", "rack=a b", "rack=r1,"}) EXPECT_FALSE(parse_selector(text)) << text;
}

TEST(ParsePool, ReadsBlockSize) {
  EXPECT_EQ(parse_pool("web=10.44.0.0/16").value().block_size, 26);
  EXPECT_EQ(parse_pool("web=10.44.0.0/28").value().block_size, 28);
  EXPECT_EQ(parse_pool("web=fd00::/64").value().block_size, 122);
  EXPECT_EQ(parse_pool("web=10.44.0.0/16,block-size=24").value().block_size, 24);
  for (const char* text : {"web", "web=", "web=10.44.0.1/16", "web=10.44.0.0/16,size=24", "web=10.44.0.0/16,block-size=x"}) {
    EXPECT_FALSE(parse_pool(text)) << text;
  }
}

TEST(TableText, AlignsAndHidesControlBytes) {
  Table table({"NAME", "WHAT"});
  table.add({"a", "\x1b[2Jx"});
  table.add({"longer-name", ""});
  EXPECT_EQ(table.text(), "NAME          WHAT\na             \\x1b[2Jx\nlonger-name   -\n");
}

TEST(SheetText, Aligns) {
  Sheet sheet;
  sheet.line("Name", "web").line("Block size", "/26").line("Note", "");
  EXPECT_EQ(sheet.text(), "Name:        web\nBlock size:  /26\nNote:        -\n");
}

TEST(TimeText, IsUtc) {
  EXPECT_EQ(time_text(0), "-");
  EXPECT_EQ(time_text(1769860800), "2026-01-31 12:00:00Z");
}

TEST(DaemonView, ReadsSessionsAndToleratesGaps) {
  const auto document = json::Document::parse(
      R"({"ok":true,"state":"running","running":true,"version":"2.0.12","pid":7,"inForce":true,"sessions":[
      {"peer":"tor-b","address":"192.0.2.2","as":65000,"state":"Active","established":false,"lastError":"Socket: No route to host"},
      {"peer":"tor-a","established":true,"channels":[{"imported":3,"exported":2},{"imported":1}],"announced":["10.44.0.0/26","bad"]},
      {"peer":5}]})");
  const BirdView view = read_bird(document->root());
  ASSERT_EQ(view.sessions.size(), 3u);
  EXPECT_EQ(view.established(), 1u);
  EXPECT_EQ(view.summary(), "running (2.0.12, pid 7), configuration in force");
  EXPECT_EQ(view.sessions[0].peer, "");
  EXPECT_EQ(view.sessions[1].peer, "tor-a");
  EXPECT_EQ(view.sessions[1].imported, 4);
  EXPECT_EQ(view.sessions[1].exported, 2);
  EXPECT_EQ(view.sessions[1].announced, std::vector<Prefix>{Prefix::parse("10.44.0.0/26").value()});
  EXPECT_EQ(view.sessions[2].last_error, "Socket: No route to host");
  EXPECT_TRUE(read_bird(json::Value{}).sessions.empty());
}

// A small program with the shapes that firnctl has.
class CommandTest : public testing::Test {
 protected:
  CommandTest() {
    program.everywhere([this](Command& c) { c.option("-o,--output", "FORM", "form", Command::text(form)); });
    Command group = program.root().group("pool", "pools");
    group.verb("show", "show one", "tool pool show web", [this]() -> Result<Exit> { return outcome; })
        .positional("POOL", "name", Command::text(name));
    Command set = group.verb("set", "set", "tool pool set x", [this]() -> Result<Exit> { return outcome; });
    set.list("--label", "L", "labels", [this](const std::string& text) -> Status {
      if (text == "bad") return make_error(Code::invalid, "'bad' is bad");
      labels.push_back(text);
      return {};
    });
    set.option("--size", "N", "size", Command::number(size, 1, 9)).toggle("bfd", "bfd", bfd);
    program.root().verb("list", "list", "tool list", [this]() -> Result<Exit> { return outcome; });
  }
  int run(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "firnctl");
    out.str("");
    err.str("");
    return program.run(static_cast<int>(arguments.size()), arguments.data(), out, err);
  }
  Program program{"a tool", "exit codes", "1.2.3"};
  Result<Exit> outcome = Exit::ok;
  std::string form, name;
  std::vector<std::string> labels;
  std::optional<int> size;
  std::optional<bool> bfd;
  std::ostringstream out, err;
};

TEST_F(CommandTest, TakesCommonOptionsBeforeAndAfter) {
  EXPECT_EQ(run({"pool", "show", "web", "-o", "json"}), 0) << err.str();
  EXPECT_EQ(name, "web");
  EXPECT_EQ(form, "json");
  EXPECT_EQ(run({"-o", "table", "pool", "show", "web"}), 0) << err.str();
  EXPECT_EQ(form, "table");
}

TEST_F(CommandTest, NamesOfCommandsAreNamesOfObjectsToo) {
  EXPECT_EQ(run({"pool", "show", "list"}), 0) << err.str();
  EXPECT_EQ(name, "list");
  EXPECT_EQ(run({"pool", "show", "show"}), 0) << err.str();
  EXPECT_EQ(name, "show");
}

TEST_F(CommandTest, RepeatedOptionsAndToggles) {
  EXPECT_EQ(run({"pool", "set", "--label", "a=1", "--label", "[b,c]", "--size", "3", "--no-bfd"}), 0) << err.str();
  EXPECT_EQ(labels, (std::vector<std::string>{"a=1", "[b,c]"}));
  EXPECT_EQ(size, 3);
  EXPECT_EQ(bfd, false);
}

TEST_F(CommandTest, UsageErrorsNameThePlace) {
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(err.str(), "firnctl: a command is missing; try 'firnctl --help'\n");
  EXPECT_EQ(run({"pool", "lsit"}), 2);
  EXPECT_EQ(err.str(), "firnctl pool: there is no command 'lsit'; try 'firnctl pool --help'\n");
  EXPECT_EQ(run({"pool", "show"}), 2);
  EXPECT_EQ(err.str(), "firnctl pool show: POOL is required; try 'firnctl pool show --help'\n");
  EXPECT_EQ(run({"pool", "set", "--label", "bad"}), 2);
  EXPECT_EQ(err.str(), "firnctl pool set: --label: 'bad' is bad; try 'firnctl pool set --help'\n");
  EXPECT_EQ(run({"pool", "set", "--size", "10"}), 2);
  EXPECT_THAT(err.str(), HasSubstr("--size: '10' is not a number from 1 to 9"));
  EXPECT_EQ(run({"pool", "set", "--colour\x1b[2J"}), 2);
  EXPECT_THAT(err.str(), Not(HasSubstr("\x1b")));
  EXPECT_EQ(run({"pool", "set", "--bfd", "--no-bfd"}), 2);
}

TEST_F(CommandTest, FailuresBecomeExitCodes) {
  const std::pair<Code, int> cases[] = {{Code::io, 1},        {Code::denied, 1},   {Code::exhausted, 1}, {Code::unavailable, 1},
                                        {Code::not_found, 5}, {Code::conflict, 6}, {Code::exists, 6},    {Code::invalid, 2}};
  for (const auto& [code, exit] : cases) {
    outcome = make_error(code, "why");
    EXPECT_EQ(run({"pool", "show", "web"}), exit);
    EXPECT_EQ(err.str(), "firnctl pool show: why\n");
  }
  outcome = Exit::problems;
  EXPECT_EQ(run({"pool", "show", "web"}), 3);
}

TEST_F(CommandTest, HelpHasExamples) {
  EXPECT_EQ(run({"pool", "show", "--help"}), 0);
  EXPECT_THAT(out.str(), HasSubstr("Examples:\n  tool pool show web"));
  EXPECT_THAT(out.str(), HasSubstr("--output"));
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(out.str(), "1.2.3\n");
}

TEST_F(CommandTest, CompletionKnowsEveryCommand) {
  const std::string script = program.bash_completion();
  for (const char* line : {"\"firnctl\")\n        words=\"pool list\"", "\"firnctl pool\")\n        words=\"show set\"",
                           "\"firnctl pool show\")\n        words=\"\" names=\"pool\"", "--label --size --bfd --no-bfd"}) {
    EXPECT_THAT(script, HasSubstr(line));
  }
}

}  // namespace
}  // namespace firn::cli
