// A small HTTP/1.1 client: one server, one request at a time, over TCP, TLS or a unix socket. Boost.Beast parses the answers,
// in client.cpp alone; OpenSSL is in tls.cpp alone.
// Owns: at most one kept connection a Client, one a LineStream. Nothing survives the process.
// Hostile servers: every call has a deadline, header and body have limits, an answer that is no HTTP/1.1 is refused.
// Thread safety: one Client or LineStream belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/result.hpp"

namespace firn::http {

using Deadline = std::chrono::steady_clock::time_point;

struct Endpoint {
  enum class Transport { tcp, tls, unix_socket } transport = Transport::tcp;
  std::string host;  // a name or an address without brackets; of a unix socket the path
  uint16_t port = 0;
  std::string to_string() const;  // "https://etcd-1:2379", "http://[::1]:2379", "unix:/run/docker.sock"
};
// The forms of to_string(). Nothing may stand behind the port but one slash.
Result<Endpoint> parse_endpoint(std::string_view url);

// Whom to trust, and who we are. Files in PEM, read anew for every connection, so that renewed ones are used.
struct Tls {
  std::string ca_file;                     // "": the authorities of the system
  std::string certificate_file, key_file;  // both or none
  std::string server_name;                 // what the certificate must be for; "": the endpoint's host
};

struct ClientLimits {
  size_t header_bytes = 16 * 1024;
  size_t body_bytes = 32 * 1024 * 1024;  // of a LineStream: one line
};

struct Request {
  std::string method = "GET";
  std::string target = "/";
  std::vector<std::pair<std::string, std::string>> headers;  // besides Host and Content-Length
  std::string body;
};

struct Answer {
  int status = 0;
  std::string body;
};

// An answer that goes on: lines as they come.
class LineStream {
 public:
  virtual ~LineStream() = default;
  virtual int status() const = 0;
  // Readable when line() may have more. Ask line() until it has none before waiting: a part may have been read already.
  virtual int fd() const = 0;
  // The next whole line without its end, not waiting for it; nothing when none is there yet. What stands behind the last line
  // end when the server closes is a line as well. Errors: interrupted (the stream has ended), io (a line beyond the limit).
  virtual Result<std::optional<std::string>> line() = 0;
};

// Errors of both calls tell what became of the request:
//   unavailable, denied, invalid: it was not sent (no connection, a name that does not resolve, a certificate refused);
//   interrupted: it was sent, at least in part, and no whole answer came in time; the server may have carried it out;
//   io: an answer came and is beyond the limits.
class Client {
 public:
  virtual ~Client() = default;
  virtual Result<Answer> call(const Request& request, Deadline until) = 0;
  // On a connection of its own; returns when the header has come.
  virtual Result<std::unique_ptr<LineStream>> stream(const Request& request, Deadline until) = 0;
};

// Connects at the first call. Errors: invalid (a certificate without a key).
Result<std::unique_ptr<Client>> make_client(const Endpoint& endpoint, const Tls& tls = {}, const ClientLimits& limits = {});

}  // namespace firn::http
