// What a change costs when there is much already: one policy of many that changes its rules, one member that comes and goes, one
// container that does, each with 10 policies of 10 members and with 10,000 of 10 (100,000 members), through Compute, the
// transaction and firn-nft into a kernel table of a private namespace; and iptables-restore of rules that say the same as the large
// one. Every policy selects somebody here, so all of them are in the table.
//   policy_update BIN [--policies N] [--members N] [--rounds N]
// Prints one line of JSON. Goals: large / small at most 1.5 at p50, p99 at most 5 ms.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.hpp"
#include "lib/loop/loop.hpp"
#include "routed/nft/child.hpp"
#include "routed/nft/table.hpp"
#include "routed/policy/compute.hpp"
#include "tests/support/netns_fixture.hpp"

extern char** environ;  // NOLINT

namespace {

using namespace firn;  // NOLINT(google-build-using-namespace)
using clock_type = std::chrono::steady_clock;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "policy_update: %s\n", what.c_str());
  std::exit(1);
}

double since(clock_type::time_point began) { return std::chrono::duration<double, std::milli>(clock_type::now() - began).count(); }

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

Address member_address(size_t number) { return Address::v4(0x0b000000 + static_cast<uint32_t>(number)); }

model::Policy policy(size_t number, uint16_t port) {
  model::Policy out;
  out.scope = "default";
  out.name = "p" + std::to_string(number);
  out.selector = "group == 'g" + std::to_string(number % 250) + "'";
  out.applies_ingress = true;
  model::PolicyRule rule;
  rule.protocol = 6;
  rule.source.selector = "app == 'a" + std::to_string(number) + "'";
  rule.destination.ports = {{port, port, {}}, {443, 443, {}}};
  out.ingress = {rule};
  return out;
}

model::Endpoint remote(size_t number, size_t app) {
  model::Endpoint out;
  out.addresses = {member_address(number)};
  out.labels = {{"app", "a" + std::to_string(app)}};
  return out;
}

model::Endpoint local(size_t number) {
  model::Endpoint out;
  out.host_ifname = "firn" + std::to_string(number);
  out.mac = *Mac::parse("02:00:00:00:00:01");
  out.addresses = {Address::v4(0x0a2c0000 + static_cast<uint32_t>(number))};
  out.labels = {{"group", "g" + std::to_string(number % 250)}};
  return out;
}

// One host with its table.
class Side {
 public:
  Side(const std::string& bin, size_t policies, size_t members)
      : policies_(policies),
        members_(members),
        child_(loop_, clock_, bin + "/firn-nft", {[] {}, [](const Error& why) { give_up(why.message); }}),
        table_(loop_, clock_, child_, "firn", {[this] { loop_.stop(); }, [](const Error& why) { give_up(why.message); }}) {
    for (size_t i = 0; i < std::min<size_t>(policies, 250); ++i) {
      const auto endpoint = local(i);
      compute_.set_endpoint("here" + std::to_string(i), &endpoint, true);
    }
    for (size_t i = 0; i < policies; ++i) put(policy(i, 80));
    for (size_t i = 0; i < members; ++i) {
      const auto endpoint = remote(i, i % policies);
      compute_.set_endpoint("there" + std::to_string(i), &endpoint, false);
    }
    hand_over();
    const auto began = clock_type::now();
    table_.open();
    settle();
    whole = since(began);
  }
  double change_policy(size_t round) {
    return timed([&] { put(policy(round * 7919 % policies_, static_cast<uint16_t>(1000 + round))); });
  }
  double change_member(size_t round) {
    return timed([&] {
      const auto endpoint = remote(round % members_, (round * 31 + 1) % policies_);
      compute_.set_endpoint("there" + std::to_string(round % members_), &endpoint, false);
    });
  }
  double change_endpoint(size_t round) {
    return timed([&] {
      const std::string id = "new" + std::to_string(round / 2);
      const auto endpoint = local(300 + round / 2);
      auto known = endpoint;
      known.labels = {{"group", "g0"}};
      compute_.set_endpoint(id, round % 2 == 0 ? &known : nullptr, true);
    });
  }
  double whole = 0;

 private:
  void put(const model::Policy& record) {
    if (!compute_.set_policy(model::keys::policy(record.scope, record.name), &record)) give_up("a policy was refused");
  }
  void hand_over() {
    routed::nft::Changes changes;
    compute_.take_changes(changes);
    table_.want(changes);
  }
  void settle() {
    const auto pending = [this] {
      const auto state = table_.state();
      return state.sets.pending + state.chains.pending + state.elements.pending > 0 || !table_.is_in_place();
    };
    while (pending()) {
      loop_.context().restart();
      loop_.run();
    }
  }
  template <class F>
  double timed(F&& change) {
    const auto began = clock_type::now();
    change();
    hand_over();
    table_.flush();
    settle();
    return since(began);
  }

  size_t policies_, members_;
  loop::Loop loop_;
  SystemClock clock_;
  routed::policy::Compute compute_;
  routed::nft::Child child_;
  routed::nft::Table table_;
};

double iptables_restore(const test::NetnsFixture& netns, size_t policies, size_t members) {
  const std::string file = "/tmp/firn-policy-update-" + std::to_string(::getpid());
  {
    std::ofstream out(file);
    out << "*filter\n:FORWARD ACCEPT [0:0]\n";
    for (size_t i = 0; i < policies; ++i) out << ":P" << i << " - [0:0]\n";
    for (size_t i = 0; i < members; ++i) {
      out << "-A P" << i % policies << " -s " << member_address(i).to_string()
          << " -p tcp -m multiport --dports 80,443 -j ACCEPT\n";
    }
    for (size_t i = 0; i < policies; ++i) out << "-A FORWARD -o firn" << i % 250 << " -j P" << i << "\n";
    out << "COMMIT\n";
  }
  const auto began = clock_type::now();
  if (test::run_program(&netns, {"/usr/sbin/iptables-legacy-restore", file}) != 0) give_up("iptables-restore failed");
  const double took = since(began);
  ::unlink(file.c_str());
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) give_up("usage: policy_update BIN [--policies N] [--members N] [--rounds N]");
  size_t policies = 10'000, members = 100'000, rounds = 200;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    const size_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--policies") policies = value;
    else if (option == "--members") members = value;
    else if (option == "--rounds") rounds = value;
    else give_up("unknown option " + option);
  }
  const std::string bin = argv[1];
  test::NetnsFixture small_netns, large_netns, iptables_netns;
  // On this thread, with which firn-nft would end.
  const auto side = [&](const test::NetnsFixture& netns, size_t count, size_t of) {
    if (!netlink::enter_netns(netns.netns())) give_up("no namespace");
    return std::make_unique<Side>(bin, count, of);
  };
  const auto small = side(small_netns, 10, 100), large = side(large_netns, policies, members);
  std::vector<double> small_policy, large_policy, small_member, large_member, small_endpoint, large_endpoint;
  for (size_t round = 0; round < rounds; ++round) {
    small_policy.push_back(small->change_policy(round));
    large_policy.push_back(large->change_policy(round));
    small_member.push_back(small->change_member(round));
    large_member.push_back(large->change_member(round));
    small_endpoint.push_back(small->change_endpoint(round));
    large_endpoint.push_back(large->change_endpoint(round));
  }
  const double restore = iptables_restore(iptables_netns, policies, members);
  const auto print = [](const char* name, const std::vector<double>& few, const std::vector<double>& many) {
    std::printf("\"%s\":{\"small_p50\":%.3f,\"large_p50\":%.3f,\"large_p99\":%.3f,\"ratio\":%.2f},", name, quantile(few, 0.5),
                quantile(many, 0.5), quantile(many, 0.99), quantile(many, 0.5) / quantile(few, 0.5));
  };
  std::printf("{\"policies\":%zu,\"members\":%zu,\"unit\":\"ms\",", policies, members);
  print("policy", small_policy, large_policy);
  print("member", small_member, large_member);
  print("endpoint", small_endpoint, large_endpoint);
  std::printf("\"whole\":%.0f,\"iptables_restore\":%.0f,\"restore_by_policy\":%.0f}\n", large->whole, restore,
              restore / quantile(large_policy, 0.5));
  return 0;
}
