// Manifest: the objects that people wrote down in files, folders or on standard input, as YAML or JSON. What can be said of a
// document without the stores is checked here; every error names file, line and column, and the object's kind and name.
// Hostile input: files, their sizes and the number of objects are limited. Owns nothing. Thread safety: plain values.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/kind.hpp"
#include "lib/yaml/yaml.hpp"

namespace firn::cli {

// One document of a text, read, with the places of its values.
struct Page {
  std::string file;
  yaml::Document places;
  json::Document document;
};

class Object {
 public:
  Object(std::shared_ptr<const Page> page, json::Value value) : page_(std::move(page)), value_(std::move(value)) {}

  const Kind* kind = nullptr;
  const Foreign* foreign = nullptr;  // not a document of ours, but of this sort
  std::string name;                  // metadata.name, with the scope if the kind has one
  std::string key;                   // in the cluster store
  std::string label() const { return kind->word() + "/" + name; }

  // The text of the record: what the document says, and of what is stored the fields that firn writes itself.
  Result<std::string> record(const std::optional<std::string>& stored) const;
  // The error as "FILE:LINE:COLUMN: KIND NAME: FIELD: why". One that begins with a JSON pointer is about that field of the record;
  // any other is about the whole object.
  Error placed(Error error) const;
  // The same with a pointer into the document.
  Error at(std::string_view pointer, std::string_view why) const;
  const json::Value& value() const { return value_; }
  std::string place() const;
  // Of a kind with a scope: what metadata says, or the default.
  Result<std::string> scope() const;

 private:
  std::shared_ptr<const Page> page_;
  json::Value value_;
};

// Errors of many objects as one, a line each; the code is the first one's. REQUIRES: not empty.
Error joined(const std::vector<Error>& errors);

// Names of files; of folders, of which all *.yaml, *.yml and *.json are read, by name; "-" is standard input. All errors that can
// be found are told at once.
Result<std::vector<Object>> read_manifest(const std::vector<std::string>& names);
// One text, for the above and for tests. Appends to both lists.
void read_text(const std::string& file, std::string_view text, std::vector<Object>& objects, std::vector<Error>& errors);
// Two objects of one kind and name are an error at the second.
void check_twice(const std::vector<Object>& objects, std::vector<Error>& errors);

}  // namespace firn::cli
