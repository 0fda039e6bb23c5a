#include "routed/firewall.hpp"

#include <algorithm>
#include <utility>

#include "lib/base/file.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/policy.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;
using std::chrono::milliseconds;

constexpr std::string_view table_name = "firn";
constexpr std::string_view alias_mark = "firn:";
// Small copies follow changes soon, large ones seldom.
constexpr milliseconds save_delay{2000}, large_save_delay{60'000};
constexpr size_t large_copy = 1024 * 1024;
constexpr milliseconds hold_retry{1000};

nft::HoldSettings hold_settings(const Config& config) { return {netlink::live_group, config.nft.mark}; }

}  // namespace

bool is_published(std::string_view key) { return key.starts_with(keys::published); }

Firewall::Firewall(loop::Loop& loop, Log& log, const Clock& clock, const Config& config, netlink::Kernel& kernel, Ports ports)
    : loop_(loop),
      log_(log),
      config_(config),
      kernel_(kernel),
      ports_(std::move(ports)),
      child_(loop, clock, config.nft.binary.empty() ? nft::default_binary() : config.nft.binary,
             {[this] { child_started(); }, [this](const Error& why) { child_ended(why); }}),
      table_(loop, clock, child_, std::string(table_name),
             {[this] { table_applied(); },
              [this](const Error& why) {
                table_trouble_ = why.message;
                ports_.failed("nftables", why);
              }}),
      counters_(child_, clock, std::string(table_name)),
      flows_(loop, compute_, flow_ports()) {}

void Firewall::start() {
  if (!is_on()) return;
  read_copy();
  open_monitor();
}

// Inputs ---------------------------------------------------------------------------------------------------------------------

// What the endpoint may send from. Its interface's own check of sources knows routes alone, and would drop the extra ones.
void Firewall::guard(const std::string& handle, const model::Endpoint* endpoint) {
  const auto before = asking_.find(handle);
  if (before != asking_.end()) loosen_.erase(before->second.host_ifname);
  policy::ExtraSources extra;
  if (endpoint != nullptr && endpoint->annotations.contains(policy::extra_sources_annotation)) {
    extra = policy::extra_sources_of(*endpoint, pools_);
    for (const std::string& refused : extra.refused) {
      log_.repeated(Level::warning, "extra sources " + handle,
                    handle + " asks to send from '" + refused + "', which no pool of it permits");
    }
    if (!extra.granted.empty()) loosen_.insert(endpoint->host_ifname);
    asking_[handle] = *endpoint;
  } else if (before != asking_.end()) {
    asking_.erase(before);
  }
  compute_.set_endpoint(handle, endpoint, true, extra.granted);
}

void Firewall::set_pool(const std::string& name, const model::Pool* pool) {
  nat_.set_pool(name, pool);
  if (pool != nullptr && !pool->extra_sources.empty()) pools_[name] = *pool;
  else if (pools_.erase(name) == 0) return;
  const auto asking = asking_;
  for (const auto& [handle, endpoint] : asking) guard(handle, &endpoint);
}

void Firewall::loosen_links() {
  // An earlier run may have loosened any of them.
  const bool first = !std::exchange(links_checked_, true);
  if (first) {
    for (const auto& [name, count] : interfaces_) loosened_.insert(name);
  }
  std::vector<netlink::Request> requests;
  const auto set = [&](const std::string& name, bool strict) {
    const auto index = kernel_.index_of(name);
    if (!index) return;
    netlink::SetLink link{.index = *index};
    link.ipv4_strict_source = strict;
    requests.emplace_back(std::move(link));
  };
  for (const std::string& name : loosen_) {
    if (!loosened_.contains(name) || first) set(name, false);
  }
  for (const std::string& name : loosened_) {
    if (!loosen_.contains(name)) set(name, true);
  }
  loosened_ = loosen_;
  if (requests.empty()) return;
  if (const auto done = netlink::all_done(kernel_.apply(requests)); !done) ports_.failed("source check", done.error());
}

void Firewall::set_endpoint(const std::string& handle, const model::Endpoint* endpoint) {
  guard(handle, endpoint);
  nat_.set_endpoint(handle, endpoint);
  const std::vector<model::PortPlace> ports = endpoint == nullptr ? std::vector<model::PortPlace>() : model::places_of(*endpoint);
  const auto old = here_.find(handle);
  if (old != here_.end()) {
    const Side& side = old->second;
    if (endpoint != nullptr && endpoint->host_ifname == side.interface && endpoint->addresses == side.addresses &&
        ports == side.ports) {
      return;
    }
    flows_.gone(old->second.addresses);
    flows_due_ = true;
    if (--interfaces_[old->second.interface] == 0) interfaces_.erase(old->second.interface);
    here_.erase(old);
  }
  if (endpoint == nullptr || endpoint->host_ifname.empty()) return;
  here_[handle] = {endpoint->host_ifname, endpoint->addresses, ports};
  flows_.published(ports);
  ++interfaces_[endpoint->host_ifname];
}

void Firewall::set_self(const std::string& node) {
  self_known_ = true;
  if (node == self_) return;
  self_ = node;
  for (const auto& [key, value] : records_) {
    if (key.starts_with(keys::host_endpoints) || is_published(key)) take_record(key, &value);
  }
}

void Firewall::take(const ClusterUpdate& update) {
  bool changed = false;
  const auto put = [&](const std::string& key, const std::string* value) {
    if (!key.starts_with(keys::policies) && !key.starts_with(keys::namespaces) && !key.starts_with(keys::host_endpoints) &&
        !key.starts_with(keys::nodes) && !is_published(key))
      return;
    const auto known = records_.find(key);
    if (value == nullptr ? known == records_.end() : known != records_.end() && known->second == *value) return;
    changed = true;
    if (value == nullptr) records_.erase(known);
    else records_[key] = *value;
    take_record(key, value);
  };
  if (update.whole) {
    std::set<std::string_view> there;
    for (const auto& [key, value] : update.records) there.insert(key);
    std::vector<std::string> gone;
    for (const auto& [key, value] : records_) {
      if (!there.contains(key)) gone.push_back(key);
    }
    for (const std::string& key : gone) put(key, nullptr);
    changed = changed || !cluster_read_ || from_copy_;
    cluster_read_ = true;
    from_copy_ = false;
  }
  for (const auto& [key, value] : update.records) put(key, value ? &*value : nullptr);
  if (changed) save_soon();
}

void Firewall::take_record(const std::string& key, const std::string* value) {
  if (is_published(key)) return take_published(key, value);
  if (key == keys::policy_settings) {
    const auto settings = value != nullptr ? model::decode_policy_settings(*value) : model::PolicySettings{};
    if (settings) {
      settings_known_ = true;
      return compute_.set_settings(*settings);
    }
    ports_.failed("policy", Error(settings.error()).context(key));
    if (settings_known_) return;
    // They may say that the default is to deny: what was never known opens nothing.
    model::PolicySettings shut;
    shut.default_deny = true;
    compute_.set_settings(shut);
  } else if (key.starts_with(keys::policies)) {
    take_policy(key, value);
  } else if (key.starts_with(keys::namespaces)) {
    const std::string name = key.substr(keys::namespaces.size());
    if (value == nullptr) return compute_.set_namespace(name, nullptr);
    const auto record = model::decode_namespace(*value);
    if (record) compute_.set_namespace(name, &*record);
    else ports_.failed("policy", Error(record.error()).context(key));
  } else if (key.starts_with(keys::nodes)) {
    if (value == nullptr) return nat_.set_node(key, nullptr);
    const auto record = model::decode_node(*value);
    if (record) nat_.set_node(key, &*record);
    else ports_.failed("policy", Error(record.error()).context(key));
  } else if (!self_.empty()) {
    const std::string own = keys::host_endpoint(self_, "");
    const auto record = value != nullptr && key.starts_with(own) ? model::decode_host_endpoint(*value)
                                                                 : Result<model::HostEndpoint>(model::HostEndpoint{});
    if (!record) return ports_.failed("policy", Error(record.error()).context(key));
    compute_.set_host_endpoint(key, value != nullptr && key.starts_with(own) ? &*record : nullptr);
  }
}

// What cannot be read opens nothing: Compute keeps what it knew, or denies.
void Firewall::take_policy(const std::string& key, const std::string* value) {
  if (value == nullptr) {
    if (const auto done = compute_.set_policy(key, nullptr); !done) ports_.failed("policy", done.error());
    return;
  }
  auto policy = model::decode_policy(*value);
  if (policy && keys::policy(policy->scope, policy->name) != key)
    policy = make_error(Code::invalid, "it is another policy's record");
  if (!policy) {
    ports_.failed("policy " + key, Error(policy.error()).context(key));
    return compute_.set_unreadable_policy(key);
  }
  if (const auto done = compute_.set_policy(key, &*policy); !done) ports_.failed("policy " + key, done.error());
}

// "published/NODE/HANDLE". Those of this host are in its node store.
void Firewall::take_published(const std::string& key, const std::string* value) {
  const bool own = !self_.empty() && key.starts_with(keys::published_by(self_));
  if (value == nullptr || own) return compute_.set_endpoint(key, nullptr, false);
  const auto endpoint = model::decode_endpoint(*value);
  if (endpoint) compute_.set_endpoint(key, &*endpoint, false);
  else ports_.failed("policy", Error(endpoint.error()).context(key));
}

// The copy -------------------------------------------------------------------------------------------------------------------

void Firewall::read_copy() {
  const std::string path = config_.state_dir + "/policy.copy";
  const auto text = read_file(path, longest_policy_copy);
  if (!text) {
    if (!text.error().is(Code::not_found)) ports_.failed("policy copy", text.error());
    return;
  }
  auto records = decode_policy_copy(*text);
  if (!records) return ports_.failed("policy copy", Error(records.error()).context(path));
  records_ = *std::move(records);
  for (const auto& [key, value] : records_) take_record(key, &value);
  cluster_read_ = from_copy_ = true;
}

void Firewall::save_soon() {
  if (!is_on() || save_timer_) return;
  size_t bytes = 0;
  for (const auto& [key, value] : records_) bytes += key.size() + value.size();
  save_timer_ = loop_.after(bytes > large_copy ? large_save_delay : save_delay, [this] {
    save_timer_.cancel();
    ports_.save(config_.state_dir + "/policy.copy", encode_policy_copy(records_));
  });
}

// Links ----------------------------------------------------------------------------------------------------------------------

void Firewall::set_link(const netlink::Link& link) {
  const bool right = link.group == netlink::live_group || link.group == netlink::dead_group;
  const bool lacks = link.kind == "veth" && !right && link.alias.starts_with(alias_mark);
  if (lacks) ungrouped_[link.name] = link.index;
  else ungrouped_.erase(link.name);
}

void Firewall::remove_link(const std::string& name) { ungrouped_.erase(name); }

void Firewall::set_links(const std::vector<netlink::Link>& all) {
  ungrouped_.clear();
  for (const netlink::Link& link : all) set_link(link);
}

// Made by a version that knew no groups, or moved by somebody: no rule sees them. Once the table knows what they may do, it shall.
void Firewall::group_links() {
  std::vector<netlink::Request> requests;
  for (auto it = ungrouped_.begin(); it != ungrouped_.end();) {
    if (!interfaces_.contains(it->first)) {
      ++it;
      continue;
    }
    netlink::SetLink set{.index = it->second};
    set.group = netlink::live_group;
    requests.emplace_back(std::move(set));
    it = ungrouped_.erase(it);
  }
  if (requests.empty()) return;
  if (const auto done = netlink::all_done(kernel_.apply(requests)); !done) ports_.failed("link group", done.error());
}

// The table ------------------------------------------------------------------------------------------------------------------

void Firewall::flush(bool known) {
  if (!is_on()) return remove_table();
  nft::Changes changes;
  compute_.take_changes(changes);
  nat_.take_changes(changes);
  if (!changes.empty()) {
    for (auto& [name, chain] : changes.chains) {
      if (!chain || hold_impossible_) continue;
      nft::Chain bare = *chain;
      if (nft::mark_chain(name, *chain, hold_settings(config_))) unmarked_.chains[name] = std::move(bare);
    }
    table_.want(changes);
    flows_due_ = true;
  }
  // Without a name this host is part of no cluster yet: there are no policies.
  if (!table_.is_open() && known && (cluster_read_ || (self_known_ && self_.empty()))) {
    mark_node();
    return table_.open();
  }
  table_.flush();
  if (table_.is_in_place()) group_links();
}

void Firewall::resync() {
  if (!is_on()) return;
  if (monitor_ == nullptr) open_monitor();
  if (table_.is_open()) mark_node();
}

// Before the table is there: with the mark and no table a plugin waits in vain, with a table and no mark its container would be
// shut.
void Firewall::mark_node() {
  kv::Store* node = ports_.node();
  if (marked_ || node == nullptr) return;
  const auto done = node->transact([](kv::Transaction& tx) -> Status {
    tx.put(keys::policy_active, "1");
    return {};
  });
  if (done) marked_ = true;
  else ports_.failed("policy mark", done.error());
}

// With "policy": false. Only what an earlier run left, which the mark tells: who never had a table needs no nftables.
void Firewall::remove_table() {
  kv::Store* node = ports_.node();
  if (marked_ || node == nullptr) return;
  const auto mark = node->get(keys::policy_active);
  if (!mark || !*mark) {
    marked_ = mark.ok();
    return;
  }
  marked_ = true;
  child_.run(nft::Request::transaction, nft::removal(std::string(table_name)), [this](const Result<std::string>& outcome) {
    if (!outcome) {
      marked_ = false;
      return ports_.failed("nftables", Error(outcome.error()).context("removing table inet firn"));
    }
    log_.info("policy is switched off: table inet firn is removed");
    // Without the table the kernel's own check of sources is all there is.
    loosen_.clear();
    links_checked_ = false;
    loosen_links();
    kv::Store* store = ports_.node();
    if (store == nullptr) return;
    const auto done = store->transact([](kv::Transaction& tx) -> Status {
      tx.erase(keys::policy_active);
      return {};
    });
    if (!done) ports_.failed("policy mark", done.error());
  });
}

void Firewall::table_applied() {
  table_trouble_.clear();
  if (monitor_ != nullptr) {
    if (const auto set = monitor_->set_own_port(child_.port()); !set) ports_.failed("nftables", set.error());
  }
  if (!table_.is_in_place()) return;
  if (!held_) hold();
  group_links();
  loosen_links();
  answer_waiters();
  if (std::exchange(flows_due_, false)) flows_.changed();
}

Flows::Ports Firewall::flow_ports() {
  return {[this]() -> Result<std::set<Address>> {
            const auto addresses = kernel_.addresses(0);
            if (!addresses) return addresses.error();
            std::set<Address> out;
            for (const netlink::LinkAddress& one : *addresses) out.insert(one.address.address);
            return out;
          },
          [this](const Error& why) { ports_.failed("connections", why); },
          [this](size_t ended) {
            flows_ended_ += ended;
            log_.info(std::to_string(ended) + " connection(s) ended that a change forbids");
          }};
}

void Firewall::child_started() {
  if (monitor_ == nullptr) return;
  if (const auto set = monitor_->set_own_port(child_.port()); !set) ports_.failed("nftables", set.error());
}

// The hold table went with it.
void Firewall::child_ended(const Error& why) {
  ports_.failed("firn-nft", why);
  held_ = false;
  if (is_on() && table_.is_open()) hold_timer_ = loop_.after(milliseconds(0), [this] { hold(); });
}

// Not before the main table sets the mark, or containers would be shut for as long.
void Firewall::hold() {
  hold_timer_.cancel();
  if (held_ || holding_ || hold_impossible_) return;
  holding_ = true;
  child_.run(nft::Request::hold, nft::hold_table(hold_settings(config_)), [this](const Result<std::string>& outcome) {
    holding_ = false;
    if (outcome) {
      held_ = true;
      return hold_trouble_.clear();
    }
    hold_trouble_ = outcome.error().message;
    if (!outcome.error().is(Code::invalid)) {
      hold_timer_ = loop_.after(hold_retry, [this] { hold(); });
      return;
    }
    hold_impossible_ = true;
    log_.warning(
        "nftables has no tables with an owner (Linux 5.12 is needed), so nothing drops the packets of containers while table "
        "inet firn is restored after somebody else removed it: " +
        nft::parse_refusal(hold_trouble_).reason);
    table_.want(unmarked_);
    table_.flush();
  });
}

bool Firewall::open_monitor() {
  auto monitor = netlink::TableMonitor::open(std::string(table_name));
  if (!monitor) {
    monitor_trouble_ = monitor.error().message;
    ports_.failed("nftables", monitor.error());
    return false;
  }
  auto watch = loop_.readable((*monitor)->fd(), [this] { take_news(); });
  if (!watch) return ports_.failed("nftables", watch.error()), false;
  monitor_ = *std::move(monitor);
  monitor_watch_ = std::move(*watch);
  monitor_trouble_.clear();
  // What happened without it is not known.
  if (table_.is_open()) table_.replace();
  return true;
}

void Firewall::take_news() {
  const auto news = monitor_->read();
  if (!news) return ports_.failed("nftables", news.error());
  if (!news->changed && !news->lost) return;
  if (!table_.is_open()) return;
  log_.repeated(Level::warning, "nftables changed",
                news->changed ? "somebody else changed table inet firn: it is replaced"
                              : "the kernel dropped news of nftables: table inet firn is replaced");
  table_.replace();
}

// Who waits ------------------------------------------------------------------------------------------------------------------

std::string Firewall::trouble() const {
  if (!is_on() || table_.is_in_place()) return {};
  if (!table_trouble_.empty()) return table_trouble_;
  if (!monitor_trouble_.empty()) return monitor_trouble_;
  if (!table_.is_open()) return "the policies of the cluster, or the endpoints of this host, have not been read yet";
  return "table inet firn is being written";
}

bool Firewall::is_open_for(const std::string& handle) const {
  const auto elements = compute_.elements_of(handle), ports = nat_.elements_of(handle);
  const auto is_there = [this](const nft::ElementKey& key) { return table_.has(key); };
  return !elements.empty() && std::ranges::all_of(elements, is_there) && std::ranges::all_of(ports, is_there);
}

void Firewall::wait(const std::string& handle, milliseconds patience, std::function<void(const Status&)> done) {
  if (is_open_for(handle)) return done({});
  waiters_.push_back({handle, std::move(done), {}});
  const auto self = std::prev(waiters_.end());
  self->timer = loop_.after(patience, [this, self] {
    const Waiter late = std::move(*self);
    waiters_.erase(self);
    std::string why = trouble();
    if (why.empty()) why = compute_.elements_of(late.handle).empty() ? "no such attachment is known" : table_.state().why_aside;
    late.done(
        make_error(Code::unavailable, "policy of " + late.handle + " is not in the kernel" + (why.empty() ? "" : ": " + why)));
  });
}

void Firewall::answer_waiters() {
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    const auto self = it++;
    if (!is_open_for(self->handle)) continue;
    const Waiter ready = std::move(*self);
    waiters_.erase(self);
    ready.done({});
  }
}

std::map<std::string, std::string> Firewall::handles() const {
  std::map<std::string, std::string> out;
  for (const auto& [handle, side] : here_) out.emplace(side.interface, handle);
  return out;
}

Firewall::State Firewall::state() const {
  return {table_.state(), compute_.counts(), child_.starts(), held_, hold_trouble_, from_copy_, waiters_.size(), flows_ended_};
}

}  // namespace firn::routed
