#include "lib/json/json.hpp"

#include <gtest/gtest.h>

namespace firn::json {
namespace {

Document parse(std::string_view text) {
  auto document = Document::parse(text);
  EXPECT_TRUE(document.ok()) << text;
  return std::move(document).value();
}

TEST(Json, ReadsTypedFields) {
  const Document d = parse(R"({"s":"x","i":-5,"b":true,"a":["p","q"],"n":null,"o":{"k":1}})");
  EXPECT_EQ(*d.root()["s"].string(), "x");
  EXPECT_EQ(*d.root()["i"].integer(), -5);
  EXPECT_TRUE(*d.root()["b"].boolean());
  EXPECT_EQ(*d.root()["a"].strings_or_empty(), (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(*d.root()["n"].string_or("fallback"), "fallback");
  EXPECT_EQ(*d.root()["absent"].integer_or(7, 0, 10), 7);
  EXPECT_EQ(d.root()["o"]["k"].pointer(), "/o/k");
}

TEST(Json, ErrorsNameThePlace) {
  const Document d = parse(R"({"ipam":{"ranges":[[{"subnet":5}]]},"a/b":{"~":1}})");
  const auto subnet = d.root()["ipam"]["ranges"].array().value()[0].array().value()[0]["subnet"];
  auto text = subnet.string();
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().message, "/ipam/ranges/0/0/subnet: must be a string, not an integer");
  EXPECT_EQ(d.root()["a/b"]["~"].pointer(), "/a~1b/~0");
  auto missing = d.root()["ipam"]["type"].string();
  ASSERT_FALSE(missing.ok());
  EXPECT_TRUE(missing.error().is(Code::not_found));
  EXPECT_EQ(missing.error().message, "/ipam/type: missing");
}

TEST(Json, IntegersHaveRanges) {
  const Document d = parse(R"({"big":18446744073709551615,"f":1.5,"i":300})");
  EXPECT_FALSE(d.root()["big"].integer().ok());
  EXPECT_FALSE(d.root()["f"].integer().ok());
  EXPECT_FALSE(d.root()["i"].integer(0, 255).ok());
}

TEST(Json, FindsKeysInAnyCase) {
  const Document d = parse(R"({"HostPort":80,"hostport":81})");
  EXPECT_EQ(*d.root().find_any_case("hostport").integer(), 81) << "the exact spelling wins";
  EXPECT_EQ(*d.root().find_any_case("HOSTPORT").integer() / 10, 8);
  EXPECT_FALSE(d.root().find_any_case("other").present());
}

TEST(Json, HostileTextIsRefused) {
  EXPECT_FALSE(Document::parse("").ok());
  EXPECT_FALSE(Document::parse("{").ok());
  EXPECT_FALSE(Document::parse(R"({"a":1}x)").ok());
  EXPECT_FALSE(Document::parse("\"\xff\"").ok()) << "not UTF-8";
  EXPECT_FALSE(Document::parse(std::string(100000, '[')).ok());
  EXPECT_TRUE(Document::parse(std::string(64, '[') + std::string(64, ']')).ok());
  EXPECT_FALSE(Document::parse(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(
      Document::parse(R"({"brackets in a string":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})")
          .ok());
}

TEST(Json, StringsAndTheirEscapes) {
  const auto text = [](const std::string& json) { return *parse(json).root().string(); };
  EXPECT_EQ(text(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(text(R"("a\u0041\u00e9\u20AC\ud83d\ude00z")"), "aA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
  EXPECT_EQ(text(R"("\u0000")"), std::string(1, '\0'));
  EXPECT_EQ(text("\"0123456789 0123456789\""), "0123456789 0123456789");
  for (const char* bad : {R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")", R"("\u12g4")", R"("\x")", "\"\\", "\"",
                          "\"0123456\n\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"01234567\x80\""}) {
    EXPECT_FALSE(Document::parse(bad).ok()) << bad;
  }
}

TEST(Json, TheGrammarIsStrict) {
  for (const char* good : {"0", "-0", "1.5e+10", "1E-2", " [ ] ", "{ }", "[1 , 2]", "null", "true", "false", R"({"":[{}]})"}) {
    EXPECT_TRUE(Document::parse(good).ok()) << good;
  }
  for (const char* bad :
       {"01",      "-",        "+1",    "1.",         ".5",    "1e", "0x1", "nul", "truex", "[1,]", "[,1]",  "[1 2]",
        "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "{1:2}", "[}", "]",   "1 2", "NaN",   "'a'",  "/**/1", ",,,,"}) {
    EXPECT_FALSE(Document::parse(bad).ok()) << bad;
  }
  EXPECT_EQ(Document::parse(R"({"a":?})").error().message, "not valid JSON at byte 6");
}

TEST(Json, OfMembersWithOneNameTheLastCounts) {
  const Document d = parse(R"({"a":1,"b":2,"a":3})");
  EXPECT_EQ(*d.root()["a"].integer(), 3);
  EXPECT_EQ(d.root().object()->size(), 2u);
  EXPECT_EQ(d.root().dump(), R"({"a":3,"b":2})");
}

TEST(Json, WhatNobodyAskedForIsFound) {
  const auto unread = [](std::string_view text, auto read) {
    auto document = Document::parse(text).value();
    document.note_lookups();
    read(document.root());
    const auto found = document.unread();
    return found ? found->value.pointer() + " " + std::to_string(found->asked.size()) : std::string();
  };
  const char* text = R"({"a":1,"b":{"c":2,"d":[{"e":3},{"f":4}]},"g":5})";
  EXPECT_EQ(unread(text, [](const Value&) {}), "");  // an object that nobody looked into is not half read
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v["a"], (void)v["x"]; }), "/b 2");
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v["a"], (void)v["b"]; }), "/g 2");
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v["a"], (void)v["g"], (void)v["b"]["c"]; }), "/b/d 1");
  // As a whole: every member is known, and what is inside of them is a question of its own.
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v.object(), (void)v["b"]["d"], (void)v["b"]["c"]; }), "");
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v.dump(); }), "");
  EXPECT_EQ(unread(text, [](const Value& v) { (void)v.object(), (void)v["b"].object(), (void)v["b"]["d"].array()->at(1)["e"]; }), "/b/d/1/f 1");
}

TEST(Json, DumpAndPretty) {
  const Document d = parse(R"( {"z":[1,-2.50,"\n",{}, []],"a":{"k":null,"t":true}} )");
  EXPECT_EQ(d.root().dump(), R"({"a":{"k":null,"t":true},"z":[1,-2.50,"\u000a",{},[]]})");
  EXPECT_EQ(d.root()["absent"].dump(), "null");
  EXPECT_EQ(pretty(R"({"a":{"k":"x,{\""},"z":[1,{},[]]})"),
            "{\n  \"a\": {\n    \"k\": \"x,{\\\"\"\n  },\n  \"z\": [\n    1,\n    {},\n    []\n  ]\n}");
  EXPECT_EQ(pretty("no JSON"), "no JSON");
}

TEST(Writer, WritesWhatTheParserReads) {
  Writer w;
  w.begin_object()
      .field("s", "quote\" back\\ nl\n")
      .field("i", 5)
      .field("b", false)
      .key("a")
      .begin_array()
      .value(1)
      .value("x")
      .end_array();
  w.key("e").begin_object().end_object().key("n").null().field_if("skipped", "").end_object();
  EXPECT_EQ(w.text(), R"({"s":"quote\" back\\ nl\u000a","i":5,"b":false,"a":[1,"x"],"e":{},"n":null})");
  EXPECT_EQ(*parse(w.text()).root()["s"].string(), "quote\" back\\ nl\n");
}

TEST(Writer, ReplacesWhatIsNoUtf8) {
  Writer w;
  w.value(std::string_view("a\xff\xc0\xaf\xed\xa0\x80z\xe2\x82\xac"));
  EXPECT_TRUE(Document::parse(w.text()).ok()) << w.text();
  EXPECT_NE(w.text().find("\xe2\x82\xac"), std::string::npos) << "well-formed text is kept";
}

}  // namespace
}  // namespace firn::json
