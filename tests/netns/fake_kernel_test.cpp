// FakeKernel against the real kernel: the same random requests to both, the same answers and the same routes afterwards.
// Whatever differs here would make tests on the fake prove the wrong thing.
#include "tests/support/fake_kernel.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/support/netns_fixture.hpp"

namespace firn::test {
namespace {

using namespace netlink;  // NOLINT(google-build-using-namespace)

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  Request next() {
    switch (pick(14)) {
      case 12: return ReplaceForward{forward()};
      case 13: return RemoveForward{forward()};
      case 0: {
        SetLink set;
        set.index = link();
        set.up = pick(3) != 0;
        return set;
      }
      case 1: return ReplaceNeighbour{neighbour()};
      case 2: return RemoveNeighbour{neighbour()};
      case 3: return AddAddress{address()};
      case 4: return RemoveAddress{address()};
      case 5: return AddRule{rule()};
      case 6: return RemoveRule{rule()};
      case 7:
      case 8: return AddRoute{route()};
      case 9: return ReplaceRoute{route()};
      default: return RemoveRoute{route()};
    }
  }

 private:
  size_t pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  int link() { return static_cast<int>(pick(4)) + 2; }  // 2 and 3 are a pair, 4 is a vxlan link, 5 does not exist
  Forward forward() {
    const Mac mac = Mac::parse(pick(2) == 0 ? "02:00:00:00:00:01" : "02:00:00:00:00:02").value();
    const Address there = pick(4) == 0 ? Address::parse("2001:db8::9").value() : Address::v4(0xc0000209U + static_cast<uint32_t>(pick(2)));
    return {static_cast<int>(pick(2)) + 4, mac, there, true};
  }
  Address host() {
    return pick(2) == 0 ? Address::v4(0x0a000001U + static_cast<uint32_t>(pick(3)))
                        : Address::parse("fd00::1").value().plus(pick(3));
  }
  Neighbour neighbour() { return {link(), host(), Mac::parse("02:00:00:00:00:01").value(), true}; }
  LinkAddress address() {
    const Address own = pick(2) == 0 ? Address::parse("10.9.9.9").value() : Address::parse("fd09::9").value();
    return {link(), InterfaceAddress{own, own.bits()}};
  }
  Rule rule() { return {Prefix::host(host()), 100, static_cast<uint32_t>(500 + pick(2))}; }
  Route route() {
    Route out;
    const Address destination = host();
    out.destination = Prefix::host(destination);
    out.metric = static_cast<uint32_t>(pick(2)) * 10;
    out.protocol = pick(4) == 0 ? 3 : route_protocol;
    if (pick(4) == 0) {
      out.type = RouteType::blackhole;
      return out;
    }
    out.oif = link();
    if (pick(4) == 0) {
      out.gateway = destination.is_v4() ? Address::parse("192.0.2.1").value() : Address::parse("2001:db8::1").value();
      out.onlink = pick(2) == 0;
    }
    return out;
  }
  std::mt19937 random_;
};

// In words, so that a difference can be read. Without the kernel's own: link-local networks, made and removed with the link.
std::vector<std::string> visible(Kernel& kernel) {
  std::vector<std::string> out;
  const std::vector<Route> routes = kernel.routes(RouteFilter{}).value();
  for (const Route& r : routes) {
    if (r.protocol == route_protocol || r.protocol == 3) out.push_back(describe(AddRoute{r}));
  }
  const std::vector<Neighbour> neighbours = kernel.neighbours(0).value();
  for (const Neighbour& n : neighbours) out.push_back(describe(ReplaceNeighbour{n}));
  const auto links = kernel.links().value();
  for (const Link& link : links) {
    if (!link.vxlan) continue;
    const std::vector<Forward> forwards = kernel.forwards(link.index).value();
    for (const Forward& f : forwards) out.push_back(describe(ReplaceForward{f}));
  }
  return out;
}

class FakeKernelFidelity : public ::testing::TestWithParam<uint32_t> {};

TEST_P(FakeKernelFidelity, AnswersAsTheKernelDoes) {
  const NetnsFixture netns;
  const auto real = netns.kernel();
  FakeKernel fake;
  CreateVeth create;
  create.name = "a0";
  create.peer_name = "a1";
  CreateVxlan overlay;
  overlay.name = "x0";
  overlay.mac = Mac::parse("02:00:00:00:00:09").value();
  overlay.vxlan = {.vni = 7, .port = 4789, .local = Address::parse("192.0.2.1").value()};
  const std::vector<Request> first{create, overlay};
  ASSERT_TRUE(all_done(real->apply(first)).ok());
  ASSERT_TRUE(all_done(fake.apply(first)).ok());
  // Both number the peer first, behind lo.
  ASSERT_EQ(fake.index_of("a0").value(), real->index_of("a0").value());
  Generator generator(GetParam());
  std::string history;
  for (int step = 0; step < 400; ++step) {
    const std::vector<Request> one{generator.next()};
    const auto expected = real->apply(one).value();
    const auto got = fake.apply(one).value();
    const int expected_errno = expected.empty() ? 0 : expected.front().error.sys;
    const int got_errno = got.empty() ? 0 : got.front().error.sys;
    history = "step " + std::to_string(step) + ": " + describe(one.front()) +
              (expected.empty() ? "" : "; kernel: " + expected.front().error.message);
    ASSERT_EQ(got_errno, expected_errno) << history;
    ASSERT_THAT(visible(fake), ::testing::UnorderedElementsAreArray(visible(*real))) << history;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FakeKernelFidelity, ::testing::Range(1U, 21U));

}  // namespace
}  // namespace firn::test
