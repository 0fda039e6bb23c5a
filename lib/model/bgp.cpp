// Codecs of the BGP records. Ranges follow RFC 4271 (hold time 0 or at least 3), RFC 4724 (restart time of 12 bits),
// RFC 6996 and RFC 7607 (AS 0 is not usable).
#include "lib/model/bgp.hpp"
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

}  // namespace

std::string encode(const BgpSettings& settings) {
  json::Writer w = begin_record();
  w.field("as_number", settings.as_number);
  if (settings.router_id) w.field("router_id", settings.router_id->to_string());
  return std::move(w.end_object()).take();
}

Result<BgpSettings> decode_bgp_settings(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpSettings out;
    out.as_number = static_cast<uint32_t>(f.number("as_number", 1, max_as));
    out.router_id = f.address_if("router_id");
    if (out.router_id && !out.router_id->is_v4()) f.fail(root["router_id"].error("must have the form of an IPv4 address"));
    return f.finish(std::move(out));
  });
}

std::string encode(const BgpPeer& p) {
  json::Writer w = begin_record();
  w.field("name", p.name).field_if("node", p.node).field("address", p.address.to_string()).field("as_number", p.as_number);
  w.field("port", p.port).field_if("interface", p.interface);
  if (p.source) w.field("source", p.source->to_string());
  w.field_if("password_file", p.password_file);
  w.field("multihop", p.multihop).field("ttl_security", p.ttl_security).field("passive", p.passive);
  w.field("hold_time", p.hold_time).field("keepalive_time", p.keepalive_time).field("connect_retry", p.connect_retry);
  w.field("graceful_restart", p.graceful_restart).field("graceful_restart_time", p.graceful_restart_time).field("bfd", p.bfd);
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
    p.address = f.address("address");
    p.as_number = static_cast<uint32_t>(f.number("as_number", 1, max_as));
    p.port = static_cast<uint16_t>(f.number_or("port", 179, 1, 65535));
    p.interface = f.text_or_empty("interface");
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
    p.bfd = f.flag_or("bfd", false);
    p.import_rules = read_rules(f, "import_rules");
    p.export_rules = read_rules(f, "export_rules");
    if (p.hold_time == 1 || p.hold_time == 2) f.fail(root["hold_time"].error("must be 0 or 3 to 65535 seconds"));
    if (p.hold_time != 0 && p.keepalive_time > p.hold_time) f.fail(root["keepalive_time"].error("must not be longer than hold_time"));
    if (auto status = check_peer_name(p.name); !status) f.fail(status.error());
    if (!p.node.empty()) {
      if (auto status = check_object_name("/node:", p.node); !status) f.fail(status.error());
    }
    if (!p.interface.empty()) {
      if (auto name = IfName::parse(p.interface); !name) f.fail(root["interface"].error(name.error().message));
    }
    return f.finish(std::move(p));
  });
}

}  // namespace firn::model
