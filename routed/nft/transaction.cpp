#include "routed/nft/transaction.hpp"

#include <algorithm>
#include <charconv>

#include "lib/json/json.hpp"
#include "routed/nft/element_bytes.hpp"

namespace firn::routed::nft {
namespace {

Object set_object(const std::string& name) { return {Object::Kind::set, name, {}}; }
Object chain_object(const std::string& name) { return {Object::Kind::chain, name, {}}; }
Object element_object(const ElementKey& key) { return {Object::Kind::element, key.set, key.key}; }

class Writer {
 public:
  explicit Writer(const std::string& table) : table_(" inet " + table + " ") {}

  // `object`: whom the line is about.
  void line(const std::optional<Object>& object, const std::string& text) {
    if (object) out_.first_lines.try_emplace(next_line_, *object);
    out_.text += text;
    out_.text += '\n';
    ++next_line_;
  }
  void table(std::string_view verb) { line(std::nullopt, std::string(verb) + " table" + table_); }
  void add_set(const std::string& name, const Set& set) {
    std::string text = std::string("add ") + (set.data.empty() ? "set" : "map") + table_ + name +
                       (set.key.starts_with("typeof ") ? " { " : " { type ") + set.key;
    if (!set.data.empty()) text += " : " + set.data;
    text += ";";
    if (set.interval) text += " flags interval;";
    if (set.counter) text += " counter;";
    if (!set.comment.empty()) text += " comment " + set.comment + ";";
    line(set_object(name), text + " }");
  }
  void add_chain(const std::string& name, const Chain& chain) {
    line(chain_object(name), "add chain" + table_ + name + (chain.hook.empty() ? std::string() : " { " + chain.hook + " }"));
  }
  void flush_chain(const std::string& name) { line(chain_object(name), "flush chain" + table_ + name); }
  void add_rules(const std::string& name, const Chain& chain) {
    const Object object = chain_object(name);
    for (const std::string& rule : chain.rules) line(object, "add rule" + table_ + name + " " + rule);
  }
  void remove(std::string_view kind, const Object& object) { line(object, "delete " + std::string(kind) + table_ + object.name); }
  // Elements of one set follow one another, as they do in a map by ElementKey: they become one command. Those of a map have a
  // command each, for of data that is refused nft would name the first line of the command.
  void element(std::string_view verb, const ElementKey& key, const std::string& data) {
    if (data.empty()) {
      if (verb != open_verb_ || key.set != open_set_) {
        close();
        open_verb_ = verb;
        open_set_ = key.set;
        line(element_object(key), std::string(verb) + " element" + table_ + key.set + " { " + key.key + ",");
      } else {
        line(element_object(key), key.key + ",");
      }
      return;
    }
    close();
    line(element_object(key), std::string(verb) + " element" + table_ + key.set + " { " + key.key + " : " + data + " }");
  }
  void close() {
    if (!open_set_.empty()) line(std::nullopt, "}");
    open_set_.clear();
    open_verb_.clear();
  }
  Transaction& out() { return out_; }

 private:
  std::string table_;
  Transaction out_;
  size_t next_line_ = 1;
  std::string open_set_, open_verb_;
};

// Everything but the base chains that stay, which are emptied. Maps go before the chains that they lead to.
void clear(Writer& w, const ChainMap& chains, const Existing& existing) {
  w.table("add");
  w.table("flush");
  for (const std::string& name : existing.maps) w.remove("map", set_object(name));
  for (const std::string& name : existing.sets) w.remove("set", set_object(name));
  for (const std::string& name : existing.chains) w.remove("chain", chain_object(name));
  for (const std::string& name : existing.base_chains) {
    const auto wanted = chains.desired().find(name);
    if (wanted == chains.desired().end() || wanted->second.hook.empty()) w.remove("chain", chain_object(name));
  }
}

}  // namespace

Status take_existing(std::string_view json, const std::string& table, Existing& out) {
  const auto document = json::Document::parse(json);
  if (!document) return Error(document.error()).context("reading a listing of nftables");
  const auto entries = document->root()["nftables"].array();
  if (!entries) return Error(entries.error()).context("reading a listing of nftables");
  for (const json::Value& entry : *entries) {
    for (const char* kind : {"chain", "set", "map"}) {
      const json::Value object = entry[kind];
      const auto of = object["table"].string_or(""), family = object["family"].string_or(""), name = object["name"].string_or("");
      if (!of || !family || !name || *of != table || *family != "inet") continue;
      const bool base = object["hook"].present();
      (kind[0] == 'c' ? base ? out.base_chains : out.chains : kind[0] == 's' ? out.sets : out.maps).push_back(*name);
    }
  }
  return {};
}

std::string to_string(const Object& object) {
  switch (object.kind) {
    case Object::Kind::set: return "set " + object.name;
    case Object::Kind::chain: return "chain " + object.name;
    case Object::Kind::element: return "element " + object.key + " of set " + object.name;
  }
  return object.name;
}

std::optional<Object> Transaction::object_at(size_t line) const {
  const auto next = first_lines.upper_bound(line);
  if (next == first_lines.begin()) return std::nullopt;
  return std::prev(next)->second;
}

std::optional<Transaction> incremental(const std::string& table, const SetMap& sets, const ChainMap& chains,
                                       const ElementMap& elements, const std::set<Object>& aside) {
  auto pending_sets = sets.pending();
  auto pending_chains = chains.pending();
  auto pending_elements = elements.pending();
  const auto is_aside = [&](const Object& object) { return !aside.empty() && aside.contains(object); };
  std::erase_if(pending_sets.upserts, [&](const auto& entry) { return is_aside(set_object(entry.first)); });
  std::erase_if(pending_sets.removals, [&](const auto& name) { return is_aside(set_object(name)); });
  std::erase_if(pending_chains.upserts, [&](const auto& entry) { return is_aside(chain_object(entry.first)); });
  std::erase_if(pending_chains.removals, [&](const auto& name) { return is_aside(chain_object(name)); });
  std::erase_if(pending_elements.upserts, [&](const auto& entry) { return is_aside(element_object(entry.first)); });
  std::erase_if(pending_elements.removals, [&](const auto& key) { return is_aside(element_object(key)); });

  Writer w(table);
  Transaction& out = w.out();
  for (const auto& [name, set] : pending_sets.upserts) {
    if (sets.actual().contains(name)) return std::nullopt;
    w.add_set(name, set);
    out.put.sets.emplace(name, set);
  }
  for (const auto& [name, chain] : pending_chains.upserts) {
    const auto there = chains.actual().find(name);
    if (there == chains.actual().end()) w.add_chain(name, chain);
    else if (there->second.hook != chain.hook) return std::nullopt;
  }
  std::optional<ElementBytes> bytes;
  constexpr size_t few = 500;
  if (pending_sets.empty() && pending_chains.empty() && pending_elements.size() <= few) bytes.emplace(table);
  const auto remove_bytes = [&](const ElementKey& key) {
    const auto set = sets.actual().find(key.set);
    if (bytes && (set == sets.actual().end() || !bytes->remove(set->second, key))) bytes.reset();
  };
  const auto add_bytes = [&](const ElementKey& key, const std::string& data) {
    const auto set = sets.actual().find(key.set);
    if (bytes && (set == sets.actual().end() || !bytes->add(set->second, key, data))) bytes.reset();
  };
  // With a set go its elements.
  const std::set<std::string> dying(pending_sets.removals.begin(), pending_sets.removals.end());
  for (const ElementKey& key : pending_elements.removals) {
    if (!dying.contains(key.set)) w.element("delete", key, elements.actual().at(key));
    remove_bytes(key);
    out.removed.push_back(element_object(key));
  }
  for (const auto& [key, data] : pending_elements.upserts) {
    const auto there = elements.actual().find(key);
    if (there == elements.actual().end()) continue;
    w.element("delete", key, there->second);
    remove_bytes(key);
  }
  w.close();
  for (auto& [name, chain] : pending_chains.upserts) {
    if (chains.actual().contains(name)) w.flush_chain(name);
    w.add_rules(name, chain);
    out.put.chains.emplace(name, std::move(chain));
  }
  for (auto& [key, data] : pending_elements.upserts) {
    w.element("add", key, data);
    add_bytes(key, data);
    out.put.elements.emplace(key, std::move(data));
  }
  w.close();
  if (bytes && !out.text.empty()) out.bytes = bytes->take();
  // They may jump to one another.
  for (const std::string& name : pending_chains.removals) w.flush_chain(name);
  for (const std::string& name : pending_chains.removals) {
    w.remove("chain", chain_object(name));
    out.removed.push_back(chain_object(name));
  }
  for (const std::string& name : pending_sets.removals) {
    w.remove(sets.actual().at(name).data.empty() ? "set" : "map", set_object(name));
    out.removed.push_back(set_object(name));
  }
  return std::move(out);
}

Transaction replacement(const std::string& table, const SetMap& sets, const ChainMap& chains, const ElementMap& elements,
                        const std::set<Object>& aside, const Existing* existing) {
  Writer w(table);
  Transaction& out = w.out();
  out.whole = true;
  if (existing != nullptr) {
    clear(w, chains, *existing);
  } else {
    // Adding first makes the deletion of one that is not there no error.
    for (const std::string_view verb : {"add", "delete", "add"}) w.table(verb);
  }
  const auto is_aside = [&](const Object& object) { return !aside.empty() && aside.contains(object); };
  for (const auto& [name, set] : sets.desired()) {
    if (is_aside(set_object(name))) continue;
    w.add_set(name, set);
    out.put.sets.emplace(name, set);
  }
  for (const auto& [name, chain] : chains.desired()) {
    if (is_aside(chain_object(name))) continue;
    w.add_chain(name, chain);
    out.put.chains.emplace(name, chain);
  }
  for (const auto& [name, chain] : out.put.chains) w.add_rules(name, chain);
  for (const auto& [key, data] : elements.desired()) {
    if (is_aside(element_object(key))) continue;
    w.element("add", key, data);
    out.put.elements.emplace(key, data);
  }
  w.close();
  return std::move(out);
}

std::string removal(const std::string& table) {
  Writer w(table);
  w.table("add");
  w.table("delete");
  return std::move(w.out().text);
}

Refusal parse_refusal(std::string_view error) {
  constexpr std::string_view mark = ": Error: ";
  const size_t at = error.find(mark);
  if (at == std::string_view::npos) return {0, std::string(error.substr(0, error.find('\n')))};
  const std::string_view rest = error.substr(at + mark.size());
  Refusal out{0, std::string(rest.substr(0, rest.find('\n')))};
  // "/proc/self/fd/6:LINE:COLUMN-COLUMN"
  std::string_view place = error.substr(0, at);
  place = place.substr(0, place.rfind(':'));
  place = place.substr(std::min(place.rfind(':') + 1, place.size()));
  if (std::from_chars(place.data(), place.data() + place.size(), out.line).ec != std::errc()) out.line = 0;
  return out;
}

}  // namespace firn::routed::nft
