// The control client against a BIRD that answers from a script: slow, broken and hostile answers that the real one rarely gives.
// What the real one answers is shown in tests/netns/bird_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "lib/base/unique_fd.hpp"
#include "routed/bird/control.hpp"

namespace firn::routed::bird {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Accepts one connection, says the greeting, then answers each command from the script (several answers: one after the other,
// the last for good; no answer: silence). Ends when the client goes.
class ScriptedBird {
 public:
  using Script = std::map<std::string, std::vector<std::string>>;
  explicit ScriptedBird(Script script, std::string greeting = "0001 BIRD 2.0.12 ready.\n") : script_(std::move(script)) {
    char name[] = "/tmp/firn-t-control-XXXXXX";
    directory_ = ::mkdtemp(name);
    listener_ = unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, greeting = std::move(greeting)] { serve(greeting); });
  }
  ~ScriptedBird() { join(); }
  ScriptedBird(const ScriptedBird&) = delete;
  ScriptedBird& operator=(const ScriptedBird&) = delete;

  std::string path() const { return directory_ + "/bird.ctl"; }
  // Waits for the client to be gone, then tells what it asked.
  const std::vector<std::string>& asked() {
    join();
    return asked_;
  }

 private:
  void join() {
    if (!thread_.joinable()) return;
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(directory_);
  }
  void serve(const std::string& greeting) {
    const unique_fd client(::accept(listener_.get(), nullptr, nullptr));
    if (!client) return;
    say(client, greeting);
    std::string line;
    char c = 0;
    while (::read(client.get(), &c, 1) == 1) {
      if (c != '\n') {
        line += c;
        continue;
      }
      asked_.push_back(line);
      auto& answers = script_[line];
      line.clear();
      if (answers.empty()) continue;
      if (answers.front() == "close") return;
      say(client, answers.front());
      if (answers.size() > 1) answers.erase(answers.begin());
    }
  }
  static void say(const unique_fd& client, std::string_view text) {
    (void)::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }

  Script script_;
  std::string directory_;
  unique_fd listener_;
  std::vector<std::string> asked_;
  std::thread thread_;
};

constexpr std::chrono::milliseconds brief{100};
constexpr const char* reading = "0002-Reading configuration from /c\n";
std::string after_reading(std::string_view line) { return std::string(reading) + std::string(line) + "\n"; }

Error error_of(Status status) { return status ? Error{} : std::move(status).error(); }

TEST(BirdControl, ChecksThenConfigures) {
  ScriptedBird bird({{"configure check \"/c\"", {after_reading("0020 Configuration OK")}},
                     {"configure \"/c\"", {after_reading("0003 Reconfigured")}}});
  {
    auto control = Control::connect(bird.path());
    ASSERT_TRUE(control.ok()) << control.error().message;
    EXPECT_EQ(control->daemon_pid(), ::getpid());
    EXPECT_TRUE(control->apply("/c").ok());
  }
  EXPECT_THAT(bird.asked(), ElementsAre("configure check \"/c\"", "configure \"/c\""));
}

TEST(BirdControl, ARefusedCheckConfiguresNothing) {
  ScriptedBird bird(ScriptedBird::Script{{"configure check", {after_reading("8002 /c:7:3 syntax error")}}});
  {
    auto control = Control::connect(bird.path());
    ASSERT_TRUE(control.ok());
    const Error error = error_of(control->apply(""));
    EXPECT_EQ(error.code, Code::invalid);
    EXPECT_THAT(error.message, HasSubstr("/c:7:3 syntax error"));
  }
  EXPECT_THAT(bird.asked(), ElementsAre("configure check"));
}

TEST(BirdControl, AFailedConfigureIsUndone) {
  ScriptedBird bird({{"configure \"/c\"", {after_reading("0006 Reconfiguration ignored, shutting down")}},
                     {"configure undo", {"0021-Undo requested\n0019 Nothing to undo\n"}}});
  {
    auto control = Control::connect(bird.path());
    ASSERT_TRUE(control.ok());
    const Error error = error_of(control->configure("/c"));
    EXPECT_EQ(error.code, Code::unavailable);
    EXPECT_THAT(error.message, HasSubstr("shutting down"));
  }
  EXPECT_THAT(bird.asked(), ElementsAre("configure \"/c\"", "configure undo"));
}

TEST(BirdControl, AReconfigurationInProgressIsFollowedToItsEnd) {
  ScriptedBird bird(
      {{"configure \"/c\"", {after_reading("0004 Reconfiguration in progress")}},
       {"configure status", {"0004-Reconfiguration in progress\n0000 \n", "0003-Daemon is up and running\n0000 \n"}}});
  {
    auto control = Control::connect(bird.path());
    ASSERT_TRUE(control.ok());
    const auto status = control->configure("/c");
    EXPECT_TRUE(status.ok()) << status.error().message;
  }
  EXPECT_THAT(bird.asked(), ElementsAre("configure \"/c\"", "configure status", "configure status"));
}

TEST(BirdControl, AReconfigurationWithoutAnEndIsLeftRunning) {
  ScriptedBird bird({{"configure \"/c\"", {after_reading("0005 Reconfiguration already in progress, queueing new config")}},
                     {"configure status", {"0004-Reconfiguration in progress\n0000 \n"}}});
  auto control = Control::connect(bird.path(), 5 * brief);
  ASSERT_TRUE(control.ok());
  const Error error = error_of(control->configure("/c"));
  EXPECT_EQ(error.code, Code::unavailable);
  EXPECT_THAT(error.message, HasSubstr("still reconfiguring"));
}

TEST(BirdControl, SilenceEndsAtTheDeadline) {
  ScriptedBird bird{ScriptedBird::Script{}};
  auto control = Control::connect(bird.path(), brief);
  ASSERT_TRUE(control.ok());
  const auto status = control->status();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::unavailable);
  EXPECT_THAT(status.error().message, HasSubstr("no answer within 100 ms"));
  EXPECT_THAT(control->status().error().message, HasSubstr("closed"))
      << "an answer that comes late must not be taken for another's";
}

TEST(BirdControl, AConnectionThatClosesInTheMiddleIsAnError) {
  ScriptedBird bird(ScriptedBird::Script{{"show status", {"close"}}});
  auto control = Control::connect(bird.path());
  ASSERT_TRUE(control.ok());
  EXPECT_THAT(control->status().error().message, HasSubstr("closed the connection"));
}

TEST(BirdControl, AnotherProgramOnTheSocketIsTold) {
  ScriptedBird bird(ScriptedBird::Script{}, "HTTP/1.1 400 Bad Request\n");
  const auto control = Control::connect(bird.path());
  ASSERT_FALSE(control.ok());
  EXPECT_THAT(control.error().message, HasSubstr("another program"));
}

TEST(BirdControl, NobodyThereAndPathsThatCannotBe) {
  const auto nobody = Control::connect("/tmp/firn-t-no-such-socket");
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().code, Code::unavailable);
  EXPECT_EQ(nobody.error().sys, ENOENT);
  EXPECT_EQ(Control::connect(std::string(200, 'x')).error().code, Code::invalid);
  EXPECT_EQ(Control::connect("").error().code, Code::invalid);
}

TEST(BirdControl, NoArgumentBecomesACommand) {
  ScriptedBird bird{ScriptedBird::Script{}};
  {
    auto control = Control::connect(bird.path(), brief);
    ASSERT_TRUE(control.ok());
    EXPECT_EQ(control->command("show status\ndown").error().code, Code::invalid);
    EXPECT_EQ(control->command(std::string(5000, 'x')).error().code, Code::invalid);
    EXPECT_EQ(error_of(control->check("/c\"\ndown")).code, Code::invalid);
    EXPECT_EQ(control->sessions("x\" down \"").error().code, Code::invalid);
    EXPECT_EQ(control->exported("firn_peer_a where true").error().code, Code::invalid);
  }
  EXPECT_TRUE(bird.asked().empty());
}

}  // namespace
}  // namespace firn::routed::bird
