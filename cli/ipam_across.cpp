// firnctl ipam show --all: pools and their use on every host, as hosts have published it.
#include <algorithm>
#include <ostream>

#include "cli/ipam.hpp"
#include "cli/parse.hpp"
#include "ipam/across.hpp"

namespace firn::cli {

namespace {

// Pools of IPv6 have more blocks than anybody wants to read.
std::string blocks_text(const model::Pool& pool) {
  const int bits = pool.block_size - pool.cidr.length();
  return bits > 20 ? "2^" + std::to_string(bits) : std::to_string(uint64_t{1} << std::max(bits, 0));
}

std::string decimal(uint128 number) {
  std::string out;
  do {
    out.insert(out.begin(), static_cast<char>('0' + static_cast<int>(number % 10)));
    number /= 10;
  } while (number != 0);
  return out;
}

}  // namespace

Result<Exit> show_across(const Context& context) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto across = ipam::read_across(**cluster);
  if (!across) return std::move(across).error();
  const auto use = ipam::use_of(*across);

  json::Writer w;
  w.begin_object().key("pools").begin_array();
  Table pools({"POOL", "CIDR", "BLOCKS", "CLAIMED", "USED", "BORROWED"});
  Table hosts({"NODE", "POOL", "BLOCKS", "ADDRESSES", "USED", "FREE", "BORROWED", "LENT"});
  for (const ipam::PoolAcross& one : use) {
    pools.add({one.pool.name, one.pool.cidr.to_string(), blocks_text(one.pool), std::to_string(one.claimed),
               std::to_string(one.used), std::to_string(one.borrowed)});
    w.begin_object().field("name", one.pool.name).field("cidr", one.pool.cidr.to_string()).field("block_size", one.pool.block_size);
    w.key("blocks").raw(decimal(one.blocks)).field("claimed", one.claimed).field("used", one.used).field("borrowed", one.borrowed);
    w.key("nodes").begin_array();
    for (const auto& [node, at] : one.nodes) {
      hosts.add({node, one.pool.name, std::to_string(at.blocks), std::to_string(at.capacity), std::to_string(at.used),
                 std::to_string(at.free()), std::to_string(at.borrowed), std::to_string(at.lent)});
      w.begin_object().field("node", node).field("blocks", at.blocks).field("addresses", at.capacity).field("used", at.used);
      w.field("free", at.free()).field("borrowed", at.borrowed).field("lent", at.lent).end_object();
    }
    w.end_array().end_object();
  }
  w.end_array().end_object();
  for (const auto& [key, why] : across->damaged) context.err << "firnctl: left out: " << printable(why.message) << "\n";
  if (context.output == Output::table && pools.empty()) {
    context.err << "no pools in the cluster; make one with: firnctl pool create NAME CIDR\n";
    return Exit::ok;
  }
  return context.print(w.text(), pools.text() + (hosts.empty() ? "" : "\n" + hosts.text()));
}

}  // namespace firn::cli
