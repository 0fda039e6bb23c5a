// A host with containers that are nothing but wires: frames are put in at their far ends and looked for at all far ends, so that
// a verdict of the kernel costs microseconds and no process answers. Two further links stand for the world outside.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/base/unique_fd.hpp"
#include "tests/policy/oracle.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn::test {

class Wire {
 public:
  static constexpr int slots = 8;
  Wire();

  // Slot N has 10.44.0.N+1 and fd00:44::N+1, always.
  static Address v4(int slot) { return Address::v4(0x0a2c0001 + static_cast<uint32_t>(slot)); }
  static Address v6(int slot) { return Address::v6((uint128{0xfd00004400000000} << 64) + 1 + static_cast<unsigned>(slot)); }
  static std::string interface(int slot) { return "w" + std::to_string(slot); }
  static Mac mac(int slot);

  struct Shot {
    Packet packet;
    int slot = -1;        // where it is put in; -1: outside
    Mac mac = {};         // it claims to come from
    uint32_t serial = 0;  // not 0
  };
  // Sends all and returns the serials of those that came out at the far end where the destination is.
  std::set<uint32_t> fire(const std::vector<Shot>& shots);
  // Every known connection is forgotten.
  void forget_connections();

  const NetnsFixture& host() const { return host_; }

 private:
  NetnsFixture host_, far_;
  unique_fd socket_;              // of the far ends
  std::map<int, int> far_index_;  // slot (-1: outside, -2: the other link outside) -> index
  std::map<int, Mac> host_mac_;
};

}  // namespace firn::test
