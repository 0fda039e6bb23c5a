// ADD with policy and a published port: firn, whose firn-routed runs and has a policy that selects every container, against
// Debian's bridge + host-local, portmap and firewall, interleaved in one run. Everything happens in a private network and mount
// namespace.
//
//   ports_bench BIN_DIR [--rounds N] [--plugins /usr/lib/cni] [--kept N]
//
// --kept: so many containers with a port each stay attached, of both.
#include <signal.h>

#include <thread>

#include "bench/whole/processes.hpp"

namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): this file is about nothing else

struct Options {
  std::string bin, plugins = "/usr/lib/cni", directory;
  int rounds = 100, kept = 0;
};

constexpr const char* policy =
    R"({"apiVersion":"firn/v1","kind":"GlobalNetworkPolicy","metadata":{"name":"bench"},"spec":{"order":10,
  "types":["ingress","egress"],"ingress":[{"action":"allow","protocol":"tcp","destination":{"ports":[80]}}],"egress":[{"action":"allow"}]}})";

std::string port_mappings(int number) {
  return R"("runtimeConfig":{"portMappings":[{"hostPort":)" + std::to_string(number) + R"(,"containerPort":80,"protocol":"tcp"}]})";
}

std::string netns_path(const Options& o, const char* whose, int number) {
  return o.directory + "/" + whose + std::to_string(number);
}

Command firn(const Options& o, const std::string& verb, int number) {
  return {o.bin + "/firn",
          {},
          cni_environment(verb, "c" + std::to_string(number), netns_path(o, "firn", number), o.bin),
          R"({"cniVersion":"1.0.0","name":"bench","type":"firn","mtu":1500,"stateDir":")" + o.directory +
              R"(/firn","daemonSocket":")" + o.directory +
              R"(/run/routed.sock","ipam":{"type":"firn-ipam","subnet":"10.64.0.0/16"},)" + port_mappings(number) + "}"};
}

// One plugin of their list; `previous`: the result of the one before.
Command peer(const Options& o, const std::string& type, const std::string& more, const std::string& verb, int number,
             const std::string& previous) {
  std::string input = R"({"cniVersion":"1.0.0","name":"benchpeer","type":")" + type + "\"" + more;
  if (!previous.empty()) input += R"(,"prevResult":)" + previous;
  return {o.plugins + "/" + type,
          {},
          cni_environment(verb, "c" + std::to_string(number), netns_path(o, "peer", number), o.plugins),
          input + "}"};
}

double peer_chain(const Options& o, const std::string& verb, int number, std::string& result) {
  const std::string bridge = R"(,"bridge":"bench0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","dataDir":")" +
                             o.directory + R"(/host-local","subnet":"10.65.0.0/16","routes":[{"dst":"0.0.0.0/0"}]})";
  const std::vector<std::pair<std::string, std::string>> plugins = {
      {"bridge", bridge}, {"portmap", "," + port_mappings(number)}, {"firewall", ""}};
  double took = 0;
  if (verb == "ADD") {
    result.clear();
    for (const auto& plugin : plugins) {
      std::string said;
      took += run(peer(o, plugin.first, plugin.second, verb, number, result), &said);
      result = said;
    }
  } else {
    for (auto plugin = plugins.rbegin(); plugin != plugins.rend(); ++plugin) {
      took += run(peer(o, plugin->first, plugin->second, verb, number, result));
    }
  }
  return took;
}

pid_t start_routed(const Options& o) {
  const int output = ::open((o.directory + "/routed.log").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  const pid_t pid = start({o.bin + "/firn-routed",
                           {"--state-dir", o.directory + "/firn", "--run-dir", o.directory + "/run", "--metrics", "off"},
                           {"PATH=" + o.bin + ":/usr/sbin:/usr/bin:/sbin:/bin"},
                           ""},
                          output);
  ::close(output);
  for (int i = 0; i < 100 && ::access((o.directory + "/run/routed.sock").c_str(), F_OK) != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return pid;
}

void prepare(const Options& o) {
  run({"/usr/sbin/ip", {"link", "set", "lo", "up"}, {}, ""});
  run({"/usr/sbin/ip", {"address", "add", "192.0.2.1/32", "dev", "lo"}, {}, ""});
  const std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  run({o.bin + "/firnctl",
       {"--state-dir", o.directory + "/firn", "init", "--name", "bench", "--address", "192.0.2.1"},
       environment,
       ""});
  run({o.bin + "/firnctl", {"--state-dir", o.directory + "/firn", "apply", "-f", "-"}, environment, policy});
}

void measure(const Options& o) {
  Samples s;
  for (int i = 0; i < o.kept + o.rounds; ++i) {
    const int number = 10'000 + i;
    std::string result;
    for (const char* whose : {"firn", "peer"}) make_netns(netns_path(o, whose, number));
    double ours = 0, theirs = 0;
    for (int turn = 0; turn < 2; ++turn) {
      if ((i + turn) % 2 == 0) ours = run(firn(o, "ADD", number));
      else theirs = peer_chain(o, "ADD", number, result);
    }
    if (i < o.kept) continue;
    s.add("firn ADD", ours);
    s.add("peers ADD", theirs);
    s.add("firn DEL", run(firn(o, "DEL", number)));
    s.add("peers DEL", peer_chain(o, "DEL", number, result));
    for (const char* whose : {"firn", "peer"}) drop_netns(netns_path(o, whose, number));
  }
  std::printf(
      "ADD with policy and a published port, %d rounds interleaved, %d containers kept (peers = bridge + host-local, portmap, "
      "firewall):\n",
      o.rounds, o.kept);
  for (const char* name : {"firn ADD", "peers ADD", "firn DEL", "peers DEL"}) s.row(name);
  s.ratio("firn ADD", "peers ADD", "<= 0.10");
  s.ratio("firn DEL", "peers DEL", "<= 0.10");
  for (int i = 0; i < o.kept; ++i) {
    for (const char* whose : {"firn", "peer"}) drop_netns(netns_path(o, whose, 10'000 + i));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--rounds" && i + 1 < argc) o.rounds = std::max(10, std::atoi(argv[++i]));
    else if (a == "--kept" && i + 1 < argc) o.kept = std::max(0, std::atoi(argv[++i]));
    else if (a == "--plugins" && i + 1 < argc) o.plugins = argv[++i];
    else o.bin = a;
  }
  if (o.bin.empty()) {
    std::fprintf(stderr, "usage: ports_bench BIN_DIR [--rounds N] [--plugins DIR] [--kept N]\n");
    return 2;
  }
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) die("a private namespace needs root");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) die("make mounts private");
  char name[] = "/tmp/firn-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) die("mkdtemp");
  o.directory = name;
  prepare(o);
  const pid_t routed = start_routed(o);
  measure(o);
  ::kill(routed, SIGTERM);
  ::waitpid(routed, nullptr, 0);
  run({"/usr/bin/rm", {"-rf", o.directory}, {}, ""});
  return 0;
}
