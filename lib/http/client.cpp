#include "lib/http/client.hpp"

#include <poll.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>

#include "lib/http/transport.hpp"

namespace firn::http {
namespace {

namespace asio = boost::asio;
namespace bhttp = boost::beast::http;
using boost::system::error_code;
using Parser = bhttp::response_parser<bhttp::string_body>;

// One connection with the bytes that came and were not parsed yet.
struct Connection {
  std::unique_ptr<Transport> transport;
  std::string received;
};

enum class Feed { whole, part, blocked, ended };

bool clean(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

Result<std::string> text_of(const Request& request, const Endpoint& endpoint) {
  const bool local = endpoint.transport == Endpoint::Transport::unix_socket;
  const std::string host = endpoint.host.find(':') == std::string::npos ? endpoint.host : "[" + endpoint.host + "]";
  std::string text = request.method + " " + request.target + " HTTP/1.1\r\nHost: ";
  text += local ? "localhost" : host + ":" + std::to_string(endpoint.port);
  bool good = clean(request.method) && clean(request.target) && request.target.find(' ') == std::string::npos;
  for (const auto& [name, value] : request.headers) {
    good = good && clean(name) && clean(value);
    text.append("\r\n").append(name).append(": ").append(value);
  }
  if (!good) return make_error(Code::invalid, "a request to " + endpoint.to_string() + " has control characters in its header");
  text += "\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
  return text;
}

// Parses what is there and reads more, as far as it comes without waiting.
Result<Feed> feed(Connection& connection, Parser& parser, const ClientLimits& limits, bool header_only) {
  char buffer[16 * 1024];
  for (;;) {
    error_code failed;
    if (!connection.received.empty()) {
      const size_t used = parser.put(asio::buffer(connection.received), failed);
      connection.received.erase(0, used);
      if (failed == bhttp::error::header_limit || failed == bhttp::error::body_limit) {
        return make_error(Code::io, "its answer is larger than " +
                                        std::to_string(failed == bhttp::error::body_limit ? limits.body_bytes : limits.header_bytes) +
                                        " bytes; refused");
      }
      if (failed && failed != bhttp::error::need_more) return make_error(Code::interrupted, "its answer is no HTTP/1.1: " + failed.message());
      if (parser.is_done() || (header_only && parser.is_header_done())) return Feed::whole;
      if (used > 0) return Feed::part;
      if (connection.received.size() > limits.header_bytes + sizeof buffer) {
        return make_error(Code::interrupted, "its answer is no HTTP/1.1: a line of it does not end");
      }
    }
    Io io = connection.transport->read(buffer, sizeof buffer);
    if (io.state == Io::State::failed) return std::move(io.error);
    if (io.state == Io::State::ended) {
      if (parser.got_some()) parser.put_eof(failed);
      return !failed && parser.is_done() ? Feed::whole : Feed::ended;
    }
    if (io.state != Io::State::done) return Feed::blocked;
    connection.received.append(buffer, io.bytes);
  }
}

Status send(Connection& connection, std::string_view text, Deadline until) {
  while (!text.empty()) {
    Io io = connection.transport->write(text.data(), text.size());
    if (io.state == Io::State::done) {
      text.remove_prefix(io.bytes);
    } else if (io.state == Io::State::failed) {
      return std::move(io.error);
    } else if (io.state == Io::State::ended) {
      return make_error(Code::interrupted, "it closed the connection");
    } else if (auto ready = wait_for(connection.transport->fd(), io.state, until); !ready) {
      return ready;
    }
  }
  return {};
}

Status receive(Connection& connection, Parser& parser, const ClientLimits& limits, bool header_only, Deadline until) {
  for (;;) {
    auto fed = feed(connection, parser, limits, header_only);
    if (!fed) return std::move(fed).error();
    if (*fed == Feed::whole) return {};
    if (*fed == Feed::ended) return make_error(Code::interrupted, "it closed the connection before its answer was whole");
    if (*fed == Feed::part && std::chrono::steady_clock::now() < until) continue;
    if (auto ready = wait_for(connection.transport->fd(), Io::State::wants_read, until); !ready) return ready;
  }
}

// Once the first byte has gone, nobody knows what the server did. A refusal by TLS is one, and so are the limits.
Error after_sending(Error error) {
  if (!error.is(Code::denied) && !error.is(Code::io)) error.code = Code::interrupted;
  return error;
}

class Lines final : public LineStream {
 public:
  Lines(Connection connection, std::unique_ptr<Parser> parser, const ClientLimits& limits, std::string name)
      : connection_(std::move(connection)), parser_(std::move(parser)), limits_(limits), name_(std::move(name)) {}
  int status() const override { return static_cast<int>(parser_->get().result_int()); }
  int fd() const override { return connection_.transport->fd(); }

  Result<std::optional<std::string>> line() override {
    for (;;) {
      std::string& body = parser_->get().body();
      pending_ += body;
      body.clear();  // the parser only ever appends
      if (const size_t end = pending_.find('\n', searched_); end != std::string::npos) return std::optional(take(end, end + 1));
      searched_ = pending_.size();
      if (pending_.size() > limits_.body_bytes) {
        return make_error(Code::io, name_ + ": a line of its stream is longer than " + std::to_string(limits_.body_bytes) + " bytes; refused");
      }
      if (ended_ || parser_->is_done()) {
        if (!pending_.empty()) return std::optional(take(pending_.size(), pending_.size()));
        return make_error(Code::interrupted, name_ + ": the stream has ended");
      }
      auto fed = feed(connection_, *parser_, limits_, false);
      if (!fed) return std::move(fed).error().context(name_);
      if (*fed == Feed::blocked) return std::optional<std::string>();
      ended_ = *fed == Feed::ended;
    }
  }

 private:
  std::string take(size_t end, size_t next) {
    std::string line = pending_.substr(0, end);
    pending_.erase(0, next);
    searched_ = 0;
    return line;
  }

  Connection connection_;
  std::unique_ptr<Parser> parser_;
  ClientLimits limits_;
  std::string name_;
  std::string pending_;
  size_t searched_ = 0;
  bool ended_ = false;
};

class EndpointClient final : public Client {
 public:
  EndpointClient(Endpoint endpoint, Tls tls, const ClientLimits& limits)
      : endpoint_(std::move(endpoint)), tls_(std::move(tls)), limits_(limits) {}

  Result<Answer> call(const Request& request, Deadline until) override {
    auto answered = exchange(request, until);
    if (!answered) {
      kept_ = {};
      return std::move(answered).error().context(endpoint_.to_string());
    }
    return answered;
  }

  Result<std::unique_ptr<LineStream>> stream(const Request& request, Deadline until) override {
    const std::string name = endpoint_.to_string();
    auto text = text_of(request, endpoint_);
    if (!text) return std::move(text).error();
    auto transport = connect(endpoint_, tls_, until);
    if (!transport) return std::move(transport).error().context(name);
    Connection connection{std::move(*transport), {}};
    if (auto sent = send(connection, *text, until); !sent) return after_sending(std::move(sent).error()).context(name);
    auto parser = make_parser(true);
    if (auto got = receive(connection, *parser, limits_, true, until); !got) return after_sending(std::move(got).error()).context(name);
    return std::unique_ptr<LineStream>(std::make_unique<Lines>(std::move(connection), std::move(parser), limits_, name));
  }

 private:
  std::unique_ptr<Parser> make_parser(bool endless) const {
    auto parser = std::make_unique<Parser>();
    // Not eager: Beast then parses on over the error of a Content-Length beyond the limit.
    parser->eager(false);
    parser->header_limit(static_cast<uint32_t>(limits_.header_bytes));
    if (endless) parser->body_limit(boost::none);
    else parser->body_limit(limits_.body_bytes);
    return parser;
  }

  // A kept connection on which something can be read, be it the end, has nothing to do with a request that comes.
  bool kept_is_usable() const {
    if (kept_.transport == nullptr || !kept_.received.empty()) return false;
    pollfd waiting{kept_.transport->fd(), POLLIN, 0};
    return ::poll(&waiting, 1, 0) == 0;
  }

  Result<Answer> exchange(const Request& request, Deadline until) {
    auto text = text_of(request, endpoint_);
    if (!text) return std::move(text).error();
    if (!kept_is_usable()) {
      kept_ = {};
      auto transport = connect(endpoint_, tls_, until);
      if (!transport) return std::move(transport).error();
      kept_.transport = std::move(*transport);
    }
    if (auto sent = send(kept_, *text, until); !sent) return after_sending(std::move(sent).error());
    auto parser = make_parser(false);
    if (auto got = receive(kept_, *parser, limits_, false, until); !got) return after_sending(std::move(got).error());
    if (!parser->keep_alive()) kept_ = {};
    return Answer{static_cast<int>(parser->get().result_int()), std::move(parser->get().body())};
  }

  Endpoint endpoint_;
  Tls tls_;
  ClientLimits limits_;
  Connection kept_;
};

}  // namespace

std::string Endpoint::to_string() const {
  if (transport == Transport::unix_socket) return "unix:" + host;
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return (transport == Transport::tls ? "https://" : "http://") + name + ":" + std::to_string(port);
}

Result<Endpoint> parse_endpoint(std::string_view url) {
  const auto wrong = [&] {
    return make_error(Code::invalid, "\"" + std::string(url.substr(0, 256)) +
                                         "\" is no endpoint (as in http://192.0.2.1:2379, https://[2001:db8::1]:2379 or unix:/run/x.sock)");
  };
  if (!clean(url) || url.find(' ') != std::string_view::npos) return wrong();
  if (url.starts_with("unix:/")) return Endpoint{Endpoint::Transport::unix_socket, std::string(url.substr(5)), 0};
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) return wrong();
  std::string_view rest = url.substr(tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = rest.substr(0, colon);
  const std::string_view digits = rest.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  if (host.empty() || (bracketed ? host.find_first_not_of("0123456789abcdefABCDEF:.") : host.find_first_not_of(letters)) != std::string_view::npos) {
    return wrong();
  }
  uint16_t port = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || failed != std::errc{} || end != digits.data() + digits.size() || port == 0) return wrong();
  return Endpoint{tls ? Endpoint::Transport::tls : Endpoint::Transport::tcp, std::string(host), port};
}

Result<std::unique_ptr<Client>> make_client(const Endpoint& endpoint, const Tls& tls, const ClientLimits& limits) {
  if (tls.certificate_file.empty() != tls.key_file.empty()) {
    return make_error(Code::invalid, "a client certificate needs its key, and a key its certificate; one of the two files is not named");
  }
  return std::unique_ptr<Client>(std::make_unique<EndpointClient>(endpoint, tls, limits));
}

}  // namespace firn::http
