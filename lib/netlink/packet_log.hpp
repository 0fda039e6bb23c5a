// PacketLog: the packets that rules with "log group N" tell of (nfnetlink_log), as they come. One program at a time may listen to a
// group of a network namespace. Owns: a netlink socket; the group is free again when it is closed. Thread safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::netlink {

struct LoggedPacket {
  std::string prefix;               // what the rule put in front
  int in_index = 0, out_index = 0;  // links; 0: none
  std::vector<uint8_t> start;       // of the packet, from its IP header on
};

class PacketLog {
 public:
  // Code::denied without CAP_NET_ADMIN; Code::exists: another program listens to that group.
  static Result<std::unique_ptr<PacketLog>> open(uint16_t group);
  int fd() const { return fd_.get(); }
  // Waits for the next ones, at most so long. Code::interrupted: the kernel dropped some for want of room.
  Result<std::vector<LoggedPacket>> read(std::chrono::milliseconds patience);

 private:
  explicit PacketLog(unique_fd fd);
  Status configure(uint16_t group);

  unique_fd fd_;
  std::unique_ptr<uint8_t[]> buffer_;
};

// What a packet is, as far as its first bytes tell.
struct PacketSummary {
  Address source, destination;
  uint8_t protocol = 0;
  std::optional<uint16_t> source_port, destination_port;  // tcp, udp, sctp
  std::optional<uint8_t> icmp_type, icmp_code;
  std::string flags;  // of tcp: "SYN", "SYN,ACK"
  size_t bytes = 0;   // of the whole packet
};
// nullopt: it is no IP packet, or cut before its end shows.
std::optional<PacketSummary> summarize(const std::vector<uint8_t>& start);

}  // namespace firn::netlink
