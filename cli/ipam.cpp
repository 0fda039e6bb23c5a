// firnctl ipam: what this host's addresses are doing, and repairs.
#include "cli/ipam.hpp"

#include <ostream>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "ipam/block.hpp"
#include "ipam/rebuild.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

struct BlockUse {
  model::Block block;
  uint64_t size = 0, free = 0, cooling = 0;
};

Result<std::vector<BlockUse>> block_use(const Context& context, kv::Store& node) {
  auto blocks = list_records(node, model::keys::blocks, model::decode_block);
  if (!blocks) return std::move(blocks).error();
  const int64_t cooled = context.clock.unix_seconds() - ipam::Options{}.cooldown.count();
  std::vector<BlockUse> out;
  for (model::Block& block : *blocks) {
    BlockUse use;
    use.size = static_cast<uint64_t>(block.prefix.count());
    use.free = ipam::free_count(block);
    for (const model::FreeRun& run : block.free) {
      if (run.released_at > cooled) use.cooling += run.last - run.first + 1;
    }
    use.block = std::move(block);
    out.push_back(std::move(use));
  }
  return out;
}

Result<Exit> show(const Context& context) {
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto allocator = context.allocator(**node);
  if (!allocator) return std::move(allocator).error();
  auto usage = allocator->usage();
  if (!usage) return std::move(usage).error();
  auto blocks = block_use(context, **node);
  if (!blocks) return std::move(blocks).error();

  json::Writer w;
  w.begin_object().key("pools").begin_array();
  Table pools({"POOL", "CIDR", "BLOCKS", "ADDRESSES", "USED", "FREE", "COOLING"});
  for (const ipam::PoolUse& use : *usage) {
    const uint64_t free = use.capacity > use.used ? use.capacity - use.used : 0;
    pools.add({use.pool.name, use.pool.cidr.to_string(), std::to_string(use.blocks), std::to_string(use.capacity),
               std::to_string(use.used), std::to_string(free), std::to_string(use.cooling)});
    w.begin_object().field("name", use.pool.name).field("cidr", use.pool.cidr.to_string()).field("blocks", use.blocks);
    w.field("capacity", use.capacity).field("used", use.used).field("free", free).field("cooling", use.cooling).end_object();
  }
  w.end_array().key("blocks").begin_array();
  Table table({"BLOCK", "POOL", "USE", "ADDRESSES", "USED", "FREE", "COOLING"});
  for (const BlockUse& use : *blocks) {
    const std::string kind(to_string(use.block.use));
    table.add({use.block.prefix.to_string(), use.block.pool, kind, std::to_string(use.size), std::to_string(use.size - use.free),
               std::to_string(use.free), std::to_string(use.cooling)});
    w.begin_object().field("prefix", use.block.prefix.to_string()).field("pool", use.block.pool).field("use", kind);
    w.field("addresses", use.size)
        .field("used", use.size - use.free)
        .field("free", use.free)
        .field("cooling", use.cooling)
        .end_object();
  }
  w.end_array().end_object();
  if (context.output == Output::table && pools.empty()) {
    context.err << "no pools on this host; make one with: firnctl pool create NAME CIDR\n";
    return Exit::ok;
  }
  if (context.output == Output::table && table.empty())
    context.err << "no blocks on this host yet; the first container takes one\n";
  return context.print(w.text(), pools.text() + (table.empty() ? "" : "\n" + table.text()));
}

Result<Exit> show_address(const Context& context, const Address& address) {
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto allocator = context.allocator(**node);
  if (!allocator) return std::move(allocator).error();
  auto pools = list_records(**node, model::keys::pools, model::decode_pool);
  if (!pools) return std::move(pools).error();
  auto blocks = list_records(**node, model::keys::blocks, model::decode_block);
  if (!blocks) return std::move(blocks).error();
  auto reservations = list_records(**node, model::keys::reservations, model::decode_reservation);
  if (!reservations) return std::move(reservations).error();
  auto lease = allocator->holder(address);
  if (!lease) return std::move(lease).error();

  json::Writer w;
  w.begin_object().field("address", address.to_string());
  Sheet sheet;
  sheet.line("Address", address.to_string());
  std::string state = "in no pool of this host";
  for (const model::Pool& pool : *pools) {
    if (!pool.cidr.contains(address)) continue;
    state = "in no block of this host";
    sheet.line("Pool", pool.name + " (" + pool.cidr.to_string() + (pool.disabled ? ", disabled)" : ")"));
    w.field("pool", pool.name);
  }
  for (const model::Block& block : *blocks) {
    if (!block.prefix.contains(address)) continue;
    state = "free";
    for (const model::FreeRun& run : block.free) {
      const auto ordinal = static_cast<uint32_t>(block.prefix.offset_of(address));
      if (ordinal < run.first || ordinal > run.last || run.released_at == 0) continue;
      state = "free, released " + time_text(run.released_at);
      w.field("released_at", run.released_at);
    }
    sheet.line("Block", block.prefix.to_string() + " (" + std::string(to_string(block.use)) + ")");
    w.field("block", block.prefix.to_string()).field("use", to_string(block.use));
  }
  for (const model::Reservation& reservation : *reservations) {
    if (!reservation.cidr.contains(address)) continue;
    state = "reserved";
    sheet.line("Reservation", reservation.cidr.to_string() + (reservation.note.empty() ? "" : " (" + reservation.note + ")"));
    w.field("reservation", reservation.cidr.to_string());
  }
  if (*lease) {
    state = "leased";
    sheet.line("Holder", (*lease)->handle);
    w.field("handle", (*lease)->handle);
  }
  sheet.line("State", state);
  return context.print(w.field("state", state).end_object().text(), sheet.text());
}

struct Release {
  std::optional<Address> address;
  std::string handle;
  bool force = false;
};

Result<Exit> release(const Context& context, Release args) {
  if (args.address.has_value() != args.handle.empty()) return make_error(Code::invalid, "give an ADDRESS or --handle, one of them");
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  auto allocator = context.allocator(**node);
  if (!allocator) return std::move(allocator).error();
  if (args.address) {
    auto lease = allocator->holder(*args.address);
    if (!lease) return std::move(lease).error();
    if (!*lease)
      return make_error(Code::not_found,
                        args.address->to_string() + " is not leased on this host; 'firnctl ipam show --address' tells more");
    args.handle = (*lease)->handle;
  }
  auto endpoint = allocator->find(args.handle);
  if (!endpoint) return std::move(endpoint).error();
  if (!*endpoint) {
    const std::string why = args.address ? "its endpoint " + args.handle + " is missing; 'firnctl ipam check --fix' sets that right"
                                         : "there is no endpoint " + args.handle + "; 'firnctl endpoint list' shows them";
    return make_error(args.address ? Code::conflict : Code::not_found, why);
  }
  if (!args.force && ipam::namespace_alive(**endpoint)) {
    return make_error(Code::conflict,
                      args.handle + " is alive: its network namespace " + (*endpoint)->netns +
                          " is there, and the container would go on using the address; stop the container, or take it away "
                          "with --force");
  }
  auto released = allocator->release(args.handle);
  if (!released) return std::move(released).error();
  if (!*released) return make_error(Code::not_found, args.handle + " was released meanwhile");
  return context.done(args.handle + " released (" + join((*released)->addresses) + ")", model::encode(**released));
}

}  // namespace

void add_ipam(Command& root, Context& context) {
  Command group = root.group("ipam", "Addresses of this host, and of all");

  struct Show {
    std::optional<Address> address;
    bool all = false;
  };
  auto shown = std::make_shared<Show>();
  group
      .verb("show", "Show pools and blocks with their use, or one address",
            "firnctl ipam show\nfirnctl ipam show --all\nfirnctl ipam show --address 10.44.0.7",
            [shown, &context]() -> Result<Exit> {
              if (shown->all && shown->address) return make_error(Code::invalid, "--all and --address exclude each other");
              if (shown->all) return show_across(context);
              return shown->address ? show_address(context, *shown->address) : show(context);
            })
      .option("--address", "A", "Show who holds this address", take_address(shown->address))
      .flag("--all", "Of the whole cluster, by host", shown->all);

  auto args = std::make_shared<Release>();
  group
      .verb("release", "Give back addresses whose container is gone without a DEL",
            "firnctl ipam release 10.44.0.7\nfirnctl ipam release --handle web/0123456789ab/eth0\nfirnctl ipam release 10.44.0.7 "
            "--force",
            [args, &context] { return release(context, *args); })
      .positional("ADDRESS", "One of the container's addresses; all of them are released", take_address(args->address),
                  Need::optional)
      .option("--handle", "HANDLE", "NETWORK/CONTAINER/INTERFACE, as 'firnctl endpoint list -o json' shows",
              Command::text(args->handle))
      .flag("--force", "Also while the container's network namespace is alive", args->force);

  add_ipam_check(group, context);
  add_ipam_reset(group, context);
  add_ipam_dump(group, context);
}

}  // namespace firn::cli
