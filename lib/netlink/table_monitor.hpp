// TableMonitor: tells when somebody else changes one table of nftables. The kernel says with each change which table it is of and
// from which netlink port it came; those from our own port are dropped in the kernel, so our transactions, however large, neither
// wake us nor fill the buffer. Owns: a netlink socket. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::netlink {

class TableMonitor {
 public:
  struct News {
    bool changed = false;  // the table, by somebody else
    bool lost = false;     // the kernel dropped some: it may have been
  };
  // `table`: of family inet.
  static Result<std::unique_ptr<TableMonitor>> open(const std::string& table);

  int fd() const { return fd_.get(); }
  // Changes from that port are ours. 0: none is.
  Status set_own_port(uint32_t port);
  // Everything that is there now; never blocks.
  Result<News> read();

 private:
  TableMonitor(unique_fd fd, std::string table);

  unique_fd fd_;
  const std::string table_;
  std::unique_ptr<uint8_t[]> buffer_;
  uint32_t own_port_ = 0;
};

}  // namespace firn::netlink
