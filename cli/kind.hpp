// Kind: one sort of object that people write down, show, compare and delete as a document. A kind is described once, beside the
// commands of its noun (Description), and listed in kinds.cpp; documents, apply, diff, get and delete work on every kind alike,
// by the JSON text of its record: a new field of a record's codec is a new field of its documents.
// Owns nothing. Thread safety: plain values.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.hpp"
#include "lib/kv/store.hpp"
#include "lib/model/records.hpp"

namespace firn::cli {

// A record with its type erased.
struct Record {
  std::string name;  // metadata.name, with the scope if the kind has one
  std::string text;  // as it is stored
};

// A document of somebody else that says the same as one of ours.
struct Foreign {
  std::string api_version;  // "networking.k8s.io/v1"
  // The text of the record. An error begins with the JSON pointer of its place in the document.
  std::function<Result<std::string>(const json::Value& document)> record;
};

struct Kind {
  std::string api_version = "firn/v1";
  std::string name;        // "BgpPeer"; "bgppeer" on the command line and in front of object names
  std::string name_field;  // of the record, is metadata.name; "": there is one object of the kind, and it is called "default"
  // A field of metadata in which alone names are unique ("namespace"): the object is then called SCOPE/NAME. "": there is none.
  std::string scope_field;
  std::string default_scope;  // when metadata does not say it; "": it must
  std::vector<Foreign> foreign;
  std::vector<std::string> metadata;  // further fields of the record that stand in metadata
  std::vector<std::string> status;    // fields of the record that firn writes itself: shown as status, kept by apply
  std::string keys;                   // of the cluster store: a prefix, or the key itself of the one object
  std::string made_by;                // "": by apply too; otherwise what makes such an object
  std::string kept;                   // "": can be deleted; otherwise why not
  std::vector<std::string> heads;     // of the table, behind NAME

  std::string word() const;
  std::vector<std::string> table_heads() const;  // NAME first
  // As a person may write the object's name: without the scope it is in the default one.
  std::string full_name(const std::string& given) const;
  // An error about the scope begins with its JSON pointer ("/namespace").
  std::function<Result<std::string>(const std::string& name)> key;
  // A strict source is one that a person wrote: it is also validated by what the commands of the noun validate with. An error
  // about one field begins with its JSON pointer.
  std::function<Result<Record>(model::Source)> read;
  std::function<std::vector<std::string>(model::Source)> row;
  // Whether `now` may take the place of `before`; both have been read.
  std::function<Status(std::string_view before, std::string_view now)> may_become;
  // Whether the record goes together with the others, which are all written already in the transaction of the cluster store, and
  // with what this host alone has.
  std::function<Status(kv::Transaction& tx, kv::Store& node, std::string_view record)> fits;
  // What people should know once the record is written.
  std::function<Status(const Context& context, Stores& stores, std::string_view record)> note;
  // For objects that are more than their record. Empty: the record is erased.
  std::function<Status(const Context& context, Stores& stores, const std::string& name)> remove;
};

// The same with the type; what is left empty is not needed.
template <class T>
struct Description {
  Kind kind;  // its plain members
  std::function<std::string(const T&)> name;
  Result<T> (*decode)(model::Source) = nullptr;
  std::function<std::vector<std::string>(const T&)> row;
  std::function<Status(const T&)> validate;
  std::function<Status(const T& before, const T& now)> may_become;
  std::function<Status(kv::Transaction& tx, kv::Store& node, const T&)> fits;
  std::function<Status(const Context&, Stores&, const T&)> note;
};

template <class T>
Kind erased(Description<T> d) {
  Kind kind = std::move(d.kind);
  kind.read = [d](model::Source source) -> Result<Record> {
    auto record = d.decode(source);
    if (!record) return std::move(record).error();
    if (source.strict && d.validate) {
      if (auto good = d.validate(*record); !good) return std::move(good).error();
    }
    return Record{d.name(*record), encode(*record)};
  };
  // From here on the texts come from read().
  kind.row = [d](model::Source source) { return d.row(*d.decode(source)); };
  if (d.may_become) {
    kind.may_become = [d](std::string_view before, std::string_view now) {
      return d.may_become(*d.decode(before), *d.decode(now));
    };
  }
  if (d.fits) {
    kind.fits = [d](kv::Transaction& tx, kv::Store& node, std::string_view text) { return d.fits(tx, node, *d.decode(text)); };
  }
  if (d.note) {
    kind.note = [d](const Context& context, Stores& stores, std::string_view text) {
      return d.note(context, stores, *d.decode(text));
    };
  }
  return kind;
}

// One a kind, each defined in the source of its noun.
Kind pool_kind();
Kind reservation_kind();
Kind node_kind();
Kind bgp_settings_kind();
Kind bgp_peer_kind();
Kind bgp_filter_kind();
Kind bgp_community_kind();
Kind bgp_prefix_kind();
Kind network_policy_kind();
Kind global_network_policy_kind();
Kind namespace_kind();
Kind host_endpoint_kind();
Kind policy_settings_kind();

const std::vector<Kind>& all_kinds();
// By its name or its word, also with an s behind it. Code::invalid with the nearest one.
Result<const Kind*> find_kind(std::string_view word);

bool is_one_of(const std::vector<std::string>& words, std::string_view word);

// The document of a record, as JSON: apiVersion, kind, metadata, spec, and status when asked for. apply takes it back.
std::string document_of(const Kind& kind, const Record& record, bool with_status);
// Several: a YAML text of documents, or in JSON one object of the kind List.
std::string yaml_documents(const std::vector<std::string>& documents);
std::string json_documents(const std::vector<std::string>& documents);

// What `-o yaml` of list and show gives: the documents, status included.
Exit print_yaml(const Context& context, const std::vector<std::string>& documents);
template <class T>
Exit print_yaml(const Context& context, const Kind& kind, const std::vector<T>& records) {
  std::vector<std::string> documents;
  for (const T& record : records) {
    if (auto read = kind.read(encode(record))) documents.push_back(document_of(kind, *read, true));
  }
  return print_yaml(context, documents);
}

}  // namespace firn::cli
