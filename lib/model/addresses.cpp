// Codecs of pools, reservations, blocks, claims, leases, endpoints.
#include <charconv>

#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

namespace {

Use read_use(Fields& fields, std::string_view text) {
  if (text == "routed") return Use::routed;
  if (text != "bridged") fields.fail(make_error(Code::invalid, "/use: must be routed or bridged"));
  return Use::bridged;
}

// A record whose own parts contradict each other is as bad as one with a wrong field.
void require(Fields& fields, bool holds, const char* text) {
  if (!holds) fields.fail(make_error(Code::invalid, text));
}

// One run of a free queue, "FIRST", "FIRST-LAST", each with "@RELEASED" unless that is 0, from the front of `text`.
bool read_run(std::string_view& text, uint128 count, FreeRun& run) {
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  const auto number = [&](auto& value) {
    const auto [next, ec] = std::from_chars(at, end, value);
    const bool good = ec == std::errc{} && *at >= '0';  // no sign
    at = next;
    return good;
  };
  run = {};
  if (!number(run.first)) return false;
  run.last = run.first;
  if (at != end && *at == '-' && (++at, !number(run.last))) return false;
  if (at != end && *at == '@' && (++at, !number(run.released_at))) return false;
  text.remove_prefix(static_cast<size_t>(at - text.data()));
  return run.first <= run.last && run.last < count && run.released_at <= max_time;
}

// The queue is one string: as an array of runs it would be most of what a lease costs.
std::vector<FreeRun> read_queue(Fields& fields, std::string_view text, uint128 count) {
  std::vector<FreeRun> out;
  const auto bad = [&] {
    fields.fail(make_error(Code::invalid, "/free: run " + std::to_string(out.size()) + " is no run inside the block"));
    return std::vector<FreeRun>();
  };
  while (!text.empty()) {
    FreeRun run;
    if (!read_run(text, count, run)) return bad();
    if (!text.empty() && (text.front() != ' ' || text.size() == 1)) return bad();
    out.push_back(run);
    if (!text.empty()) text.remove_prefix(1);
  }
  return out;
}

std::string queue_text(const std::vector<FreeRun>& runs) {
  std::string out;
  out.reserve(runs.size() * 18);
  char buffer[20];
  const auto append = [&](char separator, auto number) {
    if (separator != 0) out += separator;
    out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr);
  };
  for (const FreeRun& run : runs) {
    append(out.empty() ? '\0' : ' ', run.first);
    if (run.last != run.first) append('-', run.last);
    if (run.released_at != 0) append('@', run.released_at);
  }
  return out;
}

std::vector<Prefix> read_prefixes(Fields& fields, std::string_view name) {
  std::vector<Prefix> out;
  for (const json::Value& item : fields.list(name)) {
    auto text = item.string();
    auto prefix = text ? Prefix::parse(*text) : Result<Prefix>(std::move(text).error());
    if (prefix) out.push_back(*prefix);
    else fields.fail(item.error(prefix.error().message));
  }
  return out;
}

void write_prefixes(json::Writer& w, std::string_view name, const std::vector<Prefix>& prefixes) {
  if (prefixes.empty()) return;
  w.key(name).begin_array();
  for (const Prefix& prefix : prefixes) w.value(prefix.to_string());
  w.end_array();
}

// Only what nat_exclude and nat_source say of another family, or without nat, is judged elsewhere (ipam/pools.hpp).
void read_nat(Fields& fields, const json::Value& root, Pool& pool) {
  pool.nat = fields.flag_or("nat", false);
  pool.nat_exclude = read_prefixes(fields, "nat_exclude");
  if (!root["nat_source"].present()) return;
  auto range = AddressRange::parse(fields.text("nat_source"));
  if (range) pool.nat_source = *range;
  else fields.fail(root["nat_source"].error(range.error().message));
}

void write_ports(json::Writer& w, const std::vector<PublishedPort>& ports) {
  if (ports.empty()) return;
  w.key("ports").begin_array();
  for (const PublishedPort& port : ports) {
    w.begin_object().field("protocol", transport_name(port.protocol));
    if (port.host_address) w.field("host_address", port.host_address->to_string());
    w.field("host_port", port.host_port).field("container_port", port.container_port).end_object();
  }
  w.end_array();
}

Result<PublishedPort> read_port(const json::Value& item) {
  PublishedPort out;
  auto protocol = item["protocol"].string();
  if (!protocol) return std::move(protocol).error();
  auto number = parse_transport(*protocol);
  if (!number) return item["protocol"].error(number.error().message);
  out.protocol = *number;
  if (item["host_address"].present()) {
    auto text = item["host_address"].string();
    if (!text) return std::move(text).error();
    auto address = Address::parse(*text);
    if (!address) return item["host_address"].error(address.error().message);
    out.host_address = *address;
  }
  auto host = item["host_port"].integer(1, 65535);
  if (!host) return std::move(host).error();
  auto container = item["container_port"].integer(1, 65535);
  if (!container) return std::move(container).error();
  out.host_port = static_cast<uint16_t>(*host);
  out.container_port = static_cast<uint16_t>(*container);
  return out;
}

std::vector<PublishedPort> read_ports(Fields& fields) {
  std::vector<PublishedPort> out;
  for (const json::Value& item : fields.list("ports")) {
    auto port = read_port(item);
    if (port) out.push_back(*port);
    else fields.fail(std::move(port).error());
    require(fields, out.size() <= most_published_ports, "/ports: has more than 1024 ports");
    if (out.size() > most_published_ports) return {};
  }
  if (auto sound = check_ports(out); !sound) fields.fail(make_error(Code::invalid, "/ports: " + sound.error().message));
  return out;
}

void write_bucket(json::Writer& w, std::string_view name, const Bucket& bucket) {
  if (bucket) w.key(name).begin_object().field("rate", bucket.rate).field("burst", bucket.burst).end_object();
}

Bucket read_bucket(Fields& fields, const json::Value& value) {
  if (!value.present()) return {};
  auto rate = value["rate"].integer(0, INT64_MAX);
  auto burst = value["burst"].integer(0, INT64_MAX);
  if (!rate || !burst) {
    fields.fail(std::move(rate ? burst : rate).error());
    return {};
  }
  const Bucket out{static_cast<uint64_t>(*rate), static_cast<uint64_t>(*burst)};
  if (auto sound = check_bucket(out); !sound) fields.fail(value.error(sound.error().message));
  return out;
}

}  // namespace

std::string_view to_string(Use use) { return use == Use::routed ? "routed" : "bridged"; }

std::string_view to_string(RoutingMode mode) {
  switch (mode) {
    case RoutingMode::direct: return "direct";
    case RoutingMode::vxlan: return "vxlan";
    default: return "bgp";
  }
}

Result<RoutingMode> parse_routing_mode(std::string_view text) {
  for (const RoutingMode mode : {RoutingMode::bgp, RoutingMode::direct, RoutingMode::vxlan}) {
    if (text == to_string(mode)) return mode;
  }
  return make_error(Code::invalid, "must be bgp, direct or vxlan, not '" + std::string(text) + "'");
}

std::string handle_of(std::string_view network, std::string_view container_id, std::string_view ifname) {
  std::string out;
  out.reserve(network.size() + container_id.size() + ifname.size() + 2);
  return out.append(network).append("/").append(container_id).append("/").append(ifname);
}

int default_block_size(const Prefix& cidr) { return std::max(cidr.address().is_v4() ? 26 : 122, cidr.length()); }

std::string encode(const Pool& pool) {
  json::Writer w = begin_record();
  w.field("name", pool.name).field("cidr", pool.cidr.to_string()).field("block_size", pool.block_size);
  write_texts(w, "node_selector", pool.node_selector);
  if (pool.disabled) w.field("disabled", true);
  if (pool.node_only) w.field("node_only", true);
  if (pool.mode != RoutingMode::bgp) w.field("mode", to_string(pool.mode));
  if (pool.cross_subnet) w.field("cross_subnet", true);
  if (!pool.advertise) w.field("advertise", false);
  if (pool.strict) w.field("strict", true);
  if (pool.status_when_low) w.field("status_when_low", true);
  if (pool.nat) w.field("nat", true);
  write_prefixes(w, "nat_exclude", pool.nat_exclude);
  if (pool.nat_source) w.field("nat_source", pool.nat_source->to_string());
  write_prefixes(w, "extra_sources", pool.extra_sources);
  if (pool.shrinking_to) w.field("shrinking_to", pool.shrinking_to->to_string());
  if (!pool.moving_from.empty()) {
    w.key("moving_from").begin_array();
    for (const std::string& name : pool.moving_from) w.value(name);
    w.end_array();
  }
  if (pool.overhead != 0) w.field("overhead", pool.overhead);
  return std::move(w.end_object()).take();
}

Result<Pool> decode_pool(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Pool pool;
    pool.name = f.text("name");
    pool.cidr = f.prefix("cidr");
    const int bits = pool.cidr.address().bits();
    pool.block_size =
        static_cast<int>(f.number_or("block_size", default_block_size(pool.cidr), std::max(pool.cidr.length(), bits - 16), bits));
    pool.node_selector = f.texts("node_selector");
    pool.disabled = f.flag_or("disabled", false);
    pool.node_only = f.flag_or("node_only", false);
    if (root["mode"].present()) pool.mode = f.routing_mode("mode");
    pool.cross_subnet = f.flag_or("cross_subnet", false);
    pool.advertise = f.flag_or("advertise", true);
    pool.strict = f.flag_or("strict", false);
    pool.status_when_low = f.flag_or("status_when_low", false);
    read_nat(f, root, pool);
    pool.extra_sources = read_prefixes(f, "extra_sources");
    for (const Prefix& range : pool.extra_sources) {
      require(f, range.length() > 0,
              "/extra_sources: every address there is would be no guard; two halves (0.0.0.0/1, 128.0.0.0/1) say that it is meant");
    }
    if (root["shrinking_to"].present()) {
      pool.shrinking_to = f.prefix("shrinking_to");
      require(f, pool.cidr.contains(*pool.shrinking_to), "/shrinking_to: is not inside /cidr");
    }
    for (const json::Value& item : f.list("moving_from")) {
      auto name = item.string();
      if (!name) f.fail(std::move(name).error());
      else pool.moving_from.push_back(*std::move(name));
    }
    for (const std::string& name : pool.moving_from) require_name(f, check_object_name("pool name", name));
    pool.overhead = static_cast<int>(f.number_or("overhead", 0, 0, 128));
    require_name(f, check_object_name("pool name", pool.name));
    return f.finish(std::move(pool));
  });
}

std::string encode(const Reservation& reservation) {
  json::Writer w = begin_record();
  w.field("cidr", reservation.cidr.to_string()).field_if("note", reservation.note);
  return std::move(w.end_object()).take();
}

Result<Reservation> decode_reservation(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Reservation out;
    out.cidr = f.prefix("cidr");
    out.note = f.text_or_empty("note");
    return f.finish(std::move(out));
  });
}

std::string encode(const Block& block) {
  json::Writer w = begin_record();
  w.field("prefix", block.prefix.to_string()).field("pool", block.pool).field("use", to_string(block.use));
  w.field("free", queue_text(block.free));
  return std::move(w.end_object()).take();
}

Result<Block> decode_block(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Block block;
    block.prefix = f.prefix("prefix");
    block.pool = f.text("pool");
    block.use = read_use(f, f.text("use"));
    const bool sized = block.prefix.length() >= block.prefix.address().bits() - 16;
    require(f, sized, "/prefix: has more than 65536 addresses");
    if (sized) block.free = read_queue(f, f.text("free"), block.prefix.count());
    return f.finish(std::move(block));
  });
}

std::string encode(const Claim& claim) {
  json::Writer w = begin_record();
  w.field("prefix", claim.prefix.to_string()).field("pool", claim.pool).field("node", claim.node);
  w.field("use", to_string(claim.use)).field("claimed_at", claim.claimed_at);
  return std::move(w.end_object()).take();
}

Result<Claim> decode_claim(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Claim claim;
    claim.prefix = f.prefix("prefix");
    claim.pool = f.text("pool");
    claim.node = f.text("node");
    claim.use = read_use(f, f.text("use"));
    claim.claimed_at = f.number("claimed_at", 0, max_time);
    return f.finish(std::move(claim));
  });
}

std::string encode(const Lease& lease) {
  json::Writer w = begin_record();
  w.field("address", lease.address.to_string()).field("handle", lease.handle).field("pool", lease.pool);
  w.field("block", lease.block.to_string());
  return std::move(w.end_object()).take();
}

Result<Lease> decode_lease(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Lease lease;
    lease.address = f.address("address");
    lease.handle = f.text("handle");
    lease.pool = f.text("pool");
    lease.block = f.prefix("block");
    require(f, lease.block.contains(lease.address), "/address: is not inside /block");
    return f.finish(std::move(lease));
  });
}

std::string encode(const Endpoint& e) {
  json::Writer w = begin_record();
  w.field("kind", e.kind == EndpointKind::interface ? "interface" : "address");
  w.field("network", e.network).field("container_id", e.container_id).field("ifname", e.ifname);
  w.field_if("netns", e.netns);
  if (e.netns_inode != 0) w.field("netns_inode", e.netns_inode);
  w.field("boot_id", e.boot_id).field_if("host_ifname", e.host_ifname);
  if (!e.mac.is_zero()) w.field("mac", e.mac.to_string());
  if (e.mtu != 0) w.field("mtu", e.mtu);
  write_addresses(w, "addresses", e.addresses);
  if (!e.leased) w.field("leased", false);
  w.field("created_at", e.created_at);
  w.field_if("pod_namespace", e.pod_namespace).field_if("pod_name", e.pod_name).field_if("pod_uid", e.pod_uid);
  write_texts(w, "labels", e.labels);
  write_texts(w, "annotations", e.annotations);
  write_ports(w, e.ports);
  write_bucket(w, "ingress_limit", e.bandwidth.ingress);
  write_bucket(w, "egress_limit", e.bandwidth.egress);
  return std::move(w.end_object()).take();
}

Result<Endpoint> decode_endpoint(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Endpoint e;
    const std::string kind = f.text("kind");
    require(f, kind == "interface" || kind == "address", "/kind: must be interface or address");
    e.kind = kind == "address" ? EndpointKind::address : EndpointKind::interface;
    e.network = f.text("network");
    e.container_id = f.text("container_id");
    e.ifname = f.text("ifname");
    e.netns = f.text_or_empty("netns");
    e.netns_inode = static_cast<uint64_t>(f.number_or("netns_inode", 0, 0, INT64_MAX));
    e.boot_id = f.text("boot_id");
    e.host_ifname = f.text_or_empty("host_ifname");
    if (root["mac"].present()) e.mac = f.mac("mac");
    e.mtu = static_cast<int>(f.number_or("mtu", 0, 0, 65535));
    e.addresses = f.addresses("addresses");
    e.leased = f.flag_or("leased", true);
    e.created_at = f.number("created_at", 0, max_time);
    e.pod_namespace = f.text_or_empty("pod_namespace");
    e.pod_name = f.text_or_empty("pod_name");
    e.pod_uid = f.text_or_empty("pod_uid");
    e.labels = f.texts("labels");
    e.annotations = f.texts("annotations");
    e.ports = read_ports(f);
    e.bandwidth.ingress = read_bucket(f, root["ingress_limit"]);
    e.bandwidth.egress = read_bucket(f, root["egress_limit"]);
    require_name(f, check_cni_name("/network:", e.network));
    require_name(f, check_cni_name("/container_id:", e.container_id));
    if (auto name = IfName::parse(e.ifname); !name) f.fail(name.error());
    if (!e.host_ifname.empty()) {
      if (auto name = IfName::parse(e.host_ifname); !name) f.fail(name.error());
    }
    return f.finish(std::move(e));
  });
}

}  // namespace firn::model
