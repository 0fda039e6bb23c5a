#include "ipam/ownership.hpp"

#include "ipam/records.hpp"

namespace firn::ipam {

Status adopt_blocks(kv::Store& node, const std::vector<model::Claim>& claims) {
  auto done = node.transact([&](kv::Transaction& tx) -> Status {
    for (const model::Claim& claim : claims) {
      auto pool = records::pool(tx, claim.pool);
      if (!pool) return std::move(pool).error();
      if (!pool->has_value()) continue;
      if (auto block = records::adopt_block(tx, claim.pool, claim.use, claim.prefix); !block) return std::move(block).error();
    }
    return {};
  });
  if (!done) return std::move(done).error();
  return {};
}

}  // namespace firn::ipam
