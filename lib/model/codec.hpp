// Helpers of the record codecs (addresses.cpp, bgp.cpp, policy_rules.cpp ...): a field reader that remembers the first error, so
// that a decoder reads as a list of its fields. Private to lib/model.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/addr.hpp"
#include "lib/json/json.hpp"
#include "lib/model/records.hpp"

namespace firn::model {

inline constexpr int64_t max_time = int64_t{1} << 40;  // far beyond every time in a record

class Fields {
 public:
  // Accepts records of version 1.
  explicit Fields(json::Value object);

  std::string text(std::string_view name);
  std::string text_or_empty(std::string_view name);
  int64_t number(std::string_view name, int64_t least, int64_t most);
  int64_t number_or(std::string_view name, int64_t fallback, int64_t least, int64_t most);
  bool flag_or(std::string_view name, bool fallback);
  Address address(std::string_view name);
  std::optional<Address> address_if(std::string_view name);
  Prefix prefix(std::string_view name);
  Mac mac(std::string_view name);
  RoutingMode routing_mode(std::string_view name);
  std::vector<Address> addresses(std::string_view name);
  std::map<std::string, std::string> texts(std::string_view name);
  std::vector<json::Value> list(std::string_view name);
  std::vector<std::string> strings(std::string_view name);
  void fail(Error error);

  // The finished record, or the first error.
  template <class T>
  Result<T> finish(T&& record) {
    if (error_) return *std::move(error_);
    return std::forward<T>(record);
  }

 private:
  template <class T, class Parse>
  T parsed(std::string_view name, Parse parse);
  json::Value object_;
  std::optional<Error> error_;
};

inline void require_name(Fields& fields, const Status& status) {
  if (!status) fields.fail(status.error());
}

// "POINTER: there is no field 'NAME'; did you mean ...?" for the first field that the decoder did not ask for. `sound`: it liked
// the rest.
std::optional<Error> unknown_field(const json::Document& document, bool sound);
json::Writer begin_record();
void write_texts(json::Writer& w, std::string_view name, const std::map<std::string, std::string>& texts);
void write_addresses(json::Writer& w, std::string_view name, const std::vector<Address>& addresses);
void write_strings(json::Writer& w, std::string_view name, const std::vector<std::string>& strings);  // nothing when there are none

// Parses the text and hands its root to `decode`. A strict source may hold nothing that `decode` does not ask for.
template <class Decode>
auto decode_text(Source source, Decode decode) -> decltype(decode(json::Value{})) {
  auto document = json::Document::parse(source.text);
  if (!document) return std::move(document).error();
  if (!source.strict) return decode(document->root());
  document->note_lookups();
  auto record = decode(document->root());
  if (auto unknown = unknown_field(*document, record.ok())) return *std::move(unknown);
  return record;
}

}  // namespace firn::model
