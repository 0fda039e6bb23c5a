// Whole processes side by side, interleaved in one run: ADD and DEL of firn, of Debian's ptp + host-local, and of the bare
// program floor.c; firn-ipam against host-local; 64 at once. Everything happens in a private network and mount namespace.
//
//   attach_bench BIN_DIR [--rounds N] [--plugins /usr/lib/cni] [--routed]
//
// --routed: firn-routed runs meanwhile and holds the store open (as on a real host), and ADD waits for policy; without: nothing else
// runs.
#include <signal.h>
#include <sys/stat.h>

#include <thread>

#include "bench/whole/processes.hpp"

namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): this file is about nothing else

struct Options {
  std::string bin, plugins = "/usr/lib/cni", directory;
  int rounds = 300;
  bool routed = false;
};

std::string netns_path(const Options& o, int number) { return o.directory + "/ns-" + std::to_string(number); }

Command firn(const Options& o, const std::string& verb, const std::string& id, const std::string& netns) {
  return {o.bin + "/firn", {}, cni_environment(verb, id, netns, o.bin),
          R"({"cniVersion":"1.0.0","name":"bench","type":"firn","mtu":1500,"stateDir":")" + o.directory + R"(/firn","daemonSocket":")" + o.directory +
              R"(/run/routed.sock","ipam":{"type":"firn-ipam","subnet":"10.64.0.0/16"}})"};
}

Command ptp(const Options& o, const std::string& verb, const std::string& id, const std::string& netns) {
  return {o.plugins + "/ptp", {}, cni_environment(verb, id, netns, o.plugins),
          R"({"cniVersion":"1.0.0","name":"benchptp","type":"ptp","mtu":1500,"ipam":{"type":"host-local","dataDir":")" + o.directory +
              R"(/host-local","subnet":"10.65.0.0/16","routes":[{"dst":"0.0.0.0/0"}]}})"};
}

Command floor_program(const Options& o, int number, const std::string& netns) {
  const int host = number % 65000 + 1;
  return {o.bin + "/attach_floor", {netns, "floor" + std::to_string(number), "10.66." + std::to_string(host / 256) + "." + std::to_string(host % 256)}, {}, ""};
}

Command firn_ipam(const Options& o, const std::string& verb, const std::string& id) {
  return {o.bin + "/firn-ipam", {}, cni_environment(verb, id, "/var/run/netns/none", o.bin),
          R"({"cniVersion":"1.0.0","name":"benchipam","type":"bridge","ipam":{"type":"firn-ipam","stateDir":")" + o.directory + R"(/firn","subnet":"10.67.0.0/16"}})"};
}

Command host_local(const Options& o, const std::string& verb, const std::string& id) {
  return {o.plugins + "/host-local", {}, cni_environment(verb, id, "/var/run/netns/none", o.plugins),
          R"({"cniVersion":"1.0.0","name":"benchhl","type":"bridge","ipam":{"type":"host-local","dataDir":")" + o.directory + R"(/host-local","subnet":"10.68.0.0/16"}})"};
}

void attach_one_by_one(const Options& o) {
  Samples s;
  const Command nothing{o.bin + "/attach_empty", {}, {}, ""};
  for (int i = 0; i < o.rounds; ++i) {
    const std::string id = "container" + std::to_string(i);
    const std::string a = netns_path(o, 3 * i), b = netns_path(o, 3 * i + 1), c = netns_path(o, 3 * i + 2);
    for (const auto& path : {a, b, c}) make_netns(path);
    s.add("empty", run(nothing));
    // Each round begins with another program, so that none always profits from the one before.
    for (int turn = 0; turn < 3; ++turn) {
      switch ((i + turn) % 3) {
        case 0: s.add("firn ADD", run(firn(o, "ADD", id, a))); break;
        case 1: s.add("ptp ADD", run(ptp(o, "ADD", id, b))); break;
        default: s.add("floor ADD", run(floor_program(o, i, c))); break;
      }
    }
    if (i % 2 == 0) s.add("firn DEL", run(firn(o, "DEL", id, a)));
    s.add("ptp DEL", run(ptp(o, "DEL", id, b)));
    if (i % 2 == 1) s.add("firn DEL", run(firn(o, "DEL", id, a)));
    for (const auto& path : {a, b, c}) drop_netns(path);
  }
  std::printf("ADD and DEL, one after another, %d rounds interleaved (ptp = ptp + host-local):\n", o.rounds);
  for (const char* name : {"empty", "floor ADD", "firn ADD", "ptp ADD", "firn DEL", "ptp DEL"}) s.row(name);
  s.ratio("firn ADD", "ptp ADD", "<= 0.25");
  s.ratio("firn ADD", "floor ADD", "<= 1.6");
  s.ratio("firn DEL", "ptp DEL", "<= 0.10");
}

void ipam_one_by_one(const Options& o) {
  Samples s;
  for (int i = 0; i < o.rounds; ++i) {
    const std::string id = "ipam" + std::to_string(i);
    for (int turn = 0; turn < 2; ++turn) {
      if ((i + turn) % 2 == 0) {
        s.add("firn-ipam ADD", run(firn_ipam(o, "ADD", id)));
        s.add("firn-ipam DEL", run(firn_ipam(o, "DEL", id)));
      } else {
        s.add("host-local ADD", run(host_local(o, "ADD", id)));
        s.add("host-local DEL", run(host_local(o, "DEL", id)));
      }
    }
  }
  std::printf("\nIPAM as a process, %d rounds interleaved:\n", o.rounds);
  for (const char* name : {"firn-ipam ADD", "host-local ADD", "firn-ipam DEL", "host-local DEL"}) s.row(name);
  s.ratio("firn-ipam ADD", "host-local ADD", "<= 0.33");
  s.ratio("firn-ipam DEL", "host-local DEL", "<= 0.33");
}

// 64 attachments at once, each in a namespace of its own: all ADDs, then all DELs; returns operations a second.
double burst(const Options& o, int round, bool ours, int width) {
  std::vector<std::string> paths;
  for (int i = 0; i < width; ++i) {
    paths.push_back(netns_path(o, 1000000 + i));
    make_netns(paths.back());
  }
  const int output = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  double busy = 0;
  for (const char* verb : {"ADD", "DEL"}) {
    const auto begin = Clock::now();
    std::vector<pid_t> children;
    for (int i = 0; i < width; ++i) {
      const std::string id = "burst" + std::to_string(round) + "x" + std::to_string(i);
      children.push_back(start(ours ? firn(o, verb, id, paths[static_cast<size_t>(i)]) : ptp(o, verb, id, paths[static_cast<size_t>(i)]), output));
    }
    for (const pid_t pid : children) {
      int status = 0;
      ::waitpid(pid, &status, 0);
      if (status != 0) die(std::string("a concurrent ") + verb + " failed");
    }
    busy += milliseconds(Clock::now() - begin);
  }
  ::close(output);
  for (const auto& path : paths) drop_netns(path);
  return 2.0 * width / (busy / 1000);
}

void many_at_once(const Options& o) {
  constexpr int width = 64;
  const int rounds = std::max(3, o.rounds / 30);
  std::vector<double> ours, theirs;
  for (int i = 0; i < rounds; ++i) {
    ours.push_back(burst(o, i, true, width));
    theirs.push_back(burst(o, i, false, width));
  }
  std::sort(ours.begin(), ours.end());
  std::sort(theirs.begin(), theirs.end());
  const double a = ours[ours.size() / 2], b = theirs[theirs.size() / 2];
  std::printf("\n%d at once (64 ADD, then 64 DEL), median of %d rounds interleaved:\n", width, rounds);
  std::printf("  firn %.0f operations/s, ptp + host-local %.0f operations/s, ratio %.1f   goal >= 5\n", a, b, a / b);
}

pid_t start_routed(const Options& o) {
  const int output = ::open((o.directory + "/routed.log").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  const pid_t pid = start({o.bin + "/firn-routed", {"--state-dir", o.directory + "/firn", "--run-dir", o.directory + "/run", "--metrics", "off"},
                           {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, ""}, output);
  ::close(output);
  for (int i = 0; i < 100 && ::access((o.directory + "/run/routed.sock").c_str(), F_OK) != 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return pid;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--rounds" && i + 1 < argc) o.rounds = std::max(10, std::atoi(argv[++i]));
    else if (a == "--plugins" && i + 1 < argc) o.plugins = argv[++i];
    else if (a == "--routed") o.routed = true;
    else o.bin = a;
  }
  if (o.bin.empty()) {
    std::fprintf(stderr, "usage: attach_bench BIN_DIR [--rounds N] [--plugins DIR] [--routed]\n");
    return 2;
  }
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) die("a private namespace needs root");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) die("make mounts private");
  // /proc/sys shows the namespace of the reader; /sys must be that of the new one for plugins that look there.
  char name[] = "/tmp/firn-bench-XXXXXX";
  if (::mkdtemp(name) == nullptr) die("mkdtemp");
  o.directory = name;
  run({"/usr/sbin/ip", {"link", "set", "lo", "up"}, {}, ""});
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  pid_t routed = 0;
  if (o.routed) {
    make_netns(netns_path(o, 999));
    run(firn(o, "ADD", "first", netns_path(o, 999)));
    routed = start_routed(o);
  }
  attach_one_by_one(o);
  ipam_one_by_one(o);
  many_at_once(o);
  if (routed != 0) {
    ::kill(routed, SIGTERM);
    ::waitpid(routed, nullptr, 0);
    drop_netns(netns_path(o, 999));
  }
  run({"/usr/bin/rm", {"-rf", o.directory}, {}, ""});
  return 0;
}
