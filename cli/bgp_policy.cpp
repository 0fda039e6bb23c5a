// firnctl bgp filter, community and prefix: objects that peers use, and what is announced besides blocks.
#include <algorithm>

#include "cli/bgp.hpp"
#include "cli/filter_text.hpp"
#include "cli/kind.hpp"
#include "cli/parse.hpp"
#include "lib/model/bgp.hpp"
#include "lib/model/keys.hpp"
#include "lib/model/names.hpp"

namespace firn::cli {

namespace {

constexpr size_t longest_note = 200;

Status check_note(const std::string& note) {
  if (note.size() > longest_note) return make_error(Code::invalid, "/note: has more than 200 bytes");
  return {};
}

// One sort of object as its commands see it.
template <class T>
struct Noun {
  std::string word;  // "filter"
  std::string_view keys;
  std::string key;  // of the object at hand
  Result<T> (*decode)(model::Source);
  Kind (*kind)();

  std::string command() const { return "'firnctl bgp " + word + " list'"; }
  Error none(const std::string& name) const {
    return make_error(Code::not_found, "there is no " + word + " " + name + "; " + command() + " shows them");
  }
};

template <class T>
Result<Exit> list(const Context& context, const Noun<T>& noun) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto records = list_records(**cluster, noun.keys, noun.decode);
  if (!records) return std::move(records).error();
  const Kind kind = noun.kind();
  if (context.output == Output::yaml) return print_yaml(context, kind, *records);
  Table table(kind.table_heads());
  for (const T& record : *records) {
    const std::string text = encode(record);
    table.add(kind.read(text)->name, kind.row(text));
  }
  return context.print(encode_all(*records), table, "no " + noun.word + "; make one with: firnctl bgp " + noun.word + " add");
}

template <class T>
Result<T> find(kv::Store& cluster, const Noun<T>& noun, const std::string& name) {
  auto record = get_record(cluster, noun.key, noun.decode);
  if (!record) return std::move(record).error();
  if (!*record) return noun.none(name);
  return std::move(**record);
}

// Writes the record when it is valid and fits. `replace`: it must be there, otherwise it must not.
template <class T>
Result<Exit> store(const Context& context, const Noun<T>& noun, const T& record, bool replace) {
  const Kind kind = noun.kind();
  const std::string text = encode(record);
  auto read = kind.read(model::Source(text, true));
  if (!read) return as_option(std::move(read).error());
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  bool same = false;
  auto committed = stores->cluster->transact([&](kv::Transaction& tx) -> Status {
    auto before = tx.get(noun.key);
    if (!before) return std::move(before).error();
    same = *before == text;
    if (same) return {};
    if (replace && !*before) return noun.none(read->name);
    if (!replace && *before)
      return make_error(Code::exists, noun.word + " " + read->name + " exists with other values; change it with 'firnctl bgp " +
                                          noun.word + " set'");
    tx.put(noun.key, text);
    return kind.fits ? kind.fits(tx, *stores->node, text) : Status{};
  });
  if (!committed) return as_option(std::move(committed).error());
  const std::string what = noun.word + " " + read->name;
  return context.done(same ? what + (replace ? " is so already" : " is there already") : what + (replace ? " changed" : " added"),
                      text);
}

template <class T>
Result<Exit> remove(const Context& context, const Noun<T>& noun, const std::string& name) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto record = find(*stores->cluster, noun, name);
  if (!record) return std::move(record).error();
  const Kind kind = noun.kind();
  if (kind.remove) {
    if (auto done = kind.remove(context, *stores, name); !done) return std::move(done).error();
  } else {
    auto committed = stores->cluster->transact([&](kv::Transaction& tx) -> Status {
      tx.erase(noun.key);
      return {};
    });
    if (!committed) return std::move(committed).error();
  }
  return context.done(noun.word + " " + name + " removed", encode(*record));
}

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool uses(const model::BgpFilter& filter, const std::string& community) {
  return std::any_of(filter.rules.begin(), filter.rules.end(), [&](const model::FilterRule& rule) {
    return holds(rule.communities, community) || holds(rule.add_communities, community) ||
           holds(rule.remove_communities, community);
  });
}

// Who of the records uses the name, as "peer tor-a".
template <class T, class Uses, class Label>
Status check_unused(kv::Transaction& tx, std::string_view keys, Result<T> (*decode)(model::Source), Uses uses_it, Label label,
                    const std::string& what) {
  auto records = list_records(tx, keys, decode);
  if (!records) return std::move(records).error();
  for (const T& record : *records) {
    if (uses_it(record)) return make_error(Code::conflict, what + " is used by " + label(record) + "; take it out there first");
  }
  return {};
}

Status remove_filter(const Context&, Stores& stores, const std::string& name) {
  auto committed = stores.cluster->transact([&](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::bgp_filter(name));
    return check_unused(
        tx, model::keys::bgp_peers, model::decode_bgp_peer,
        [&](const model::BgpPeer& p) { return holds(p.import_filters, name) || holds(p.export_filters, name); },
        [](const model::BgpPeer& p) { return "peer " + p.name; }, "filter " + name);
  });
  if (!committed) return std::move(committed).error();
  return {};
}

Status remove_community(const Context&, Stores& stores, const std::string& name) {
  const std::string what = "community " + name;
  auto committed = stores.cluster->transact([&](kv::Transaction& tx) -> Status {
    tx.erase(model::keys::bgp_community(name));
    if (auto free = check_unused(
            tx, model::keys::bgp_peers, model::decode_bgp_peer, [&](const model::BgpPeer& p) { return holds(p.communities, name); },
            [](const model::BgpPeer& p) { return "peer " + p.name; }, what);
        !free)
      return free;
    if (auto free = check_unused(
            tx, model::keys::bgp_filters, model::decode_bgp_filter, [&](const model::BgpFilter& f) { return uses(f, name); },
            [](const model::BgpFilter& f) { return "filter " + f.name; }, what);
        !free)
      return free;
    return check_unused(
        tx, model::keys::bgp_prefixes, model::decode_bgp_prefix,
        [&](const model::BgpPrefix& p) { return holds(p.communities, name); },
        [](const model::BgpPrefix& p) { return "prefix " + p.cidr.to_string(); }, what);
  });
  if (!committed) return std::move(committed).error();
  return {};
}

Result<std::string> key_of_name(std::string (*key)(std::string_view), const std::string& name) {
  if (auto good = model::check_peer_name(name); !good) return std::move(good).error();
  return key(name);
}

Noun<model::BgpFilter> filter_noun(const std::string& name = {}) {
  return {"filter", model::keys::bgp_filters, model::keys::bgp_filter(name), model::decode_bgp_filter, bgp_filter_kind};
}
Noun<model::BgpCommunity> community_noun(const std::string& name = {}) {
  return {"community", model::keys::bgp_communities, model::keys::bgp_community(name), model::decode_bgp_community,
          bgp_community_kind};
}
Noun<model::BgpPrefix> prefix_noun(const Prefix& cidr = {}) {
  return {"prefix", model::keys::bgp_prefixes, model::keys::bgp_prefix(cidr), model::decode_bgp_prefix, bgp_prefix_kind};
}

Result<Exit> show_filter(const Context& context, const std::string& name) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto filter = find(**cluster, filter_noun(name), name);
  if (!filter) return std::move(filter).error();
  if (context.output == Output::yaml) return print_yaml(context, bgp_filter_kind(), std::vector{*filter});
  Sheet sheet;
  sheet.line("Name", filter->name).line("Note", filter->note);
  for (size_t i = 0; i < filter->rules.size(); ++i) sheet.line("Rule " + std::to_string(i + 1), filter_rule_text(filter->rules[i]));
  sheet.line("Then", "reject");
  return context.print(encode(*filter), sheet.text());
}

struct FilterChange {
  std::string name, note;
  std::optional<std::vector<model::FilterRule>> rules;
};
struct CommunityChange {
  std::string name, note;
  std::optional<std::vector<std::string>> values;
};
struct PrefixChange {
  Prefix cidr;
  std::string note;
  std::optional<Labels> selector;
  std::optional<std::vector<std::string>> communities;
};

}  // namespace

Status check_communities_exist(kv::Transaction& tx, std::string_view field, const std::vector<std::string>& communities) {
  for (const std::string& text : communities) {
    if (model::parse_community(text).ok()) continue;
    auto record = tx.get(model::keys::bgp_community(text));
    if (!record) return std::move(record).error();
    if (!*record)
      return make_error(Code::not_found,
                        std::string(field) + ": there is no community " + text + "; 'firnctl bgp community list' shows them");
  }
  return {};
}

Status check_filters_exist(kv::Transaction& tx, std::string_view field, const std::vector<std::string>& filters) {
  for (const std::string& name : filters) {
    auto record = tx.get(model::keys::bgp_filter(name));
    if (!record) return std::move(record).error();
    if (!*record)
      return make_error(Code::not_found,
                        std::string(field) + ": there is no filter " + name + "; 'firnctl bgp filter list' shows them");
  }
  return {};
}

Kind bgp_filter_kind() {
  Description<model::BgpFilter> d;
  d.kind.name = "BgpFilter";
  d.kind.name_field = "name";
  d.kind.keys = model::keys::bgp_filters;
  d.kind.key = [](const std::string& name) { return key_of_name(model::keys::bgp_filter, name); };
  d.kind.heads = {"RULES", "NOTE"};
  d.kind.remove = remove_filter;
  d.name = [](const model::BgpFilter& filter) { return filter.name; };
  d.decode = model::decode_bgp_filter;
  d.row = [](const model::BgpFilter& filter) { return std::vector<std::string>{std::to_string(filter.rules.size()), filter.note}; };
  d.validate = [](const model::BgpFilter& filter) { return check_note(filter.note); };
  d.fits = [](kv::Transaction& tx, kv::Store&, const model::BgpFilter& filter) -> Status {
    for (size_t i = 0; i < filter.rules.size(); ++i) {
      const model::FilterRule& rule = filter.rules[i];
      for (const auto* list : {&rule.communities, &rule.add_communities, &rule.remove_communities}) {
        if (auto good = check_communities_exist(tx, "/rules/" + std::to_string(i), *list); !good) return good;
      }
    }
    return {};
  };
  return erased(std::move(d));
}

Kind bgp_community_kind() {
  Description<model::BgpCommunity> d;
  d.kind.name = "BgpCommunity";
  d.kind.name_field = "name";
  d.kind.keys = model::keys::bgp_communities;
  d.kind.key = [](const std::string& name) { return key_of_name(model::keys::bgp_community, name); };
  d.kind.heads = {"VALUES", "NOTE"};
  d.kind.remove = remove_community;
  d.name = [](const model::BgpCommunity& community) { return community.name; };
  d.decode = model::decode_bgp_community;
  d.row = [](const model::BgpCommunity& c) { return std::vector<std::string>{join(c.values, ","), c.note}; };
  d.validate = [](const model::BgpCommunity& community) { return check_note(community.note); };
  return erased(std::move(d));
}

Kind bgp_prefix_kind() {
  Description<model::BgpPrefix> d;
  d.kind.name = "BgpPrefix";
  d.kind.name_field = "cidr";
  d.kind.keys = model::keys::bgp_prefixes;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    auto cidr = Prefix::parse(name);
    if (!cidr) return std::move(cidr).error();
    return model::keys::bgp_prefix(*cidr);
  };
  d.kind.heads = {"NODES", "COMMUNITIES", "NOTE"};
  d.name = [](const model::BgpPrefix& prefix) { return prefix.cidr.to_string(); };
  d.decode = model::decode_bgp_prefix;
  d.row = [](const model::BgpPrefix& p) {
    return std::vector<std::string>{p.node_selector.empty() ? "every" : labels_text(p.node_selector), join(p.communities, ","),
                                    p.note};
  };
  d.validate = [](const model::BgpPrefix& prefix) -> Status {
    if (prefix.cidr.address().is_multicast() || prefix.cidr.address().is_loopback() || prefix.cidr.address().is_link_local())
      return make_error(Code::invalid, "/cidr: " + prefix.cidr.to_string() + " is not for announcing");
    return check_note(prefix.note);
  };
  d.fits = [](kv::Transaction& tx, kv::Store&, const model::BgpPrefix& prefix) {
    return check_communities_exist(tx, "/communities", prefix.communities);
  };
  return erased(std::move(d));
}

void add_bgp_filter(Command& bgp, Context& context) {
  Command group = bgp.group("filter", "Named filters, which peers use");
  for (const bool replace : {false, true}) {
    auto change = std::make_shared<FilterChange>();
    group
        .verb(replace ? "set" : "add", replace ? "Give a filter other rules" : "Make a filter",
              "firnctl bgp filter " + std::string(replace ? "set" : "add") +
                  " anycast --rule 'accept 192.0.2.0/24 le 32 add no-export med 100' --rule 'reject'",
              [change, replace, &context] {
                return store(context, filter_noun(change->name),
                             model::BgpFilter{change->name, change->rules.value_or(std::vector<model::FilterRule>{}), change->note},
                             replace);
              })
        .positional(replace ? "FILTER" : "NAME", "Name of the filter", Command::text(change->name))
        .list("--rule", "RULE",
              "accept|reject|next [PREFIX [ge N] [le N]]... [community C]... [add C]... [remove C]... [prepend N] [med N] "
              "[local-pref N]; the "
              "first that matches and is not next decides, no match rejects",
              take_filter_rule(change->rules))
        .option("--note", "TEXT", "Why, for people", Command::text(change->note));
  }
  group.verb("list", "List the filters", "firnctl bgp filter list", [&context] { return list(context, filter_noun()); });
  auto name = std::make_shared<std::string>();
  group
      .verb("show", "Show the rules of a filter", "firnctl bgp filter show anycast",
            [name, &context] { return show_filter(context, *name); })
      .positional("FILTER", "Name of the filter", Command::text(*name));
  auto removed = std::make_shared<std::string>();
  group
      .verb("remove", "Remove a filter that no peer uses", "firnctl bgp filter remove anycast",
            [removed, &context] { return remove(context, filter_noun(*removed), *removed); })
      .positional("FILTER", "Name of the filter", Command::text(*removed));
}

void add_bgp_community(Command& bgp, Context& context) {
  Command group = bgp.group("community", "Communities with a name");
  for (const bool replace : {false, true}) {
    auto change = std::make_shared<CommunityChange>();
    group
        .verb(
            replace ? "set" : "add", replace ? "Give a name other communities" : "Name communities",
            "firnctl bgp community " + std::string(replace ? "set" : "add") + " blackhole-me --value 64512:666 --value 64512:1:666",
            [change, replace, &context] {
              return store(context, community_noun(change->name),
                           model::BgpCommunity{change->name, change->values.value_or(std::vector<std::string>{}), change->note},
                           replace);
            })
        .positional(replace ? "COMMUNITY" : "NAME", "Its name", Command::text(change->name))
        .list("--value", "C", "A:B, A:B:C or a well-known name such as no-export; may be repeated",
              take_communities(change->values))
        .option("--note", "TEXT", "Why, for people", Command::text(change->note));
  }
  group.verb("list", "List the communities", "firnctl bgp community list", [&context] { return list(context, community_noun()); });
  auto removed = std::make_shared<std::string>();
  group
      .verb("remove", "Remove a name that nothing uses", "firnctl bgp community remove blackhole-me",
            [removed, &context] { return remove(context, community_noun(*removed), *removed); })
      .positional("COMMUNITY", "Its name", Command::text(*removed));
}

void add_bgp_prefix(Command& bgp, Context& context) {
  Command group = bgp.group("prefix", "Prefixes announced besides the blocks: service ranges, anycast");
  for (const bool replace : {false, true}) {
    auto change = std::make_shared<PrefixChange>();
    group
        .verb(replace ? "set" : "add", replace ? "Announce a prefix in another way" : "Announce a prefix",
              "firnctl bgp prefix " + std::string(replace ? "set" : "add") +
                  " 198.51.100.53/32 --selector role=dns --community 64512:53",
              [change, replace, &context] {
                return store(context, prefix_noun(change->cidr),
                             model::BgpPrefix{change->cidr, change->selector.value_or(Labels{}),
                                              change->communities.value_or(std::vector<std::string>{}), change->note},
                             replace);
              })
        .positional("CIDR", "The prefix", take_prefix(change->cidr))
        .option("--selector", "KEY=VALUE,...", "Only by nodes with these labels (default: every node)",
                take_selector(change->selector))
        .list("--community", "C", "Put on it: a value or a name; may be repeated", take_communities(change->communities))
        .option("--note", "TEXT", "Why, for people", Command::text(change->note));
  }
  group.verb("list", "List the announced prefixes", "firnctl bgp prefix list", [&context] { return list(context, prefix_noun()); });
  auto removed = std::make_shared<Prefix>();
  group
      .verb("remove", "Announce a prefix no longer", "firnctl bgp prefix remove 198.51.100.53/32",
            [removed, &context] { return remove(context, prefix_noun(*removed), removed->to_string()); })
      .positional("CIDR", "The prefix", take_prefix(*removed));
}

}  // namespace firn::cli
