// A host for CNI tests: a namespace, a state directory, and the plugins run in it as a runtime runs them.
// Everything is removed with the object.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "ipam/allocator.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/json/json.hpp"
#include "ipam/node_store.hpp"
#include "tests/support/netns_fixture.hpp"

namespace firn::test {

struct Reply {
  int status = -1;
  std::string out, err;

  // Code of the error object; 0 when there is none.
  int code() const {
    auto document = json::Document::parse(out);
    return document ? static_cast<int>(document->root()["code"].integer_or(0, 0, 10000).value()) : 0;
  }
  // The n-th address, without its length.
  std::string ip(size_t n) const {
    auto document = json::Document::parse(out);
    if (!document) return "";
    auto ips = document->root()["ips"].array();
    if (!ips || ips->size() <= n) return "";
    const std::string text = (*ips)[n]["address"].string_or("").value();
    return text.substr(0, text.find('/'));
  }
  std::string host_ifname() const {
    auto document = json::Document::parse(out);
    return document ? document->root()["interfaces"].array().value().at(0)["name"].string_or("").value() : "";
  }
};

class CniHost {
 public:
  CniHost() {
    char name[] = "/tmp/firn-t-cni-XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    directory_ = name;
    sysctl("/proc/sys/net/ipv4/ip_forward", "0");
    ip({"address", "add", "192.0.2.1/32", "dev", "lo"});  // what a host's uplink has: packets of the host need a source
  }
  CniHost(const CniHost&) = delete;
  CniHost& operator=(const CniHost&) = delete;
  ~CniHost() { std::filesystem::remove_all(directory_); }

  const NetnsFixture& netns() const { return netns_; }
  const std::string& directory() const { return directory_; }
  std::string state() const { return directory_ + "/state"; }
  std::string binaries() const { return FIRN_BINARIES; }

  std::string config_at(const std::string& state, const std::string& more, const std::string& version = "1.1.0",
                        const std::string& name = "net") const {
    return R"({"cniVersion":")" + version + R"(","name":")" + name + R"(","type":"firn","stateDir":")" + state + "\"," + more + "}";
  }
  std::string config(const std::string& more, const std::string& version = "1.1.0", const std::string& name = "net") const {
    return config_at(state(), more, version, name);
  }
  std::string with_prev(const std::string& config, const std::string& result) const {
    return config.substr(0, config.size() - 1) + ",\"prevResult\":" + result + "}";
  }

  // As `output` of run().
  static constexpr const char* without_reader = "a pipe whose reader is gone";

  Reply run(const std::string& program, const std::string& verb, const std::string& id, const std::string& netns,
            const std::string& input, const std::string& ifname = "eth0", std::vector<std::string> variables = {},
            const std::string& output = "") const {
    if (!verb.empty()) variables.push_back("CNI_COMMAND=" + verb);
    variables.push_back("CNI_CONTAINERID=" + id);
    variables.push_back("CNI_NETNS=" + netns);
    variables.push_back("CNI_IFNAME=" + ifname);
    variables.push_back("CNI_PATH=" + binaries() + ":/usr/lib/cni");
    variables.push_back("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    environment.push_back(nullptr);
    std::string name = program;
    char* arguments[] = {name.data(), nullptr};
    const unique_fd in = memory(input), err = memory("");
    const unique_fd out = output.empty()             ? memory("")
                          : output == without_reader ? pipe_without_reader()
                                                     : unique_fd(::open(output.c_str(), O_WRONLY | O_CLOEXEC));
    Reply reply;
    netns_.run([&] {
      posix_spawn_file_actions_t actions;
      ::posix_spawn_file_actions_init(&actions);
      ::posix_spawn_file_actions_adddup2(&actions, in.get(), 0);
      ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
      ::posix_spawn_file_actions_adddup2(&actions, err.get(), 2);
      pid_t pid = 0;
      if (::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environment.data()) == 0) {
        int status = 0;
        ::waitpid(pid, &status, 0);
        reply.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
      }
      ::posix_spawn_file_actions_destroy(&actions);
    });
    reply.out = content(out);
    reply.err = content(err);
    while (!reply.out.empty() && reply.out.back() == '\n') reply.out.pop_back();
    return reply;
  }
  Reply firn(const std::string& verb, const std::string& id, const std::string& netns, const std::string& input,
             const std::string& ifname = "eth0", std::vector<std::string> variables = {}) const {
    return run(binaries() + "/firn", verb, id, netns, input, ifname, std::move(variables));
  }

  static int ip_in(const NetnsFixture& ns, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/sbin/ip");
    return run_program(&ns, arguments);
  }
  int ip(std::vector<std::string> arguments) const { return ip_in(netns_, std::move(arguments)); }
  void sysctl(const std::string& path, const std::string& value) const {
    netns_.run([&] { write(path, value); });
  }
  static void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

  size_t files(const std::string& path) const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path)) count += entry.is_regular_file() ? 1 : 0;
    return count;
  }
  void remove_state() const { std::filesystem::remove_all(state()); }

  std::vector<model::Endpoint> endpoints() const {
    auto store = open();
    SystemClock clock;
    return ipam::Allocator(*store, clock, options()).endpoints().value();
  }
  void release(const std::string& handle) const {
    auto store = open();
    SystemClock clock;
    (void)ipam::Allocator(*store, clock, options()).release(handle).value();
  }
  // Live links of firn's on the host.
  size_t links() const {
    size_t count = 0;
    for (const netlink::Link& link : netns_.kernel()->links().value()) count += endpoint::handle_of_link(link) ? 1 : 0;
    return count;
  }
  // Every record of the store but the pools and blocks that a try may add, every link, every route.
  std::string snapshot() const {
    std::string out;
    for (const char* prefix : {"lease/", "endpoint/"}) {
      for (const kv::Entry& entry : open()->range(prefix).value().entries) out += entry.key + "=" + entry.value + "\n";
    }
    for (const netlink::Link& link : netns_.kernel()->links().value())
      out += link.name + (link.up ? " up " : " down ") + link.alias + "\n";
    for (const netlink::Route& route : netns_.kernel()->routes({}).value()) out += route.destination.to_string() + "\n";
    return out;
  }

 private:
  std::unique_ptr<kv::Store> open() const {
    std::filesystem::create_directories(state());
    return ipam::open_node_store({state() + "/node.db"}).value();
  }
  static ipam::Options options() {
    ipam::Options out;
    out.boot_id = ipam::current_boot_id().value();
    return out;
  }
  static unique_fd memory(const std::string& text) {
    unique_fd file(::memfd_create("test", MFD_CLOEXEC));
    for (size_t at = 0; at < text.size();) {
      const ssize_t n = ::write(file.get(), text.data() + at, text.size() - at);
      if (n <= 0) std::abort();
      at += static_cast<size_t>(n);
    }
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
  }
  static unique_fd pipe_without_reader() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    ::close(ends[0]);
    return unique_fd(ends[1]);
  }
  static std::string content(const unique_fd& file) {
    std::string out;
    char buffer[65536];
    ::lseek(file.get(), 0, SEEK_SET);
    for (ssize_t n; (n = ::read(file.get(), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
    return out;
  }

  NetnsFixture netns_;
  std::string directory_;
};

}  // namespace firn::test
