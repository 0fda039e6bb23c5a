#include "ipam/across.hpp"

#include <algorithm>

#include "ipam/publish.hpp"
#include "ipam/records.hpp"
#include "ipam/reshape.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/loan.hpp"

namespace firn::ipam {
namespace {

namespace keys = model::keys;

// "published/NODE/NETWORK/CONTAINER/INTERFACE"
Result<PublishedEndpoint> read_published(std::string_view key, std::string_view value) {
  const std::string_view name = key.substr(keys::published.size());
  auto endpoint = model::decode_endpoint(value);
  if (!endpoint) return records::unreadable(key, endpoint.error());
  PublishedEndpoint out{std::string(name.substr(0, name.find('/'))), std::move(*endpoint)};
  if (keys::published_endpoint(out.node, model::handle_of(out.endpoint)) != key) {
    return records::unreadable(key, make_error(Code::invalid, "its content belongs to another key"));
  }
  return out;
}

class Checker {
 public:
  Checker(const Across& across, const std::string& self, const std::map<std::string, std::string>& own)
      : across_(across), self_(self), own_(own) {}

  std::vector<Problem> run() {
    damaged();
    pools();
    claims();
    addresses();
    strangers();
    if (!self_.empty()) publications();
    return std::move(problems_);
  }

 private:
  void add(ProblemKind kind, std::string object, std::string words, bool fixable) {
    problems_.push_back({kind, std::move(object), std::move(words), fixable});
  }

  void damaged() {
    const std::string mine = keys::published_by(self_);
    for (const auto& [key, why] : across_.damaged) {
      const bool copy = key.starts_with(keys::published);
      const bool fixable = !self_.empty() && key.starts_with(mine);
      add(ProblemKind::damaged, key,
          "in the cluster store: " + why.message +
              (!copy      ? "; restore it from a copy"
               : !fixable ? "; run 'firnctl ipam check --all --fix' on that host"
                          : ""),
          fixable);
    }
  }

  void pools() {
    for (const model::Pool& pool : across_.pools) {
      if (pool.moving_from.empty()) continue;
      add(ProblemKind::pool_incomplete, pool.name,
          "takes blocks over from " + pool.moving_from.front() + "; it takes no new ones until that is complete", true);
    }
  }

  void claims() {
    std::vector<const model::Claim*> sorted;
    for (const model::Claim& claim : across_.claims) sorted.push_back(&claim);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->prefix < b->prefix; });
    const model::Claim* last = nullptr;
    for (const model::Claim* claim : sorted) {
      const std::string name = claim->prefix.to_string();
      const std::string whose = "of pool " + claim->pool + " is claimed by node " + claim->node;
      const model::Pool* pool = records::pool_with(across_.pools, claim->prefix);
      const bool loan = pool != nullptr && model::is_loan(*pool, claim->prefix);
      if (!loan && last != nullptr && last->prefix.overlaps(claim->prefix)) {
        add(ProblemKind::blocks_overlap, name,
            whose + ", and node " + last->node + " has " + last->prefix.to_string() +
                " of the same addresses; find out which host uses it ('firnctl ipam show' there), and stop the other's containers",
            false);
      }
      if (!across_.nodes.contains(claim->node)) {
        add(ProblemKind::claim_without_node, name,
            whose +
                ", which the cluster does not have; is the host there, run 'firnctl join' on it, and if it is gone for good "
                "'firnctl node remove " +
                claim->node + "'",
            false);
      }
      if (pool == nullptr) {
        add(ProblemKind::block_outside_pool, name,
            whose + ", and no pool has its addresses; make one that does, or stop what uses them", false);
      }
      if (!loan) last = claim;  // a loan lies inside its lender's block
    }
  }

  void addresses() {
    std::map<Address, const PublishedEndpoint*> first;
    for (const PublishedEndpoint& one : across_.endpoints) {
      const std::string who = model::handle_of(one.endpoint) + " on node " + one.node;
      for (const Address& address : one.endpoint.addresses) {
        const auto [other, alone] = first.emplace(address, &one);
        if (!alone) {
          add(ProblemKind::address_in_two_places, address.to_string(),
              "is used by " + model::handle_of(other->second->endpoint) + " on node " + other->second->node + " and by " + who +
                  "; stop one of them",
              false);
        }
        if (!one.endpoint.leased) continue;  // another IPAM plugin's
        const model::Claim* claim = claim_with(across_, address);
        if (claim != nullptr && claim->node == one.node) continue;
        // Pools of one host alone, of CNI configurations with a subnet, are not the cluster's business.
        if (claim == nullptr && records::pool_with(across_.pools, Prefix::host(address)) == nullptr) continue;
        add(ProblemKind::published_outside_block, address.to_string(),
            "is used by " + who + ", " +
                (claim == nullptr ? "in a block that nobody has claimed"
                                  : "in block " + claim->prefix.to_string() + ", which node " + claim->node + " has claimed") +
                "; run 'firnctl ipam check' there",
            false);
      }
    }
  }

  void strangers() {
    std::map<std::string, uint64_t> count;
    for (const PublishedEndpoint& one : across_.endpoints) {
      if (!across_.nodes.contains(one.node)) ++count[one.node];
    }
    for (const auto& [node, endpoints] : count) {
      add(ProblemKind::published_without_node, node,
          "has published " + std::to_string(endpoints) + " endpoints and is not a node of the cluster", true);
    }
  }

  // This host's own copies against its records.
  void publications() {
    if (!across_.nodes.contains(self_)) return;
    std::map<std::string, const model::Endpoint*> there;
    for (const PublishedEndpoint& one : across_.endpoints) {
      if (one.node == self_) there[model::handle_of(one.endpoint)] = &one.endpoint;
    }
    for (const auto& [handle, text] : own_) {
      const auto copy = there.find(handle);
      if (copy == there.end()) {
        add(ProblemKind::publication_missing, handle, "is on this host, and other hosts do not know it", true);
      } else if (model::encode(*copy->second) != text) {
        add(ProblemKind::publication_stale, handle, "is not what is published of it", true);
      }
    }
    for (const auto& [handle, endpoint] : there) {
      if (!own_.contains(handle))
        add(ProblemKind::publication_stale, handle, "is published by this host, which does not have it", true);
    }
  }

  const Across& across_;
  const std::string& self_;
  const std::map<std::string, std::string>& own_;
  std::vector<Problem> problems_;
};

}  // namespace

Result<Across> read_across(kv::Store& cluster) {
  Across out;
  auto done = cluster.transact([&](kv::Transaction& tx) -> Status {
    out = {};
    const auto each = [&](std::string_view prefix, const std::function<Status(const kv::Entry&)>& take) {
      return records::each(tx, prefix, out.damaged, take);
    };
    const auto keep = [](auto record, auto& all) -> Status {
      if (!record) return std::move(record).error();
      all.push_back(std::move(*record));
      return {};
    };
    Status read = each(keys::pools, [&](const kv::Entry& e) { return keep(records::read_pool(e.key, e.value), out.pools); });
    if (read) {
      read = each(keys::nodes, [&](const kv::Entry& entry) -> Status {
        out.nodes.insert(entry.key.substr(keys::nodes.size()));
        return {};
      });
    }
    if (read) read = each(keys::claims, [&](const kv::Entry& e) { return keep(records::read_claim(e.key, e.value), out.claims); });
    if (read) read = each(keys::published, [&](const kv::Entry& e) { return keep(read_published(e.key, e.value), out.endpoints); });
    return read;
  });
  if (!done) return std::move(done).error();
  for (model::Claim& claim : out.claims) claim = records::as_of_now(out.pools, std::move(claim));
  std::sort(out.claims.begin(), out.claims.end(), [](const auto& a, const auto& b) { return a.prefix < b.prefix; });
  return out;
}

const model::Claim* claim_with(const Across& across, const Address& address) {
  // Sorted, and they do not overlap unless something is wrong: the last one that begins at or before the address.
  auto next = std::upper_bound(across.claims.begin(), across.claims.end(), Prefix::host(address),
                               [](const Prefix& wanted, const model::Claim& claim) { return wanted < claim.prefix; });
  while (next != across.claims.begin()) {
    --next;
    if (next->prefix.contains(address)) return &*next;
    if (!next->prefix.is_host()) return nullptr;  // loans of other addresses may lie before the address in its block
  }
  return nullptr;
}

std::vector<PoolAcross> use_of(const Across& across) {
  std::vector<PoolAcross> out;
  for (const model::Pool& pool : across.pools) {
    const int bits = pool.block_size - pool.cidr.length();
    out.push_back({pool, uint128{1} << std::clamp(bits, 0, 127), 0, 0, 0, {}});
  }
  const auto pool_of = [&](const Prefix& prefix) {
    return std::find_if(out.begin(), out.end(), [&](const PoolAcross& one) { return one.pool.cidr.contains(prefix); });
  };
  for (const model::Claim& claim : across.claims) {
    const auto pool = pool_of(claim.prefix);
    if (pool == out.end() || model::is_loan(pool->pool, claim.prefix)) continue;
    ++pool->claimed;
    NodeUse& use = pool->nodes[claim.node];
    ++use.blocks;
    use.capacity += static_cast<uint64_t>(claim.prefix.count());
  }
  for (const PublishedEndpoint& one : across.endpoints) {
    if (!one.endpoint.leased) continue;
    for (const Address& address : one.endpoint.addresses) {
      const auto pool = pool_of(Prefix::host(address));
      if (pool == out.end()) continue;
      ++pool->used;
      const Prefix block = Prefix::of(address, pool->pool.block_size);
      const auto owner = std::lower_bound(across.claims.begin(), across.claims.end(), block,
                                          [](const model::Claim& each, const Prefix& wanted) { return each.prefix < wanted; });
      const model::Claim* claim = owner != across.claims.end() && owner->prefix == block ? &*owner : nullptr;
      if (claim == nullptr || claim->node == one.node) {
        ++pool->nodes[one.node].used;
        continue;
      }
      ++pool->borrowed;
      ++pool->nodes[one.node].borrowed;
      ++pool->nodes[claim->node].lent;
    }
  }
  return out;
}

std::vector<Problem> problems_across(const Across& across, const std::string& self, const std::map<std::string, std::string>& own) {
  return Checker(across, self, own).run();
}

Result<std::vector<Problem>> check_across(kv::Store& cluster, kv::Store& node, const std::string& self) {
  auto across = read_across(cluster);
  if (!across) return std::move(across).error();
  auto own = endpoints_to_publish(node);
  if (!own) return std::move(own).error();
  return problems_across(*across, self, *own);
}

Result<FixReport> fix_across(kv::Store& cluster, kv::Store& node, const model::Identity& self) {
  auto before = check_across(cluster, node, self.name);
  if (!before) return std::move(before).error();
  bool republish = false;
  for (const Problem& problem : *before) {
    if (!problem.fixable) continue;
    if (problem.kind == ProblemKind::pool_incomplete) {
      if (auto moved = finish_moving(cluster, problem.object); !moved) return std::move(moved).error();
    } else if (problem.kind == ProblemKind::published_without_node) {
      if (auto gone = unpublish_node(cluster, problem.object); !gone) return std::move(gone).error();
    } else {
      republish = true;
    }
  }
  if (republish) {
    auto own = endpoints_to_publish(node);
    if (!own) return std::move(own).error();
    if (auto published = publish_all(cluster, self, *own); !published) return std::move(published).error();
  }
  auto after = check_across(cluster, node, self.name);
  if (!after) return std::move(after).error();
  return fix_report(std::move(*before), std::move(*after));
}

}  // namespace firn::ipam
