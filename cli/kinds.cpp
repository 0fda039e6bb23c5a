// The registry of kinds, and the documents their records are.
#include <algorithm>
#include <ostream>

#include "cli/kind.hpp"
#include "lib/base/nearest.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::cli {

namespace {

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::string plural(const std::string& word) {
  if (word.ends_with('y')) return word.substr(0, word.size() - 1) + "ies";
  return word + (word.ends_with('x') ? "es" : "s");
}

}  // namespace

bool is_one_of(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds = {
      pool_kind(),       reservation_kind(),   node_kind(),           bgp_settings_kind(),   bgp_peer_kind(),
      bgp_filter_kind(), bgp_community_kind(), bgp_prefix_kind(),     network_policy_kind(), global_network_policy_kind(),
      namespace_kind(),  host_endpoint_kind(), policy_settings_kind()};
  return kinds;
}

std::string Kind::word() const { return lowered(name); }

std::vector<std::string> Kind::table_heads() const {
  std::vector<std::string> out{"NAME"};
  out.insert(out.end(), heads.begin(), heads.end());
  return out;
}

std::string Kind::full_name(const std::string& given) const {
  if (default_scope.empty() || given.find('/') != std::string::npos) return given;
  return default_scope + "/" + given;
}

Result<const Kind*> find_kind(std::string_view word) {
  const std::string wanted = lowered(word);
  std::vector<std::string> words;
  for (const Kind& kind : all_kinds()) {
    words.push_back(kind.word());
    if (wanted == words.back() || wanted == plural(words.back())) return &kind;
  }
  return make_error(Code::invalid, "there is no kind '" + std::string(word.substr(0, 64)) + "'" + suggestion(word, words));
}

std::string document_of(const Kind& kind, const Record& record, bool with_status) {
  json::Writer w;
  w.begin_object().field("apiVersion", kind.api_version).field("kind", kind.name);
  w.key("metadata").begin_object().field("name", record.name.substr(kind.scope_field.empty() ? 0 : record.name.find('/') + 1));
  const auto document = json::Document::parse(record.text);
  const auto fields =
      document ? document->root().object() : Result<std::vector<std::pair<std::string, json::Value>>>(document.error());
  if (!fields) return std::move(w.end_object().end_object()).take();
  json::Writer spec, status;
  spec.begin_object();
  status.begin_object();
  bool has_status = false;
  for (const auto& [field, value] : *fields) {
    if (field == "v" || field == kind.name_field) continue;
    if (is_one_of(kind.metadata, field)) {
      w.key(field).raw(value.dump());
    } else if (is_one_of(kind.status, field)) {
      status.key(field).raw(value.dump());
      has_status = true;
    } else {
      spec.key(field).raw(value.dump());
    }
  }
  w.end_object().key("spec").raw(spec.end_object().text());
  if (with_status && has_status) w.key("status").raw(status.end_object().text());
  return std::move(w.end_object()).take();
}

std::string yaml_documents(const std::vector<std::string>& documents) {
  std::string out;
  for (const std::string& text : documents) {
    const auto document = json::Document::parse(text);
    if (document) out.append(out.empty() ? "" : "---\n").append(yaml::write(document->root()));
  }
  return out;
}

std::string json_documents(const std::vector<std::string>& documents) {
  json::Writer w;
  w.begin_object().field("apiVersion", "firn/v1").field("kind", "List").key("items").begin_array();
  for (const std::string& document : documents) w.raw(document);
  return std::move(w.end_array().end_object()).take();
}

Exit print_yaml(const Context& context, const std::vector<std::string>& documents) {
  context.out << yaml_documents(documents);
  return Exit::ok;
}

}  // namespace firn::cli
