// firnctl trace: the way of a packet from one address to another and back, hop by hop, by what the cluster knows: claims, pools,
// nodes, and the endpoints that hosts have published. On the host where it runs the kernel is asked, too. Changes nothing.
#include <algorithm>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "cli/route_why.hpp"
#include "ipam/across.hpp"
#include "lib/model/keys.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

namespace {

using State = Step::State;

constexpr size_t short_id = 12;  // as container runtimes show the 64 digits of an id

struct End {
  Address address;
  const ipam::PublishedEndpoint* endpoint = nullptr;
  const model::Claim* claim = nullptr;
  const model::Pool* pool = nullptr;
  // Where packets for it are led: the host that has it, or else the owner of its block.
  std::string host() const { return endpoint != nullptr ? endpoint->node : claim != nullptr ? claim->node : std::string(); }
  std::string name() const {
    return address.to_string() + (endpoint != nullptr ? " (" + model::handle_of(endpoint->endpoint) + ")" : std::string());
  }
};

class Trace {
 public:
  Trace(const ipam::Across& across, std::map<std::string, model::Node> nodes, std::string self, netlink::Kernel& kernel)
      : across_(across), nodes_(std::move(nodes)), self_(std::move(self)), kernel_(kernel) {}

  Result<End> end(const std::string& what, std::optional<Family> family) const {
    End out;
    const auto address = Address::parse(what);
    for (const ipam::PublishedEndpoint& one : across_.endpoints) {
      const auto& all = one.endpoint.addresses;
      const std::string& container = one.endpoint.container_id;
      const bool begins = what.size() >= short_id && container.starts_with(what);
      const bool named = !address && (container == what || begins || model::handle_of(one.endpoint) == what);
      const auto at = std::find_if(all.begin(), all.end(), [&](const Address& a) {
        return address ? a == *address : named && (!family || a.family() == *family);
      });
      if (at == all.end()) continue;
      out.endpoint = &one;
      out.address = *at;
      break;
    }
    if (out.endpoint == nullptr && !address) {
      return make_error(Code::not_found, "no host has published an endpoint " + what +
                                             (family ? " with an address of that family" : "") +
                                             "; 'firnctl endpoint list --all' shows them");
    }
    if (address) out.address = *address;
    out.claim = ipam::claim_with(across_, out.address);
    for (const model::Pool& pool : across_.pools) {
      if (pool.cidr.contains(out.address)) out.pool = &pool;
    }
    return out;
  }

  Result<Chain> run(const End& from, const End& to) {
    if (auto done = way("", from, to); !done) return std::move(done).error();
    if (chain_.whole()) {
      if (auto done = way("back: ", to, from); !done) return std::move(done).error();
    }
    return std::move(chain_);
  }

 private:
  bool say(State state, std::string what, std::string detail, std::string advice = {}) {
    chain_.steps.push_back(Step{state, std::move(what), std::move(detail), std::move(advice)});
    return state != State::broken;
  }

  Status way(const std::string& leg, const End& from, const End& to) {
    if (!source(leg, from, to)) return {};
    if (from.host() != to.host() && !between(leg, from, to)) return {};
    if (!from.host().empty() && from.host() == self_) {
      if (auto done = kernel(leg, to); !done || !chain_.whole()) return done;
    }
    arrival(leg, to);
    return {};
  }

  bool source(const std::string& leg, const End& from, const End& to) {
    if (from.address.family() != to.address.family())
      return say(State::broken, leg + "from", from.name() + " and " + to.name() + " are of two address families",
                 "name the address of the same family");
    if (from.endpoint == nullptr) {
      return say(State::broken, leg + "from", from.name() + ": no host has published an endpoint with it",
                 "is firn-routed running where it is? ('firnctl ipam check' there)");
    }
    return say(State::ok, leg + "from",
               from.name() + " on " + from.host() + ": its default route leads to the host side of its interface");
  }

  // From host to host, by the mode of the pool that the target is of.
  bool between(const std::string& leg, const End& from, const End& to) {
    if (to.pool == nullptr) {
      return say(State::broken, leg + "route", to.name() + " is in no pool of the cluster: hosts know no route to it",
                 "'firnctl pool list' shows the pools");
    }
    if (to.claim == nullptr) {
      return say(State::broken, leg + "route", "no node has claimed the block of " + to.name() + " in pool " + to.pool->name,
                 "'firnctl ipam show --all' shows the blocks");
    }
    const bool own = to.claim->node == to.host();
    const auto node = nodes_.find(to.host());
    const std::string addresses = node == nodes_.end() ? "" : join(node->second.addresses);
    if (addresses.empty()) {
      return say(State::broken, leg + "route", "node " + to.host() + " has no address in the cluster",
                 "'firnctl node set " + to.host() + " --address A'");
    }
    std::string what = (own ? "block " + to.claim->prefix.to_string()
                            : to.address.to_string() + " alone, of node " + to.claim->node + "'s block") +
                       " of pool " + to.pool->name + ", node " + to.host() + " (" + addresses + ")";
    switch (to.pool->mode) {
      case model::RoutingMode::bgp:
        if (!to.pool->advertise) {
          return say(State::broken, leg + "route", what + ": the pool is not announced (--no-advertise)",
                     "firnctl pool set " + to.pool->name + " --advertise");
        }
        what += ", as " + from.host() + " learns it by BGP";
        break;
      case model::RoutingMode::direct: what += ", by way of it on the shared layer 2"; break;
      case model::RoutingMode::vxlan:
        what += to.pool->cross_subnet ? ", direct on a shared layer 2 and encapsulated otherwise" : ", encapsulated";
        break;
    }
    return say(State::ok, leg + "route", what);
  }

  // What this host does with it.
  Status kernel(const std::string& leg, const End& to) {
    auto route = kernel_.lookup(to.address);
    if (!route && !route.error().is(Code::not_found)) return std::move(route).error();
    if (!route) {
      say(State::broken, leg + "kernel", route.error().message, "'firnctl route why " + to.address.to_string() + "'");
      return {};
    }
    if (route->destination.length() == 0) {
      say(State::broken, leg + "kernel", "only the default route of this host matches: " + route_text(kernel_, *route),
          "'firnctl route why " + to.address.to_string() + "'");
      return {};
    }
    say(State::ok, leg + "kernel", "of this host: " + route_text(kernel_, *route));
    return {};
  }

  void arrival(const std::string& leg, const End& to) {
    if (to.endpoint == nullptr) {
      say(State::broken, leg + "to", to.name() + ": no host has published an endpoint with it",
          to.claim == nullptr ? "'firnctl ipam show --all' shows the blocks"
                              : "'firnctl route why " + to.address.to_string() + "' on " + to.host());
      return;
    }
    const model::Endpoint& endpoint = to.endpoint->endpoint;
    say(State::ok, leg + "to",
        to.name() + " on " + to.host() +
            (endpoint.host_ifname.empty() ? ", by another plugin's interface"
                                          : ": " + Prefix::host(to.address).to_string() + " dev " + endpoint.host_ifname));
  }

  const ipam::Across& across_;
  const std::map<std::string, model::Node> nodes_;
  const std::string self_;
  netlink::Kernel& kernel_;
  Chain chain_;
};

Result<Exit> trace(const Context& context, const std::string& from, const std::string& to) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto across = ipam::read_across(*stores->cluster);
  if (!across) return std::move(across).error();
  auto listed = list_records(*stores->cluster, model::keys::nodes, model::decode_node);
  if (!listed) return std::move(listed).error();
  std::map<std::string, model::Node> nodes;
  for (model::Node& node : *listed) nodes[node.name] = std::move(node);
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  Trace tracer(*across, std::move(nodes), stores->name, **kernel);
  const auto one = Address::parse(from), other = Address::parse(to);
  auto a = tracer.end(from, other ? std::optional(other->family()) : std::nullopt);
  if (!a) return std::move(a).error();
  auto b = tracer.end(to, one ? one->family() : a->address.family());
  if (!b) return std::move(b).error();
  auto chain = tracer.run(*a, *b);
  if (!chain) return std::move(chain).error();
  return print_chain(context, "way", a->address.to_string() + " to " + b->address.to_string(), *chain);
}

}  // namespace

void add_trace(Command& root, Context& context) {
  struct Args {
    std::string from, to;
  };
  auto args = std::make_shared<Args>();
  root.verb("trace", "Follow a packet from one container to another, and back: each hop with its reason",
            "firnctl trace 10.44.0.7 10.44.200.1\nfirnctl trace 0123456789ab web/fedcba987654/eth0",
            [args, &context] { return trace(context, args->from, args->to); })
      .positional("FROM", "An address, a container id, or NETWORK/CONTAINER/INTERFACE", Command::text(args->from))
      .positional("TO", "The same", Command::text(args->to));
}

}  // namespace firn::cli
