#include "cli/manifest.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "cli/table.hpp"
#include "lib/base/file.hpp"
#include "lib/base/nearest.hpp"

namespace firn::cli {

namespace {

constexpr size_t most_files = 1000;
constexpr size_t most_objects = 10000;

// "/spec/rules/0/least" as people write it: spec.rules[0].least.
std::string field_path(std::string_view pointer) {
  std::string out;
  while (pointer.starts_with('/')) {
    pointer.remove_prefix(1);
    const size_t end = std::min(pointer.find('/'), pointer.size());
    const std::string_view step = pointer.substr(0, end);
    if (!step.empty() && step.find_first_not_of("0123456789") == std::string_view::npos) {
      out.append("[").append(step).append("]");
    } else {
      out.append(out.empty() ? "" : ".").append(step);
    }
    pointer.remove_prefix(end);
  }
  return out;
}

// A message that begins with a JSON pointer, in its two parts.
std::pair<std::string, std::string> split_pointer(const std::string& message) {
  const size_t colon = message.find(": ");
  if (!message.starts_with('/') || colon == std::string::npos) return {"", message};
  return {message.substr(0, colon), message.substr(colon + 2)};
}

std::string file_place(const std::string& file, const yaml::Mark& mark) { return file + ":" + mark.to_string(); }

// The object's own rules of form. What is wrong is appended.
class Form {
 public:
  Form(Object& object, std::vector<Error>& errors) : object_(object), errors_(errors), before_(errors.size()) {}

  bool check() {
    const json::Value& value = object_.value();
    if (value.kind() != json::Kind::object) return fail("", "must be an object: apiVersion, kind, metadata and spec");
    if (!find_kind()) return false;
    const Kind& kind = *object_.kind;
    const json::Value metadata = value["metadata"];
    if (auto name = metadata["name"].string()) object_.name = printable(*name);
    known("", value, {"apiVersion", "kind", "metadata", "spec", "status"});
    check_version();
    if (!metadata.present() || metadata.kind() != json::Kind::object) return fail("/metadata", "must be an object that has a name");
    std::vector<std::string> names{"name"};
    names.insert(names.end(), kind.metadata.begin(), kind.metadata.end());
    if (object_.foreign == nullptr) known("/metadata", metadata, names);
    auto name = metadata["name"].string();
    if (!name) return fail("/metadata/name", metadata["name"].present() ? "must be a string; quote it" : "is missing");
    check_name(*name);
    if (object_.foreign == nullptr) check_spec();
    return errors_.size() == before_;
  }

 private:
  bool fail(std::string_view pointer, std::string_view why) {
    errors_.push_back(object_.at(pointer, why));
    return false;
  }

  bool text(const std::string& field) {
    const json::Value value = object_.value()[field];
    if (value.string()) return true;
    return fail("/" + field, value.present() ? "must be a string" : "is missing");
  }

  bool find_kind() {
    if (!text("kind")) return false;
    const std::string name = *object_.value()["kind"].string();
    std::vector<std::string> names;
    for (const Kind& kind : all_kinds()) {
      if (kind.name == name) object_.kind = &kind;
      names.push_back(kind.name);
    }
    return object_.kind != nullptr ||
           fail("/kind", "there is no kind '" + printable(name.substr(0, 64)) + "'" + suggestion(name, names));
  }

  void check_version() {
    const Kind& kind = *object_.kind;
    if (!text("apiVersion")) return;
    const std::string version = *object_.value()["apiVersion"].string();
    std::string wanted = kind.api_version;
    for (const Foreign& foreign : kind.foreign) {
      if (version == foreign.api_version) object_.foreign = &foreign;
      wanted += " or " + foreign.api_version;
    }
    if (object_.foreign == nullptr && version != kind.api_version) fail("/apiVersion", "must be " + wanted + " for a " + kind.name);
  }

  void known(const std::string& pointer, const json::Value& value, const std::vector<std::string>& names) {
    const auto members = value.object();
    if (!members) return;
    for (const auto& [name, member] : *members) {
      if (is_one_of(names, name)) continue;
      const std::string at = member.pointer().substr(object_.value().pointer().size());
      if (pointer == "/metadata" && name == "labels") {
        fail(at, "a " + object_.kind->name + " has no labels");
      } else {
        fail(at, "there is no field '" + printable(name.substr(0, 64)) + "'" + suggestion(name, names));
      }
    }
  }

  void check_name(const std::string& name) {
    const Kind& kind = *object_.kind;
    if (kind.name_field.empty()) {
      object_.key = kind.keys;
      if (name != "default") fail("/metadata/name", "there is one " + kind.name + " alone, and its name is default");
      return;
    }
    object_.name = printable(name);
    if (!kind.scope_field.empty()) {
      auto scope = object_.scope();
      if (!scope) {
        fail("/metadata/" + kind.scope_field, scope.error().message);
        return;
      }
      object_.name = printable(*scope) + "/" + object_.name;
    }
    auto key = kind.key(object_.name);
    if (!key) {
      const auto [pointer, why] = split_pointer(key.error().message);
      fail("/metadata" + (pointer.empty() ? "/name" : pointer), why);
    } else {
      object_.key = std::move(*key);
    }
  }

  // Fields of the record that are not for the spec.
  void check_spec() {
    const Kind& kind = *object_.kind;
    const json::Value spec = object_.value()["spec"];
    if (!spec.present()) return;
    const auto members = spec.object();
    if (!members) {
      if (!spec.is_null()) fail("/spec", "must be an object");
      return;
    }
    for (const auto& [name, member] : *members) {
      const std::string pointer = member.pointer().substr(object_.value().pointer().size());
      if (name == kind.name_field) fail(pointer, "stands in metadata.name, and there alone");
      if (is_one_of(kind.metadata, name)) fail(pointer, "stands in metadata." + name);
      if (name == "v") fail(pointer, "there is no field 'v'; apiVersion says the version");
      if (is_one_of(kind.status, name)) fail(pointer, "is written by firn alone");
    }
  }

  Object& object_;
  std::vector<Error>& errors_;
  size_t before_;
};

Result<std::vector<std::string>> files_of(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    std::error_code failed;
    if (name == "-" || !std::filesystem::is_directory(name, failed)) {
      out.push_back(name);
      continue;
    }
    std::vector<std::string> found;
    for (std::filesystem::directory_iterator at(name, failed), end; !failed && at != end; at.increment(failed)) {
      const std::string ending = at->path().extension();
      if (ending == ".yaml" || ending == ".yml" || ending == ".json") found.push_back(at->path());
      if (found.size() > most_files)
        return make_error(Code::invalid, name + ": has more than " + std::to_string(most_files) + " files");
    }
    if (failed) return make_error(Code::io, name + ": " + failed.message());
    if (found.empty()) return make_error(Code::invalid, name + ": has no *.yaml, *.yml or *.json");
    std::sort(found.begin(), found.end());
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

}  // namespace

std::string Object::place() const { return file_place(page_->file, page_->places.at(value_.pointer())); }

Error Object::at(std::string_view pointer, std::string_view why) const {
  std::string message = file_place(page_->file, page_->places.at(value_.pointer() + std::string(pointer))) + ": ";
  if (kind != nullptr) message += kind->name + (name.empty() ? "" : " " + name) + ": ";
  const std::string field = printable(field_path(pointer));
  // What is wrong may quote what was written, and that may be anything.
  return make_error(Code::invalid, message + (field.empty() ? "" : field + ": ") + printable(why));
}

Result<std::string> Object::scope() const {
  const json::Value value = value_["metadata"][kind->scope_field];
  if ((!value.present() || value.is_null()) && !kind->default_scope.empty()) return kind->default_scope;
  auto text = value.string();
  if (!text || text->empty())
    return make_error(Code::invalid, value.present() ? "must be a string that is not empty" : "is missing");
  return text;
}

Error Object::placed(Error error) const {
  const auto [pointer, why] = split_pointer(error.message);
  const size_t end = pointer.empty() ? 0 : std::min(pointer.find('/', 1), pointer.size());
  const std::string field = pointer.empty() ? "" : pointer.substr(1, end - 1);
  std::string where;
  if (field.empty() || foreign != nullptr) {
    where = "";
  } else if (field == kind->name_field) {
    where = "/metadata/name";
  } else if (is_one_of(kind->metadata, field)) {
    where = "/metadata" + pointer;
  } else {
    where = "/spec" + pointer;
  }
  Error out = at(where, where.empty() ? error.message : why);
  out.code = error.code;
  return out;
}

Result<std::string> Object::record(const std::optional<std::string>& stored) const {
  if (foreign != nullptr) {
    auto text = foreign->record(value_);
    if (text) return text;
    // Its pointers are those of the text that it stands in.
    const auto [pointer, why] = split_pointer(text.error().message);
    const std::string above = value_.pointer();
    return at(pointer.starts_with(above) ? std::string_view(pointer).substr(above.size()) : pointer, why);
  }
  json::Writer w;
  w.begin_object().field("v", 1);
  if (!kind->name_field.empty()) w.field(kind->name_field, *value_["metadata"]["name"].string());
  if (!kind->scope_field.empty()) w.field(kind->scope_field, scope().value());
  for (const std::string& field : kind->metadata) {
    if (field == kind->scope_field) continue;
    if (const json::Value value = value_["metadata"][field]; value.present()) w.key(field).raw(value.dump());
  }
  if (const auto spec = value_["spec"].object()) {
    for (const auto& [field, value] : *spec) w.key(field).raw(value.dump());
  }
  const auto before = json::Document::parse(stored.value_or("{}"));
  for (const std::string& field : kind->status) {
    if (!before) break;
    if (const json::Value value = before->root()[field]; value.present()) w.key(field).raw(value.dump());
  }
  return std::move(w.end_object()).take();
}

Error joined(const std::vector<Error>& errors) {
  Error out = errors.front();
  for (size_t i = 1; i < errors.size(); ++i) out.message += "\n" + errors[i].message;
  return out;
}

void read_text(const std::string& file, std::string_view text, std::vector<Object>& objects, std::vector<Error>& errors) {
  yaml::Reading reading = yaml::read(text);
  if (reading.fault) {
    errors.push_back(make_error(Code::invalid, file_place(file, reading.fault->mark) + ": " + printable(reading.fault->message)));
    return;
  }
  for (yaml::Document& places : reading.documents) {
    auto document = json::Document::parse(places.json());
    if (!document) {
      errors.push_back(make_error(Code::invalid, file_place(file, places.at("")) + ": " + document.error().message));
      continue;
    }
    const auto page = std::make_shared<const Page>(Page{file, std::move(places), std::move(*document)});
    const json::Value root = page->document.root();
    std::vector<json::Value> values{root};
    if (auto kind = root["kind"].string(); kind && *kind == "List") {
      auto items = root["items"].array();
      if (!items) {
        errors.push_back(Object(page, root).at("/items", "must be a list of objects"));
        continue;
      }
      values = std::move(*items);
    }
    for (json::Value& value : values) {
      Object object(page, std::move(value));
      if (Form(object, errors).check()) objects.push_back(std::move(object));
    }
  }
}

void check_twice(const std::vector<Object>& objects, std::vector<Error>& errors) {
  std::map<std::string, const Object*> seen;
  for (const Object& object : objects) {
    const auto [first, added] = seen.emplace(object.key, &object);
    if (!added) errors.push_back(object.at("/metadata/name", "is given twice, first at " + first->second->place()));
  }
}

Result<std::vector<Object>> read_manifest(const std::vector<std::string>& names) {
  auto files = files_of(names);
  if (!files) return std::move(files).error();
  const size_t limit = yaml::Limits{}.bytes;
  std::vector<Object> objects;
  std::vector<Error> errors;
  for (const std::string& file : *files) {
    auto text = file == "-" ? read_descriptor(0, limit) : read_file(file, limit);
    if (!text) {
      Error error = std::move(text).error();
      if (error.is(Code::not_found)) error.code = Code::invalid;
      if (file == "-") error = std::move(error).context("standard input");
      errors.push_back(std::move(error));
      continue;
    }
    read_text(file == "-" ? "stdin" : file, *text, objects, errors);
    if (objects.size() > most_objects) return make_error(Code::invalid, "more than " + std::to_string(most_objects) + " objects");
  }
  check_twice(objects, errors);
  if (!errors.empty()) return joined(errors);
  if (objects.empty())
    return make_error(Code::invalid, (names.front() == "-" ? "standard input" : names.front()) + ": holds no object");
  return objects;
}

}  // namespace firn::cli
