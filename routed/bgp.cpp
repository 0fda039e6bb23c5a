#include "routed/bgp.hpp"

#include <sys/stat.h>

#include <utility>

#include "lib/base/file.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"

namespace firn::routed {
namespace {

namespace keys = model::keys;

constexpr size_t max_password = 4096;

Result<std::string> read_password(const model::BgpPeer& peer) {
  const std::string what = "peer " + peer.name + ", password file " + peer.password_file;
  struct stat info {};
  if (::stat(peer.password_file.c_str(), &info) != 0) return errno_error(what);
  if ((info.st_mode & 0077) != 0) return make_error(Code::denied, what + ": others may read it; chmod 0600 it");
  auto text = read_file(peer.password_file, max_password);
  if (!text) return std::move(text).error().context("peer " + peer.name);
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

Bgp::Bgp(loop::Loop& loop, Log& log, const Clock& clock, const BirdConfig& config, const std::string& run_dir,
         std::function<std::vector<Prefix>()> blocks)
    : loop_(loop), log_(log), clock_(clock), blocks_(std::move(blocks)), settings_(settings_from(config, run_dir)) {}

Result<std::optional<bird::Rendered>> Bgp::wanted(kv::Store& cluster, const std::string& node_name) {
  const auto node = cluster.get(keys::node(node_name));
  if (!node) return node.error();
  if (!*node) return make_error(Code::not_found, "the cluster store has no node \"" + node_name + "\"; run firnctl init");
  const auto record = model::decode_node((*node)->value);
  if (!record) return record.error();
  model::BgpSettings settings;
  const auto stored = cluster.get(keys::bgp_settings);
  if (!stored) return stored.error();
  if (*stored) {
    auto decoded = model::decode_bgp_settings((*stored)->value);
    if (!decoded) return std::move(decoded).error().context("BGP settings");
    settings = *decoded;
  }
  auto listing = cluster.range(keys::bgp_peers);
  if (!listing) return std::move(listing).error();
  std::vector<model::BgpPeer> peers;
  for (const kv::Entry& entry : listing->entries) {
    auto peer = model::decode_bgp_peer(entry.value);
    if (!peer) return std::move(peer).error().context("record " + entry.key);
    if (peer->node.empty() || peer->node == node_name) peers.push_back(std::move(*peer));
  }
  configured_ = !peers.empty();
  // Without peers nothing is started; a BIRD of an earlier run must still hear that its peers are gone.
  if (!configured_ && keeper_ == nullptr && !is_there(settings_.config_path())) return std::optional<bird::Rendered>{};
  auto config = bird::select(settings, *record, peers);
  if (!config) return std::move(config).error();
  config->log_file = settings_.log_path();
  auto pools = cluster.range(keys::pools);
  if (!pools) return std::move(pools).error();
  for (const kv::Entry& entry : pools->entries) {
    auto pool = model::decode_pool(entry.value);
    if (!pool) return std::move(pool).error().context("record " + entry.key);
    if (pool->mode != model::RoutingMode::bgp) config->routed_by_firn.push_back(pool->cidr);
    if (!pool->advertise) config->unannounced.push_back(pool->cidr);
  }
  for (bird::ResolvedPeer& peer : config->peers) {
    if (peer.peer.password_file.empty()) continue;
    auto password = read_password(peer.peer);
    if (!password) return std::move(password).error();
    peer.password = std::move(*password);
  }
  auto rendered = bird::render(*config);
  if (!rendered) return std::move(rendered).error();
  return std::optional<bird::Rendered>(std::move(*rendered));
}

void Bgp::update(kv::Store* cluster, const std::string& node_name) {
  if (cluster == nullptr || node_name.empty()) {
    reason_ = "this host is not part of a cluster yet (firnctl init)";
    return;
  }
  auto rendered = wanted(*cluster, node_name);
  if (!rendered) {
    reason_ = rendered.error().message;
    log_.repeated(Level::error, "bgp " + reason_, "BGP: " + reason_ + "; the configuration before stays in force");
    return;
  }
  reason_ = configured_ ? "" : "no BGP peers are configured for this node (firnctl bgp peer add)";
  if (!*rendered) return;
  if (!start_keeper()) return;
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
  return true;
}

void Bgp::blocks_changed() {
  if (keeper_ != nullptr) keeper_->set_blocks(blocks_());
}

void Bgp::report() {
  const bird::State state = keeper_->report({}).state;
  if (state.phase == bird::Phase::starting) return;
  std::string now;
  if (state.phase == bird::Phase::silent) now = state.daemon_error;
  else if (!state.daemon_error.empty()) now = "BIRD is not running: " + state.daemon_error;
  else if (!state.config_error.empty()) now = "BIRD refused its configuration, the one before stays in force: " + state.config_error;
  else if (state.in_force) now = "BIRD " + state.version + " runs with the wanted configuration";
  if (now.empty() || now == reported_) return;
  reported_ = now;
  if (state.in_force) log_.info(now);
  else log_.warning(now);
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
  return out;
}

}  // namespace firn::routed
