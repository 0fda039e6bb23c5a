// What firn-routed offers and takes: settings, log lines, the control socket, the HTTP server.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <thread>

#include "lib/control/control.hpp"
#include "lib/http/http.hpp"
#include "lib/loop/loop.hpp"
#include "routed/config.hpp"
#include "routed/metrics.hpp"
#include "tests/support/manual_clock.hpp"

namespace firn::routed {
namespace {

using namespace std::chrono_literals;
using testing::TempDir;

class Directory {
 public:
  Directory() {
    std::string pattern = TempDir() + "firn-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Directory() {
    for (const char* name : {"s", "s.lock", "c.json", "file"}) ::unlink((path_ + "/" + name).c_str());
    ::rmdir(path_.c_str());
  }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Settings --------------------------------------------------------------------------------------------------------------
std::string config_error(const Directory& directory, const std::string& text) {
  std::ofstream(directory / "c.json") << text;
  const auto read = read_invocation({"--config", directory / "c.json"});
  return read ? "" : read.error().message;
}

TEST(Config, FileThenCommandLine) {
  const Directory directory;
  std::ofstream(directory / "c.json") << R"({"metrics":"off","resync":5,"socketGroup":"firn","receiveBuffer":4096,
    "policy":false,"nft":{"binary":"/x/firn-nft","mark":16},"bird":{"supervise":false,"socket":"/run/bird/bird.ctl"}})";
  const auto read = read_invocation({"--config", directory / "c.json", "--state-dir=/tmp/x", "--log-level", "debug"});
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->config.metrics, "");
  EXPECT_EQ(read->config.resync, 5s);
  EXPECT_EQ(read->config.state_dir, "/tmp/x");
  EXPECT_EQ(read->config.socket_group, "firn");
  EXPECT_EQ(read->config.receive_buffer, 4096);
  EXPECT_FALSE(read->config.bird.supervise);
  EXPECT_FALSE(read->config.policy);
  EXPECT_EQ(read->config.nft.binary, "/x/firn-nft");
  EXPECT_EQ(read->config.nft.mark, 16U);
  EXPECT_EQ(read->config.log_level, Level::debug);
}

TEST(Config, ErrorsNameFileAndField) {
  const Directory directory;
  for (const auto& [text, place] : std::vector<std::pair<std::string, std::string>>{
           {R"({"metrcs":"off"})", "/metrcs"},
           {R"({"metrics":"localhost"})", "/metrics"},
           {R"({"resync":0})", "/resync"},
           {R"({"policy":1})", "/policy"},
           {R"({"nft":{"mark":48}})", "/nft/mark"},
           {R"({"nft":{"mark":0}})", "/nft/mark"},
           {R"({"nft":{"binary":"firn-nft"}})", "/nft/binary"},
           {R"({"bird":{"supervise":"yes"}})", "/bird/supervise"},
           {R"({"bird":{"socket":"relative"}})", "/bird/socket"},
           {R"({"logLevel":"loud"})", "/logLevel"},
           {R"([])", ""},
           {R"({)", ""}}) {
    const std::string message = config_error(directory, text);
    EXPECT_NE(message.find(directory / "c.json"), std::string::npos) << text << ": " << message;
    EXPECT_NE(message.find(place), std::string::npos) << text << ": " << message;
  }
}

TEST(Config, WrongOptionsAreRefused) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--state-dir"}, {"--nonsense", "x"}, {"--state-dir", "relative"}, {"--metrics", "1.2.3.4"}, {"--config", "/nonexistent/file"}}) {
    EXPECT_FALSE(read_invocation(arguments)) << arguments[0];
  }
  EXPECT_EQ(read_invocation({"--help"})->what, Invocation::What::help);
}

// Log -------------------------------------------------------------------------------------------------------------------
TEST(Log, RepeatsAreHeldBackAndCounted) {
  test::ManualClock clock;
  std::vector<std::string> lines;
  Log log([&](Level, std::string_view text) { lines.emplace_back(text); }, clock);
  for (int i = 0; i < 5; ++i) log.repeated(Level::warning, "a", "broken");
  log.repeated(Level::warning, "b", "other");
  EXPECT_EQ(lines, (std::vector<std::string>{"broken", "other"}));
  clock.advance(61s);
  log.repeated(Level::warning, "a", "broken");
  EXPECT_EQ(lines.back(), "broken (and 4 more like this)");
}

TEST(Metrics, NamesHelpAndNoStaleSeries) {
  Metrics metrics;
  metrics.reconciled("route", true, 0.001);
  metrics.repaired("route", 3);
  Gauges now;
  now.routes_desired = 7;
  now.peers.push_back({"tor-a", true, {{"ipv4", 1, 2}}});
  now.pools.push_back({"default", 2, 10, 100, 5});
  const std::string text = metrics.text(now);
  for (const char* line :
       {"firn_reconcile_total{kind=\"route\",result=\"ok\"} 1", "firn_routes_desired 7", "firn_drift_repaired_total{kind=\"route\"} 3",
        "firn_bgp_session_up{peer=\"tor-a\"} 1", "firn_bgp_prefixes{direction=\"out\",family=\"ipv4\",peer=\"tor-a\"} 2",
        "firn_blocks{pool=\"default\"} 2", "firn_addresses{pool=\"default\",state=\"cooling\"} 5", "# HELP firn_routes_pending "}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
  EXPECT_EQ(metrics.text({}).find("tor-a"), std::string::npos);
}

// Control socket ----------------------------------------------------------------------------------------------------------
// A loop on a thread of its own. What was registered with it must go before it does: `at_end` runs in between.
class Service {
 public:
  Service(const std::function<void(loop::Loop&)>& set_up, std::function<void()> at_end) : at_end_(std::move(at_end)) {
    set_up(loop_);
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~Service() {
    loop_.stop();
    thread_.join();
    at_end_();
  }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

 private:
  std::function<void()> at_end_;
  loop::Loop loop_;
  std::thread thread_;
};

class ControlTest : public testing::Test {
 protected:
  void serve(control::Handler handler) {
    auto listening = control::listen(path, "", std::move(handler));
    ASSERT_TRUE(listening) << listening.error().message;
    server = std::move(*listening);
    service.emplace(
        [this](loop::Loop& loop) {
          auto handle = loop.readable(server->fd(), [this] { server->serve(); });
          ASSERT_TRUE(handle);
          watch = std::move(*handle);
        },
        [this] { watch.cancel(); });
  }

  Directory directory;
  std::string path = directory / "s";
  std::unique_ptr<control::Server> server;
  loop::Handle watch;
  std::optional<Service> service;
};

TEST_F(ControlTest, AnswersShortAndLongReplies) {
  serve([](const control::Peer& peer, std::string_view request) {
    EXPECT_EQ(peer.uid, ::getuid());
    return request == "long" ? std::string(3'000'000, 'x') : "{\"echo\":\"" + std::string(request) + "\"}";
  });
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0660U);
  const auto short_reply = control::call(path, "hello", 2s);
  ASSERT_TRUE(short_reply) << short_reply.error().message;
  EXPECT_EQ(*short_reply, "{\"echo\":\"hello\"}");
  const auto long_reply = control::call(path, "long", 5s);
  ASSERT_TRUE(long_reply) << long_reply.error().message;
  EXPECT_EQ(long_reply->size(), 3'000'000U);
}

TEST_F(ControlTest, AReplyMayComeLater) {
  std::vector<uint64_t> waiting;  // the loop's
  serve([&](const control::Peer& peer, std::string_view request) -> std::optional<std::string> {
    if (request == "later") {
      waiting.push_back(peer.client);
      return std::nullopt;
    }
    if (request == "how many") return std::to_string(waiting.size());
    for (const uint64_t client : waiting) server->reply(client, "now");
    server->reply(4711, "to nobody");
    return std::string("done");
  });
  Result<std::string> late = std::string();
  std::thread patient([&] { late = control::call(path, "later", 10s); });
  // This one does not wait for it: its reply finds nobody.
  EXPECT_FALSE(control::call(path, "later", 50ms));
  while (control::call(path, "how many", 2s).value() != "2") {}
  EXPECT_EQ(control::call(path, "go on", 2s).value(), "done");
  patient.join();
  ASSERT_TRUE(late) << late.error().message;
  EXPECT_EQ(*late, "now");
}

TEST_F(ControlTest, TooLongRequestsAndRepliesAreErrors) {
  serve([](const control::Peer&, std::string_view) { return std::string(control::max_reply + 1, 'x'); });
  EXPECT_FALSE(control::call(path, std::string(control::max_request + 1, 'x'), 1s));
  const auto reply = control::call(path, "{}", 2s);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_NE(reply->find("\"ok\":false"), std::string::npos);
}

TEST_F(ControlTest, NobodyAnswers) {
  const auto missing = control::call(path, "{}", 500ms);
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().is(Code::unavailable));
  EXPECT_NE(missing.error().message.find(path), std::string::npos);
}

TEST_F(ControlTest, StaleSocketIsReplacedAndALiveDaemonIsNot) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto first = control::listen(path, "", [](const control::Peer&, std::string_view) { return std::string(); });
    ::_exit(first ? 0 : 1);  // without a destructor, as after kill -9
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  ASSERT_EQ(how, 0);
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_TRUE(control::call(path, "{}", 500ms).error().is(Code::unavailable));
  serve([](const control::Peer&, std::string_view) { return std::string("{}"); });
  EXPECT_TRUE(control::call(path, "{}", 2s));
  const auto second = control::listen(path, "", [](const control::Peer&, std::string_view) { return std::string(); });
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().is(Code::exists));
  EXPECT_TRUE(control::call(path, "{}", 2s));
}

TEST_F(ControlTest, FileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path) << "precious";
  EXPECT_TRUE(control::listen(path, "", nullptr).error().is(Code::exists));
  EXPECT_TRUE(control::listen(directory / "other", "no-such-group-here", nullptr).error().is(Code::not_found));
}

TEST_F(ControlTest, StrangersAreRefusedWithAReason) {
  ASSERT_EQ(::getuid(), 0U) << "this test becomes another user: run it as root";
  serve([](const control::Peer&, std::string_view) { return std::string("{\"ok\":true}"); });
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);  // the mode keeps strangers out; the credentials must as well
  std::string above = path.substr(0, path.rfind('/'));
  ASSERT_EQ(::chmod(above.c_str(), 0755), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(9);
    const auto reply = control::call(path, "{}", 2s);
    ::_exit(reply && reply->find("\"code\":\"denied\"") != std::string::npos ? 0 : 1);
  }
  int how = 0;
  ASSERT_EQ(::waitpid(child, &how, 0), child);
  EXPECT_EQ(how, 0);
}

// HTTP ------------------------------------------------------------------------------------------------------------------
class HttpTest : public testing::Test {
 protected:
  void serve(http::Limits limits) {
    service.emplace(
        [&](loop::Loop& loop) {
          std::map<std::string, http::Handler> pages;
          pages["/ok"] = [] { return http::Response{200, {}, "fine\n"}; };
          auto listening = http::serve(loop, {"127.0.0.1", 0}, std::move(pages), limits);
          ASSERT_TRUE(listening) << listening.error().message;
          server = std::move(*listening);
        },
        [this] { server.reset(); });
  }
  int dial() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(server->port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
  static std::string rest(int fd) {
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) out.append(buffer, static_cast<size_t>(got));
    ::close(fd);
    return out;
  }
  std::string ask(const std::string& request) const {
    const int fd = dial();
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
    return rest(fd);
  }

  std::unique_ptr<http::Server> server;
  std::optional<Service> service;
};

TEST_F(HttpTest, Answers) {
  serve({});
  EXPECT_NE(ask("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n").find("200 OK"), std::string::npos);
  EXPECT_NE(ask("GET /ok?x=1 HTTP/1.1\r\nHost: x\r\n\r\n").find("\r\n\r\nfine\n"), std::string::npos);
  const std::string head = ask("HEAD /ok HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(head.find("Content-Length: 5"), std::string::npos) << head;
  EXPECT_EQ(head.find("fine"), std::string::npos);
  EXPECT_NE(ask("GET /no HTTP/1.1\r\nHost: x\r\n\r\n").find(" 404 "), std::string::npos);
  EXPECT_NE(ask("DELETE /ok HTTP/1.1\r\nHost: x\r\n\r\n").find(" 405 "), std::string::npos);
  EXPECT_NE(ask("nonsense\r\n\r\n").find(" 400 "), std::string::npos);
  EXPECT_NE(ask("GET /ok HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n").find(" 431 "), std::string::npos);
}

TEST_F(HttpTest, SlowClientsAreDroppedAndOthersServedAfterwards) {
  http::Limits limits;
  limits.connections = 2;
  limits.deadline = 300ms;
  serve(limits);
  const int slow = dial(), slower = dial();
  EXPECT_EQ(::send(slow, "GET /o", 6, MSG_NOSIGNAL), 6);
  EXPECT_NE(ask("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n").find("200 OK"), std::string::npos);  // waits for a place
  EXPECT_EQ(rest(slow), "");
  EXPECT_EQ(rest(slower), "");
}

TEST(Http, ListenAddresses) {
  EXPECT_EQ(http::parse_listen("127.0.0.1:9490")->port, 9490);
  EXPECT_EQ(http::parse_listen("[::1]:1")->address, "::1");
  for (const char* wrong : {"", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "localhost:80", "[127.0.0.1]:80", "1.2.3.4:x"}) {
    EXPECT_FALSE(http::parse_listen(wrong)) << wrong;
  }
}

TEST(Loop, HandlesEndInsideTheirOwnCallback) {
  loop::Loop loop;
  int calls = 0;
  loop::Handle timer = loop.every(1ms, [&] {
    if (++calls == 3) timer.cancel();
  });
  loop::Handle end = loop.after(50ms, [&] { loop.stop(); });
  loop.post([&] { ++calls; });
  loop.run();
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace firn::routed
