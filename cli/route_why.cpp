#include "cli/route_why.hpp"

#include <algorithm>

#include "cli/daemon_view.hpp"
#include "cli/parse.hpp"
#include "ipam/rebuild.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

namespace {

using State = Step::State;
namespace keys = model::keys;

// Walks the chain; each step returns whether the next one makes sense. An Error is a failure of the walk itself.
class Walk {
 public:
  Walk(const Context& context, const Address& address) : context_(context), address_(address) {}

  Result<Chain> run() {
    auto cluster = context_.cluster_if_any();
    if (!cluster) return std::move(cluster).error();
    cluster_ = std::move(*cluster);
    auto node = context_.node_store();
    if (!node) return std::move(node).error();
    node_ = std::move(*node);
    auto name = context_.node_name(*node_);
    if (!name) return std::move(name).error();
    self_ = name->empty() ? "this host" : *name;
    auto kernel = netlink::open_kernel();
    if (!kernel) return std::move(kernel).error();
    kernel_ = std::move(*kernel);
    for (const auto step : {&Walk::pool, &Walk::block, &Walk::endpoint, &Walk::kernel, &Walk::announcement}) {
      if (auto done = (this->*step)(); !done) return std::move(done).error();
      if (!chain_.whole()) break;
    }
    return std::move(chain_);
  }

 private:
  Status say(State state, std::string what, std::string detail, std::string advice = {}) {
    chain_.steps.push_back(Step{state, std::move(what), std::move(detail), std::move(advice)});
    return {};
  }
  std::string me() const { return address_.to_string(); }
  std::string way_to_others() const;

  Status pool();
  Status block();
  Status elsewhere();
  Status endpoint();
  Status kernel();
  Status announcement();

  const Context& context_;
  const Address address_;
  std::unique_ptr<kv::Store> node_, cluster_;
  std::unique_ptr<netlink::Kernel> kernel_;
  std::string self_;
  Chain chain_;

  model::Pool pool_;
  std::optional<model::Block> block_;        // of this host
  std::optional<model::Endpoint> endpoint_;  // on this host
  int device_ = 0;                           // host side of the endpoint's veth
};

Status Walk::pool() {
  std::vector<model::Pool> pools;
  for (kv::Store* store : {node_.get(), cluster_.get()}) {
    if (store == nullptr) continue;
    auto listed = list_records(*store, keys::pools, model::decode_pool);
    if (!listed) return std::move(listed).error();
    pools.insert(pools.end(), listed->begin(), listed->end());
  }
  const auto found = std::find_if(pools.begin(), pools.end(), [&](const model::Pool& p) { return p.cidr.contains(address_); });
  if (found == pools.end())
    return say(State::broken, "pool", "no pool holds " + me() + ": it is not an address of firn",
               "'firnctl pool list' shows the pools");
  pool_ = *found;
  std::string detail = pool_.name + " (" + pool_.cidr.to_string() + ", blocks of /" + std::to_string(pool_.block_size) + ")";
  if (pool_.node_only) detail += ", of a CNI configuration's subnet, on this host alone";
  if (pool_.disabled) detail += ", disabled: no new addresses";
  return say(State::ok, "pool", detail);
}

Status Walk::block() {
  auto blocks = list_records(*node_, keys::blocks, model::decode_block);
  if (!blocks) return std::move(blocks).error();
  const auto found =
      std::find_if(blocks->begin(), blocks->end(), [&](const model::Block& b) { return b.prefix.contains(address_); });
  if (found == blocks->end()) return elsewhere();
  block_ = *found;
  std::string detail = block_->prefix.to_string() + ", owned by " + self_;
  if (block_->use == model::Use::bridged) detail += ", for another plugin's bridge: neither routed nor announced by firn";
  return say(State::ok, "block", detail);
}

// Not one of this host's blocks: another node's, or nobody's.
Status Walk::elsewhere() {
  const Prefix prefix = Prefix::of(address_, pool_.block_size);
  std::optional<model::Claim> claim;
  if (cluster_ && !pool_.node_only) {
    // While pools are split or merged the claim may be under an old name.
    std::vector<std::string> names = pool_.moving_from;
    names.push_back(pool_.name);
    for (const std::string& name : names) {
      auto got = get_record(*cluster_, keys::claim(name, prefix), model::decode_claim);
      if (!got) return std::move(got).error();
      if (*got) claim = *got;
    }
  }
  if (!claim) {
    return say(State::broken, "block", "no node has claimed " + prefix.to_string() + ": the address was never given out",
               "'firnctl endpoint list' shows the addresses in use");
  }
  if (claim->node == self_) {
    return say(State::broken, "block", prefix.to_string() + " is claimed by this host, which has no record of it yet",
               "start firn-routed, or run 'firnctl ipam check'");
  }
  auto node = get_record(*cluster_, keys::node(claim->node), model::decode_node);
  if (!node) return std::move(node).error();
  return say(State::ok, "block",
             prefix.to_string() + ", owned by node " + claim->node + (*node ? " (" + join((*node)->addresses) + ")" : ""));
}

Status Walk::endpoint() {
  if (!block_) return {};
  auto lease = get_record(*node_, keys::lease(address_), model::decode_lease);
  if (!lease) return std::move(lease).error();
  if (!*lease) {
    auto reservations = list_records(*node_, keys::reservations, model::decode_reservation);
    if (!reservations) return std::move(reservations).error();
    const bool reserved =
        std::any_of(reservations->begin(), reservations->end(), [&](const auto& r) { return r.cidr.contains(address_); });
    return say(State::broken, "endpoint",
               reserved ? "nobody holds " + me() + ": it is reserved" : "nobody holds " + me() + ": it is free",
               "'firnctl ipam show --address " + me() + "' tells more");
  }
  auto endpoint = get_record(*node_, keys::endpoint((*lease)->handle), model::decode_endpoint);
  if (!endpoint) return std::move(endpoint).error();
  if (!*endpoint) {
    return say(State::broken, "endpoint", "the lease is held by " + (*lease)->handle + ", of which there is no record",
               "run 'firnctl ipam check --fix'");
  }
  endpoint_ = **endpoint;
  if (!endpoint_->netns.empty() && !ipam::namespace_alive(*endpoint_)) {
    return say(State::broken, "endpoint", (*lease)->handle + ": its network namespace " + endpoint_->netns + " is gone",
               "the runtime never called DEL; run 'firnctl ipam release " + me() + "'");
  }
  std::string detail = (*lease)->handle;
  if (endpoint_->kind == model::EndpointKind::interface) detail += ", interface " + endpoint_->host_ifname;
  if (!endpoint_->pod_name.empty()) detail += ", pod " + endpoint_->pod_namespace + "/" + endpoint_->pod_name;
  return say(State::ok, "endpoint", detail);
}

// What to look at when a block of another node is not known here.
std::string Walk::way_to_others() const {
  if (pool_.mode == model::RoutingMode::bgp) return "the block arrives by BGP: 'firnctl bgp status' on both nodes";
  return "firn-routed leads there, the pool is of mode " + std::string(to_string(pool_.mode)) + ": 'firnctl status' says why it does not";
}

Status Walk::kernel() {
  const bool ours = endpoint_ && endpoint_->kind == model::EndpointKind::interface;
  if (ours) {
    auto link = kernel_->link(endpoint_->host_ifname);
    if (!link && !link.error().is(Code::not_found)) return std::move(link).error();
    if (!link) {
      return say(State::broken, "kernel", "interface " + endpoint_->host_ifname + " is not in this network namespace",
                 "somebody deleted it, or firnctl runs in another namespace; restart the container");
    }
    if (!link->up)
      return say(State::broken, "kernel", "interface " + link->name + " is down", "'ip link set " + link->name + " up'");
    device_ = link->index;
  }
  auto route = kernel_->lookup(address_);
  if (!route && !route.error().is(Code::not_found)) return std::move(route).error();
  if (!route) {
    return say(State::broken, "kernel", route.error().message,
               ours ? "firn-routed puts the route back; is it running? ('firnctl status')"
                    : way_to_others());
  }
  auto link = kernel_->link(route->oif);
  const std::string device = link ? link->name : std::to_string(route->oif);
  std::string detail = route->destination.to_string();
  if (route->gateway) detail += " via " + route->gateway->to_string();
  detail += " dev " + device + " proto " + protocol_text(route->protocol);
  if (ours && route->oif != device_) {
    return say(State::broken, "kernel", detail + ", which does not lead to " + endpoint_->host_ifname,
               "firn-routed puts the container's own route back; is it running? ('firnctl status')");
  }
  if (!block_ && route->destination.length() == 0) {
    return say(State::broken, "kernel", detail + ": only the default route matches, the block of the other node is unknown here",
               way_to_others());
  }
  return say(State::ok, "kernel", detail);
}

Status Walk::announcement() {
  if (!block_ || block_->use != model::Use::routed) return {};
  if (!pool_.advertise) return say(State::none, "bgp", "blocks of pool " + pool_.name + " are not announced (--no-advertise)", "");
  std::vector<model::BgpPeer> peers;
  if (cluster_) {
    auto listed = list_records(*cluster_, keys::bgp_peers, model::decode_bgp_peer);
    if (!listed) return std::move(listed).error();
    for (model::BgpPeer& peer : *listed) {
      if (peer.node.empty() || peer.node == self_) peers.push_back(std::move(peer));
    }
  }
  if (peers.empty()) return say(State::none, "bgp", "this host has no peers: the address is known here alone", "");
  auto reply = context_.ask("bgp");
  if (!reply) {
    return say(State::broken, "bgp", reply.error().message,
               "start firn-routed; what BIRD announced before it went on being announced");
  }
  const BirdView view = read_bird(reply->root());
  std::vector<std::string> told, unknown, silent;
  for (const Session& s : view.sessions) {
    // A session carries the family of its own addresses.
    if (const auto router = Address::parse(s.address); router && router->family() != address_.family()) continue;
    const std::string who = s.peer + " (" + s.address + " AS " + std::to_string(s.as_number) + ")";
    const auto prefix = std::find_if(s.announced.begin(), s.announced.end(), [&](const Prefix& p) { return p.contains(address_); });
    if (prefix != s.announced.end()) {
      told.push_back(prefix->to_string() + " to " + who);
    } else if (s.established && !s.announced_error.empty()) {
      unknown.push_back(who + ": " + s.announced_error);
    } else {
      silent.push_back(who + (s.established ? ": established, but not told"
                                            : ": " + s.state + (s.last_error.empty() ? "" : ", " + s.last_error)));
    }
  }
  const std::string rest = silent.empty() ? "" : "; not to " + join(silent, "; ");
  if (!told.empty()) return say(State::ok, "bgp", "announced as " + join(told, ", ") + rest);
  if (!unknown.empty()) return say(State::unknown, "bgp", join(unknown, "; ") + rest);
  if (view.sessions.empty()) return say(State::broken, "bgp", "BIRD has no session: " + view.summary(), "'firnctl bgp status'");
  if (silent.empty()) {
    return say(State::broken, "bgp", "no peer has an address of this family, and a session carries the family of its own addresses",
               "firnctl bgp peer add");
  }
  return say(State::broken, "bgp", "announced to nobody: " + join(silent, "; "),
             "'firnctl bgp status', and the export rules in 'firnctl bgp peer show'");
}

}  // namespace

Result<Chain> follow(const Context& context, const Address& address) { return Walk(context, address).run(); }

}  // namespace firn::cli
