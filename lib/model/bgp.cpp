// Codecs of the BGP records. Ranges follow RFC 4271 (hold time 0 or at least 3), RFC 4724 (restart time of 12 bits),
// RFC 6996 and RFC 7607 (AS 0 is not usable).
#include "lib/model/bgp.hpp"

#include "lib/model/bgp_policy.hpp"
#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

namespace {

constexpr int64_t max_as = 4294967294;

void write_rules(json::Writer& w, std::string_view name, const std::vector<PrefixRule>& rules) {
  if (rules.empty()) return;
  w.key(name).begin_array();
  for (const PrefixRule& rule : rules) {
    w.begin_object().field("accept", rule.accept).field("within", rule.within.to_string());
    w.field("least", rule.least).field("most", rule.most).end_object();
  }
  w.end_array();
}

std::vector<PrefixRule> read_rules(Fields& fields, std::string_view name) {
  std::vector<PrefixRule> out;
  for (const json::Value& item : fields.list(name)) {
    auto accept = item["accept"].boolean();
    auto text = item["within"].string();
    if (!accept || !text) {
      fields.fail(accept ? std::move(text).error() : std::move(accept).error());
      return out;
    }
    auto within = Prefix::parse(*text);
    if (!within) {
      fields.fail(item["within"].error(within.error().message));
      return out;
    }
    const int bits = within->address().bits();
    auto least = item["least"].integer(within->length(), bits);
    auto most = item["most"].integer(within->length(), bits);
    if (!least || !most || *least > *most) {
      fields.fail(item.error("least and most must be lengths from that of /within to " + std::to_string(bits) + ", least first"));
      return out;
    }
    out.push_back(PrefixRule{*accept, *within, static_cast<int>(*least), static_cast<int>(*most)});
  }
  return out;
}

template <class T, class Parse>
T choice(Fields& fields, const json::Value& root, std::string_view name, T fallback, Parse parse) {
  if (!root[name].present()) return fallback;
  auto value = parse(fields.text(name));
  if (value) return *value;
  fields.fail(root[name].error(value.error().message));
  return fallback;
}

// The text of each is unique; the message lists them.
template <class T>
Result<T> one_of(std::initializer_list<T> all, std::string_view text) {
  std::string words;
  for (const T value : all) {
    if (text == to_string(value)) return value;
    words.append(words.empty() ? "" : ", ").append(to_string(value));
  }
  return make_error(Code::invalid, "must be one of " + words + ", not '" + std::string(text.substr(0, 64)) + "'");
}

std::optional<uint32_t> as_number_if(Fields& fields, const json::Value& root, std::string_view name) {
  if (!root[name].present()) return std::nullopt;
  return static_cast<uint32_t>(fields.number(name, 1, max_as));
}

std::optional<Address> dotted_if(Fields& fields, const json::Value& root, std::string_view name) {
  auto out = fields.address_if(name);
  if (out && !out->is_v4()) fields.fail(root[name].error("must have the form of an IPv4 address"));
  return out;
}

void check_hold_time(Fields& fields, const json::Value& root, std::string_view name, int seconds) {
  if (seconds == 1 || seconds == 2) fields.fail(root[name].error("must be 0 or 3 to 65535 seconds"));
}

void check_communities(Fields& fields, const json::Value& root, std::string_view name, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (auto good = check_community_text(text); !good) fields.fail(root[name].error(good.error().message));
  }
}

void check_filter_names(Fields& fields, const json::Value& root, std::string_view name, const std::vector<std::string>& names) {
  for (const std::string& filter : names) {
    if (auto good = check_peer_name(filter); !good) fields.fail(root[name].error("filter: " + good.error().message));
  }
}

std::vector<LabelledAs> read_labelled_as(Fields& fields) {
  std::vector<LabelledAs> out;
  for (const json::Value& item : fields.list("labelled_as")) {
    auto members = item["node_selector"].object();
    auto number = item["as_number"].integer(1, max_as);
    if (!members || !number) {
      fields.fail(members ? std::move(number).error() : std::move(members).error());
      return {};
    }
    LabelledAs one;
    one.as_number = static_cast<uint32_t>(*number);
    for (const auto& [label, value] : *members) {
      auto text = value.string();
      if (!text) {
        fields.fail(std::move(text).error());
        return {};
      }
      one.node_selector.emplace(label, *std::move(text));
    }
    if (one.node_selector.empty()) fields.fail(item["node_selector"].error("must name a label"));
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string_view to_string(Topology topology) {
  switch (topology) {
    case Topology::peers: return "peers";
    case Topology::mesh: return "mesh";
    case Topology::reflectors: return "reflectors";
    case Topology::automatic: return "auto";
  }
  return "";
}

Result<Topology> parse_topology(std::string_view text) {
  return one_of({Topology::peers, Topology::mesh, Topology::reflectors, Topology::automatic}, text);
}

std::string_view to_string(LimitAction action) {
  switch (action) {
    case LimitAction::warn: return "warn";
    case LimitAction::block: return "block";
    case LimitAction::restart: return "restart";
    case LimitAction::disable: return "disable";
  }
  return "";
}

Result<LimitAction> parse_limit_action(std::string_view text) {
  return one_of({LimitAction::warn, LimitAction::block, LimitAction::restart, LimitAction::disable}, text);
}

bool selects(const std::map<std::string, std::string>& selector, const Node& node) {
  for (const auto& [label, value] : selector) {
    const auto it = node.labels.find(label);
    if (it == node.labels.end() || it->second != value) return false;
  }
  return true;
}

uint32_t as_number_of(const BgpSettings& settings, const Node& node) {
  if (node.as_number) return *node.as_number;
  for (const LabelledAs& one : settings.labelled_as) {
    if (selects(one.node_selector, node)) return one.as_number;
  }
  return settings.as_number;
}

std::string encode(const BgpSettings& settings) {
  static const BgpSettings plain;
  json::Writer w = begin_record();
  w.field("as_number", settings.as_number);
  if (!settings.labelled_as.empty()) {
    w.key("labelled_as").begin_array();
    for (const LabelledAs& one : settings.labelled_as) {
      w.begin_object();
      write_texts(w, "node_selector", one.node_selector);
      w.field("as_number", one.as_number).end_object();
    }
    w.end_array();
  }
  if (settings.router_id) w.field("router_id", settings.router_id->to_string());
  if (settings.ecmp != plain.ecmp) w.field("ecmp", settings.ecmp);
  if (settings.topology != plain.topology) w.field("topology", to_string(settings.topology));
  write_texts(w, "reflectors", settings.reflectors);
  if (settings.cluster_id) w.field("cluster_id", settings.cluster_id->to_string());
  if (settings.mesh_limit != plain.mesh_limit) w.field("mesh_limit", settings.mesh_limit);
  w.field_if("node_password_file", settings.node_password_file);
  if (settings.node_bfd) w.field("node_bfd", true);
  if (settings.node_hold_time != plain.node_hold_time) w.field("node_hold_time", settings.node_hold_time);
  return std::move(w.end_object()).take();
}

Result<BgpSettings> decode_bgp_settings(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpSettings out;
    out.as_number = static_cast<uint32_t>(f.number("as_number", 1, max_as));
    out.labelled_as = read_labelled_as(f);
    out.router_id = dotted_if(f, root, "router_id");
    out.ecmp = static_cast<int>(f.number_or("ecmp", out.ecmp, 1, 64));
    out.topology = choice(f, root, "topology", out.topology, parse_topology);
    out.reflectors = f.texts("reflectors");
    out.cluster_id = dotted_if(f, root, "cluster_id");
    out.mesh_limit = static_cast<int>(f.number_or("mesh_limit", out.mesh_limit, 2, 10'000));
    out.node_password_file = f.text_or_empty("node_password_file");
    out.node_bfd = f.flag_or("node_bfd", false);
    out.node_hold_time = static_cast<int>(f.number_or("node_hold_time", out.node_hold_time, 0, 65535));
    check_hold_time(f, root, "node_hold_time", out.node_hold_time);
    return f.finish(std::move(out));
  });
}

std::string encode(const BgpPeer& p) {
  static const BgpPeer plain;
  json::Writer w = begin_record();
  w.field("name", p.name).field_if("node", p.node);
  write_texts(w, "node_selector", p.node_selector);
  if (p.range) w.field("range", p.range->to_string());
  else w.field("address", p.address.to_string());
  w.field("as_number", p.as_number).field("port", p.port).field_if("interface", p.interface);
  if (p.local_as) w.field("local_as", *p.local_as);
  if (p.allow_own_as != 0) w.field("allow_own_as", p.allow_own_as);
  if (p.source) w.field("source", p.source->to_string());
  w.field_if("password_file", p.password_file);
  w.field("multihop", p.multihop).field("ttl_security", p.ttl_security).field("passive", p.passive);
  w.field("hold_time", p.hold_time).field("keepalive_time", p.keepalive_time).field("connect_retry", p.connect_retry);
  w.field("graceful_restart", p.graceful_restart).field("graceful_restart_time", p.graceful_restart_time);
  if (p.long_lived_graceful_restart) w.field("long_lived_graceful_restart", true);
  if (p.long_lived_stale_time != plain.long_lived_stale_time) w.field("long_lived_stale_time", p.long_lived_stale_time);
  w.field("bfd", p.bfd);
  if (p.both_families) w.field("both_families", true);
  if (p.extended_next_hop) w.field("extended_next_hop", true);
  if (p.reflect) w.field("reflect", true);
  if (p.keep_next_hop) w.field("keep_next_hop", true);
  if (p.max_prefixes != 0) w.field("max_prefixes", p.max_prefixes);
  if (p.max_prefixes_action != plain.max_prefixes_action) w.field("max_prefixes_action", to_string(p.max_prefixes_action));
  write_strings(w, "communities", p.communities);
  if (p.prepend != 0) w.field("prepend", p.prepend);
  if (p.med) w.field("med", *p.med);
  write_strings(w, "import_filters", p.import_filters);
  write_strings(w, "export_filters", p.export_filters);
  write_rules(w, "import_rules", p.import_rules);
  write_rules(w, "export_rules", p.export_rules);
  return std::move(w.end_object()).take();
}

Result<BgpPeer> decode_bgp_peer(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpPeer p;
    p.name = f.text("name");
    p.node = f.text_or_empty("node");
    p.node_selector = f.texts("node_selector");
    if (root["range"].present()) p.range = f.prefix("range");
    if (!p.range || root["address"].present()) p.address = f.address("address");
    p.as_number = static_cast<uint32_t>(f.number("as_number", 1, max_as));
    p.port = static_cast<uint16_t>(f.number_or("port", 179, 1, 65535));
    p.interface = f.text_or_empty("interface");
    p.local_as = as_number_if(f, root, "local_as");
    p.allow_own_as = static_cast<int>(f.number_or("allow_own_as", 0, 0, 10));
    p.source = f.address_if("source");
    p.password_file = f.text_or_empty("password_file");
    p.multihop = static_cast<int>(f.number_or("multihop", 0, 0, 255));
    p.ttl_security = f.flag_or("ttl_security", false);
    p.passive = f.flag_or("passive", false);
    p.hold_time = static_cast<int>(f.number_or("hold_time", 240, 0, 65535));
    p.keepalive_time = static_cast<int>(f.number_or("keepalive_time", p.hold_time / 3, 0, 65535));
    p.connect_retry = static_cast<int>(f.number_or("connect_retry", 5, 1, 65535));
    p.graceful_restart = f.flag_or("graceful_restart", true);
    p.graceful_restart_time = static_cast<int>(f.number_or("graceful_restart_time", 120, 1, 4095));
    p.long_lived_graceful_restart = f.flag_or("long_lived_graceful_restart", false);
    p.long_lived_stale_time = static_cast<int>(f.number_or("long_lived_stale_time", p.long_lived_stale_time, 1, 16'777'215));
    p.bfd = f.flag_or("bfd", false);
    p.both_families = f.flag_or("both_families", false);
    p.extended_next_hop = f.flag_or("extended_next_hop", false);
    p.reflect = f.flag_or("reflect", false);
    p.keep_next_hop = f.flag_or("keep_next_hop", false);
    p.max_prefixes = static_cast<int>(f.number_or("max_prefixes", 0, 0, 10'000'000));
    p.max_prefixes_action = choice(f, root, "max_prefixes_action", p.max_prefixes_action, parse_limit_action);
    p.communities = f.strings("communities");
    p.prepend = static_cast<int>(f.number_or("prepend", 0, 0, 16));
    if (root["med"].present()) p.med = static_cast<uint32_t>(f.number("med", 0, UINT32_MAX));
    p.import_filters = f.strings("import_filters");
    p.export_filters = f.strings("export_filters");
    p.import_rules = read_rules(f, "import_rules");
    p.export_rules = read_rules(f, "export_rules");
    check_hold_time(f, root, "hold_time", p.hold_time);
    if (p.hold_time != 0 && p.keepalive_time > p.hold_time)
      f.fail(root["keepalive_time"].error("must not be longer than hold_time"));
    if (auto status = check_peer_name(p.name); !status) f.fail(status.error());
    if (p.range && !p.address.is_unspecified()) f.fail(root["range"].error("stands instead of address, not beside it"));
    if (!p.node.empty()) {
      if (auto status = check_object_name("/node:", p.node); !status) f.fail(status.error());
    }
    if (!p.interface.empty()) {
      if (auto name = IfName::parse(p.interface); !name) f.fail(root["interface"].error(name.error().message));
    }
    check_communities(f, root, "communities", p.communities);
    check_filter_names(f, root, "import_filters", p.import_filters);
    check_filter_names(f, root, "export_filters", p.export_filters);
    return f.finish(std::move(p));
  });
}

std::string encode(const BgpPrefix& prefix) {
  json::Writer w = begin_record();
  w.field("cidr", prefix.cidr.to_string());
  write_texts(w, "node_selector", prefix.node_selector);
  write_strings(w, "communities", prefix.communities);
  w.field_if("note", prefix.note);
  return std::move(w.end_object()).take();
}

Result<BgpPrefix> decode_bgp_prefix(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpPrefix out;
    out.cidr = f.prefix("cidr");
    out.node_selector = f.texts("node_selector");
    out.communities = f.strings("communities");
    out.note = f.text_or_empty("note");
    check_communities(f, root, "communities", out.communities);
    return f.finish(std::move(out));
  });
}

std::string encode(const BgpTopology& topology) {
  json::Writer w = begin_record();
  w.field("in_force", to_string(topology.in_force));
  return std::move(w.end_object()).take();
}

Result<BgpTopology> decode_bgp_topology(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpTopology out;
    out.in_force = choice(f, root, "in_force", out.in_force, [](std::string_view text) {
      return one_of({Topology::mesh, Topology::reflectors}, text);
    });
    return f.finish(std::move(out));
  });
}

std::string encode(const BgpReady& ready) {
  json::Writer w = begin_record();
  w.field("node", ready.node).field("plan", ready.plan);
  return std::move(w.end_object()).take();
}

Result<BgpReady> decode_bgp_ready(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpReady out;
    out.node = f.text("node");
    out.plan = f.text("plan");
    if (auto status = check_object_name("/node:", out.node); !status) f.fail(status.error());
    return f.finish(std::move(out));
  });
}

}  // namespace firn::model
