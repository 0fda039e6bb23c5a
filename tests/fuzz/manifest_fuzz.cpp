// Any text as documents of objects, policies among them: errors have a place, and what is read is a record that becomes a document
// that reads as the same record.
#include <cstdlib>
#include <string_view>

#include "cli/manifest.hpp"

namespace {

using namespace firn;

std::vector<cli::Object> objects_of(std::string_view text, std::vector<Error>& errors) {
  std::vector<cli::Object> objects;
  cli::read_text("f", text, objects, errors);
  cli::check_twice(objects, errors);
  return objects;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;  // all errors are told, and each looks for its place
  std::vector<Error> errors;
  for (const cli::Object& object : objects_of(std::string_view(reinterpret_cast<const char*>(data), size), errors)) {
    const auto text = object.record(std::nullopt);
    auto record = text ? object.kind->read(model::Source(*text, true)) : Result<cli::Record>(text.error());
    if (!record) {
      errors.push_back(text ? object.placed(std::move(record).error()) : std::move(record).error());
      continue;
    }
    if (object.foreign == nullptr && record->name != object.name && object.kind->name_field != "cidr") std::abort();
    const std::string document = cli::yaml_documents({cli::document_of(*object.kind, *record, true)});
    std::vector<Error> none;
    const auto again = objects_of(document, none);
    if (!none.empty() || again.size() != 1 || again.front().kind != object.kind || again.front().key != object.key) std::abort();
    const auto same = again.front().record(record->text);
    if (!same || object.kind->read(model::Source(*same, true))->text != record->text) std::abort();
  }
  for (const Error& error : errors) {
    if (!error.message.starts_with("f:")) std::abort();
  }
  return 0;
}
