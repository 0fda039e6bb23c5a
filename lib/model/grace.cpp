#include "lib/model/grace.hpp"

#include "lib/model/codec.hpp"
#include "lib/model/names.hpp"

namespace firn::model {

std::string encode(const ClusterSettings& settings) {
  json::Writer w = begin_record();
  return std::move(w.field("node_grace", settings.node_grace).end_object()).take();
}

Result<ClusterSettings> decode_cluster_settings(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    ClusterSettings settings;
    settings.node_grace = f.number_or("node_grace", 0, 0, max_node_grace);
    return f.finish(std::move(settings));
  });
}

std::string encode(const Promise& promise) {
  json::Writer w = begin_record();
  w.field("node", promise.node).field("generation", promise.generation).field("grace", promise.grace);
  return std::move(w.end_object()).take();
}

Result<Promise> decode_promise(Source source) {
  return decode_text(source, [](const json::Value& root) {
    Fields f(root);
    Promise promise;
    promise.node = f.text("node");
    promise.generation = static_cast<uint64_t>(f.number("generation", 0, INT64_MAX));
    promise.grace = f.number("grace", 1, INT32_MAX);
    require_name(f, check_object_name("/node:", promise.node));
    return f.finish(std::move(promise));
  });
}

namespace keys {

std::string promise(std::string_view node) { return std::string(promises).append(node); }

}  // namespace keys
}  // namespace firn::model
