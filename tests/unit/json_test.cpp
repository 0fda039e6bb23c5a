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
  EXPECT_TRUE(Document::parse(R"({"brackets in a string":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})").ok());
}

TEST(Writer, WritesWhatTheParserReads) {
  Writer w;
  w.begin_object().field("s", "quote\" back\\ nl\n").field("i", 5).field("b", false).key("a").begin_array().value(1).value("x").end_array();
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
