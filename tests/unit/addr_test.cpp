#include "lib/addr/addr.hpp"

#include <gtest/gtest.h>

namespace firn {
namespace {

TEST(Address, ParsesAndPrintsTheCanonicalForm) {
  for (const auto& [in, out] : std::vector<std::pair<std::string, std::string>>{
           {"10.0.0.1", "10.0.0.1"}, {"255.255.255.255", "255.255.255.255"}, {"::", "::"}, {"FD00::0001", "fd00::1"},
           {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}}) {
    auto address = Address::parse(in);
    ASSERT_TRUE(address.ok()) << in;
    EXPECT_EQ(address->to_string(), out);
  }
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const std::string& bad : {std::string(""), std::string("10.0.0"), std::string("10.0.0.256"), std::string("010.0.0.1"),
                                 std::string("fe80::1%eth0"), std::string("10.0.0.1 "), std::string("10.0.0.1\0x", 10),
                                 std::string(500, '1'), std::string("[::1]")}) {
    auto address = Address::parse(bad);
    ASSERT_FALSE(address.ok()) << bad;
    EXPECT_TRUE(address.error().is(Code::invalid));
    EXPECT_LT(address.error().message.size(), 200u) << "a hostile text must not be echoed whole";
  }
}

TEST(Address, OrdersFamiliesThenNumbers) {
  EXPECT_LT(Address::parse("9.255.0.0").value(), Address::parse("10.0.0.0").value());
  EXPECT_LT(Address::parse("255.0.0.0").value(), Address::parse("::").value());
}

TEST(Address, PlusCarriesAndWraps) {
  EXPECT_EQ(Address::parse("10.0.0.255")->plus(1).to_string(), "10.0.1.0");
  EXPECT_EQ(Address::parse("fd00::ffff:ffff:ffff:ffff")->plus(1).to_string(), "fd00:0:0:1::");
  EXPECT_EQ(Address::parse("255.255.255.255")->plus(1).to_string(), "0.0.0.0");
}

TEST(Address, KnowsItsKind) {
  EXPECT_TRUE(Address::parse("127.1.2.3")->is_loopback());
  EXPECT_TRUE(Address::parse("::1")->is_loopback());
  EXPECT_TRUE(Address::parse("224.0.0.1")->is_multicast());
  EXPECT_TRUE(Address::parse("ff02::1")->is_multicast());
  EXPECT_TRUE(Address::parse("169.254.1.1")->is_link_local());
  EXPECT_TRUE(Address::parse("febf::1")->is_link_local());
  EXPECT_FALSE(Address::parse("fec0::1")->is_link_local());
}

TEST(Prefix, ParsesOnlyWithHostBitsClear) {
  EXPECT_EQ(Prefix::parse("10.0.0.0/8")->to_string(), "10.0.0.0/8");
  EXPECT_EQ(Prefix::parse("10.1.2.3")->to_string(), "10.1.2.3/32");
  auto bad = Prefix::parse("10.0.0.1/24");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("10.0.0.0/24"), std::string::npos) << bad.error().message;
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "fd00::/129", "/8", "10.0.0.0/8/8"}) {
    EXPECT_FALSE(Prefix::parse(text).ok()) << text;
  }
}

TEST(Prefix, ContainsAndOverlaps) {
  const Prefix ten = *Prefix::parse("10.0.0.0/8");
  const Prefix block = *Prefix::parse("10.1.0.64/26");
  EXPECT_TRUE(ten.contains(block));
  EXPECT_FALSE(block.contains(ten));
  EXPECT_TRUE(block.overlaps(ten));
  EXPECT_TRUE(block.contains(*Address::parse("10.1.0.127")));
  EXPECT_FALSE(block.contains(*Address::parse("10.1.0.128")));
  EXPECT_FALSE(Prefix::any(Family::v4).contains(*Address::parse("::1"))) << "families never mix";
  EXPECT_TRUE(Prefix::any(Family::v6).contains(*Address::parse("::1")));
}

TEST(Prefix, CountsAndIndexes) {
  const Prefix block = *Prefix::parse("fd00::40/122");
  EXPECT_EQ(static_cast<uint64_t>(block.count()), 64u);
  EXPECT_EQ(block.last().to_string(), "fd00::7f");
  EXPECT_EQ(block.at(63), block.last());
  EXPECT_EQ(static_cast<uint64_t>(block.offset_of(*Address::parse("fd00::41"))), 1u);
}

TEST(InterfaceAddress, KeepsHostBits) {
  auto address = InterfaceAddress::parse("10.1.2.3/24");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->to_string(), "10.1.2.3/24");
  EXPECT_EQ(address->network().to_string(), "10.1.2.0/24");
}

TEST(Mac, RoundTripAndLinkLocal) {
  auto mac = Mac::parse("EE:ee:ee:ee:ee:0f");
  ASSERT_TRUE(mac.ok());
  EXPECT_EQ(mac->to_string(), "ee:ee:ee:ee:ee:0f");
  EXPECT_EQ(mac->link_local().to_string(), "fe80::ecee:eeff:feee:ee0f");
  EXPECT_TRUE(mac->is_unicast());
  EXPECT_FALSE(Mac::parse("01:00:5e:00:00:01")->is_unicast());
  for (const char* bad : {"", "ee:ee:ee:ee:ee", "ee:ee:ee:ee:ee:eg", "ee-ee-ee-ee-ee-ee", "eee:e:ee:ee:ee:ee", " e:ee:ee:ee:ee:ee"}) {
    EXPECT_FALSE(Mac::parse(bad).ok()) << bad;
  }
}

TEST(IfName, FollowsTheKernelAndIsSafeInPaths) {
  EXPECT_TRUE(IfName::parse("eth0").ok());
  EXPECT_TRUE(IfName::parse("fifteen-bytes-x").ok());
  for (const char* bad : {"", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx", "t\tb", "\xc3\xa4"}) {
    EXPECT_FALSE(IfName::parse(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace firn
