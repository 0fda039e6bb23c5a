// A small HTTP/1.1 server on the loop: GET and HEAD of fixed paths, one request a connection. Boost.Beast in server.cpp alone.
// Owns: a listening TCP socket. Nothing survives the process (SO_REUSEADDR: a restarted server binds at once).
// Hostile clients: header and connection counts are limited, and an exchange that is not over at the deadline is dropped;
// while all connections are taken, new ones wait in the kernel's queue.
// Thread safety: everything happens on the thread of the loop. The server must not outlive its Loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.hpp"
#include "lib/loop/loop.hpp"

namespace firn::http {

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};
using Handler = std::function<Response()>;

struct Listen {
  std::string address;  // IPv4 or IPv6, no name
  uint16_t port = 0;    // 0: any free port
};
// "127.0.0.1:9490", "[::1]:9490".
Result<Listen> parse_listen(std::string_view text);

struct Limits {
  size_t connections = 16;
  uint32_t header_bytes = 8 * 1024;
  std::chrono::milliseconds deadline{5000};  // from the accept to the last byte of the answer
};

class Server {
 public:
  virtual ~Server() = default;
  virtual uint16_t port() const = 0;
};

// `handlers`: path -> handler; other paths are 404, other methods 405. Errors: exists (the port is taken), invalid, denied.
Result<std::unique_ptr<Server>> serve(loop::Loop& loop, const Listen& listen, std::map<std::string, Handler> handlers,
                                      const Limits& limits = {});

}  // namespace firn::http
