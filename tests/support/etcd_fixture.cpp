#include "tests/support/etcd_fixture.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/file.hpp"
#include "lib/base/unique_fd.hpp"

namespace firn::test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{30};
const std::string first_token = "firn-test";

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "EtcdFixture: %s\n", what.c_str());
  std::abort();
}

pid_t spawn(const std::vector<std::string>& arguments, const std::string& out, const std::string& err) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  return failed == 0 ? pid : -1;
}

// Free when asked; nobody else takes it before etcd does, as far as one can know.
uint16_t free_port() {
  const unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    give_up("no free port");
  }
  return ntohs(address.sin_port);
}

void must_run(const std::vector<std::string>& arguments, const std::string& directory) {
  const ProgramResult result = run_and_read(arguments, directory);
  if (result.exit != 0) give_up(arguments[0] + " " + arguments[1] + " failed: " + result.err);
}

}  // namespace

ProgramResult run_and_read(const std::vector<std::string>& arguments, const std::string& directory) {
  const std::string out = directory + "/out", err = directory + "/err";
  std::filesystem::remove(out);
  std::filesystem::remove(err);
  const pid_t pid = spawn(arguments, out, err);
  ProgramResult result;
  if (pid < 0) return result;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (auto text = read_file(out, 8 << 20)) result.out = std::move(*text);
  if (auto text = read_file(err, 8 << 20)) result.err = std::move(*text);
  return result;
}

std::string make_temporary_directory(const std::string& name) {
  std::string pattern = std::filesystem::temp_directory_path() / (name + "-XXXXXX");
  if (::mkdtemp(pattern.data()) == nullptr) give_up("no temporary directory");
  return pattern;
}

TestAuthority::TestAuthority(const std::string& directory) : directory_(directory) {
  std::filesystem::create_directories(directory);
  const std::string extensions = directory + "/extensions";
  if (!write_file_atomic(extensions, "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n", 0600)) {
    give_up("cannot write " + extensions);
  }
  const std::vector<std::string> fresh = {"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"};
  auto authority = fresh;
  authority.insert(authority.end(), {"-x509", "-days", "2", "-subj", "/O=firn test authority", "-keyout", directory + "/ca.key", "-out", ca()});
  must_run(authority, directory);
  auto leaf = fresh;
  leaf.insert(leaf.end(), {"-subj", "/O=firn test", "-keyout", key(), "-out", directory + "/leaf.csr"});
  must_run(leaf, directory);
  must_run({"openssl", "x509", "-req", "-days", "2", "-in", directory + "/leaf.csr", "-CA", ca(), "-CAkey", directory + "/ca.key",
            "-CAcreateserial", "-extfile", extensions, "-out", certificate()},
           directory);
}

EtcdFixture::EtcdFixture(Setup setup) : setup_(std::move(setup)), directory_(make_temporary_directory("firn-t-etcd")) {
  for (int i = 0; i < setup_.members; ++i) members_.push_back({free_port(), free_port(), -1});
  for (int i = 0; i < setup_.members; ++i) start(i);
  for (int i = 0; i < setup_.members; ++i) wait_healthy(i);
}

EtcdFixture::~EtcdFixture() {
  for (int i = 0; i < setup_.members; ++i) kill(i);
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

http::Endpoint EtcdFixture::endpoint(int member) const {
  http::Endpoint endpoint;
  endpoint.transport = setup_.authority != nullptr ? http::Endpoint::Transport::tls : http::Endpoint::Transport::tcp;
  endpoint.host = "127.0.0.1";
  endpoint.port = members_[static_cast<size_t>(member)].client_port;
  return endpoint;
}

std::vector<http::Endpoint> EtcdFixture::endpoints() const {
  std::vector<http::Endpoint> all;
  for (int i = 0; i < setup_.members; ++i) all.push_back(endpoint(i));
  return all;
}

std::string EtcdFixture::initial_cluster() const {
  std::string text;
  for (size_t i = 0; i < members_.size(); ++i) text += (i == 0 ? "m" : ",m") + std::to_string(i) + "=" + peer_url(members_[i]);
  return text;
}

void EtcdFixture::kill(int member) {
  pid_t& pid = members_[static_cast<size_t>(member)].pid;
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid = -1;
}

void EtcdFixture::start(int member) {
  Member& m = members_[static_cast<size_t>(member)];
  const std::string client = endpoint(member).to_string();
  std::vector<std::string> arguments = {"etcd",
                                        "--name=m" + std::to_string(member),
                                        "--data-dir=" + data(member),
                                        "--listen-client-urls=" + client,
                                        "--advertise-client-urls=" + client,
                                        "--listen-peer-urls=" + peer_url(m),
                                        "--initial-advertise-peer-urls=" + peer_url(m),
                                        "--initial-cluster=" + initial_cluster(),
                                        "--initial-cluster-token=" + first_token,
                                        "--heartbeat-interval=50",
                                        "--election-timeout=500",
                                        "--log-level=warn"};
  if (const TestAuthority* authority = setup_.authority) {
    arguments.insert(arguments.end(), {"--cert-file=" + authority->certificate(), "--key-file=" + authority->key(),
                                       "--trusted-ca-file=" + authority->ca(), "--client-cert-auth"});
  }
  arguments.insert(arguments.end(), setup_.arguments.begin(), setup_.arguments.end());
  const std::string log = directory_ + "/m" + std::to_string(member) + ".log";
  m.pid = spawn(arguments, log, log);
  if (m.pid < 0) give_up("etcd cannot be started (package etcd-server)");
}

void EtcdFixture::wait_healthy(int member) const {
  http::Tls tls;
  if (const TestAuthority* authority = setup_.authority) tls = {authority->ca(), authority->certificate(), authority->key(), ""};
  auto client = http::make_client(endpoint(member), tls);
  if (!client) give_up(client.error().message);
  http::Request request;
  request.target = "/health";
  const auto until = Clock::now() + patience;
  std::string last;
  while (Clock::now() < until) {
    const auto answer = (*client)->call(request, Clock::now() + std::chrono::seconds(2));
    if (answer && answer->status == 200) return;
    last = answer ? answer->body : answer.error().message;
    if (::waitpid(pid(member), nullptr, WNOHANG) != 0) break;
    // Sleeps because a server that does not listen yet tells nobody when it does.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  auto log = read_file(directory_ + "/m" + std::to_string(member) + ".log", 8 << 20);
  for (const Member& one : members_) {
    if (one.pid > 0) ::kill(one.pid, SIGKILL);
  }
  give_up("member " + std::to_string(member) + " does not become healthy: " + last + "\n" + (log ? *log : ""));
}

std::string EtcdFixture::ctl(std::vector<std::string> arguments) const {
  std::string list;
  for (const http::Endpoint& one : endpoints()) list += (list.empty() ? "" : ",") + one.to_string();
  arguments.insert(arguments.begin(), {"env", "ETCDCTL_API=3", "etcdctl", "--endpoints=" + list});
  if (const TestAuthority* authority = setup_.authority) {
    arguments.insert(arguments.end(), {"--cacert=" + authority->ca(), "--cert=" + authority->certificate(), "--key=" + authority->key()});
  }
  const ProgramResult result = run_and_read(arguments, directory_);
  EXPECT_EQ(result.exit, 0) << result.err;
  return result.out;
}

void EtcdFixture::restore(const std::string& snapshot, const std::string& token) {
  std::filesystem::remove_all(data());
  const ProgramResult result =
      run_and_read({"env", "ETCDCTL_API=3", "etcdctl", "snapshot", "restore", snapshot, "--name=m0", "--data-dir=" + data(),
                    "--initial-cluster=" + initial_cluster(), "--initial-advertise-peer-urls=" + peer_url(members_[0]),
                    "--initial-cluster-token=" + (token.empty() ? first_token : token)},
                   directory_);
  EXPECT_EQ(result.exit, 0) << result.err;
}

}  // namespace firn::test
