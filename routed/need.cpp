// What plugins wait for. {"op":"need"}: there is no free address in this host's blocks. A block is claimed on the thread of the cluster
// store; the plugin asks again until the block is in the node store, or until it is told why there is none. {"op":"pools"}: a pool
// of the configuration is not in the node store. The plugin asks whether that means that there is none.
#include "ipam/claims.hpp"
#include "ipam/ownership.hpp"
#include "lib/json/json.hpp"
#include "lib/model/keys.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

constexpr std::chrono::milliseconds outcome_holds{500};
constexpr size_t most_needs = 1024;  // of pools, uses and single addresses

std::string reply(bool working, std::string_view why) {
  json::Writer w;
  w.begin_object().field("ok", true).field("working", working).field_if("why", why).end_object();
  return std::move(w).take();
}

struct Wish {
  std::string pool;
  model::Use use = model::Use::routed;
  std::optional<Address> address;
};
Result<Wish> read_wish(json::Value root) {
  auto pool = root["pool"].string();
  if (!pool) return std::move(pool).error();
  auto use = root["use"].string_or("routed");
  if (!use) return std::move(use).error();
  auto address = root["address"].string_or("");
  if (!address) return std::move(address).error();
  Wish out{*std::move(pool), model::Use::routed, std::nullopt};
  if (*use == to_string(model::Use::bridged)) out.use = model::Use::bridged;
  else if (*use != to_string(model::Use::routed)) return make_error(Code::invalid, "/use: must be routed or bridged");
  if (address->empty()) return out;
  auto parsed = Address::parse(*address);
  if (!parsed) return std::move(parsed).error().context("/address");
  out.address = *parsed;
  return out;
}

}  // namespace

Result<std::string> Daemon::need(json::Value root) {
  auto wish = read_wish(root);
  if (!wish) return std::move(wish).error();
  if (intake_.node() == nullptr || self_.name.empty()) return reply(false, "this host is no node of a cluster yet");
  auto known = intake_.node()->get(model::keys::pool(wish->pool));
  if (!known) return std::move(known).error();
  if (!*known) return make_error(Code::not_found, "there is no pool " + wish->pool);
  if (!cluster_->present()) {
    return reply(false, "the cluster store, from which another one is claimed, cannot be had" +
                            (cluster_->trouble().empty() ? std::string() : ": " + cluster_->trouble()));
  }
  const std::string name =
      std::string(to_string(wish->use)) + "/" + wish->pool + (wish->address ? "/" + wish->address->to_string() : "");
  if (needs_.size() >= most_needs) std::erase_if(needs_, [](const auto& entry) { return !entry.second.working; });
  Need& need = needs_[name];
  if (need.working) return reply(true, "");
  // After a block came the plugins that wait for one find it; another one is not claimed for them at once.
  if (clock_.steady() - need.finished < outcome_holds) return reply(need.why.empty(), need.why);
  need.working = true;
  need.why.clear();
  cluster_->post([this, name, wish = *wish, self = self_, now = clock_.unix_seconds()](kv::Store* cluster) {
    auto claim = cluster != nullptr ? ipam::claim_block(*cluster, self, wish.pool, wish.use, wish.address, now)
                                    : Result<model::Claim>(make_error(Code::unavailable, "the cluster store cannot be had"));
    return [this, name, pool = wish.use == model::Use::routed && !wish.address ? wish.pool : std::string(),
            claim = std::move(claim)] { finish_need(name, pool, claim); };
  });
  return reply(true, "");
}

std::string Daemon::pools_copied() {
  // The identity is learned, and the cluster copied, a moment after the start and after each change.
  if (self_.name.empty()) return reply(static_cast<bool>(blocks_timer_), "this host is no node of a cluster yet; see 'firnctl join'");
  if (!cluster_->refused().empty()) return reply(false, cluster_->refused());
  if (!cluster_->trouble().empty()) return reply(false, "the cluster store cannot be read: " + cluster_->trouble());
  return reply(!remote_.is_read() || copy_due_, "");
}

void Daemon::finish_need(const std::string& name, const std::string& pool, const Result<model::Claim>& claim) {
  if (!claim && claim.error().is(Code::exhausted) && !pool.empty()) return borrow(name, pool, claim.error().message);
  Need& need = needs_[name];
  need.working = false;
  need.finished = clock_.steady();
  if (!claim) {
    need.why = claim.error().message;
    return;
  }
  log_.info("claimed a block that was asked for: " + claim->prefix.to_string() + " of pool " + claim->pool);
  if (intake_.node() == nullptr) return;
  if (const auto adopted = ipam::adopt_blocks(*intake_.node(), {*claim}); !adopted) need.why = adopted.error().message;
}

}  // namespace firn::routed
