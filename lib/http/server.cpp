#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <optional>

#include "lib/http/http.hpp"

namespace firn::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// What the sessions share with the server. A session that outlives the server finds `closed` and calls no handler.
struct Core {
  std::map<std::string, Handler> handlers;
  Limits limits;
  size_t connections = 0;
  bool closed = false;
  std::function<void()> slot_free;
};

class Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, std::shared_ptr<Core> core) : stream_(std::move(socket)), core_(std::move(core)) {
    ++core_->connections;
    parser_.emplace();
    parser_->header_limit(core_->limits.header_bytes);
    parser_->body_limit(uint64_t{0});
  }
  ~Session() {
    --core_->connections;
    if (!core_->closed) core_->slot_free();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start() {
    stream_.expires_after(core_->limits.deadline);  // one deadline for the whole exchange
    bhttp::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code failed, size_t) { self->on_read(failed); });
  }

 private:
  void on_read(error_code failed) {
    if (core_->closed) return;
    if (failed == bhttp::error::header_limit || failed == bhttp::error::buffer_overflow) return answer({431, {}, "request header too large\n"});
    if (failed == bhttp::error::body_limit) return answer({405, {}, "only GET and HEAD, without a body\n"});
    if (failed == bhttp::error::end_of_stream || failed == bhttp::error::partial_message) return;
    if (failed && failed.category() == bhttp::make_error_code(bhttp::error::bad_method).category()) {
      return answer({400, {}, "malformed request: " + failed.message() + "\n"});
    }
    if (failed) return;
    const auto& request = parser_->get();
    head_ = request.method() == bhttp::verb::head;
    if (!head_ && request.method() != bhttp::verb::get) return answer({405, {}, "only GET and HEAD\n"});
    std::string path(request.target());
    path.resize(std::min(path.size(), path.find('?')));
    const auto handler = core_->handlers.find(path);
    if (handler == core_->handlers.end()) return answer({404, {}, "no such path\n"});
    answer(handler->second());
  }

  void answer(Response response) {
    response_.emplace();
    response_->version(11);
    response_->result(static_cast<unsigned>(response.status));
    response_->set(bhttp::field::content_type, response.content_type.empty() ? "text/plain; charset=utf-8" : response.content_type);
    response_->set(bhttp::field::cache_control, "no-store");
    if (response.status == 405) response_->set(bhttp::field::allow, "GET, HEAD");
    response_->keep_alive(false);
    response_->content_length(response.body.size());
    if (!head_) response_->body() = std::move(response.body);
    bhttp::async_write(stream_, *response_, [self = shared_from_this()](error_code, size_t) {
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  std::shared_ptr<Core> core_;
  beast::flat_buffer buffer_{16 * 1024};
  std::optional<bhttp::request_parser<bhttp::empty_body>> parser_;
  std::optional<bhttp::response<bhttp::string_body>> response_;
  bool head_ = false;
};

class TcpServer final : public Server {
 public:
  TcpServer(asio::io_context& context, std::shared_ptr<Core> core) : acceptor_(context), core_(std::move(core)) {
    core_->slot_free = [this] { accept(); };
  }
  ~TcpServer() override {
    core_->closed = true;
    error_code ignored;
    acceptor_.close(ignored);
  }
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  Status open(const tcp::endpoint& endpoint, const std::string& name) {
    error_code failed;
    const auto step = [&](const char* what) -> Status {
      if (!failed) return {};
      if (failed.value() == EADDRINUSE) {
        return make_error(Code::exists, "listening on " + name + ": the address is in use by another program; choose another port");
      }
      return errno_error("listening on " + name + ": " + what, failed.value());
    };
    acceptor_.open(endpoint.protocol(), failed);
    if (auto done = step("socket"); !done) return done;
    acceptor_.set_option(tcp::acceptor::reuse_address(true), failed);
    if (auto done = step("SO_REUSEADDR"); !done) return done;
    acceptor_.bind(endpoint, failed);
    if (auto done = step("bind"); !done) return done;
    acceptor_.listen(static_cast<int>(core_->limits.connections), failed);
    if (auto done = step("listen"); !done) return done;
    port_ = acceptor_.local_endpoint(failed).port();
    accept();
    return {};
  }
  uint16_t port() const override { return port_; }

 private:
  void accept() {
    if (accepting_ || core_->connections >= core_->limits.connections) return;
    accepting_ = true;
    // `core` keeps the flag readable when the server is gone before the handler runs.
    acceptor_.async_accept([this, core = core_](error_code failed, tcp::socket socket) {
      if (core->closed) return;
      accepting_ = false;
      if (!failed) std::make_shared<Session>(std::move(socket), core)->start();
      accept();
    });
  }

  tcp::acceptor acceptor_;
  std::shared_ptr<Core> core_;
  uint16_t port_ = 0;
  bool accepting_ = false;
};

}  // namespace

Result<Listen> parse_listen(std::string_view text) {
  const auto wrong = [&] {
    return make_error(Code::invalid, "\"" + std::string(text) + "\" is no ADDRESS:PORT (as in 127.0.0.1:9490 or [::1]:9490)");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view address = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = address.size() > 2 && address.front() == '[' && address.back() == ']';
  if (bracketed) address = address.substr(1, address.size() - 2);
  uint16_t port = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || failed != std::errc{} || end != digits.data() + digits.size()) return wrong();
  error_code bad;
  const auto parsed = asio::ip::make_address(std::string(address), bad);
  if (bad || parsed.is_v6() != bracketed) return wrong();
  return Listen{std::string(address), port};
}

Result<std::unique_ptr<Server>> serve(loop::Loop& loop, const Listen& listen, std::map<std::string, Handler> handlers,
                                      const Limits& limits) {
  error_code bad;
  const auto address = asio::ip::make_address(listen.address, bad);
  if (bad) return make_error(Code::invalid, "\"" + listen.address + "\" is no IP address");
  auto core = std::make_shared<Core>();
  core->handlers = std::move(handlers);
  core->limits = limits;
  auto server = std::make_unique<TcpServer>(loop.context(), std::move(core));
  if (auto opened = server->open({address, listen.port}, listen.address + " port " + std::to_string(listen.port)); !opened) {
    return std::move(opened).error();
  }
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace firn::http
