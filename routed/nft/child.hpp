// Child: firn-nft as a child process that runs nft commands one after the other, on a SOCK_SEQPACKET socket pair (the protocol is
// told in firn_nft/main.cpp). It is started for the first request, and again for the next one after it died; requests that were
// under way then fail. One that dies again and again is given a growing pause, in which requests fail at once.
// Owns: the process, which ends with this one, however that ends, and takes nothing with it but the hold table (hold.hpp).
// Thread safety: belongs to the thread of the loop.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"
#include "lib/loop/loop.hpp"

namespace firn::routed::nft {

enum class Request : char {
  transaction = 'T',
  bytes = 'B',     // a transaction of elements alone, in the kernel's form (element_bytes.hpp)
  hold = 'H',      // a transaction of the socket that owns the hold table
  list = 'L',      // answered in nft's JSON, without the elements of sets
  elements = 'E',  // with them
};

// Runs one text. Code::invalid: nft's own words why it refused it, and nothing changed; parse_refusal() reads them. Any other
// error: whether something changed is unknown.
class Runner {
 public:
  using Done = std::function<void(Result<std::string>)>;
  virtual ~Runner() = default;
  virtual void run(Request kind, std::string text, Done done) = 0;
  virtual bool takes_bytes() const { return false; }  // Request::bytes
};

class Child final : public Runner {
 public:
  struct Listener {
    std::function<void()> started;
    std::function<void(const Error&)> ended;
  };
  Child(loop::Loop& loop, const Clock& clock, std::string binary, Listener listener);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() override;

  // `done` is called later, from the loop.
  void run(Request kind, std::string text, Done done) override;
  bool takes_bytes() const override { return true; }

  // From which its transactions come; 0 while it does not run. The kernel tells it with each change (netlink/table_monitor.hpp).
  uint32_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  unsigned starts() const { return starts_; }
  size_t waiting() const { return queue_.size(); }

 private:
  struct Asked {
    Request kind;
    std::string text;
    Done done;
  };
  Status start();
  void next();
  Status send(const Asked& asked);
  void read();
  Status read_reply();
  void end(const Error& why);
  void finish(Result<std::string> outcome);

  loop::Loop& loop_;
  const Clock& clock_;
  const std::string binary_;
  const Listener listener_;
  pid_t pid_ = 0;
  unique_fd socket_;
  loop::Handle watch_, deadline_, soon_;
  uint32_t port_ = 0;
  unsigned starts_ = 0;
  bool greeted_ = false;  // it has said its first word
  bool busy_ = false;     // the first of the queue is with it
  std::deque<Asked> queue_;
  std::chrono::milliseconds pause_{0};
  std::chrono::steady_clock::time_point not_before_{};
};

// Where firn-nft is when nobody says: beside this program, or in ../libexec/firn from there, as it is installed.
std::string default_binary();

}  // namespace firn::routed::nft
