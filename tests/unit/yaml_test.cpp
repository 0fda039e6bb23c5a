// YAML in and out: what becomes JSON, where things stand, and what is refused, with the words people see.
#include "lib/yaml/yaml.hpp"

#include <gtest/gtest.h>

namespace firn::yaml {
namespace {

// The JSON of every document, one a line; or "LINE:COLUMN message".
std::string read_all(std::string_view text, const Limits& limits = {}) {
  const Reading reading = read(text, limits);
  if (reading.fault) {
    EXPECT_TRUE(reading.documents.empty());
    return reading.fault->mark.to_string() + " " + reading.fault->message;
  }
  std::string out;
  for (const Document& document : reading.documents) out += (out.empty() ? "" : "\n") + document.json();
  return out;
}

TEST(Yaml, PlainScalarsAreTypedByTheCoreSchema) {
  const std::pair<const char*, const char*> cases[] = {
      {"a", R"("a")"},
      {"yes", R"("yes")"},
      {"true", "true"},
      {"False", "false"},
      {"tRue", R"("tRue")"},
      {"~", ""},
      {"12", "12"},
      {"-0", "0"},
      {"+5", "5"},
      {"0x1F", "31"},
      {"0o17", "15"},
      {"1.50", "1.5"},
      {".5", "0.5"},
      {"1e3", "1000"},
      {"'12'", R"("12")"},
      {"\"true\"", R"("true")"},
      {"!!str 12", R"("12")"},
      {"10.44.0.0/16", R"("10.44.0.0/16")"},
      {"fd00::/8", R"("fd00::/8")"},
      {"::1", R"("::1")"},
      {"12:30:45", R"("12:30:45")"},
      {"99999999999999999999", "99999999999999999999"},
      {"|\n  two\n  lines\n", R"("two\u000alines\u000a")"},
      {"{}", "{}"},
      {"[]", "[]"},
  };
  for (const auto& [yaml, json] : cases) EXPECT_EQ(read_all(yaml), json) << yaml;
}

TEST(Yaml, DocumentsAliasesAndJson) {
  EXPECT_EQ(read_all(""), "");
  EXPECT_EQ(read_all("# nothing\n---\n---\na: 1\n---\nb: [1, {c: x}]\n...\n"), "{\"a\":1}\n{\"b\":[1,{\"c\":\"x\"}]}");
  EXPECT_EQ(read_all("a: &x {k: [v]}\nb: *x\n"), R"({"a":{"k":["v"]},"b":{"k":["v"]}})");
  EXPECT_EQ(read_all("{\n\t\"a\": [1,\n\t\tnull, \"\\u00e9\\/\"]\n}"), R"({"a":[1,null,"é/"]})");
  EXPECT_EQ(read_all("12: a\ntrue: b\n~: c"), R"({"12":"a","true":"b","":"c"})");
}

TEST(Yaml, EveryValueKnowsItsPlace) {
  const Reading reading = read("kind: Pool\nspec:\n  cidr: 10.0.0.0/8\n  list:\n  - a\n  - {b/c: 1}\n");
  ASSERT_EQ(reading.documents.size(), 1u);
  const Document& document = reading.documents.front();
  EXPECT_EQ(document.at("").to_string(), "1:1");
  EXPECT_EQ(document.at("/spec/cidr").to_string(), "3:3");
  EXPECT_EQ(document.at("/spec/list/0").to_string(), "5:5");
  EXPECT_EQ(document.at("/spec/list/1/b~1c").to_string(), "6:6");
  // What is not there has the place of what would hold it.
  EXPECT_EQ(document.at("/spec/missing/deeper").to_string(), "2:1");
  EXPECT_EQ(document.at("/missing").to_string(), "1:1");
}

TEST(Yaml, WhatIsRefusedIsNamedWithItsPlace) {
  const std::pair<std::string, std::string> cases[] = {
      {"a: 1\nb: 2\na: 3", "3:1 'a' is here twice, first at line 1"},
      {"a:\n\tb: c", "2:1 the line is indented with a tab; YAML wants blanks"},
      {"a:\n  b: 1\n c: 2", "3:2 the indentation fits no line above"},
      {"- a\nb: c", "2:1 this belongs to nothing above; look at the indentation, or begin a document with '---'"},
      {"a: b: c", "1:5 a ':' with a blank behind it stands inside of a value; quote the value, or look at the indentation"},
      {"a: [1, 2", "1:1 a '[' has no ']'"},
      {"a: {b: 2", "1:1 a '{' has no '}'"},
      {"a: \"b", "1:6 a quote is not closed"},
      {"a: @b", "1:4 this is no YAML; quote a text that begins with @ or `"},
      {"a: *b", "1:4 the referenced anchor is not defined"},
      {"a: &b [*b]", "1:8 the alias stands inside of what it refers to"},
      {"&a x: 1\n*a : 2", "2:1 an alias cannot be a key"},
      {"<<: {a: 1}", "1:1 merge keys (<<) are not read; write the fields out"},
      {"? [a]\n: b", "1:3 a key must be one word"},
      {"a: !!binary aGk=", "1:4 the tag tag:yaml.org,2002:binary is not read here; quote what is a text, and leave the rest plain"},
      {"a: 0123", "1:4 '0123' is octal to some readers and decimal to others; quote it if it is a text"},
      {"a: .inf", "1:4 '.inf' is no number that an object can hold; quote it if it is a text"},
      {"a: 1e999", "1:4 '1e999' is too large or too small a number; quote it if it is a text"},
      {"a: " + std::string(400, '9'), "1:4 '" + std::string(64, '9') + "' is too large or too small a number; quote it if it is a text"},
      {"ok: 1\na: \x01", "2:4 a control character stands here"},
      {"ok: 1\na: \xff", "2:1 the line is no UTF-8"},
      {std::string(257, 'k') + ": 1", "1:1 the key is longer than 256 bytes"},
      {std::string(40, '[') + std::string(40, ']'), "1:33 nested deeper than 32 levels"},
      {std::string(100000, '[') + std::string(100000, ']'), "1:33 nested deeper than 32 levels"},
      {std::string((1 << 20) + 1, 'a'), "1:1 is larger than 1048576 bytes"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(read_all(text), message) << text.substr(0, 80);
}

TEST(Yaml, AnAliasBombDoesNotGoOff) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    const std::string last = std::string("*") + static_cast<char>(c - 1);
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 10; ++i) bomb += (i == 0 ? "" : ",") + last;
    bomb += "]\n";
  }
  EXPECT_EQ(read_all(bomb), "5:20 more than 65536 values, aliases counted as often as they are used");
  // Few values of many bytes.
  std::string fat = "a: &a " + std::string(500000, 'x') + "\nb: [*a,*a,*a,*a,*a]\n";
  EXPECT_EQ(read_all(fat), "2:14 the aliases make more than 2097152 bytes of this");
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i)
    deep += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  EXPECT_EQ(read_all(deep), "32:12 nested deeper than 32 levels");
}

TEST(Yaml, WritesWhatItReads) {
  const std::string json =
      R"({"apiVersion":"firn/v1","empty":{},"kind":"Pool","list":[{"a":1,"b":["x",[],[1,2]]},"10.0.0.0/8"],"none":null,)"
      R"("odd":["yes","no","12","1e3","0x1","2026-01-31","12:30","","~","null","- x","a: b","a #b","fe80::","\n","\u0001\"\\","é","1_000",)"
      R"(" lead","trail ","!x","*x","&x","?","%","@","`","on","1.5.2","192.0.2.1","[a","{b"],"yes":true})";
  const auto document = json::Document::parse(json);
  ASSERT_TRUE(document);
  const std::string yaml = write(document->root());
  EXPECT_EQ(read_all(yaml), document->root().dump()) << yaml;
  const auto small = json::Document::parse(
      R"({"kind":"Pool","spec":{"cidr":"10.44.0.0/16","labels":{"on":"yes","rack":"r1"},"rules":[{"a":true,"b":2},[1]],"x":[]}})");
  EXPECT_EQ(write(small->root()),
            "kind: Pool\n"
            "spec:\n"
            "  cidr: 10.44.0.0/16\n"
            "  labels:\n"
            "    \"on\": \"yes\"\n"
            "    rack: r1\n"
            "  rules:\n"
            "    - a: true\n"
            "      b: 2\n"
            "    - - 1\n"
            "  x: []\n");
}

}  // namespace
}  // namespace firn::yaml
