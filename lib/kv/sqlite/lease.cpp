#include "lib/kv/sqlite/lease.hpp"

#include <sys/random.h>

#include <functional>

namespace firn::kv {
namespace {

// The wall clock, because the end is compared by other processes, and after a restart of the host.
int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Runs a query with its parameters; `row` is called for each row.
Status query(Connection& connection, Query which, const std::function<void(Statement&)>& bind,
             const std::function<void(Statement&)>& row = {}) {
  constexpr std::string_view doing = "look after the leases";
  sqlite3_stmt* prepared = connection.prepared(which);
  if (prepared == nullptr) return connection.prepare_error(doing);
  Statement statement(prepared);
  bind(statement);
  int rc = statement.step();
  for (; rc == SQLITE_ROW; rc = statement.step()) {
    if (row) row(statement);
  }
  if (rc != SQLITE_DONE) return connection.error(rc, doing);
  return {};
}

}  // namespace

Status Leases::make_tables() {
  for (const Query which : {Query::lease_table, Query::leased_table}) {
    if (auto made = connection_.run(which, "make the tables of leases"); !made) return made;
  }
  return {};
}

Result<bool> Leases::holds(std::string_view key) {
  bool found = false;
  const auto bind = [&](Statement& s) { s.bind_key(1, key), s.bind_number(2, now_ms()); };
  if (auto done = query(connection_, Query::leased_holds, bind, [&](Statement&) { found = true; }); !done)
    return std::move(done).error();
  return found;
}

Result<bool> Leases::alive(LeaseId lease) {
  bool found = false;
  const auto bind = [&](Statement& s) { s.bind_number(1, lease), s.bind_number(2, now_ms()); };
  if (auto done = query(connection_, Query::lease_alive, bind, [&](Statement&) { found = true; }); !done)
    return std::move(done).error();
  return found;
}

Result<LeaseId> Leases::add(std::chrono::seconds ttl) {
  // Never one that another had before: who held that must not keep this one alive.
  LeaseId lease = 0;
  if (::getrandom(&lease, sizeof lease, 0) != static_cast<ssize_t>(sizeof lease)) return errno_error("number a lease");
  lease = (lease & INT64_MAX) | 1;
  const auto bind = [&](Statement& s) {
    s.bind_number(1, lease), s.bind_number(2, ttl.count()), s.bind_number(3, now_ms() + ttl.count() * 1000);
  };
  if (auto done = query(connection_, Query::lease_add, bind); !done) return std::move(done).error();
  return lease;
}

Result<std::optional<std::chrono::seconds>> Leases::keep(LeaseId lease) {
  std::optional<std::chrono::seconds> left;
  const auto bind = [&](Statement& s) { s.bind_number(1, lease), s.bind_number(2, now_ms()); };
  const auto row = [&](Statement& s) { left = std::chrono::seconds(s.number(0)); };
  if (auto done = query(connection_, Query::lease_keep, bind, row); !done) return std::move(done).error();
  return left;
}

Status Leases::forget(LeaseId lease) {
  const auto bind = [&](Statement& s) { s.bind_number(1, lease); };
  if (auto done = query(connection_, Query::leased_forget, bind); !done) return done;
  return query(connection_, Query::lease_forget, bind);
}

Result<std::vector<LeaseId>> Leases::ended() {
  std::vector<LeaseId> found;
  const auto bind = [&](Statement& s) { s.bind_number(1, now_ms()); };
  if (auto done = query(connection_, Query::lease_ended, bind, [&](Statement& s) { found.push_back(s.number(0)); }); !done) {
    return std::move(done).error();
  }
  return found;
}

Result<std::vector<std::string>> Leases::keys_of(LeaseId lease) {
  std::vector<std::string> found;
  const auto bind = [&](Statement& s) { s.bind_number(1, lease); };
  if (auto done = query(connection_, Query::leased_keys, bind, [&](Statement& s) { found.emplace_back(s.bytes(0)); }); !done) {
    return std::move(done).error();
  }
  return found;
}

Status Leases::write(std::string_view key, std::string_view value, Revision revision, LeaseId lease) {
  const auto entry = [&](Statement& s) { s.bind_key(1, key), s.bind_value(2, value), s.bind_number(3, revision); };
  if (auto done = query(connection_, Query::leased_put, entry); !done) return done;
  return query(connection_, Query::leased_note, [&](Statement& s) { s.bind_key(1, key), s.bind_number(2, lease); });
}

}  // namespace firn::kv
