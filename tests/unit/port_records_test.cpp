// Published ports in records and in the node store: one holder each, with the lease, whatever happens to the endpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipam/allocator.hpp"
#include "ipam/check.hpp"
#include "tests/unit/ipam_support.hpp"

namespace firn::ipam {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace keys = model::keys;

model::PublishedPort published(uint16_t host, std::optional<std::string> address = std::nullopt, uint8_t protocol = 6) {
  model::PublishedPort out;
  out.protocol = protocol;
  out.host_port = host;
  out.container_port = 80;
  if (address) out.host_address = ip(*address);
  return out;
}

TEST(PublishedPort, ARecordKeepsPortsAndLimits) {
  model::Endpoint endpoint = make_endpoint("one");
  endpoint.ports = {published(8080), published(53, "192.0.2.1", 17), published(9, "::", 132)};
  endpoint.bandwidth = {.ingress = {8'000'000, 512'000}, .egress = {80'000, 16'384}};
  const auto read = model::decode_endpoint(model::encode(endpoint));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, endpoint);
}

TEST(PublishedPort, WhatIsWrongInARecordIsNamed) {
  const std::string good = model::encode(make_endpoint("one"));
  const auto with = [&](const std::string& more) {
    const auto read = model::decode_endpoint(good.substr(0, good.size() - 1) + "," + more + "}");
    return read ? std::string() : read.error().message;
  };
  EXPECT_EQ(with(R"("ports":[{"protocol":"tcp","host_port":1,"container_port":65535}])"), "");
  EXPECT_THAT(with(R"("ports":[{"protocol":"tcp","host_port":0,"container_port":1}])"), HasSubstr("/ports/0/host_port"));
  EXPECT_THAT(with(R"("ports":[{"protocol":"tcp","host_port":1,"container_port":65536}])"), HasSubstr("/ports/0/container_port"));
  EXPECT_THAT(with(R"("ports":[{"protocol":"icmp","host_port":1,"container_port":1}])"), HasSubstr("/ports/0/protocol"));
  EXPECT_THAT(with(R"("ports":[{"protocol":"tcp","host_port":1,"container_port":1,"host_address":"x"}])"),
              HasSubstr("host_address"));
  EXPECT_THAT(
      with(R"("ports":[{"protocol":"tcp","host_port":1,"container_port":1},{"protocol":"tcp","host_port":1,"container_port":2,)"
           R"("host_address":"192.0.2.1"}])"),
      HasSubstr("192.0.2.1:1->2/tcp takes the place of 1->1/tcp"));
  EXPECT_THAT(with(R"("ingress_limit":{"rate":1,"burst":1})"), HasSubstr("/ingress_limit"));
  EXPECT_THAT(with(R"("egress_limit":{"rate":8000})"), HasSubstr("/egress_limit/burst"));
}

TEST(PublishedPort, PlacesAreOfTheFamiliesThatTheContainerHas) {
  EXPECT_EQ(model::places_of(published(80), {ip("10.0.0.1")}).size(), 1u);
  EXPECT_EQ(model::places_of(published(80), {ip("10.0.0.1"), ip("fd00::1")}).size(), 2u);
  EXPECT_EQ(model::places_of(published(80), {}).size(), 2u) << "before they are known";
  EXPECT_THAT(model::places_of(published(80, "2001:db8::1"), {ip("10.0.0.1")}), IsEmpty());
  EXPECT_EQ(keys::port(model::places_of(published(80, "192.0.2.1"), {}).at(0)), "port/tcp/00080/4-c0000201");
}

class PortRecords : public ::testing::Test {
 protected:
  PortRecords() {
    options.boot_id = "boot-1";
    options.namespace_alive = [this](const model::Endpoint& e) { return e.container_id != gone; };
  }
  Allocator allocator() { return Allocator(*store, clock, options); }
  std::string lease(const std::string& container, std::vector<model::PublishedPort> ports) {
    Allocator now = allocator();
    const auto pool = now.subnet_pool(net("10.1.0.0/24"));
    model::Endpoint endpoint = make_endpoint(container);
    endpoint.netns = "/run/netns/" + container;
    endpoint.ports = std::move(ports);
    const auto leased = now.lease(endpoint, model::Use::routed, {from_pool(pool->name)});
    return leased ? "" : std::string(to_string(leased.error().code)) + ": " + leased.error().message;
  }
  std::vector<std::string> held() { return keys_below(*store, "port/"); }
  std::vector<std::string> problems() {
    Surroundings around;
    around.boot_id = options.boot_id;
    around.namespace_alive = options.namespace_alive;
    std::vector<std::string> out;
    for (const Problem& p : check(*store, around).value()) out.push_back(std::string(to_string(p.kind)) + " " + p.object);
    return out;
  }
  void fix_all() {
    Surroundings around;
    around.boot_id = options.boot_id;
    around.namespace_alive = options.namespace_alive;
    ASSERT_TRUE(fix(*store, around, clock));
  }

  TemporaryDirectory directory;
  std::unique_ptr<kv::Store> store = open_store(directory.file("node.db"));
  test::ManualClock clock;
  Options options;
  std::string gone;
};

TEST_F(PortRecords, OneHolderEach) {
  EXPECT_EQ(lease("a", {published(8080)}), "");
  const std::string refused = lease("b", {published(9000), published(8080, "192.0.2.1")});
  EXPECT_THAT(refused, HasSubstr("8080/tcp of 192.0.2.1 for app/b/eth0 is in use: 8080/tcp of every IPv4 address is published by "
                                 "container a"));
  EXPECT_THAT(held(), ElementsAre("port/tcp/08080/4-00000000")) << "nothing of it is left";
  EXPECT_EQ(keys_below(*store, "lease/").size(), 1u);
  EXPECT_EQ(lease("b", {published(8080, std::nullopt, 17), published(9000, "192.0.2.1")}), "");
  EXPECT_EQ(lease("c", {published(9000, "192.0.2.2")}), "");
  EXPECT_THAT(lease("d", {published(9000)}), HasSubstr("conflict"));
  ASSERT_TRUE(allocator().release("app/a/eth0"));
  EXPECT_EQ(lease("d", {published(8080)}), "");
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(PortRecords, AnotherPluginsAddressesComeLater) {
  Allocator now = allocator();
  model::Endpoint endpoint = make_endpoint("a");
  endpoint.netns = "/run/netns/a";
  endpoint.ports = {published(8080)};
  ASSERT_TRUE(now.record(endpoint));
  EXPECT_EQ(held().size(), 2u) << "in either family, until they are known";
  endpoint.addresses = {ip("10.9.0.1")};
  ASSERT_TRUE(now.record(endpoint));
  EXPECT_THAT(held(), ElementsAre("port/tcp/08080/4-00000000"));
  ASSERT_TRUE(now.release("app/a/eth0"));
  EXPECT_THAT(held(), IsEmpty());
}

TEST_F(PortRecords, ABootFreesThoseOfContainersThatWentWithIt) {
  EXPECT_EQ(lease("a", {published(1)}), "");
  EXPECT_EQ(lease("b", {published(2)}), "");
  put(*store, "port/tcp/00002/4-00000000", "app/x/eth0");  // as a power cut may leave it
  gone = "a";
  options.boot_id = "boot-2";
  ASSERT_TRUE(allocator().begin_boot());
  EXPECT_THAT(held(), ElementsAre("port/tcp/00002/4-00000000"));
  EXPECT_EQ(*allocator().holder(model::PortPlace{6, 2, ip("0.0.0.0")}).value(), "app/b/eth0");
}

TEST_F(PortRecords, CheckFindsAndRepairs) {
  EXPECT_EQ(lease("a", {published(1), published(2)}), "");
  put(*store, "port/udp/00007/4-00000000", "app/x/eth0");
  ASSERT_TRUE(store->transact([](kv::Transaction& tx) -> Status {
    tx.erase("port/tcp/00002/4-00000000");
    return {};
  }));
  EXPECT_THAT(problems(), ElementsAre("endpoint-without-port app/a/eth0", "port-without-endpoint port/udp/00007/4-00000000"));
  fix_all();
  EXPECT_THAT(problems(), IsEmpty());
  EXPECT_THAT(held(), ElementsAre("port/tcp/00001/4-00000000", "port/tcp/00002/4-00000000"));
  model::Endpoint second = make_endpoint("b");
  second.netns = "/run/netns/b";
  second.boot_id = "boot-1";
  second.addresses = {ip("10.1.0.9")};
  second.ports = {published(2, "192.0.2.1")};
  second.leased = false;
  put(*store, "endpoint/app/b/eth0", model::encode(second));
  EXPECT_THAT(problems(), testing::Contains("port-conflict 2/tcp of 192.0.2.1"));
}

}  // namespace
}  // namespace firn::ipam
