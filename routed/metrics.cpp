#include "routed/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <iterator>

namespace firn::routed {
namespace {

const prometheus::Histogram::BucketBoundaries buckets{0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                      0.05,   0.1,    0.25,  0.5,    1,     2.5,  5};

void set(prometheus::Registry& registry, const std::string& name, const std::string& help, uint64_t value) {
  prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({}).Set(static_cast<double>(value));
}

void put(prometheus::Registry& registry, const Gauges::Nft& nft) {
  auto& objects =
      prometheus::BuildGauge().Name("firn_nft_objects").Help("Objects of table inet firn, by kind and state.").Register(registry);
  for (const Gauges::Nft::Kind& kind : nft.kinds) {
    for (const auto& [state, value] :
         {std::pair("desired", kind.desired), std::pair("actual", kind.actual), std::pair("pending", kind.pending)})
      objects.Add({{"kind", kind.name}, {"state", state}}).Set(static_cast<double>(value));
  }
  set(registry, "firn_nft_in_place", "1 while table inet firn is in the kernel as it should be.", nft.in_place ? 1 : 0);
  set(registry, "firn_nft_held", "1 while the hold table drops what the table did not look at.", nft.held ? 1 : 0);
  set(registry, "firn_policies", "Policies of the cluster.", nft.policies);
  const auto count = [&](const char* name, const char* help, uint64_t value) {
    prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({}).Increment(static_cast<double>(value));
  };
  count("firn_nft_transactions_total", "Transactions of nftables that were done.", nft.transactions);
  count("firn_nft_repairs_total", "Times the table was replaced because somebody else had changed it.", nft.repairs);
  count("firn_nft_refusals_total", "Transactions that nftables refused.", nft.refusals);
  count("firn_nft_child_starts_total", "Times firn-nft was started.", nft.child_starts);
  auto& packets = prometheus::BuildGauge()
                      .Name("firn_policy_rule_packets")
                      .Help("Packets that a rule matched, since the table was last replaced.")
                      .Register(registry);
  auto& bytes = prometheus::BuildGauge().Name("firn_policy_rule_bytes").Help("Bytes of these.").Register(registry);
  for (const Gauges::Nft::Rule& rule : nft.rules) {
    packets.Add({{"rule", rule.name}}).Set(static_cast<double>(rule.packets));
    bytes.Add({{"rule", rule.name}}).Set(static_cast<double>(rule.bytes));
  }
  auto& asked = prometheus::BuildGauge()
                    .Name("firn_policy_endpoint_packets")
                    .Help("Packets of an attachment that asked for a verdict: the first ones of each connection.")
                    .Register(registry);
  for (const Gauges::Nft::Endpoint& endpoint : nft.endpoints) {
    asked.Add({{"endpoint", endpoint.handle}, {"direction", "egress"}}).Set(static_cast<double>(endpoint.egress));
    asked.Add({{"endpoint", endpoint.handle}, {"direction", "ingress"}}).Set(static_cast<double>(endpoint.ingress));
  }
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& rounds = prometheus::BuildCounter()
                                                        .Name("firn_reconcile_total")
                                                        .Help("Rounds of reconcile that had something to do, by kind and result.")
                                                        .Register(registry);
  prometheus::Family<prometheus::Histogram>& durations = prometheus::BuildHistogram()
                                                             .Name("firn_reconcile_duration_seconds")
                                                             .Help("Duration of a round of reconcile.")
                                                             .Register(registry);
  prometheus::Family<prometheus::Counter>& drift = prometheus::BuildCounter()
                                                       .Name("firn_drift_repaired_total")
                                                       .Help("Objects that somebody else removed or changed and firn restored.")
                                                       .Register(registry);
  uint64_t repaired = 0;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  prometheus::BuildGauge()
      .Name("firn_build_info")
      .Help("Always 1; the label tells the version of firn-routed.")
      .Register(impl_->registry)
      .Add({{"version", FIRN_VERSION}})
      .Set(1);
  for (const char* kind : {"link", "forward", "neighbour", "route"}) impl_->drift.Add({{"kind", kind}});
}
Metrics::~Metrics() = default;

void Metrics::reconciled(const std::string& kind, bool ok, double seconds) {
  impl_->rounds.Add({{"kind", kind}, {"result", ok ? "ok" : "error"}}).Increment();
  impl_->durations.Add({{"kind", kind}}, buckets).Observe(seconds);
}

void Metrics::repaired(const std::string& kind, uint64_t objects) {
  impl_->drift.Add({{"kind", kind}}).Increment(static_cast<double>(objects));
  impl_->repaired += objects;
}

uint64_t Metrics::repaired_total() const { return impl_->repaired; }

std::string Metrics::text(const Gauges& now) const {
  // Series of the moment live in a registry of the moment: a removed peer or pool leaves no stale series.
  prometheus::Registry moment;
  set(moment, "firn_routes_desired", "Routes this host should have, by its stores and links.", now.routes_desired);
  set(moment, "firn_routes_actual", "Routes of firn (protocol 241) in the kernel's main table.", now.routes_actual);
  set(moment, "firn_routes_pending", "Routes still to be written or removed.", now.routes_pending);
  if (!now.peers.empty()) {
    auto& up =
        prometheus::BuildGauge().Name("firn_bgp_session_up").Help("1 while the BGP session is established.").Register(moment);
    auto& prefixes = prometheus::BuildGauge()
                         .Name("firn_bgp_prefixes")
                         .Help("Prefixes taken from (in) and told to (out) a BGP peer.")
                         .Register(moment);
    for (const Gauges::Peer& peer : now.peers) {
      up.Add({{"peer", peer.name}}).Set(peer.established ? 1 : 0);
      for (const auto& channel : peer.channels) {
        const auto count = [&](const char* direction, uint64_t value) {
          prefixes.Add({{"peer", peer.name}, {"direction", direction}, {"family", channel.family}}).Set(static_cast<double>(value));
        };
        count("in", channel.imported);
        count("out", channel.exported);
      }
    }
  }
  if (!now.pools.empty()) {
    auto& blocks = prometheus::BuildGauge().Name("firn_blocks").Help("Address blocks this host owns.").Register(moment);
    auto& addresses =
        prometheus::BuildGauge().Name("firn_addresses").Help("Addresses in this host's blocks, by state.").Register(moment);
    for (const Gauges::Pool& pool : now.pools) {
      blocks.Add({{"pool", pool.name}}).Set(static_cast<double>(pool.blocks));
      const auto count = [&](const char* state, uint64_t value) {
        addresses.Add({{"pool", pool.name}, {"state", state}}).Set(static_cast<double>(value));
      };
      count("used", pool.used);
      count("free", pool.free);
      count("cooling", pool.cooling);
    }
  }
  if (!now.cluster_pools.empty()) {
    auto& all =
        prometheus::BuildGauge().Name("firn_pool_blocks").Help("Address blocks of the pool, whoever has them.").Register(moment);
    auto& unclaimed = prometheus::BuildGauge()
                          .Name("firn_pool_blocks_unclaimed")
                          .Help("Address blocks of the pool that no host has.")
                          .Register(moment);
    for (const Gauges::ClusterPool& pool : now.cluster_pools) {
      all.Add({{"pool", pool.name}}).Set(pool.blocks);
      unclaimed.Add({{"pool", pool.name}}).Set(pool.unclaimed);
    }
  }
  if (now.nft) put(moment, *now.nft);
  auto families = impl_->registry.Collect();
  auto more = moment.Collect();
  families.insert(families.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace firn::routed
