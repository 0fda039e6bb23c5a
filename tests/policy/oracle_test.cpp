// Policy oracle: random policies, endpoints and namespaces are changed step by step; after each step the kernel's verdict on random
// packets is compared with the oracle's. 100,000 packets, 1,000,000 with FIRN_LONG=yes. FIRN_SEED=N repeats a run.
#include "tests/policy/oracle.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>

#include "routed/nft/transaction.hpp"
#include "routed/policy/compute.hpp"
#include "routed/policy/forbidden.hpp"
#include "tests/policy/wire.hpp"

namespace firn {
namespace {

using routed::policy::Compute;
using test::Generator;
using test::Packet;
using test::Wire;
using test::World;

// What Compute wishes for, put into the kernel by nft(8) itself.
class Table {
 public:
  explicit Table(const test::NetnsFixture& netns) : netns_(netns) {
    sets_.set_actual({});
    chains_.set_actual({});
    elements_.set_actual({});
  }
  void apply(Compute& compute) {
    routed::nft::Changes changes;
    compute.take_changes(changes);
    for (auto& [key, wish] : changes.sets) wish ? sets_.want(key, *wish) : sets_.unwant(key);
    for (auto& [key, wish] : changes.chains) wish ? chains_.want(key, *wish) : chains_.unwant(key);
    for (auto& [key, wish] : changes.elements) wish ? elements_.want(key, *wish) : elements_.unwant(key);
    const auto step = routed::nft::incremental("firn", sets_, chains_, elements_, {});
    ASSERT_TRUE(step);
    if (first_) run(routed::nft::replacement("firn", sets_, chains_, elements_, {}, nullptr).text);
    else if (!step->empty()) run(step->text);
    first_ = false;
    sets_.set_actual(sets_.desired());
    chains_.set_actual(chains_.desired());
    elements_.set_actual(elements_.desired());
  }

 private:
  void run(const std::string& text) {
    const std::string file = testing::TempDir() + "/firn-oracle-" + std::to_string(::getpid()) + ".nft";
    std::ofstream(file) << text;
    ASSERT_EQ(test::run_program(&netns_, {"/usr/sbin/nft", "-f", file}), 0) << text;
    ::unlink(file.c_str());
  }
  const test::NetnsFixture& netns_;
  routed::nft::SetMap sets_;
  routed::nft::ChainMap chains_;
  routed::nft::ElementMap elements_;
  bool first_ = true;
};

std::string key_of(const test::OraclePolicy& policy) { return model::keys::policy(policy.scope, policy.name); }

// The world, and firn's view of it.
class Stage {
 public:
  explicit Stage(uint64_t seed) : random(seed) {
    for (int slot = 0; slot < Wire::slots; ++slot) put_endpoint(slot);
    for (int i = 0; i < 4; ++i) put_policy();
  }

  // One to four changes of any kind.
  void step() {
    for (int i = random.number(1, 4); i > 0; --i) {
      const int what = random.number(1, 100);
      if (what <= 45) put_policy();
      else if (what <= 60) drop_policy();
      else if (what <= 85) put_endpoint(random.number(0, Wire::slots + 5));
      else if (what <= 95) put_space();
      else put_settings();
    }
  }

  World world;
  Compute compute;
  Generator random;

 private:
  void put_policy() {
    const auto policy = random.policy(random.number(0, 7));
    world.policies[key_of(policy)] = policy;
    const model::Policy record = policy.record();
    const Status taken = compute.set_policy(key_of(policy), &record);
    ASSERT_TRUE(taken) << taken.error().message;
  }
  void drop_policy() {
    if (world.policies.size() < 2) return;
    const auto it = std::next(world.policies.begin(), random.number(0, static_cast<int>(world.policies.size()) - 1));
    ASSERT_TRUE(compute.set_policy(it->first, nullptr));
    world.policies.erase(it);
  }
  // The first slots are here, the others are endpoints of other hosts.
  void put_endpoint(int slot) {
    const bool here = slot < Wire::slots;
    const int other = slot - Wire::slots + 1;
    const Address v4 = here ? Wire::v4(slot) : Address::v4(0x0a2d0000 + static_cast<uint32_t>(other));
    const Address v6 = here ? Wire::v6(slot) : Address::v6((uint128{0xfd00004500000000} << 64) + static_cast<unsigned>(other));
    const std::string id = "e" + std::to_string(slot);
    if (!here && random.chance(30)) {
      world.endpoints.erase(id);
      compute.set_endpoint(id, nullptr, false);
      return;
    }
    test::OracleEndpoint endpoint = random.endpoint(v4, v6);
    endpoint.here = here;
    endpoint.slot = here ? slot : -1;
    world.endpoints[id] = endpoint;
    model::Endpoint record;
    record.pod_namespace = endpoint.space;
    record.labels = endpoint.labels;
    record.addresses = endpoint.addresses;
    std::string ports;
    for (const auto& port : endpoint.ports) {
      ports +=
          (ports.empty() ? "" : ",") + port.name + "=" + std::to_string(port.port) + "/" + (port.protocol == 6 ? "tcp" : "udp");
    }
    if (!ports.empty()) record.annotations["firn.io/ports"] = ports;
    if (here) {
      record.host_ifname = Wire::interface(slot);
      record.mac = Wire::mac(slot);
    }
    compute.set_endpoint(id, &record, here);
  }
  void put_space() {
    static const char* names[] = {"default", "blue", "green"};
    const std::string name = names[random.number(0, 2)];
    if (random.chance(20)) {
      world.spaces.erase(name);
      compute.set_namespace(name, nullptr);
      return;
    }
    const model::Namespace record{name, random.labels()};
    world.spaces[name] = record.labels;
    compute.set_namespace(name, &record);
  }
  void put_settings() {
    world.default_deny = random.chance(30);
    model::PolicySettings settings;
    settings.default_deny = world.default_deny;
    compute.set_settings(settings);
  }
};

std::string tell(const World& world, const Packet& packet) {
  std::string out = packet.source.to_string() + ":" + std::to_string(packet.source_port) + " -> " + packet.destination.to_string() +
                    ":" + std::to_string(packet.destination_port) + " protocol " + std::to_string(packet.protocol) + " icmp " +
                    std::to_string(packet.icmp_type) + "/" + std::to_string(packet.icmp_code) + "\n";
  for (const auto& [id, endpoint] : world.endpoints) {
    out += id + " " + endpoint.addresses[0].to_string() + " " + endpoint.space;
    for (const auto& [key, value] : endpoint.labels) out += " " + key + "=" + value;
    for (const auto& port : endpoint.ports)
      out += " " + port.name + "=" + std::to_string(port.port) + "/" + std::to_string(port.protocol);
    out += "\n";
  }
  for (const auto& [key, policy] : world.policies) out += model::encode(policy.record()) + "\n";
  return out + (world.default_deny ? "default deny" : "default allow");
}

bool explained(const Stage& stage, const policy::Evaluator& evaluator, const Packet& packet) {
  netlink::Flow flow;
  flow.real = {packet.source,    packet.destination, packet.protocol, packet.source_port, packet.destination_port, 0,
               packet.icmp_type, packet.icmp_code};
  routed::policy::FlowView view;
  view.holders = stage.compute.holders({packet.source, packet.destination});
  view.here = stage.compute.addresses_here();
  return routed::policy::forbidden({flow}, evaluator, view).empty();
}

TEST(PolicyOracle, KernelAndOracleAgree) {
  const bool is_long = std::getenv("FIRN_LONG") != nullptr && std::string(std::getenv("FIRN_LONG")) == "yes";
  const size_t wanted = is_long ? 1'000'000 : 100'000;
  const uint64_t seed = std::getenv("FIRN_SEED") != nullptr
                            ? std::strtoull(std::getenv("FIRN_SEED"), nullptr, 10)
                            : static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Wire wire;
  Table table(wire.host());
  Stage stage(seed);
  uint32_t serial = 0;
  size_t judged = 0, passed = 0, steps = 0;
  std::set<uint32_t> spoofs;
  while (judged < wanted) {
    table.apply(stage.compute);
    if (testing::Test::HasFatalFailure()) return;
    wire.forget_connections();
    std::vector<Wire::Shot> shots;
    std::map<uint32_t, bool> should;
    for (uint32_t i = 1; i <= 250; ++i) {
      Wire::Shot shot;
      shot.packet = stage.random.packet(stage.world, static_cast<uint16_t>(20000 + i * 37));
      shot.serial = 0x5a000000U + serial++;  // unlike the end of any packet that the kernel sends by itself
      const auto* sender = stage.world.holder(shot.packet.source);
      if (sender != nullptr && sender->here) shot.slot = sender->slot;
      shot.mac = Wire::mac(shot.slot);
      bool pass = test::passes(stage.world, shot.packet);
      if (shot.slot >= 0 && stage.random.chance(4)) {
        // Somebody else's address, or MAC.
        if (stage.random.chance(50)) shot.slot = (shot.slot + 1) % Wire::slots, shot.mac = Wire::mac(shot.slot);
        else shot.mac = *Mac::parse("02:00:00:00:0f:01");
        pass = false;
        spoofs.insert(shot.serial);
      }
      should[shot.serial] = pass;
      shots.push_back(shot);
    }
    const auto came = wire.fire(shots);
    const auto evaluator = stage.compute.evaluator();
    ASSERT_TRUE(evaluator) << evaluator.error().message;
    for (const auto& shot : shots) {
      ASSERT_EQ(came.contains(shot.serial), should[shot.serial])
          << "step " << steps << ", slot " << shot.slot << " as " << shot.mac.to_string() << "\n"
          << tell(stage.world, shot.packet);
      if (!spoofs.contains(shot.serial)) {
        // What `firnctl policy explain` says, and what ends connections.
        ASSERT_EQ(explained(stage, *evaluator, shot.packet), should[shot.serial]) << tell(stage.world, shot.packet);
      }
      ++judged;
      if (should[shot.serial]) ++passed;
    }
    ++steps;
    stage.step();
    if (testing::Test::HasFatalFailure()) return;
  }
  std::printf("%zu packets judged in %zu steps: %zu pass, %zu spoofed, no mismatch\n", judged, steps, passed, spoofs.size());
  // A test in which nothing passes, or everything, shows little.
  EXPECT_GT(passed, judged / 10);
  EXPECT_LT(passed, judged * 9 / 10);
}

}  // namespace
}  // namespace firn
