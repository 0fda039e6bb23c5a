#include "lib/model/bgp_status.hpp"

#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

namespace {

constexpr int64_t max_count = int64_t{1} << 52;
constexpr size_t max_text = 512;

Result<BgpSessionStatus> read_session(const json::Value& item) {
  BgpSessionStatus out;
  for (const auto& [name, target] :
       {std::pair("kind", &out.kind), {"name", &out.name}, {"address", &out.address}, {"state", &out.state}}) {
    auto text = item[name].string();
    if (!text) return std::move(text).error();
    *target = text->substr(0, max_text);
  }
  auto last_error = item["last_error"].string_or("");
  if (!last_error) return std::move(last_error).error();
  out.last_error = last_error->substr(0, max_text);
  auto as_number = item["as_number"].integer(0, UINT32_MAX);
  auto since = item["since"].integer_or(0, 0, max_count);
  if (!as_number || !since) return as_number ? std::move(since).error() : std::move(as_number).error();
  out.as_number = static_cast<uint32_t>(*as_number);
  out.since = *since;
  for (const auto& [name, target] :
       {std::pair("imported", &out.imported), {"filtered", &out.filtered}, {"exported", &out.exported}}) {
    auto count = item[name].integer_or(0, 0, max_count);
    if (!count) return std::move(count).error();
    *target = static_cast<uint64_t>(*count);
  }
  return out;
}

}  // namespace

std::string encode(const BgpStatus& status) {
  json::Writer w = begin_record();
  w.field("node", status.node).field("at", status.at).field("bird", status.bird).field_if("reason", status.reason);
  w.field("plan", status.plan).field("ready", status.ready).field("drain", status.drain);
  if (status.omitted > 0) w.field("omitted", status.omitted);
  w.key("sessions").begin_array();
  for (const BgpSessionStatus& s : status.sessions) {
    w.begin_object().field("kind", s.kind).field("name", s.name).field("address", s.address).field("as_number", s.as_number);
    w.field("state", s.state).field("since", s.since);
    w.field("imported", s.imported).field("filtered", s.filtered).field("exported", s.exported);
    w.field_if("last_error", s.last_error).end_object();
  }
  return std::move(w.end_array().end_object()).take();
}

Result<BgpStatus> decode_bgp_status(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    BgpStatus out;
    out.node = f.text("node");
    out.at = f.number("at", 0, max_count);
    out.bird = f.text("bird").substr(0, max_text);
    out.reason = f.text_or_empty("reason").substr(0, max_text);
    out.plan = f.text("plan").substr(0, max_text);
    out.ready = f.flag_or("ready", false);
    out.drain = f.text("drain").substr(0, max_text);
    out.omitted = f.number_or("omitted", 0, 0, max_count);
    if (auto good = check_object_name("/node:", out.node); !good) f.fail(good.error());
    for (const json::Value& item : f.list("sessions")) {
      if (out.sessions.size() == BgpStatus::max_sessions) break;
      auto session = read_session(item);
      if (!session) {
        f.fail(std::move(session).error());
        break;
      }
      out.sessions.push_back(*std::move(session));
    }
    return f.finish(std::move(out));
  });
}

std::string encode(const DrainReport& report) {
  json::Writer w = begin_record();
  w.field("node", report.node);
  w.key("left").begin_array();
  for (const auto& [node, since] : report.left) w.begin_object().field("node", node).field("since", since).end_object();
  w.end_array();
  if (report.own) {
    w.field("since", report.own->since).field("withdrawn", report.own->withdrawn);
    write_strings(w, "moved", report.own->moved);
    write_strings(w, "awaited", report.own->awaited);
    write_strings(w, "unasked", report.own->unasked);
  }
  return std::move(w.end_object()).take();
}

Result<DrainReport> decode_drain_report(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    DrainReport out;
    out.node = f.text("node");
    require_name(f, check_object_name("/node:", out.node));
    for (const json::Value& item : f.list("left")) {
      auto node = item["node"].string();
      auto since = item["since"].integer(0, max_time);
      if (!node || !since) {
        f.fail(node ? std::move(since).error() : std::move(node).error());
        break;
      }
      out.left[*std::move(node)] = *since;
    }
    DrainReport::Own own;
    own.since = f.number_or("since", -1, 0, max_time);
    own.withdrawn = f.flag_or("withdrawn", false);
    own.moved = f.strings("moved");
    own.awaited = f.strings("awaited");
    own.unasked = f.strings("unasked");
    if (own.since >= 0) out.own = std::move(own);
    return f.finish(std::move(out));
  });
}

}  // namespace firn::model
