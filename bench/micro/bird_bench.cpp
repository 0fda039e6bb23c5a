// BIRD's configuration of one host of a large cluster: from node records to sessions, and from sessions to the text.
#include <benchmark/benchmark.h>

#include "routed/bird/handover.hpp"
#include "routed/bird/topology.hpp"

namespace {

using namespace firn;
using namespace firn::routed::bird;

model::BgpSettings mesh() {
  model::BgpSettings out;
  out.topology = model::Topology::mesh;
  return out;
}

std::vector<model::Node> hosts(int64_t count) {
  std::vector<model::Node> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].name = "node-" + std::to_string(i);
    out[i].addresses = {Address::v4(0x0a000001 + static_cast<uint32_t>(i))};
  }
  return out;
}

Config config_of(int64_t sessions) {
  const auto nodes = hosts(sessions + 1);
  Config out;
  out.local_as = 64512;
  out.router_id = nodes[0].addresses[0];
  out.log_file = "/run/firn/bird/bird.log";
  out.of_hosts = {Prefix::parse("10.64.0.0/10").value()};
  for (HostSession& session : possible_sessions(mesh(), nodes[0], nodes, {}).sessions) out.peers.push_back(std::move(session.peer));
  return out;
}

void Sessions(benchmark::State& state) {
  const auto nodes = hosts(state.range(0) + 1);
  for (auto _ : state) benchmark::DoNotOptimize(possible_sessions(mesh(), nodes[0], nodes, {}));
}
BENCHMARK(Sessions)->Arg(100)->Arg(2000)->Unit(benchmark::kMillisecond);

void Render(benchmark::State& state) {
  const Config config = config_of(state.range(0));
  for (auto _ : state) {
    auto rendered = render(config);
    if (!rendered) state.SkipWithError(rendered.error().message.c_str());
    benchmark::DoNotOptimize(rendered);
  }
}
BENCHMARK(Render)->Arg(100)->Arg(2000)->Unit(benchmark::kMillisecond);

void FindSessionsInText(benchmark::State& state) {
  const std::string text = render(config_of(state.range(0))).value().text;
  for (auto _ : state) benchmark::DoNotOptimize(host_protocols_in(text));
}
BENCHMARK(FindSessionsInText)->Arg(2000)->Unit(benchmark::kMillisecond);

}  // namespace
