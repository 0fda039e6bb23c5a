#include "lib/kv/etcd/wire.hpp"

#include <charconv>

#include "lib/kv/etcd/base64.hpp"

namespace firn::kv::wire {
namespace {

template <class T>
Result<T> parse_number(json::Value value) {
  if (!value.present() || value.is_null()) return T{0};
  if (value.kind() == json::Kind::integer) {
    auto plain = value.integer();
    if (!plain) return std::move(plain).error();
    return static_cast<T>(*plain);
  }
  auto text = value.string();
  if (!text) return std::move(text).error();
  T parsed{0};
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), parsed);
  if (text->empty() || failed != std::errc{} || end != text->data() + text->size()) return value.error("is no number");
  return parsed;
}

json::Writer& key_range(json::Writer& w, std::string_view key, std::string_view end) {
  w.field("key", to_base64(key));
  if (!end.empty()) w.field("range_end", to_base64(end));
  return w;
}

// 64-bit numbers go as strings, so that no reader on the way rounds them.
json::Writer& big(json::Writer& w, std::string_view name, int64_t value) { return w.field(name, std::to_string(value)); }

Result<Stored> read_entry(json::Value kv) {
  Stored out;
  auto key = bytes(kv["key"]);
  auto value = bytes(kv["value"]);
  auto created = number(kv["create_revision"]);
  auto modified = number(kv["mod_revision"]);
  auto lease = number(kv["lease"]);
  if (!key) return std::move(key).error();
  if (!value) return std::move(value).error();
  for (auto* read : {&created, &modified, &lease}) {
    if (!*read) return std::move(*read).error();
  }
  out.entry = Entry{std::move(*key), std::move(*value), *created, *modified};
  out.lease = *lease;
  return out;
}

}  // namespace

Result<int64_t> number(json::Value value) { return parse_number<int64_t>(value); }
Result<uint64_t> id(json::Value value) { return parse_number<uint64_t>(value); }

Result<std::string> bytes(json::Value value) {
  auto text = value.string_or({});
  if (!text) return text;
  auto decoded = from_base64(*text);
  if (!decoded) return value.error("is no base64");
  return std::move(*decoded);
}

std::string range(const Range& query) {
  json::Writer w;
  key_range(w.begin_object(), query.key, query.end);
  if (query.limit > 0) big(w, "limit", static_cast<int64_t>(query.limit));
  if (query.revision > 0) big(w, "revision", query.revision);
  if (query.keys_only) w.field("keys_only", true);
  return std::move(w.end_object()).take();
}

Result<Page> read_page(json::Value answer) {
  Page page;
  auto revision = number(answer["header"]["revision"]);
  if (!revision) return std::move(revision).error();
  page.revision = *revision;
  auto more = answer["more"].boolean_or(false);
  if (!more) return std::move(more).error();
  page.more = *more;
  if (!answer["kvs"].present()) return page;
  auto list = answer["kvs"].array();
  if (!list) return std::move(list).error();
  for (const json::Value& kv : *list) {
    auto entry = read_entry(kv);
    if (!entry) return std::move(entry).error();
    page.entries.push_back(std::move(*entry));
  }
  return page;
}

json::Writer& Txn::guard(std::string_view key, std::string_view target, std::string_view result) {
  if (guards_++ == 0) compare_.begin_array();
  return compare_.begin_object().field("key", to_base64(key)).field("target", target).field("result", result);
}

void Txn::if_unchanged(std::string_view key, Revision modified) {
  big(guard(key, "MOD", "EQUAL"), "mod_revision", modified).end_object();
}

void Txn::if_absent(std::string_view key) { big(guard(key, "CREATE", "EQUAL"), "create_revision", 0).end_object(); }

void Txn::if_not_after(std::string_view key, std::string_view end, Revision revision) {
  json::Writer& w = big(guard(key, "MOD", "LESS"), "mod_revision", revision + 1);
  if (!end.empty()) w.field("range_end", to_base64(end));
  w.end_object();
}

void Txn::put(std::string_view key, std::string_view value, LeaseId lease) {
  if (writes_++ == 0) success_.begin_array();
  success_.begin_object().key("request_put").begin_object();
  success_.field("key", to_base64(key)).field("value", to_base64(value));
  if (lease != 0) big(success_, "lease", lease);
  success_.end_object().end_object();
}

void Txn::erase(std::string_view key) {
  if (writes_++ == 0) success_.begin_array();
  success_.begin_object().key("request_delete_range").begin_object().field("key", to_base64(key)).end_object().end_object();
}

std::string Txn::take() && {
  json::Writer w;
  w.begin_object();
  if (guards_ > 0) w.key("compare").raw(std::move(compare_.end_array()).take());
  if (writes_ > 0) w.key("success").raw(std::move(success_.end_array()).take());
  return std::move(w.end_object()).take();
}

std::string watch(std::string_view key, std::string_view end, Revision from) {
  json::Writer w;
  key_range(w.begin_object().key("create_request").begin_object(), key, end);
  big(w, "start_revision", from).field("progress_notify", true);
  return std::move(w.end_object().end_object()).take();
}

}  // namespace firn::kv::wire
