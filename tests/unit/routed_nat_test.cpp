#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routed/policy/nat.hpp"

namespace firn::routed::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

Address ip(std::string_view text) { return Address::parse(text).value(); }
Prefix net(std::string_view text) { return Prefix::parse(text).value(); }

model::Endpoint endpoint(std::vector<Address> addresses, uint16_t port, std::optional<Address> host = std::nullopt) {
  model::Endpoint out;
  out.addresses = std::move(addresses);
  model::PublishedPort published;
  published.host_port = port;
  published.container_port = 80;
  published.host_address = host;
  out.ports = {published};
  return out;
}

class NatTest : public ::testing::Test {
 protected:
  NatTest() { (void)take(); }
  // "SET KEY": its value, or "-" when it goes.
  std::map<std::string, std::string> take() {
    changes = {};
    nat.take_changes(changes);
    std::map<std::string, std::string> out;
    for (const auto& [key, value] : changes.elements) out[key.set + " " + key.key] = value.value_or("-");
    return out;
  }
  void pool(const std::string& name, const std::string& cidr, bool with_nat, std::vector<Prefix> exclude = {}) {
    model::Pool record;
    record.name = name;
    record.cidr = net(cidr);
    record.nat = with_nat;
    record.nat_exclude = std::move(exclude);
    nat.set_pool(name, &record);
  }
  Nat nat;
  nft::Changes changes;
};

TEST_F(NatTest, APortIsAnElementInEachFamily) {
  const model::Endpoint one = endpoint({ip("10.0.0.1"), ip("fd00::1")}, 8080);
  nat.set_endpoint("one", &one);
  EXPECT_THAT(take(),
              UnorderedElementsAre(Pair("port_any4 6 . 8080", "10.0.0.1 . 80"), Pair("port_any6 6 . 8080", "fd00::1 . 80"),
                                   Pair("hairpin4 10.0.0.1 . 10.0.0.1", ""), Pair("hairpin6 fd00::1 . fd00::1", "")));
  EXPECT_TRUE(changes.chains.empty() && changes.sets.empty());
  EXPECT_EQ(nat.elements_of("one").size(), 4u);
  const model::Endpoint moved = endpoint({ip("10.0.0.1")}, 8080, ip("192.0.2.1"));
  nat.set_endpoint("one", &moved);
  EXPECT_THAT(take(), UnorderedElementsAre(Pair("port_any4 6 . 8080", "-"), Pair("port_any6 6 . 8080", "-"),
                                           Pair("hairpin6 fd00::1 . fd00::1", "-"),
                                           Pair("port_one4 192.0.2.1 . 6 . 8080", "10.0.0.1 . 80")));
  nat.set_endpoint("one", nullptr);
  EXPECT_EQ(take().size(), 2u);
  EXPECT_THAT(nat.elements_of("one"), IsEmpty());
}

TEST_F(NatTest, ThePortOfAContainerThatGoesIsTheNextOnes) {
  const model::Endpoint old = endpoint({ip("10.0.0.1")}, 8080), next = endpoint({ip("10.0.0.2")}, 8080);
  nat.set_endpoint("old", &old);
  nat.set_endpoint("next", &next);
  EXPECT_EQ(take()["port_any4 6 . 8080"], "10.0.0.2 . 80");
  nat.set_endpoint("old", nullptr);
  EXPECT_EQ(take()["port_any4 6 . 8080"], "10.0.0.2 . 80");
  nat.set_endpoint("next", nullptr);
  EXPECT_EQ(take()["port_any4 6 . 8080"], "-");
}

TEST_F(NatTest, PoolsAndNodesAreInside) {
  pool("plain", "10.1.0.0/16", false);
  pool("out", "10.2.0.0/16", true);
  model::Node node;
  node.addresses = {ip("192.0.2.1"), ip("10.1.0.7"), ip("2001:db8::1")};
  nat.set_node("a", &node);
  EXPECT_THAT(take(), UnorderedElementsAre(Pair("cluster4 10.1.0.0/16", ""), Pair("cluster4 10.2.0.0/16", ""),
                                           Pair("cluster4 192.0.2.1/32", ""), Pair("cluster6 2001:db8::1/128", "")));
  EXPECT_EQ(changes.chains.at("nat_postrouting")->rules.back(), "ip saddr 10.2.0.0/16 goto nat_pool.out");
  ASSERT_TRUE(changes.chains.contains("nat_pool.out"));
  EXPECT_THAT(changes.chains["nat_pool.out"]->rules, ElementsAre("masquerade fully-random"));
  pool("out", "10.2.0.0/16", true, {net("172.16.0.0/12"), net("172.16.1.0/24")});
  EXPECT_THAT(take(), UnorderedElementsAre(Pair("nat_excluded.out 172.16.0.0/12", "")));
  EXPECT_THAT(changes.chains["nat_pool.out"]->rules, ElementsAre("ip daddr @nat_excluded.out accept", "masquerade fully-random"));
  nat.set_node("a", &node);
  EXPECT_THAT(take(), IsEmpty());
  nat.set_pool("out", nullptr);
  EXPECT_EQ(take()["cluster4 10.2.0.0/16"], "-");
  EXPECT_EQ(changes.chains.at("nat_postrouting")->rules.back(), "ip6 daddr @cluster6 accept");
  EXPECT_FALSE(changes.chains.at("nat_pool.out"));
  EXPECT_FALSE(changes.sets.at("nat_excluded.out"));
}

}  // namespace
}  // namespace firn::routed::policy
