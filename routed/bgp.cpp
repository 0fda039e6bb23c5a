#include "routed/bgp.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "lib/base/file.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

constexpr size_t max_password = 4096, max_config = 16 * 1024 * 1024;

constexpr std::chrono::milliseconds look_every{1000};
constexpr int64_t write_again = 3, ask_again = 5;  // seconds

Result<std::string> read_password(const std::string& whose, const std::string& file) {
  const std::string what = whose + ", password file " + file;
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return errno_error(what);
  if ((info.st_mode & 0077) != 0) return make_error(Code::denied, what + ": others may read it; chmod 0600 it");
  auto text = read_file(file, max_password);
  if (!text) return std::move(text).error().context(whose);
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  if (text->empty()) return make_error(Code::invalid, what + ": is empty");
  return text;
}

bool is_there(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

bird::Settings settings_from(const BirdConfig& config, const std::string& run_dir) {
  bird::Settings out;
  out.supervise = config.supervise;
  out.binary = config.binary;
  out.run_directory = run_dir + "/bird";
  out.socket = config.socket;
  return out;
}

}  // namespace

Bgp::Bgp(loop::Loop& loop, Log& log, const Clock& clock, const BirdConfig& config, const std::string& run_dir, Hooks hooks)
    : loop_(loop), log_(log), clock_(clock), hooks_(std::move(hooks)), settings_(settings_from(config, run_dir)) {}

Status Bgp::read_passwords(bird::Config& config) const {
  std::string of_hosts;
  for (bird::ResolvedPeer& peer : config.peers) {
    if (peer.peer.password_file.empty()) continue;
    if (peer.host && !of_hosts.empty()) {
      peer.password = of_hosts;
      continue;
    }
    auto password = read_password(peer.host ? "sessions between hosts" : "peer " + peer.peer.name, peer.peer.password_file);
    if (!password) return std::move(password).error();
    peer.password = *std::move(password);
    if (peer.host) of_hosts = peer.password;
  }
  return {};
}

// The sessions that the topology asks for, and those of the one before as long as they are needed.
Status Bgp::add_hosts(bird::Config& config, const BgpRecords& read) {
  const model::BgpSettings& settings = read.records.settings;
  const auto& nodes = read.records.nodes;
  auto shape = bird::shape_of(settings, nodes, read.topology);
  if (!shape) return std::move(shape).error();
  topology_due_.reset();
  if (settings.topology == model::Topology::automatic) {
    const model::BgpTopology due{*shape == bird::Shape::mesh ? model::Topology::mesh : model::Topology::reflectors};
    if (read.topology != due) topology_due_ = due;
  }
  plan_ = bird::plan_of(settings, *shape, nodes);
  plan_protocols_.clear();
  const auto told = read.ready.find(self_.name);
  ready_told_ = told == read.ready.end() ? std::string() : told->second;
  config.reflector = bird::is_reflector(settings, self_);

  std::vector<Address> taken;
  for (const bird::ResolvedPeer& peer : config.peers) taken.push_back(peer.peer.address);
  if (!held_) {
    const auto before = read_file(settings_.config_path(), max_config);
    held_ = before ? bird::host_protocols_in(*before) : std::set<std::string>{};
  }
  bird::HostSessions possible;
  if (*shape != bird::Shape::none || !held_->empty()) possible = bird::possible_sessions(settings, self_, nodes, taken);
  for (const std::string& note : possible.notes) log_.repeated(Level::warning, "bgp " + note, "BGP: " + note);

  std::map<std::string, bool> up;
  const bird::Report report = keeper_ == nullptr ? bird::Report{} : keeper_->report({});
  if (report.state.phase == bird::Phase::running) {
    for (const bird::Session& session : report.sessions) up[session.protocol] = session.established();
  }
  std::vector<bird::OldSession> old;
  std::map<std::string, bird::HostSession*> not_wanted;
  for (bird::HostSession& session : possible.sessions) {
    const std::string protocol = bird::protocol_of(session.peer);
    if (bird::connects(*shape, config.reflector, session.reflects)) {
      plan_protocols_.push_back(protocol);
      config.peers.push_back(std::move(session.peer));
    } else if (held_->contains(protocol)) {
      const auto it = up.find(protocol);
      old.push_back({protocol, session.peer.peer.name, it == up.end() || it->second});
      not_wanted.emplace(protocol, &session);
    }
  }
  const std::set<std::string> kept = bird::still_needed(old, plan_, self_.name, read.ready);
  kept_ = kept.size();
  for (const std::string& protocol : kept) config.peers.push_back(std::move(not_wanted.at(protocol)->peer));
  return {};
}

// BIRD learns one route of a prefix from the kernel, the one of the lowest metric. For a block of a single address that is the route of
// the container, not the blackhole behind it, so these are told to BIRD.
void Bgp::add_loans(bird::Config& config) {
  told_ = loans();
  for (const Prefix& loan : told_) {
    const auto covers = [&](const Prefix& pool) { return pool.contains(loan); };
    if (std::none_of(config.unannounced.begin(), config.unannounced.end(), covers)) config.extra.push_back({loan, {}});
  }
}

std::vector<Prefix> Bgp::loans() const {
  std::vector<Prefix> out = hooks_.blocks();
  std::erase_if(out, [](const Prefix& block) { return block.length() != block.address().bits(); });
  return out;
}

Result<std::optional<bird::Rendered>> Bgp::wanted(kv::Store& cluster, const std::string& node_name) {
  auto read = read_bgp_records(cluster, node_name);
  if (!read) return std::move(read).error();
  self_ = read->records.self;
  if (!drains_) {
    const auto said = cluster.get(keys::drain_report(node_name));
    if (!said) return said.error();
    // One that cannot be read is written anew.
    auto report = *said ? model::decode_drain_report((*said)->value) : Result<model::DrainReport>(model::DrainReport{});
    drains_ = report ? *std::move(report) : model::DrainReport{};
  }
  const auto& peers = read->records.peers;
  configured_ = read->records.settings.topology != model::Topology::peers ||
                std::any_of(peers.begin(), peers.end(), [&](const model::BgpPeer& peer) { return bird::concerns(peer, self_); });
  // Without peers nothing is started; a BIRD of an earlier run must still hear that its peers are gone.
  if (!configured_ && keeper_ == nullptr && !is_there(settings_.config_path())) return std::optional<bird::Rendered>{};
  auto config = bird::select(read->records);
  if (!config) return std::move(config).error();
  config->log_file = settings_.log_path();
  config->drain = drain_now();
  add_loans(*config);
  if (auto added = add_hosts(*config, *read); !added) return std::move(added).error();
  if (plan_protocols_.empty()) {
    for (const bird::ResolvedPeer& peer : config->peers) {
      if (!peer.host && !peer.peer.range) plan_protocols_.push_back(bird::protocol_of(peer));
    }
  }
  if (auto done = read_passwords(*config); !done) return std::move(done).error();
  auto rendered = bird::render(*config);
  if (!rendered) return std::move(rendered).error();
  drain_ = config->drain;
  held_->clear();
  std::set<std::string> hosts;
  for (const bird::ResolvedPeer& peer : config->peers) {
    if (!peer.host) continue;
    held_->insert(bird::protocol_of(peer));
    hosts.insert(peer.peer.name);
  }
  hosts_.assign(hosts.begin(), hosts.end());
  draining_.clear();
  for (const model::Node& node : read->records.nodes) {
    if (node.drain && hosts.contains(node.name)) draining_.emplace(node.name, node.drain->since);
  }
  return std::optional<bird::Rendered>(std::move(*rendered));
}

void Bgp::update(kv::Store* cluster, const std::string& node_name) {
  if (node_name.empty()) {
    reason_ = "this host is not part of a cluster yet (firnctl init)";
    return;
  }
  if (cluster == nullptr) {
    reason_ =
        "the cluster store, which says who the peers are, has not been read yet; 'firnctl cluster status' shows whether it answers";
    return;
  }
  auto rendered = wanted(*cluster, node_name);
  if (!rendered) {
    reason_ = rendered.error().message;
    log_.repeated(Level::error, "bgp " + reason_, "BGP: " + reason_ + "; the configuration before stays in force");
    return;
  }
  reason_ = configured_ ? ""
                        : "no BGP peers are configured for this node (firnctl bgp peer add), and no sessions between hosts "
                          "(firnctl bgp settings --topology)";
  if (!*rendered) return;
  if (!start_keeper()) return;
  keeper_->watch(protocols_of(draining_));
  keeper_->want(std::move(**rendered));
}

bool Bgp::start_keeper() {
  if (keeper_ != nullptr) return true;
  auto keeper = bird::Keeper::start(settings_, clock_, [this] { loop_.post([this] { report(); }); });
  if (!keeper) {
    reason_ = keeper.error().message;
    log_.repeated(Level::error, "bgp keeper", "BGP: " + reason_);
    return false;
  }
  keeper_ = *std::move(keeper);
  blocks_changed();
  look_timer_ = loop_.every(look_every, [this] { look(); });
  return true;
}

bool Bgp::blocks_changed() {
  if (keeper_ != nullptr) keeper_->set_blocks(hooks_.blocks());
  return loans() != told_;
}

void Bgp::report() {
  const bird::State state = keeper_->report({}).state;
  if (state.phase == bird::Phase::starting) return;
  std::string now;
  if (state.phase == bird::Phase::silent) now = state.daemon_error;
  else if (!state.daemon_error.empty()) now = "BIRD is not running: " + state.daemon_error;
  else if (!state.config_error.empty())
    now = "BIRD refused its configuration, the one before stays in force: " + state.config_error;
  else if (state.in_force) now = "BIRD " + state.version + " runs with the wanted configuration";
  if (now.empty() || now == reported_) return;
  reported_ = now;
  if (state.in_force) log_.info(now);
  else log_.warning(now);
}

void Bgp::look() {
  if (self_.name.empty()) return;
  const bird::Report report = keeper_->report({});
  tell_ready(report);
  tell_topology();
  tell_drains(report);
  publish(report);
  // A session of an earlier plan may have ended by itself; a drain goes on by the clock.
  const int64_t now = clock_.unix_seconds();
  const bool other_drain = drain_now() != drain_;
  if (!other_drain && (kept_ == 0 || now - asked_again_at_ < ask_again)) return;
  asked_again_at_ = now;
  hooks_.again();
}

void Bgp::tell_ready(const bird::Report& report) {
  const bool running = report.state.phase == bird::Phase::running && report.state.in_force;
  settled_ =
      settling_.look(plan_, plan_protocols_, running ? report.sessions : std::vector<bird::Session>{}, clock_.steady()) && running;
  const int64_t now = clock_.unix_seconds();
  if (!settled_ || ready_told_ == plan_ || now - wrote_at_ < write_again) return;
  wrote_at_ = now;
  hooks_.write(keys::bgp_ready(self_.name), model::encode(model::BgpReady{self_.name, plan_}));
}

void Bgp::tell_topology() {
  const int64_t now = clock_.unix_seconds();
  if (!topology_due_ || now - wrote_at_ < write_again) return;
  wrote_at_ = now;
  log_.info("BGP: the number of hosts asks for the topology " + std::string(to_string(topology_due_->in_force)));
  hooks_.write(std::string(keys::bgp_topology), model::encode(*topology_due_));
}

void Bgp::publish(const bird::Report& report) {
  model::BgpStatus status;
  status.node = self_.name;
  status.at = clock_.unix_seconds();
  status.bird = configured_ ? to_string(report.state.phase) : "absent";
  status.reason = !reason_.empty()                     ? reason_
                  : !report.state.daemon_error.empty() ? report.state.daemon_error
                                                       : report.state.config_error;
  status.plan = plan_;
  status.ready = settled_;
  status.drain = to_string(drain_);
  put_sessions(status, report.sessions);
  if (!publisher_.is_due(status)) return;
  publisher_.told(status);
  hooks_.write(keys::bgp_status(self_.name), model::encode(status));
}

// Once everybody has moved a drain does not go back to announcing, whoever comes.
bird::Drain Bgp::drain_now() const {
  const bird::Drain by_clock = bird::drain_of(self_, clock_.unix_seconds());
  if (by_clock != bird::Drain::announce || !drains_ || !drains_->own) return by_clock;
  return drains_->own->withdrawn && drains_->own->since == self_.drain->since ? bird::Drain::withdraw : by_clock;
}

void Bgp::tell_drains(const bird::Report& report) {
  kv::Store* cluster = hooks_.cluster();
  if (cluster == nullptr || !drains_) return;
  const bool running = report.state.phase == bird::Phase::running;
  model::DrainReport now{self_.name, running ? left_by(draining_, report) : Drains{}, {}};
  if (self_.drain) {
    const int64_t since = self_.drain->since;
    now.own = drains_->own && drains_->own->since == since ? *drains_->own : model::DrainReport::Own{since, false, {}, {}, {}};
    const auto has_moved = [&](const std::string& host) {
      const auto entry = cluster->get(keys::drain_report(host));
      if (!entry || !*entry) return false;
      const auto said = model::decode_drain_report((*entry)->value);
      return said && said->left.contains(self_.name) && said->left.at(self_.name) == since;
    };
    if (drain_ == bird::Drain::announce && !now.own->withdrawn && running && report.state.in_force)
      now.own = ask_around(since, report, hosts_, has_moved);
    if (drain_now() == bird::Drain::withdraw) now.own->withdrawn = true;
  }
  drains_ = now;
  const std::string key = keys::drain_report(self_.name), text = model::encode(now);
  const auto there = cluster->get(key);
  const bool nothing = now.left.empty() && !now.own;
  if (!there || (*there ? (*there)->value == text : nothing)) return;
  const int64_t at = clock_.unix_seconds();
  if (text == told_drains_ && at - told_drains_at_ < write_again) return;
  told_drains_ = text;
  told_drains_at_ = at;
  hooks_.write(key, text);
}

Bgp::View Bgp::view(std::chrono::milliseconds patience) {
  View out;
  out.configured = configured_;
  out.reason = reason_;
  if (keeper_ == nullptr) return out;
  bird::Report report = keeper_->report(patience);
  out.bird = std::move(report.state);
  out.running = out.bird.phase == bird::Phase::running;
  if (out.reason.empty()) out.reason = !out.bird.daemon_error.empty() ? out.bird.daemon_error : out.bird.config_error;
  out.sessions = std::move(report.sessions);
  out.announced = std::move(report.announced);
  out.plan = plan_;
  out.plan_in_place = settled_;
  out.kept = kept_;
  out.drain = drain_;
  return out;
}

}  // namespace firn::routed
