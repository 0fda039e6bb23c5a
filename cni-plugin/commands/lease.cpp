#include "cni-plugin/commands/lease.hpp"

#include <algorithm>

namespace firn::cni {

namespace {

// A range whose subnet lies inside a source of the network only bounds that source: the gateway and the prefix length are the
// network's. Another one is a pool of its own.
Outcome<Source> source_from(State& state, const Range& range, const std::vector<Source>& known) {
  for (const Source& source : known) {
    if (!source.range.subnet.contains(range.subnet)) continue;
    Source out = source;
    if (source.range.subnet != range.subnet) {
      out.range.first = range.subnet.address();
      out.range.last = range.subnet.last();
    }
    if (range.first) out.range.first = range.first;
    if (range.last) out.range.last = range.last;
    return out;
  }
  Source out{.pool = {}, .range = range};
  auto pool = state.allocator().subnet_pool(range.subnet);
  if (!pool) {
    if (pool.error().is(Code::conflict) || pool.error().is(Code::invalid)) return config_fault(pool.error());
    return state_fault(pool.error());
  }
  out.pool = *std::move(pool);
  return out;
}

Outcome<std::vector<Need>> needs_from_sets(State& state, const std::vector<RangeSet>& sets, const std::vector<Source>& known) {
  std::vector<Need> out;
  for (const RangeSet& set : sets) {
    Need& need = out.emplace_back();
    need.family = set.front().subnet.family();
    for (const Range& range : set) {
      auto source = source_from(state, range, known);
      if (!source) return std::move(source).fault();
      need.sources.push_back(*std::move(source));
    }
  }
  return out;
}

// One address of each family that the pools have.
std::vector<Need> needs_from_pools(const std::vector<model::Pool>& pools) {
  std::vector<Need> out;
  for (const Family family : {Family::v4, Family::v6}) {
    Need need{.family = family, .sources = {}, .address = {}};
    for (const model::Pool& pool : pools) {
      if (pool.cidr.family() == family)
        need.sources.push_back({pool, {.subnet = pool.cidr, .first = {}, .last = {}, .gateway = {}}});
    }
    if (!need.sources.empty()) out.push_back(std::move(need));
  }
  return out;
}

bool holds(const Range& range, const Address& address) {
  return range.subnet.contains(address) && (!range.first || *range.first <= address) && (!range.last || address <= *range.last);
}

bool may_hold(const Need& need, const Address& address) {
  return std::ranges::any_of(need.sources, [&](const Source& s) { return holds(s.range, address); });
}

// Each asked address takes the place of one that would have been chosen; more of them than places make places of their own.
Answer place_addresses(std::vector<Need>& needs, const std::vector<Address>& asked) {
  for (const Address& address : asked) {
    auto place = std::ranges::find_if(needs, [&](const Need& n) { return !n.address && may_hold(n, address); });
    if (place != needs.end()) {
      place->address = address;
      continue;
    }
    const auto model = std::ranges::find_if(needs, [&](const Need& n) { return may_hold(n, address); });
    if (model == needs.end()) {
      return fault(FaultCode::invalid_config,
                   "address " + address.to_string() + " is asked for and lies in no subnet, range or pool of this network");
    }
    Need another = *model;
    another.address = address;
    needs.push_back(std::move(another));
  }
  return Done{};
}

std::vector<Source> sources_of(const std::vector<Need>& needs) {
  std::vector<Source> out;
  for (const Need& need : needs) out.insert(out.end(), need.sources.begin(), need.sources.end());
  return out;
}

// Alternatives without bounds are one request; the allocator tries their pools in order. One with bounds is a request of its own.
bool plain(const Source& source) { return !source.range.first && !source.range.last; }

size_t choices(const Need& need) { return std::ranges::all_of(need.sources, plain) ? 1 : need.sources.size(); }

ipam::AddressRequest request_for(const Need& need, size_t choice, model::Use use) {
  ipam::AddressRequest out;
  out.family = need.family;
  out.address = need.address;
  const bool all = choices(need) == 1;
  for (size_t i = 0; i < need.sources.size(); ++i) {
    const Source& source = need.sources[i];
    if (!all && i != choice) continue;
    out.pools.push_back(source.pool.name);
    if (const auto gateway = bridged_gateway(source.range); gateway && use == model::Use::bridged) out.excluded.push_back(*gateway);
    if (!all || need.sources.size() == 1) {
      out.first = source.range.first;
      out.last = source.range.last;
    }
  }
  return out;
}

// The first combination of choices that works, advancing only those needs that have nothing left.
template <class Try>
Status first_that_works(State& state, model::Use use, const std::vector<Need>& needs, Try attempt) {
  std::vector<size_t> choice(needs.size(), 0);
  for (size_t i = 0; i < needs.size(); ++i) {
    // An address that is asked for decides the range.
    for (size_t c = 0; needs[i].address && c < needs[i].sources.size(); ++c) {
      if (holds(needs[i].sources[c].range, *needs[i].address)) {
        choice[i] = c;
        break;
      }
    }
  }
  for (;;) {
    std::vector<ipam::AddressRequest> requests;
    for (size_t i = 0; i < needs.size(); ++i) requests.push_back(request_for(needs[i], choice[i], use));
    Status done = attempt(requests);
    if (done || !done.error().is(Code::exhausted)) return done;
    bool advanced = false;
    for (size_t i = 0; i < needs.size(); ++i) {
      if (needs[i].address || choice[i] + 1 >= choices(needs[i])) continue;
      if (state.allocator().can_lease(use, {requests[i]})) continue;
      ++choice[i];
      advanced = true;
    }
    if (!advanced) return done;
  }
}

}  // namespace

std::optional<Address> bridged_gateway(const Range& range) {
  if (range.gateway || range.subnet.is_host()) return range.gateway;
  return range.subnet.at(1);
}

Outcome<std::vector<Need>> needs_of(const Call& call, State& state) {
  const IpamConfig& ipam = call.config.ipam;
  const Wishes& wishes = call.config.wishes;
  std::vector<Need> needs;
  if (!ipam.sets.empty()) {
    auto from = needs_from_sets(state, ipam.sets, {});
    if (!from) return from;
    needs = *std::move(from);
  } else if (wishes.ip_ranges.empty() || !ipam.pools.empty()) {
    auto pools = state.pools(ipam.pools);
    if (!pools) return std::move(pools).fault();
    needs = needs_from_pools(*pools);
  }
  if (!wishes.ip_ranges.empty()) {
    auto from = needs_from_sets(state, wishes.ip_ranges, sources_of(needs));
    if (!from) return from;
    needs = *std::move(from);
  }
  if (needs.empty()) {
    return fault(FaultCode::invalid_config, "/ipam: there is no pool to lease an address from",
                 "give a \"subnet\", or make a pool with 'firnctl init' and 'firnctl pool create'");
  }
  if (auto placed = place_addresses(needs, wishes.ips); !placed) return std::move(placed).fault();
  return needs;
}

Result<model::Endpoint> lease(State& state, const model::Endpoint& endpoint, model::Use use, const std::vector<Need>& needs) {
  model::Endpoint out;
  auto done = first_that_works(state, use, needs, [&](const std::vector<ipam::AddressRequest>& requests) -> Status {
    auto leased = state.allocator().lease(endpoint, use, requests);
    if (!leased) return std::move(leased).error();
    out = *std::move(leased);
    return {};
  });
  if (!done) return std::move(done).error();
  return out;
}

Status can_lease(State& state, model::Use use, const std::vector<Need>& needs) {
  return first_that_works(state, use, needs, [&](const std::vector<ipam::AddressRequest>& requests) {
    return state.allocator().can_lease(use, requests);
  });
}

const Source* source_of(const std::vector<Need>& needs, const Address& address) {
  // One that was leased before its range was made smaller still belongs to the subnet.
  const Source* by_subnet = nullptr;
  for (const Need& need : needs) {
    for (const Source& source : need.sources) {
      if (holds(source.range, address)) return &source;
      if (by_subnet == nullptr && source.range.subnet.contains(address)) by_subnet = &source;
    }
  }
  return by_subnet;
}

model::Endpoint endpoint_of(const Call& call, const State& state) {
  const Environment& env = call.environment;
  model::Endpoint out;
  out.network = call.config.name;
  out.container_id = env.container_id;
  out.ifname = env.ifname;
  out.netns = env.netns;
  out.boot_id = state.boot_id();
  out.created_at = call.clock.unix_seconds();
  out.pod_namespace = env.args.pod_namespace;
  out.pod_name = env.args.pod_name;
  out.pod_uid = env.args.pod_uid;
  out.labels = call.config.wishes.labels;
  out.annotations = call.config.wishes.annotations;
  return out;
}

}  // namespace firn::cni
