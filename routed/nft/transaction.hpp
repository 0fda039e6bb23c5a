// Transaction: from what is wished for and what is there to one text in nft's language, in an order that the kernel takes: sets,
// chains, elements that go, rules, elements that come, chains that go, sets that go. Every object has lines of its own, so that an
// error of nft's, which names a line, names an object. Pure; thread safety: plain values.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hpp"
#include "lib/reconcile/delta_map.hpp"
#include "routed/nft/wish.hpp"

namespace firn::routed::nft {

// An object of the table: a set, a chain with its rules, or an element of a set.
struct Object {
  enum class Kind { set, chain, element } kind = Kind::set;
  std::string name;  // of an element: its set's
  std::string key;   // of an element
  auto operator<=>(const Object&) const = default;
};
std::string to_string(const Object& object);  // "element 10.44.0.7 of set s.3"

using SetMap = reconcile::DeltaMap<std::string, Set>;
using ChainMap = reconcile::DeltaMap<std::string, Chain>;
using ElementMap = reconcile::DeltaMap<ElementKey, std::string>;

// What a table has, or is to have.
struct Contents {
  std::map<std::string, Set> sets;
  std::map<std::string, Chain> chains;
  std::map<ElementKey, std::string> elements;
};

struct Transaction {
  std::string text;
  std::string bytes;  // the same as ElementBytes, when it is about few elements of sets that are there, and nothing else
  // What comes of it: what it puts, what it takes away.
  Contents put;
  std::vector<Object> removed;
  bool whole = false;  // `put` is all there is afterwards
  bool empty() const { return text.empty(); }
  // The object that a line of the text (from 1) is about; nullopt: the table itself, or no line of it.
  std::optional<Object> object_at(size_t line) const;

  std::map<size_t, Object> first_lines;  // an object reaches to the next one
};

// What is pending, but for the objects that were set aside. nullopt: it needs another shape of a set or another hook of a chain,
// which the kernel changes only with a new table.
std::optional<Transaction> incremental(const std::string& table, const SetMap& sets, const ChainMap& chains,
                                       const ElementMap& elements, const std::set<Object>& aside);
// What a table has that somebody else, or an earlier run, made.
struct Existing {
  std::vector<std::string> base_chains, chains, sets, maps;
};
// Takes what a listing of nft's in JSON (chains, sets, maps) says of the table into `out`. Code::invalid: it is no listing.
Status take_existing(std::string_view json, const std::string& table, Existing& out);

// The table as it is wished for, in place of whatever is there. With `existing` base chains that stay keep their hook: the kernel
// asks each chain for its rules of the moment, and were the old and the new chain both at the hook, a packet could ask the new one
// just before and the old one just after the change, and be judged by neither. Without: the table is deleted and made anew.
Transaction replacement(const std::string& table, const SetMap& sets, const ChainMap& chains, const ElementMap& elements,
                        const std::set<Object>& aside, const Existing* existing);
// No table of that name.
std::string removal(const std::string& table);

// The line in nft's error "FILE:LINE:COLUMN-COLUMN: Error: ...", and what it says.
struct Refusal {
  size_t line = 0;  // 0: it names none
  std::string reason;
};
Refusal parse_refusal(std::string_view error);

}  // namespace firn::routed::nft
