// Plan: what a manifest makes of the cluster store, in one transaction: every object is read, validated and written, then all are
// held against each other and against what is stored, and only if nothing is wrong the transaction commits. A plan that is not to
// be kept goes the same way up to the commit.
// A kill -9 leaves the state before or the state after. Thread safety: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/manifest.hpp"

namespace firn::cli {

struct Outcome {
  const Object* object = nullptr;
  std::optional<Record> before;
  Record now;
  bool changes() const { return !before || before->text != now.text; }
};

// The objects must outlive the outcomes. All errors that can be found are told at once, each with its place.
Result<std::vector<Outcome>> carry_out(Stores& stores, const std::vector<Object>& objects, bool keep);

// "-f,--filename" of apply, diff and delete.
void add_filename(Command& command, std::vector<std::string>& names);
// Code::invalid when no -f was given.
Result<std::vector<Object>> read_named(const std::vector<std::string>& names);

}  // namespace firn::cli
