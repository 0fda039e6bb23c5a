// The bytes of one client connection, without waiting: a TCP or unix socket, or TLS over one. Inside this folder only.
// Owns: the socket. Thread safety: one thread.
#pragma once

#include <memory>

#include "lib/base/unique_fd.hpp"
#include "lib/http/client.hpp"

namespace firn::http {

struct Io {
  enum class State { done, wants_read, wants_write, ended, failed } state = State::done;
  size_t bytes = 0;
  Error error;  // when it failed
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int fd() const = 0;
  virtual Io read(char* to, size_t size) = 0;
  virtual Io write(const char* from, size_t size) = 0;
};

// A new connection; names are resolved, every address of one is tried. Errors: unavailable, denied, invalid.
Result<std::unique_ptr<Transport>> connect(const Endpoint& endpoint, const Tls& tls, Deadline until);
// The handshake over a socket that is connected.
Result<std::unique_ptr<Transport>> start_tls(unique_fd socket, const Endpoint& endpoint, const Tls& tls, Deadline until);

// Waits until the socket can be read or written, as the last Io wants. Code::unavailable at the deadline.
Status wait_for(int fd, Io::State wanted, Deadline until);

}  // namespace firn::http
