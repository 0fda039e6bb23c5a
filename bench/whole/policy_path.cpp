// The way of packets through a host with firn's table, beside ways without: between two containers, in one run, interleaved, on
// one processor. Some hosts that have two containers each:
//   veth     no host at all: the two are joined
//   bridge   a bridge with the rules that Docker 20.10 writes for its own one, through iptables
//   routing  interfaces as firn makes them, no table
//   tracking the same, and one rule of nftables that looks at the state of connections: the least that a stateful filter costs
//   firn     the table without policies
//   one      a policy selects the server
//   many     many policies are in the table, one of them selects the server
//   deep     the same table, another server: about one policy in 250 selects it, and the last of them allows the client
//   policy_path BIN [--policies N] [--rounds N]
// Prints one line of JSON: medians, and ratios as medians of what each round gave. Goals: first packet many / one at most 1.1,
// stream many / one at least 0.97, stream firn / veth at least 0.97, rates firn / bridge at least 1.25.
#include <sched.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/whole/processes.hpp"
#include "bench/whole/traffic.hpp"
#include "lib/base/clock.hpp"
#include "lib/endpoint/endpoint.hpp"
#include "lib/loop/loop.hpp"
#include "lib/netlink/kernel.hpp"
#include "routed/nft/child.hpp"
#include "routed/nft/table.hpp"
#include "routed/policy/compute.hpp"
#include "routed/policy/nat.hpp"
#include "tests/support/netns_fixture.hpp"

namespace {

using namespace firn;  // NOLINT(google-build-using-namespace)
using test::NetnsFixture;

// How much of each measure a round takes of each path, and how long all rounds may take.
constexpr size_t first_packets = 200, connects = 100, requests = 500, small_packets = 3200, stream_bytes = 32 * 1024 * 1024;
constexpr std::chrono::seconds patience{70};
// Of the other policies and interfaces of the host with many.
constexpr size_t groups = 250, apps = 1000;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "policy_path: %s\n", what.c_str());
  std::exit(1);
}
void must(const Status& done) {
  if (!done) give_up(done.error().message);
}

Address address(uint32_t number) { return Address::v4(0x0a2c0000 + number); }

void run_in(const NetnsFixture& netns, const std::string& program, std::vector<std::string> arguments, const std::string& input) {
  netns.run([&] { bench::run({program, std::move(arguments), {}, input}); });
}

// Policies -------------------------------------------------------------------------------------------------------------------

model::Policy policy(const std::string& name, const std::string& group, const std::string& app) {
  model::Policy out;
  out.scope = "default";
  out.name = name;
  out.selector = "group == '" + group + "'";
  out.applies_ingress = true;
  for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}}) {
    model::PolicyRule rule;
    rule.protocol = protocol;
    rule.source.selector = "app == '" + app + "'";
    rule.destination.ports = {{bench::Traffic::port, bench::Traffic::port, {}}, {443, 443, {}}};
    out.ingress.push_back(rule);
  }
  return out;
}

struct Wish {
  routed::policy::Compute compute;
  routed::policy::Nat nat;

  void put(const model::Policy& record) { must(compute.set_policy(model::keys::policy(record.scope, record.name), &record)); }
  void put(const std::string& id, const model::Endpoint& record, bool here) {
    compute.set_endpoint(id, &record, here);
    if (here) nat.set_endpoint(id, &record);
  }
  // `policies` in all, with the two that decide about the containers that are measured.
  void put_policies(size_t policies) {
    if (policies == 0) return;
    put(policy("alone", "alone", "client"));
    if (policies == 1) return;
    for (size_t i = 0; i < groups; ++i) {
      model::Endpoint endpoint;
      endpoint.host_ifname = "other" + std::to_string(i);
      endpoint.mac = *Mac::parse("02:00:00:00:00:01");
      endpoint.addresses = {address(1000 + static_cast<uint32_t>(i))};
      endpoint.labels = {{"group", "g" + std::to_string(i)}};
      put(endpoint.host_ifname, endpoint, true);
    }
    for (size_t i = 0; i < apps; ++i) {
      model::Endpoint endpoint;
      endpoint.addresses = {address(5000 + static_cast<uint32_t>(i))};
      endpoint.labels = {{"app", "a" + std::to_string(i)}};
      put("remote" + std::to_string(i), endpoint, false);
    }
    for (size_t i = 2; i < policies; ++i) {
      put(policy("p" + std::to_string(i), "g" + std::to_string(i % groups), "a" + std::to_string(i % apps)));
    }
    auto last = policy("last", "g0", "client");
    last.order = 2000;
    put(last);
  }
  routed::nft::Changes changes() {
    routed::nft::Changes out, more;
    compute.take_changes(out);
    nat.take_changes(more);
    out.sets.merge(more.sets);
    out.chains.merge(more.chains);
    out.elements.merge(more.elements);
    return out;
  }
};

// Through firn-nft into the namespace of this thread; what it has made stays there.
void put_table(const std::string& bin, const routed::nft::Changes& changes) {
  loop::Loop loop;
  const SystemClock clock;
  routed::nft::Child child(loop, clock, bin + "/firn-nft", {[] {}, [](const Error& why) { give_up(why.message); }});
  routed::nft::Table table(loop, clock, child, "firn", {[&] { loop.stop(); }, [](const Error& why) { give_up(why.message); }});
  table.want(changes);
  table.open();
  while (!table.is_in_place()) {
    loop.context().restart();
    loop.run();
  }
  const auto state = table.state();
  if (state.aside > 0) give_up("nft refused " + state.why_aside);
}

// Hosts and their containers -------------------------------------------------------------------------------------------------

struct Path {
  std::string name;
  std::unique_ptr<NetnsFixture> client, server;
  std::unique_ptr<bench::Traffic> traffic;

  explicit Path(std::string of) : name(std::move(of)), client(new NetnsFixture), server(new NetnsFixture) {}
  void open(const Address& at) { traffic = std::make_unique<bench::Traffic>(*client, *server, at); }
};

Path joined() {
  Path out("veth");
  run_in(*out.client, "/usr/sbin/ip", {"-batch", "-"},
         "link add eth0 type veth peer name eth0 netns " + out.server->path() +
             "\nlink set eth0 up\naddress add 10.45.0.1/24 dev eth0\n");
  run_in(*out.server, "/usr/sbin/ip", {"-batch", "-"}, "link set eth0 up\naddress add 10.45.0.2/24 dev eth0\n");
  out.open(Address::v4(0x0a2d0002));
  return out;
}

// What dockerd 20.10.24 with its default options writes for its default bridge, as iptables-save shows it.
const char* const docker_rules = R"(*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
)";

Path bridged(const NetnsFixture& host) {
  Path out("bridge");
  run_in(host, "/usr/sbin/ip", {"-batch", "-"},
         "link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\nlink set docker0 up\n"
         "link add client type veth peer name eth0 netns " +
             out.client->path() + "\nlink add server type veth peer name eth0 netns " + out.server->path() +
             "\nlink set client master docker0 up\nlink set server master docker0 up\n");
  // Where the module is loaded, as dockerd sees to; without it bridged packets pass no rule.
  if (host.read("/proc/sys/net/bridge/bridge-nf-call-iptables") != "1") give_up("the module br_netfilter is not there; load it");
  run_in(host, "/usr/sbin/iptables-restore", {}, docker_rules);
  run_in(*out.client, "/usr/sbin/ip", {"-batch", "-"}, "link set eth0 up\naddress add 172.17.0.2/16 dev eth0\n");
  run_in(*out.server, "/usr/sbin/ip", {"-batch", "-"}, "link set eth0 up\naddress add 172.17.0.3/16 dev eth0\n");
  out.open(Address::v4(0xac110003));
  return out;
}

model::Endpoint attach(const NetnsFixture& host, const NetnsFixture& container, const std::string& name, const Address& at) {
  endpoint::Spec spec;
  spec.handle = name;
  spec.ifname = "eth0";
  spec.host_ifname = name;
  spec.mac = endpoint::mac_for(name);
  spec.addresses = {at};
  host.run([&] {
    auto kernel = netlink::open_kernel();
    if (!kernel) give_up(kernel.error().message);
    must(endpoint::enable_forwarding(**kernel, Family::v4));
    if (auto attached = endpoint::attach(**kernel, container.netns(), spec); !attached) give_up(attached.error().message);
  });
  model::Endpoint out;
  out.host_ifname = spec.host_ifname;
  out.mac = spec.mac;
  out.addresses = spec.addresses;
  return out;
}

struct Server {
  std::string path, group;
};
// A pair of containers for each server. `table`: firn's is there.
void add_routed(std::vector<Path>& paths, const NetnsFixture& host, const std::string& bin, bool table, size_t policies,
                const std::vector<Server>& servers) {
  Wish wish;
  std::vector<Path> made;
  uint32_t number = 0;
  for (const Server& server : servers) {
    Path& path = made.emplace_back(server.path);
    auto client = attach(host, *path.client, "client" + std::to_string(number), address(2 * number + 1));
    auto endpoint = attach(host, *path.server, "server" + std::to_string(number), address(2 * number + 2));
    client.labels = {{"app", "client"}};
    endpoint.labels = {{"group", server.group}};
    wish.put(client.host_ifname, client, true);
    wish.put(endpoint.host_ifname, endpoint, true);
    ++number;
  }
  wish.put_policies(policies);
  if (table) {
    // On this thread, with which firn-nft would end.
    must(netlink::enter_netns(host.netns()));
    put_table(bin, wish.changes());
  }
  for (uint32_t i = 0; i < number; ++i) {
    made[i].open(address(2 * i + 2));
    paths.push_back(std::move(made[i]));
  }
}

// Figures --------------------------------------------------------------------------------------------------------------------

// By measure and path, a value a round: microseconds of the first packet, otherwise a rate.
using Figures = std::map<std::string, std::map<std::string, std::vector<double>>>;

void measure(Path& path, Figures& out) {
  bench::Traffic& traffic = *path.traffic;
  const auto rate = [](const std::vector<double>& microseconds) { return 1e6 / bench::median(microseconds); };
  out["first_packet"][path.name].push_back(bench::median(traffic.first_packets(first_packets)));
  out["connect"][path.name].push_back(rate(traffic.connects(connects)));
  out["request"][path.name].push_back(rate(traffic.requests(requests)));
  out["small_packet"][path.name].push_back(traffic.small_packets(small_packets));
  out["unanswered"][path.name].push_back(traffic.unanswered_packets(small_packets));
  out["stream"][path.name].push_back(traffic.stream(stream_bytes));
}

// A stream whose ends happen to share a processor goes at a third of the speed of one whose ends do not: no ratio would hold.
void stay_on_one_processor() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(std::max(::sched_getcpu(), 0)), &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) give_up("cannot stay on one processor");
}

double ratio(Figures& figures, const std::string& measure, const std::string& path, const std::string& beside) {
  std::vector<double> out;
  const auto &mine = figures[measure][path], &theirs = figures[measure][beside];
  for (size_t i = 0; i < mine.size(); ++i) out.push_back(mine[i] / theirs[i]);
  return bench::median(out);
}

void print(Figures& figures, const std::vector<Path>& paths, size_t policies, size_t rounds) {
  std::printf("{\"policies\":%zu,\"rounds\":%zu", policies, rounds);
  for (const auto& [measure, by_path] : figures) {
    std::printf(",\"%s\":{", measure.c_str());
    for (const Path& path : paths)
      std::printf("%s\"%s\":%.4g", &path == paths.data() ? "" : ",", path.name.c_str(), bench::median(by_path.at(path.name)));
    std::printf("}");
  }
  const std::pair<const char*, const char*> pairs[] = {
      {"many", "one"},     {"deep", "one"},      {"one", "firn"},    {"firn", "veth"},    {"firn", "bridge"},
      {"firn", "routing"}, {"firn", "tracking"}, {"bridge", "veth"}, {"routing", "veth"}, {"tracking", "veth"}};
  for (const auto& [path, beside] : pairs) {
    std::printf(",\"%s / %s\":{", path, beside);
    const char* comma = "";
    for (const auto& [measure, by_path] : figures) {
      std::printf("%s\"%s\":%.3f", comma, measure.c_str(), ratio(figures, measure, path, beside));
      comma = ",";
    }
    std::printf("}");
  }
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc % 2 != 0) give_up("usage: policy_path BIN [--policies N] [--rounds N]");
  size_t policies = 30'000, rounds = 60;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    const size_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--policies") policies = value;
    else if (option == "--rounds") rounds = value;
    else give_up("unknown option " + option);
  }
  if (policies < 2 || rounds < 1) give_up("at least 2 policies and 1 round");
  const std::string bin = argv[1];
  const NetnsFixture bridge, routing, tracking, plain, one, many;
  std::vector<Path> paths;
  paths.push_back(joined());
  paths.push_back(bridged(bridge));
  add_routed(paths, routing, bin, false, 0, {{"routing", "none"}});
  add_routed(paths, tracking, bin, false, 0, {{"tracking", "none"}});
  run_in(tracking, "/usr/sbin/nft", {"-f", "-"},
         "table inet tracking { chain first { type filter hook prerouting priority 0; ct state established,related accept; }; }");
  add_routed(paths, plain, bin, true, 0, {{"firn", "none"}});
  add_routed(paths, one, bin, true, 1, {{"one", "alone"}});
  add_routed(paths, many, bin, true, policies, {{"many", "alone"}, {"deep", "g0"}});

  stay_on_one_processor();
  Figures warm, figures;
  for (Path& path : paths) measure(path, warm);
  const auto end = bench::Clock::now() + patience;
  size_t done = 0;
  for (; done < rounds && bench::Clock::now() < end; ++done) {
    for (size_t i = 0; i < paths.size(); ++i) measure(paths[(i + done) % paths.size()], figures);
  }
  print(figures, paths, policies, done);
  return 0;
}
