#include "lib/model/codec.hpp"

#include "lib/base/nearest.hpp"

namespace firn::model {

Fields::Fields(json::Value object) : object_(std::move(object)) {
  auto version = object_["v"].integer(1, 1);
  if (!version) fail(std::move(version).error());
}

void Fields::fail(Error error) {
  if (error_) return;
  // In a record a missing field is bad input, not a missing object.
  if (error.is(Code::not_found)) error.code = Code::invalid;
  error_ = std::move(error);
}

template <class T, class Parse>
T Fields::parsed(std::string_view name, Parse parse) {
  const json::Value field = object_[name];
  auto raw = field.string();
  if (!raw) {
    fail(std::move(raw).error());
    return T{};
  }
  auto value = parse(*raw);
  if (!value) {
    fail(field.error(value.error().message));
    return T{};
  }
  return *std::move(value);
}

std::string Fields::text(std::string_view name) {
  return parsed<std::string>(name, [](const std::string& raw) { return Result<std::string>(raw); });
}

std::string Fields::text_or_empty(std::string_view name) {
  auto out = object_[name].string_or("");
  if (out) return *std::move(out);
  fail(std::move(out).error());
  return {};
}

int64_t Fields::number(std::string_view name, int64_t least, int64_t most) {
  auto out = object_[name].integer(least, most);
  if (out) return *out;
  fail(std::move(out).error());
  return least;
}

int64_t Fields::number_or(std::string_view name, int64_t fallback, int64_t least, int64_t most) {
  auto out = object_[name].integer_or(fallback, least, most);
  if (out) return *out;
  fail(std::move(out).error());
  return fallback;
}

bool Fields::flag_or(std::string_view name, bool fallback) {
  auto out = object_[name].boolean_or(fallback);
  if (out) return *out;
  fail(std::move(out).error());
  return fallback;
}

Address Fields::address(std::string_view name) { return parsed<Address>(name, &Address::parse); }
Prefix Fields::prefix(std::string_view name) { return parsed<Prefix>(name, &Prefix::parse); }
Mac Fields::mac(std::string_view name) { return parsed<Mac>(name, &Mac::parse); }
RoutingMode Fields::routing_mode(std::string_view name) { return parsed<RoutingMode>(name, &parse_routing_mode); }

std::optional<Address> Fields::address_if(std::string_view name) {
  if (!object_[name].present()) return std::nullopt;
  return address(name);
}

std::vector<json::Value> Fields::list(std::string_view name) {
  const json::Value field = object_[name];
  if (!field.present()) return {};
  auto out = field.array();
  if (out) return *std::move(out);
  fail(std::move(out).error());
  return {};
}

std::vector<Address> Fields::addresses(std::string_view name) {
  std::vector<Address> out;
  for (const json::Value& item : list(name)) {
    auto raw = item.string();
    auto address = raw ? Address::parse(*raw) : Result<Address>(std::move(raw).error());
    if (!address) {
      fail(item.error(address.error().message));
      return {};
    }
    out.push_back(*address);
  }
  return out;
}

std::vector<std::string> Fields::strings(std::string_view name) {
  auto out = object_[name].strings_or_empty();
  if (out) return *std::move(out);
  fail(std::move(out).error());
  return {};
}

std::map<std::string, std::string> Fields::texts(std::string_view name) {
  std::map<std::string, std::string> out;
  const json::Value field = object_[name];
  if (!field.present()) return out;
  auto members = field.object();
  if (!members) {
    fail(std::move(members).error());
    return out;
  }
  for (const auto& [key, value] : *members) {
    auto text = value.string();
    if (!text) {
      fail(std::move(text).error());
      return {};
    }
    out.emplace(key, *std::move(text));
  }
  return out;
}

std::optional<Error> unknown_field(const json::Document& document, bool sound) {
  const auto unread = document.unread();
  if (!unread) return std::nullopt;
  std::vector<std::string> known = unread->asked;
  std::erase(known, "v");  // ours, not the author's
  // A misspelt field is also a missing one, so what is unknown comes before what is wrong. But a decoder that stopped inside of a
  // member has not asked for all of it: there only what looks like a slip counts.
  const bool at_top = unread->value.pointer().rfind('/') == 0;
  if (!sound && !at_top && nearest(unread->name, known).empty()) return std::nullopt;
  return unread->value.error("there is no field '" + unread->name.substr(0, 64) + "'" + suggestion(unread->name, known));
}

json::Writer begin_record() {
  json::Writer w;
  w.begin_object().field("v", 1);
  return w;
}

void write_texts(json::Writer& w, std::string_view name, const std::map<std::string, std::string>& texts) {
  if (texts.empty()) return;
  w.key(name).begin_object();
  for (const auto& [key, value] : texts) w.field(key, value);
  w.end_object();
}

void write_addresses(json::Writer& w, std::string_view name, const std::vector<Address>& addresses) {
  w.key(name).begin_array();
  for (const Address& address : addresses) w.value(address.to_string());
  w.end_array();
}

void write_strings(json::Writer& w, std::string_view name, const std::vector<std::string>& strings) {
  if (strings.empty()) return;
  w.key(name).begin_array();
  for (const std::string& text : strings) w.value(text);
  w.end_array();
}

}  // namespace firn::model
