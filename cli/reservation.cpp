// firnctl reservation: addresses that are never given out.
#include "cli/kind.hpp"
#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "lib/model/keys.hpp"

namespace firn::cli {

namespace {

constexpr size_t longest_note = 200;

Status validate(const model::Reservation& reservation) {
  if (reservation.note.size() > longest_note) return make_error(Code::invalid, "/note: has more than 200 bytes");
  return {};
}

// Addresses that containers hold stay theirs; they are named, so that nobody is surprised.
Status name_holders(const Context& context, Stores& stores, const model::Reservation& reservation) {
  auto leases = list_records(*stores.node, model::keys::leases, model::decode_lease);
  if (!leases) return std::move(leases).error();
  for (const model::Lease& lease : *leases) {
    if (reservation.cidr.contains(lease.address)) {
      context.err << "note: " << lease.address.to_string() << " stays with " << lease.handle << " until it is released\n";
    }
  }
  return {};
}

Result<Exit> add(const Context& context, const model::Reservation& reservation) {
  if (auto good = validate(reservation); !good) return as_option(std::move(good).error());
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  const std::string key = model::keys::reservation(reservation.cidr);
  auto before = get_record(*stores->cluster, key, model::decode_reservation);
  if (!before) return std::move(before).error();
  if (*before && **before == reservation)
    return context.done(reservation.cidr.to_string() + " is reserved already", model::encode(reservation));
  if (auto put = put_record(*stores->cluster, key, model::encode(reservation)); !put) return std::move(put).error();
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  if (auto named = name_holders(context, *stores, reservation); !named) return std::move(named).error();
  return context.done(reservation.cidr.to_string() + " is reserved", model::encode(reservation));
}

Result<Exit> list(const Context& context) {
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error();
  auto reservations = list_records(**cluster, model::keys::reservations, model::decode_reservation);
  if (!reservations) return std::move(reservations).error();
  if (context.output == Output::yaml) return print_yaml(context, reservation_kind(), *reservations);
  Table table({"CIDR", "NOTE"});
  for (const model::Reservation& reservation : *reservations) table.add({reservation.cidr.to_string(), reservation.note});
  return context.print(encode_all(*reservations), table, "no reservations; make one with: firnctl reservation add CIDR");
}

Result<Exit> remove(const Context& context, const Prefix& cidr) {
  auto stores = context.stores();
  if (!stores) return std::move(stores).error();
  const std::string key = model::keys::reservation(cidr);
  auto committed = stores->cluster->transact([&](kv::Transaction& tx) -> Status {
    auto value = tx.get(key);
    if (!value) return std::move(value).error();
    if (!value->has_value()) {
      return make_error(Code::not_found, cidr.to_string() + " is not a reservation; 'firnctl reservation list' shows them");
    }
    tx.erase(key);
    return {};
  });
  if (!committed) return std::move(committed).error();
  if (auto mirrored = context.mirror(*stores); !mirrored) return std::move(mirrored).error();
  return context.done(cidr.to_string() + " is no longer reserved", model::encode(model::Reservation{cidr, ""}));
}

}  // namespace

Kind reservation_kind() {
  Description<model::Reservation> d;
  d.kind.name = "Reservation";
  d.kind.name_field = "cidr";
  d.kind.keys = model::keys::reservations;
  d.kind.key = [](const std::string& name) -> Result<std::string> {
    auto cidr = Prefix::parse(name);
    if (!cidr) return std::move(cidr).error();
    return model::keys::reservation(*cidr);
  };
  d.kind.heads = {"NOTE"};
  d.name = [](const model::Reservation& reservation) { return reservation.cidr.to_string(); };
  d.decode = model::decode_reservation;
  d.row = [](const model::Reservation& reservation) { return std::vector<std::string>{reservation.note}; };
  d.validate = validate;
  d.note = name_holders;
  return erased(std::move(d));
}

void add_reservation(Command& root, Context& context) {
  Command group = root.group("reservation", "Addresses that are never given out");

  auto reservation = std::make_shared<model::Reservation>();
  group
      .verb("add", "Reserve an address or a range",
            "firnctl reservation add 10.44.0.0/28 --note routers\nfirnctl reservation add 10.44.7.7",
            [reservation, &context] { return add(context, *reservation); })
      .positional("CIDR", "The addresses; one alone may be given without a length", take_prefix(reservation->cidr))
      .option("--note", "TEXT", "Why, for people", Command::text(reservation->note));

  group.verb("list", "List the reservations", "firnctl reservation list", [&context] { return list(context); });

  auto removed = std::make_shared<Prefix>();
  group
      .verb("remove", "End a reservation", "firnctl reservation remove 10.44.0.0/28",
            [removed, &context] { return remove(context, *removed); })
      .positional("RESERVATION", "Its CIDR, as listed", take_prefix(*removed));
}

}  // namespace firn::cli
