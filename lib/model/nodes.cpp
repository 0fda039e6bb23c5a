// Codecs of nodes, and of what tells whether they are alive.
#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

std::string encode(const Node& node) {
  json::Writer w = begin_record();
  w.field("name", node.name).field("machine_id", node.machine_id);
  write_addresses(w, "addresses", node.addresses);
  write_texts(w, "labels", node.labels);
  if (node.as_number) w.field("as_number", *node.as_number);
  if (node.drain) w.key("drain").begin_object().field("since", node.drain->since).field("grace", node.drain->grace).end_object();
  w.field("joined_at", node.joined_at);
  if (node.generation != 0) w.field("generation", node.generation);
  return std::move(w.end_object()).take();
}

Result<Node> decode_node(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Node node;
    node.name = f.text("name");
    node.machine_id = f.text("machine_id");
    node.addresses = f.addresses("addresses");
    node.labels = f.texts("labels");
    if (root["as_number"].present()) node.as_number = static_cast<uint32_t>(f.number("as_number", 1, 4294967294));
    if (const json::Value drain = root["drain"]; drain.present()) {
      auto since = drain["since"].integer(0, max_time);
      auto grace = drain["grace"].integer(0, 3600);
      if (since && grace) node.drain = Drain{*since, static_cast<int>(*grace)};
      else f.fail(since ? grace.error() : since.error());
    }
    node.joined_at = f.number("joined_at", 0, max_time);
    node.generation = static_cast<uint64_t>(f.number_or("generation", 0, 0, INT64_MAX));
    require_name(f, check_object_name("node name", node.name));
    return f.finish(std::move(node));
  });
}

std::string encode(const Beat& beat) {
  json::Writer w = begin_record();
  w.field("node", beat.node).field("machine_id", beat.machine_id).field("generation", beat.generation);
  w.field("instance", beat.instance).field("since", beat.since);
  return std::move(w.end_object()).take();
}

Result<Beat> decode_beat(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Beat beat;
    beat.node = f.text("node");
    beat.machine_id = f.text("machine_id");
    beat.generation = static_cast<uint64_t>(f.number("generation", 0, INT64_MAX));
    beat.instance = f.text("instance");
    beat.since = f.number("since", 0, max_time);
    require_name(f, check_object_name("/node:", beat.node));
    return f.finish(std::move(beat));
  });
}

std::string encode(const Lost& lost) {
  json::Writer w = begin_record();
  return std::move(w.field("node", lost.node).field("at", lost.at).end_object()).take();
}

Result<Lost> decode_lost(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Lost lost;
    lost.node = f.text("node");
    lost.at = f.number("at", 0, max_time);
    require_name(f, check_object_name("/node:", lost.node));
    return f.finish(std::move(lost));
  });
}

std::string encode(const Fence& fence) {
  json::Writer w = begin_record();
  w.field("from", fence.from).field("why", fence.why);
  if (!fence.boot_id.empty()) w.field("beat", fence.beat).field("boot_id", fence.boot_id).field("boot_from", fence.boot_from);
  return std::move(w.end_object()).take();
}

Result<Fence> decode_fence(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Fence fence;
    fence.from = f.number("from", 0, max_time);
    fence.why = f.text("why");
    fence.boot_id = f.text_or_empty("boot_id");
    fence.beat = f.number_or("beat", 0, 0, max_time);
    fence.boot_from = f.number_or("boot_from", 0, 0, max_time);
    return f.finish(std::move(fence));
  });
}

}  // namespace firn::model
