// 100,000 IPv4 /32 routes through Kernel::apply against `ip -batch` of the same routes: the same private namespace, the same
// kernel, interleaved, so that what else the machine does hits both. Both times are wall clock around the whole job: for
// `ip` from its start to its end, for us from open_kernel() to the last answer.
//   route_driver [--routes N] [--runs N]
// Prints one line of JSON; the ratio is ip's time by ours (above 1: we are faster). Goal: at least 0.8.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/support/netns_fixture.hpp"

namespace {

using namespace firn;           // NOLINT(google-build-using-namespace)
using namespace firn::netlink;  // NOLINT(google-build-using-namespace)
using clock_type = std::chrono::steady_clock;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "route_driver: %s\n", what.c_str());
  std::exit(1);
}

struct Directory {
  std::string path;
  Directory() {
    std::string form = "/tmp/firn-bench-XXXXXX";
    if (::mkdtemp(form.data()) == nullptr) give_up("mkdtemp failed");
    path = form;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

template <class F>
double milliseconds(F&& f) {
  const auto start = clock_type::now();
  f();
  return std::chrono::duration<double, std::milli>(clock_type::now() - start).count();
}

int prepare_link() {
  auto kernel = open_kernel();
  if (!kernel) give_up(kernel.error().message);
  CreateVeth create;
  create.name = "bench0";
  create.peer_name = "bench1";
  if (auto status = all_done((*kernel)->apply(std::vector<Request>{create})); !status.ok()) give_up(status.error().message);
  SetLink up;
  up.index = (*kernel)->index_of("bench0").value();
  up.up = true;
  if (auto status = all_done((*kernel)->apply(std::vector<Request>{up})); !status.ok()) give_up(status.error().message);
  return up.index;
}

std::vector<Route> make_routes(size_t count, int index) {
  std::vector<Route> out(count);
  for (size_t i = 0; i < count; ++i) {
    out[i].destination = Prefix::host(Address::v4(0x0a000000U + static_cast<uint32_t>(i)));
    out[i].oif = index;
    out[i].scope = 253;  // what `ip` gives a route without gateway
  }
  return out;
}

// Down and up again: the kernel drops all the routes at once.
void clear_routes(int index) {
  auto kernel = open_kernel();
  SetLink down;
  down.index = index;
  down.up = false;
  SetLink up;
  up.index = index;
  up.up = true;
  if (auto status = all_done((*kernel)->apply(std::vector<Request>{down, up})); !status.ok()) give_up(status.error().message);
}

size_t routes_there(int index) {
  auto kernel = open_kernel();
  RouteFilter filter;
  filter.family = Family::v4;
  filter.protocol = route_protocol;
  filter.oif = index;
  auto routes = (*kernel)->routes(filter);
  if (!routes) give_up(routes.error().message);
  return routes->size();
}

void with_apply(const std::vector<Route>& routes) {
  auto kernel = open_kernel();
  if (!kernel) give_up(kernel.error().message);
  std::vector<Request> requests;
  requests.reserve(routes.size());
  for (const auto& route : routes) requests.emplace_back(AddRoute{route});
  if (auto status = all_done((*kernel)->apply(requests)); !status.ok()) give_up(status.error().message);
}

void with_ip(std::string file) {
  std::string program = "ip";
  std::string batch = "-batch";
  char* const arguments[] = {program.data(), batch.data(), file.data(), nullptr};
  pid_t child = 0;
  // The child inherits the namespace of this thread.
  if (::posix_spawnp(&child, "ip", nullptr, nullptr, arguments, environ) != 0) give_up("cannot start ip (package iproute2)");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) give_up("ip -batch failed");
}

void compare(size_t count, int runs) {
  const int index = prepare_link();
  const auto routes = make_routes(count, index);
  const Directory directory;
  const std::string file = directory.path + "/routes";
  {
    std::ofstream out(file);
    for (const auto& route : routes) {
      out << "route add " << route.destination.to_string() << " dev bench0 proto " << static_cast<int>(route_protocol) << '\n';
    }
  }
  std::vector<double> ours;
  std::vector<double> theirs;
  for (int run = 0; run < runs; ++run) {
    ours.push_back(milliseconds([&] { with_apply(routes); }));
    if (routes_there(index) != count) give_up("apply did not program all the routes");
    clear_routes(index);
    theirs.push_back(milliseconds([&] { with_ip(file); }));
    if (routes_there(index) != count) give_up("ip did not program all the routes");
    clear_routes(index);
  }
  const double a = median(ours);
  const double b = median(theirs);
  std::printf("{\"benchmark\": \"route_driver\", \"routes\": %zu, \"runs\": %d, \"firn_ms\": %.1f, \"ip_batch_ms\": %.1f, \"ratio\": %.2f}\n",
              count, runs, a, b, b / a);
}

size_t number_after(int argc, char** argv, std::string_view option, size_t standard) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (argv[i] == option) return std::strtoul(argv[i + 1], nullptr, 10);
  }
  return standard;
}

}  // namespace

int main(int argc, char** argv) {
  const size_t count = std::clamp<size_t>(number_after(argc, argv, "--routes", 100'000), 1, 1'000'000);
  const int runs = static_cast<int>(std::clamp<size_t>(number_after(argc, argv, "--runs", 5), 1, 1000));
  const firn::test::NetnsFixture netns;
  netns.run([&] { compare(count, runs); });
  return 0;
}
