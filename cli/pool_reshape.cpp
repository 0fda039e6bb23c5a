// firnctl pool resize, split, merge, resume: pools that change while containers run. What is interrupted is in the pool's record
// (ipam/reshape.hpp), and resume completes it.
#include <poll.h>

#include <algorithm>

#include "cli/parse.hpp"
#include "cli/pool.hpp"
#include "ipam/across.hpp"
#include "ipam/claims.hpp"
#include "ipam/give_back.hpp"
#include "ipam/mirror.hpp"
#include "ipam/reshape.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds longest_wait{1000};  // between two looks at what other hosts have given back
constexpr size_t most_blocks_named = 10;

Result<model::Pool> pool_now(kv::Store& cluster, const std::string& name) {
  auto pool = get_record(cluster, model::keys::pool(name), model::decode_pool);
  if (!pool) return std::move(pool).error();
  if (!pool->has_value())
    return make_error(Code::not_found, "there is no pool " + name + " in the cluster; 'firnctl pool list' shows them");
  return std::move(**pool);
}

// What firn-routed does on the other hosts.
Status follow(const Context& context, Stores& stores) {
  if (auto done = context.mirror(stores); !done) return done;
  auto given =
      ipam::give_back_closed(*stores.cluster, *stores.node, stores.name, context.clock.unix_seconds(), ipam::Options{}.cooldown);
  if (!given) return std::move(given).error();
  return context.mirror(stores);
}

// Who has addresses of the pool outside of the part that stays: on this host, and on others as they have published it.
Result<std::vector<std::string>> holders_outside(Stores& stores, const model::Pool& pool, const Prefix& staying) {
  std::vector<std::string> holders;
  auto looked = stores.node->transact([&](kv::Transaction& tx) -> Status {
    auto found = ipam::holders_here(tx, pool.name, pool.cidr, staying);
    if (!found) return std::move(found).error();
    holders = std::move(*found);
    return {};
  });
  if (!looked) return std::move(looked).error();
  auto across = ipam::read_across(*stores.cluster);
  if (!across) return std::move(across).error();
  for (const auto& [node, endpoint] : across->endpoints) {
    if (node == stores.name || !endpoint.leased) continue;
    for (const Address& address : endpoint.addresses) {
      if (!pool.cidr.contains(address) || staying.contains(address)) continue;
      holders.push_back(model::handle_of(endpoint) + " (" + address.to_string() + ") on " + node);
    }
  }
  return holders;
}

std::string blocks_text(const std::vector<model::Claim>& claims) {
  std::string text;
  for (size_t i = 0; i < std::min(claims.size(), most_blocks_named); ++i) {
    text += (i == 0 ? "" : ", ") + claims[i].prefix.to_string() + " (node " + claims[i].node + ")";
  }
  if (claims.size() > most_blocks_named) text += " and " + std::to_string(claims.size() - most_blocks_named) + " more";
  return text;
}

// Who stands in the way of a smaller pool: the blocks, and who uses them.
Result<std::string> in_the_way(Stores& stores, const model::Pool& pool, const Prefix& staying,
                               const std::vector<model::Claim>& left) {
  std::string text = "outside of " + staying.to_string() + " these blocks are in use, or cool: " + blocks_text(left);
  auto holders = holders_outside(stores, pool, staying);
  if (!holders) return std::move(holders).error();
  if (!holders->empty()) text += "; their addresses are those of " + ipam::holders_text(*holders);
  return text;
}

// Until no claim is outside of the part that stays, or the time is over; what is left.
Result<std::vector<model::Claim>> await_empty(const Context& context, Stores& stores, const std::string& pool,
                                              std::chrono::seconds wait) {
  const auto end = context.clock.steady() + wait;
  kv::Revision seen = 0;
  while (true) {
    if (auto done = follow(context, stores); !done) return std::move(done).error();
    auto left = ipam::finish_shrinking(*stores.cluster, pool);
    if (!left || left->empty()) return left;
    const auto rest = std::chrono::duration_cast<milliseconds>(end - context.clock.steady());
    if (rest.count() <= 0) return left;
    auto fd = stores.cluster->watch_fd();
    if (!fd) return std::move(fd).error();
    pollfd wanted{*fd, POLLIN, 0};
    ::poll(&wanted, 1, static_cast<int>(std::min(rest, longest_wait).count()));
    // Only to hear of the next change; the round looks at everything.
    auto news = stores.cluster->changes(seen, model::keys::claims);
    if (!news) return std::move(news).error();
    seen = news->revision;
  }
}

struct Resize {
  std::string name;
  Prefix cidr;
  bool drain = false;
  std::optional<int> wait;
};

Result<Exit> shrink(const Context& context, Stores& stores, const model::Pool& before, const Resize& args) {
  auto left = await_empty(context, stores, args.name, std::chrono::seconds(args.wait.value_or(10)));
  if (!left) return std::move(left).error();
  if (left->empty()) {
    if (auto done = context.mirror(stores); !done) return std::move(done).error();
    auto now = pool_now(*stores.cluster, args.name);
    if (!now) return std::move(now).error();
    return context.done("pool " + args.name + " is " + args.cidr.to_string() + " now", model::encode(*now));
  }
  auto why = in_the_way(stores, before, args.cidr, *left);
  if (!why) return std::move(why).error();
  if (args.drain) {
    auto now = pool_now(*stores.cluster, args.name);
    if (!now) return std::move(now).error();
    return context.done("pool " + args.name + " shrinks to " + args.cidr.to_string() + ": " + *why +
                            ". Nothing new is leased there; with the last of them the pool is smaller. 'firnctl pool resize " +
                            args.name + " " + before.cidr.to_string() + "' ends this",
                        model::encode(*now));
  }
  if (auto back = ipam::resize_pool(*stores.cluster, args.name, before.cidr); !back) {
    return std::move(back).error().context("pool " + args.name + " is left shrinking; 'firnctl pool resize " + args.name + " " +
                                           before.cidr.to_string() + "' ends that");
  }
  if (auto done = context.mirror(stores); !done) return std::move(done).error();
  return make_error(Code::conflict, "pool " + args.name + " stays " + before.cidr.to_string() + ": " + *why +
                                        "; stop what is there and try again, or let the pool shrink as it empties with --drain");
}

Result<Exit> resize(const Context& context, const Resize& args) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto before = pool_now(*stores->cluster, args.name);
  if (!before) return std::move(before).error();
  const bool smaller = before->cidr.contains(args.cidr) && before->cidr != args.cidr;
  if (smaller && !args.drain) {
    // Sure to be refused, so nobody is asked to give anything up.
    auto holders = holders_outside(*stores, *before, args.cidr);
    if (!holders) return std::move(holders).error();
    if (!holders->empty()) {
      return make_error(Code::conflict, "pool " + args.name + " stays " + before->cidr.to_string() + ": outside of " +
                                            args.cidr.to_string() + " are addresses of " + ipam::holders_text(*holders) +
                                            "; stop these first, or let the pool shrink as it empties with --drain");
    }
  }
  auto now = ipam::resize_pool(*stores->cluster, args.name, args.cidr);
  if (!now) return std::move(now).error();
  if (smaller) return shrink(context, *stores, *before, args);
  if (auto done = follow(context, *stores); !done) return std::move(done).error();
  return context.done("pool " + args.name + " is " + now->cidr.to_string() + " now", model::encode(*now));
}

// "NAME" or "NAME=CIDR".
Result<ipam::Part> parse_part(const std::string& text) {
  const size_t sign = text.find('=');
  ipam::Part part{text.substr(0, sign), std::nullopt};
  if (sign == std::string::npos) return part;
  auto cidr = Prefix::parse(text.substr(sign + 1));
  if (!cidr) return std::move(cidr).error();
  part.cidr = *cidr;
  return part;
}

std::string pools_text(const std::vector<model::Pool>& pools) {
  std::string text;
  for (const model::Pool& pool : pools) text += (text.empty() ? "" : ", ") + pool.name + " (" + pool.cidr.to_string() + ")";
  return text;
}

Result<Exit> split_into(const Context& context, const std::string& name, const std::vector<ipam::Part>& parts) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto made = ipam::split_pool(*stores->cluster, name, parts);
  if (!made) return std::move(made).error();
  if (auto done = follow(context, *stores); !done) return std::move(done).error();
  std::string sentence = "pool " + name + " is " + pools_text(*made) + " now";
  const bool kept = std::any_of(made->begin(), made->end(), [&](const model::Pool& pool) { return pool.name == name; });
  if (!kept) sentence += "; CNI configurations that name " + name + " must name one of these";
  return context.done(sentence, encode_all(*made));
}

Result<Exit> merge(const Context& context, const std::vector<std::string>& names, const std::string& into) {
  if (into.empty()) return make_error(Code::invalid, "--into: is required");
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto made = ipam::merge_pools(*stores->cluster, names, into);
  if (!made) return std::move(made).error();
  if (auto done = follow(context, *stores); !done) return std::move(done).error();
  return context.done("the pools " + join(names, ", ") + " are pool " + into + " (" + made->cidr.to_string() + ") now",
                      model::encode(*made));
}

// The pools that were left half-way, or the one that is named.
Result<Exit> resume(const Context& context, const std::string& name) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  auto pools = list_records(*stores->cluster, model::keys::pools, model::decode_pool);
  if (!pools) return std::move(pools).error();
  std::erase_if(*pools, [&](const model::Pool& pool) { return !name.empty() && pool.name != name; });
  if (!name.empty() && pools->empty()) return pool_now(*stores->cluster, name).error();
  std::erase_if(*pools, [](const model::Pool& pool) { return pool.moving_from.empty() && !pool.shrinking_to; });
  std::string text;
  std::vector<model::Pool> out;
  for (const model::Pool& pool : *pools) {
    if (auto moved = ipam::finish_moving(*stores->cluster, pool.name); !moved) return std::move(moved).error();
    if (auto done = follow(context, *stores); !done) return std::move(done).error();
    auto left = ipam::finish_shrinking(*stores->cluster, pool.name);
    if (!left) return std::move(left).error();
    auto now = pool_now(*stores->cluster, pool.name);
    if (!now) return std::move(now).error();
    text += "pool " + pool.name + " (" + now->cidr.to_string() + ")";
    if (left->empty()) {
      text += " is complete\n";
    } else {
      auto why = in_the_way(*stores, *now, now->leasable(), *left);
      if (!why) return std::move(why).error();
      text += " goes on shrinking: " + *why + "\n";
    }
    out.push_back(std::move(*now));
  }
  if (auto done = context.mirror(*stores); !done) return std::move(done).error();
  return context.print(encode_all(out), text.empty() ? "nothing was left half-way\n" : text);
}

}  // namespace

void add_pool_reshape(Command& pool, Context& context) {
  auto size = std::make_shared<Resize>();
  pool.verb("resize", "Extend a pool, or shrink it to a part of itself; no address moves",
            "firnctl pool resize web 10.44.0.0/15\nfirnctl pool resize web 10.44.0.0/17\nfirnctl pool resize web 10.44.0.0/17 "
            "--drain",
            [size, &context] { return resize(context, *size); })
      .positional("POOL", "Name of the pool", Command::text(size->name))
      .positional("CIDR", "Its addresses from now on", take_prefix(size->cidr))
      .flag("--drain", "Shrink also while addresses are in use outside: as soon as the last one is free", size->drain)
      .option("--wait", "SECONDS", "How long hosts may take to give back blocks that nothing uses (default: 10)",
              Command::number(size->wait, 0, 3600));

  struct Split {
    std::string name;
    std::vector<ipam::Part> parts;
  };
  auto cut = std::make_shared<Split>();
  pool.verb("split", "Make several pools of one; containers go on",
            "firnctl pool split web --into web,edge\nfirnctl pool split web --into "
            "web=10.44.0.0/17,edge=10.44.128.0/18,lab=10.44.192.0/18",
            [cut, &context] { return split_into(context, cut->name, cut->parts); })
      .positional("POOL", "Name of the pool", Command::text(cut->name))
      .list("--into", "NAME[=CIDR],...", "The parts; without CIDRs they are of equal size. One may have the pool's name",
            [cut](const std::string& text) -> Status {
              for (const std::string& one : split(text, ',')) {
                auto part = parse_part(one);
                if (!part) return std::move(part).error();
                cut->parts.push_back(std::move(*part));
              }
              return {};
            });

  struct Merge {
    std::vector<std::string> names;
    std::string into;
  };
  auto join = std::make_shared<Merge>();
  pool.verb("merge", "Make one pool of several; containers go on",
            "firnctl pool merge web edge --into web\nfirnctl pool merge a b c d --into all",
            [join, &context] { return merge(context, join->names, join->into); })
      .positionals("POOL", "Names of the pools; their CIDRs are one together",
                   [join](const std::string& name) -> Status {
                     join->names.push_back(name);
                     return {};
                   })
      .option("--into", "NAME", "Name of the one: a new one, or that of one of them", Command::text(join->into));

  auto name = std::make_shared<std::string>();
  pool.verb("resume", "Complete a resize, split or merge that was interrupted", "firnctl pool resume\nfirnctl pool resume web",
            [name, &context] { return resume(context, *name); })
      .positional("POOL", "Name of the pool (default: every one that was left half-way)", Command::text(*name), Need::optional);
}

}  // namespace firn::cli
