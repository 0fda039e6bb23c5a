// The HTTP client against a server that sends exactly the bytes it is told to. TLS is tested with etcd (tests/store).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>

#include "lib/base/unique_fd.hpp"
#include "lib/http/client.hpp"

namespace firn::http {
namespace {

using testing::HasSubstr;
using std::chrono::milliseconds;

Deadline in(milliseconds time) { return std::chrono::steady_clock::now() + time; }
constexpr milliseconds enough{20000};

// Answers each request of each connection with what `answer` gives for its number; "" closes the connection without a word.
class ScriptedServer {
 public:
  using Script = std::function<void(int connection, int request, int fd)>;

  explicit ScriptedServer(Script script, std::string unix_path = {}) : script_(std::move(script)) {
    const bool local = !unix_path.empty();
    listener_.reset(::socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (local) {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::strncpy(address.sun_path, unix_path.c_str(), sizeof address.sun_path - 1);
      EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      endpoint = {Endpoint::Transport::unix_socket, unix_path, 0};
    } else {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof address;
      EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
      EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
      endpoint = {Endpoint::Transport::tcp, "127.0.0.1", ntohs(address.sin_port)};
    }
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

  static void send(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  Endpoint endpoint;
  std::atomic<int> connections{0};
  std::string last_request;  // read it when the exchange is over

 private:
  void serve() {
    for (;;) {
      const unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      const int connection = connections++;
      for (int request = 0; read_request(fd.get()); ++request) script_(connection, request, fd.get());
    }
  }
  // A request has a header and as many bytes behind it as its Content-Length says.
  bool read_request(int fd) {
    std::string text;
    for (;;) {
      if (const size_t end = text.find("\r\n\r\n"); end != std::string::npos) {
        const size_t at = text.find("Content-Length: ");
        const size_t length = at == std::string::npos ? 0 : static_cast<size_t>(std::atoi(text.c_str() + at + 16));
        if (text.size() >= end + 4 + length) {
          last_request = text;
          return true;
        }
      }
      char buffer[4096];
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      text.append(buffer, static_cast<size_t>(n));
    }
  }

  Script script_;
  unique_fd listener_;
  std::thread thread_;
};

std::string answer_text(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::unique_ptr<Client> client_of(const Endpoint& endpoint, ClientLimits limits = {}) {
  return std::move(make_client(endpoint, {}, limits)).value();
}

Request post(const std::string& body) { return {"POST", "/v3/kv/range", {{"Content-Type", "application/json"}}, body}; }

TEST(Endpoints, AreReadAndWritten) {
  for (const char* good : {"http://127.0.0.1:2379", "https://etcd-1.example:2379", "http://[2001:db8::1]:80", "unix:/run/x.sock"}) {
    auto endpoint = parse_endpoint(good);
    ASSERT_TRUE(endpoint.ok()) << good;
    EXPECT_EQ(endpoint->to_string(), good);
  }
  EXPECT_EQ(parse_endpoint("http://a:1/")->to_string(), "http://a:1");
  for (const char* bad : {"", "127.0.0.1:2379", "http://", "http://a", "http://a:0", "http://a:65536", "http://a:1/x", "ftp://a:1",
                          "http://[::1:2379", "http://a b:1", "http://a\n:1", "http://u@a:1", "http://:1", "http://[]:1"}) {
    auto endpoint = parse_endpoint(bad);
    ASSERT_FALSE(endpoint.ok()) << bad;
    EXPECT_EQ(endpoint.error().code, Code::invalid);
  }
}

TEST(HttpClient, KeepsItsConnection) {
  ScriptedServer server([](int, int request, int fd) { ScriptedServer::send(fd, answer_text("answer " + std::to_string(request))); });
  auto client = client_of(server.endpoint);
  for (int i = 0; i < 3; ++i) {
    auto answer = client->call(post("{}"), in(enough));
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "answer " + std::to_string(i));
  }
  EXPECT_EQ(server.connections, 1);
  EXPECT_THAT(server.last_request, testing::StartsWith("POST /v3/kv/range HTTP/1.1\r\nHost: 127.0.0.1:"));
  EXPECT_THAT(server.last_request, testing::EndsWith("\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"));
}

TEST(HttpClient, ConnectsAnewWhenTheServerHasClosed) {
  ScriptedServer server([](int, int, int fd) {
    ScriptedServer::send(fd, answer_text("x"));
    ::shutdown(fd, SHUT_RDWR);
  });
  auto client = client_of(server.endpoint);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client->call(post(""), in(enough)).ok());
  EXPECT_EQ(server.connections, 3);
}

TEST(HttpClient, ReadsChunksAndOtherStatus) {
  ScriptedServer server([](int, int, int fd) {
    ScriptedServer::send(fd, "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    ScriptedServer::send(fd, "6\r\n world\r\n0\r\n\r\n");
  });
  auto answer = client_of(server.endpoint)->call(post(""), in(enough));
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "hello world");
}

TEST(HttpClient, SpeaksOverAUnixSocket) {
  const std::string path = std::filesystem::temp_directory_path() / ("firn-t-http-" + std::to_string(::getpid()) + ".sock");
  {
    ScriptedServer server([](int, int, int fd) { ScriptedServer::send(fd, answer_text("local")); }, path);
    auto answer = client_of(server.endpoint)->call({"GET", "/version", {}, ""}, in(enough));
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->body, "local");
    EXPECT_THAT(server.last_request, HasSubstr("\r\nHost: localhost\r\n"));
  }
  std::filesystem::remove(path);
  auto refused = client_of({Endpoint::Transport::unix_socket, path, 0})->call(post(""), in(enough));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
}

TEST(HttpClient, TellsWhetherTheRequestWasSent) {
  Endpoint nobody{Endpoint::Transport::tcp, "127.0.0.1", 1};
  auto refused = client_of(nobody)->call(post(""), in(enough));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("http://127.0.0.1:1: Connection refused"));

  ScriptedServer silent([](int, int, int) {});
  auto late = client_of(silent.endpoint)->call(post(""), in(milliseconds(50)));
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, Code::interrupted);
  EXPECT_THAT(late.error().message, HasSubstr("no answer in time"));

  ScriptedServer cut([](int, int, int fd) {
    ScriptedServer::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    ::shutdown(fd, SHUT_RDWR);
  });
  auto half = client_of(cut.endpoint)->call(post(""), in(enough));
  ASSERT_FALSE(half.ok());
  EXPECT_EQ(half.error().code, Code::interrupted);

  auto nameless = client_of({Endpoint::Transport::tcp, "no-such-host.invalid", 1})->call(post(""), in(enough));
  ASSERT_FALSE(nameless.ok());
  EXPECT_EQ(nameless.error().code, Code::unavailable) << nameless.error().message;
}

TEST(HttpClient, RefusesWhatIsTooLargeOrNoHttp) {
  ClientLimits limits;
  limits.header_bytes = 1024;
  limits.body_bytes = 1000;
  const struct {
    const char* what;
    std::string bytes;
    Code code;
  } cases[] = {
      {"announced", answer_text(std::string(1001, 'x')), Code::io},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n", Code::io},
      {"header", "HTTP/1.1 200 OK\r\nX: " + std::string(5000, 'x') + "\r\n\r\n", Code::io},
      {"no HTTP", "220 smtp.example ESMTP\r\n\r\n", Code::interrupted},
      {"bad length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Code::interrupted},
  };
  for (const auto& one : cases) {
    ScriptedServer server([&](int, int, int fd) {
      ScriptedServer::send(fd, one.bytes);
      ::shutdown(fd, SHUT_WR);
    });
    auto answer = client_of(server.endpoint, limits)->call(post(""), in(enough));
    ASSERT_FALSE(answer.ok()) << one.what;
    EXPECT_EQ(answer.error().code, one.code) << one.what << ": " << answer.error().message;
  }
  Request forged = post("");
  forged.headers.emplace_back("Authorization", "x\r\nX-Other: y");
  ScriptedServer server([](int, int, int fd) { ScriptedServer::send(fd, answer_text("")); });
  auto refused = client_of(server.endpoint)->call(forged, in(enough));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::invalid);
  EXPECT_EQ(server.connections, 0);
  EXPECT_FALSE(make_client(server.endpoint, {"", "cert.pem", "", ""}).ok());
}

std::vector<std::string> lines_of(LineStream& stream, std::optional<Error>& end) {
  std::vector<std::string> lines;
  for (;;) {
    auto line = stream.line();
    if (!line) {
      end = std::move(line).error();
      return lines;
    }
    if (*line) {
      lines.push_back(std::move(**line));
      continue;
    }
    pollfd waiting{stream.fd(), POLLIN, 0};
    if (::poll(&waiting, 1, 20000) != 1) return lines;
  }
}

TEST(HttpClient, StreamsLinesAsTheyCome) {
  ScriptedServer server([](int, int, int fd) {
    ScriptedServer::send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    ScriptedServer::send(fd, "9\r\none\ntwo\nt\r\n");
    // The client shows that it has read so far before it gets the rest.
    char ready = 0;
    ASSERT_EQ(::recv(fd, &ready, 1, MSG_PEEK), 0);
  });
  auto client = client_of(server.endpoint);
  auto stream = client->stream(post(""), in(enough));
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  EXPECT_EQ((*stream)->status(), 200);
  std::vector<std::string> lines;
  while (lines.size() < 2) {
    auto line = (*stream)->line();
    ASSERT_TRUE(line.ok()) << line.error().message;
    if (*line) {
      lines.push_back(**line);
      continue;
    }
    pollfd waiting{(*stream)->fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, 20000), 1);
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
  auto none = (*stream)->line();
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
}

TEST(HttpClient, AStreamEnds) {
  ScriptedServer server([](int, int, int fd) {
    ScriptedServer::send(fd, "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na\nbc\r\n0\r\n\r\n");
  });
  auto stream = client_of(server.endpoint)->stream(post(""), in(enough));
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ((*stream)->status(), 401);
  std::optional<Error> end;
  EXPECT_EQ(lines_of(**stream, end), (std::vector<std::string>{"a", "bc"}));
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, Code::interrupted);

  ClientLimits limits;
  limits.body_bytes = 100;
  ScriptedServer long_line([](int, int, int fd) {
    ScriptedServer::send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nx\n\r\nc8\r\n" + std::string(200, 'y') + "\r\n");
  });
  auto endless = client_of(long_line.endpoint, limits)->stream(post(""), in(enough));
  ASSERT_TRUE(endless.ok());
  EXPECT_EQ(lines_of(**endless, end), (std::vector<std::string>{"x"}));
  EXPECT_EQ(end->code, Code::io);
}

}  // namespace
}  // namespace firn::http
