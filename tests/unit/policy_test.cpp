// Selectors: what they select, how they are spelled, and what is said of bad ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/policy/check.hpp"
#include "lib/policy/selector.hpp"

namespace firn::policy {
namespace {

using testing::HasSubstr;

bool selects(std::string_view text, const Labels& labels) {
  auto selector = Selector::parse(text);
  EXPECT_TRUE(selector.ok()) << text << ": " << selector.error().message;
  return selector.ok() && selector->matches(labels);
}
std::string spelled(std::string_view text) {
  auto selector = Selector::parse(text);
  return selector ? selector->text() : selector.error().message;
}

TEST(Selector, SelectsByLabels) {
  const Labels web = {{"app", "web"}, {"tier", "front-1"}, {"example.org/env", "prod"}, {"empty", ""}};
  for (const char* yes : {"",
                          "  ",
                          "all()",
                          "app == 'web'",
                          "app==\"web\"",
                          "app != 'db'",
                          "has(tier)",
                          "has(empty)",
                          "empty == ''",
                          "app in {'db', 'web'}",
                          "app not in {'db'}",
                          "tier starts with 'front'",
                          "tier ends with '-1'",
                          "tier contains 'ont'",
                          "example.org/env == 'prod'",
                          "!has(other)",
                          "!(app == 'db' || has(other))",
                          "app == 'web' && has(tier) && example.org/env in {'prod','stage'}",
                          "app == 'db' || has(tier)",
                          "app == 'db' && has(other) || has(tier)",
                          "!app == 'db'",
                          "!!has(app)",
                          "app starts with ''",
                          "!all() || all()"})
    EXPECT_TRUE(selects(yes, web)) << yes;
  for (const char* no : {"!all()", "app == 'we'", "app == 'WEB'", "app != 'web'", "has(other)", "app not in {'db', 'web'}",
                         "tier starts with 'ront'", "tier ends with 'front'", "tier contains 'back'",
                         "app == 'db' && (has(other) || has(tier))", "empty != ''"})
    EXPECT_FALSE(selects(no, web)) << no;
}

// As in Kubernetes: NotIn and != are true of what has not the label at all.
TEST(Selector, OfALabelThatIsNotThereOnlyNotHolds) {
  for (const char* yes : {"x != 'a'", "x not in {'a', 'b'}", "!has(x)", "!x == 'a'", "!x contains ''"})
    EXPECT_TRUE(selects(yes, {})) << yes;
  for (const char* no : {"x == 'a'", "x == ''", "x in {'', 'a'}", "has(x)", "x starts with ''", "x ends with ''", "x contains ''"})
    EXPECT_FALSE(selects(no, {})) << no;
}

TEST(Selector, WordsOfTheGrammarMayBeLabels) {
  const Labels labels = {{"in", "a"}, {"not", "b"}, {"has", "c"}, {"all", "d"}, {"with", "e"}, {"starts", "f"}};
  EXPECT_TRUE(
      selects("in in {'a'} && not not in {'a'} && has == 'c' && all == 'd' && starts starts with 'f' && has(with)", labels));
}

TEST(Selector, HasOneSpelling) {
  EXPECT_EQ(spelled(""), "all()");
  EXPECT_EQ(spelled(" ( ( all( ) ) ) "), "all()");
  EXPECT_EQ(spelled("((a=='b'))&&(c==\"d\"&&has( e ))"), "a == 'b' && c == 'd' && has(e)");
  EXPECT_EQ(spelled("a in {'z','b','z'}"), "a in {'b', 'z'}");
  EXPECT_EQ(spelled("a in {'z'}"), "a == 'z'");
  EXPECT_EQ(spelled("!(a in {'z'})"), "a != 'z'");
  EXPECT_EQ(spelled("!a not in {'y','z'}"), "a in {'y', 'z'}");
  EXPECT_EQ(spelled("!!!has(a)"), "!has(a)");
  EXPECT_EQ(spelled("(a=='1' || b=='2') && c=='3'"), "(a == '1' || b == '2') && c == '3'");
  EXPECT_EQ(spelled("a=='1' || (b=='2' && c=='3')"), "a == '1' || b == '2' && c == '3'");
  EXPECT_EQ(spelled("!(a=='1' && b=='2')"), "!(a == '1' && b == '2')");
  EXPECT_EQ(spelled("a == \"it's\""), "a == \"it's\"");
  for (const char* text : {"!(a=='1'&&!(b=='2'||c starts   with'3'))", "!(((a ends with 'x')))", "a contains '\"'"}) {
    const std::string once = spelled(text);
    EXPECT_EQ(spelled(once), once) << text;
  }
}

TEST(Selector, BadOnesAreToldWithTheColumn) {
  const std::pair<const char*, const char*> cases[] = {
      {"app", "column 4: expected ==, !=, in, not in, starts with, ends with or contains, found the end"},
      {"app = 'web'", "column 5: expected ==, !=, in, not in, starts with, ends with or contains, found '='"},
      {"app == web", "column 8: expected a value in quotes, as 'web', found 'web'"},
      {"app == 'web", "column 8: the quote that begins here has no end"},
      {"app == 'a\nb'", "column 8: a value has no control characters"},
      {"app in {}", "column 9: expected a value in quotes, as 'web', found '}'"},
      {"app in {'a'", "column 12: expected , or }, found the end"},
      {"app in 'a'", "column 8: expected { and values, as {'a', 'b'}, found '''"},
      {"app not 'a'", "column 9: expected in, found '''"},
      {"app starts 'a'", "column 12: expected with, found '''"},
      {"(has(a)", "column 8: expected &&, || or ), found the end"},
      {"has(a", "column 6: expected ), found the end"},
      {"has(a) has(b)", "column 8: expected &&, || or the end, found 'has'"},
      {"has(a) & has(b)", "column 8: expected &&, || or the end, found '&'"},
      {"has()", "column 5: expected a label, found ')'"},
      {"&& has(a)", "column 1: expected a label, has(LABEL), all(), ! or (, found '&'"},
      {"has(a) \x01", "column 8: expected &&, || or the end, found a character that means nothing here"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(spelled(text), message) << text;
}

TEST(Selector, HasLimits) {
  EXPECT_TRUE(Selector::parse(std::string(64, '!') + "has(a)").ok());
  EXPECT_THAT(spelled(std::string(65, '!') + "has(a)"), HasSubstr("64 levels"));
  EXPECT_THAT(spelled(std::string(4000, '(')), HasSubstr("64 levels"));
  EXPECT_THAT(spelled(std::string(4097, ' ')), HasSubstr("4096 bytes"));
  std::string terms = "has(a)";
  for (int i = 1; i < 256; ++i) terms += "||has(a)";
  EXPECT_TRUE(Selector::parse(terms).ok());
  EXPECT_THAT(spelled(terms + "||has(a)"), HasSubstr("256 terms"));
  // Spelled out it would be longer than what is read again.
  std::string many = "a in{'1'";
  for (int i = 0; many.size() < 4000; ++i) many += ",'" + std::to_string(i) + "'";
  EXPECT_THAT(spelled(many + "}"), HasSubstr("4096 bytes"));
}

TEST(Selector, OfAPolicyIsToldWithItsPlace) {
  model::Policy policy;
  EXPECT_TRUE(check_selectors(policy).ok());
  policy.egress.resize(2);
  policy.egress[1].destination.namespace_selector = "team ==";
  EXPECT_EQ(check_selectors(policy).error().message,
            "/egress/1/destination/namespace_selector: column 8: expected a value in quotes, as 'web', found the end");
  policy.selector = "a";
  EXPECT_THAT(check_selectors(policy).error().message, HasSubstr("/selector: column 2: "));
}

}  // namespace
}  // namespace firn::policy
