// The node-local protocol of /run/firn/routed.sock: one JSON object a message, over SOCK_SEQPACKET (docs/control.md).
// Request {"op":"status"}; reply {"ok":true, ...} or {"ok":false,"error":"...","code":"not found"}.
// Owns: the socket file (0660), which a restarted server replaces. A kill -9 leaves a stale file; clients get ECONNREFUSED.
// Thread safety: call() has no state; a Server belongs to the thread of its loop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::control {

inline constexpr std::string_view default_socket = "/run/firn/routed.sock";
inline constexpr size_t max_request = 64 * 1024;   // bytes
inline constexpr size_t max_reply = 8 * 1024 * 1024;  // bytes; sent as one message of up to 128 KiB or several, see docs

// Sends one request and waits for its reply. Code::unavailable: no daemon answers in time (the message says which socket).
Result<std::string> call(const std::string& socket_path, std::string_view request, std::chrono::milliseconds deadline);

struct Peer {
  uint64_t client = 0;  // of this server, never twice
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};
// The reply; nullopt: Server::reply() gives it later. Until then nothing more is read of that client, and it is not dropped.
using Handler = std::function<std::optional<std::string>(const Peer& peer, std::string_view request)>;

class Server {
 public:
  virtual ~Server() = default;
  virtual int fd() const = 0;    // readable: call serve()
  virtual void reply(uint64_t client, std::string reply) = 0;  // to one that has gone meanwhile: nothing
  virtual void serve() = 0;      // accepts and answers what is there; never blocks; slow clients are dropped
};
// Peers are allowed when they are root, the daemon's own user, or members of `group` (nothing else; others are refused with a reply).
Result<std::unique_ptr<Server>> listen(const std::string& socket_path, const std::string& group, Handler handler);

}  // namespace firn::control
