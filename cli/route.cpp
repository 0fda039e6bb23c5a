// firnctl route: firn's routes, and why an address is reachable or not.
#include <algorithm>
#include <ostream>

#include "cli/nouns.hpp"
#include "cli/parse.hpp"
#include "cli/route_why.hpp"
#include "lib/model/keys.hpp"
#include "lib/netlink/kernel.hpp"

namespace firn::cli {

std::string protocol_text(uint8_t protocol) {
  switch (protocol) {
    case 2: return "kernel";
    case 3: return "boot";
    case 4: return "static";
    case 11: return "zebra";
    case 12: return "bird";
    case 16: return "dhcp";
    case 186: return "bgp";
    case netlink::route_protocol: return "firn";
    default: return std::to_string(protocol);
  }
}

namespace {

std::string type_text(netlink::RouteType type) {
  switch (type) {
    case netlink::RouteType::unicast: return "unicast";
    case netlink::RouteType::local: return "local";
    case netlink::RouteType::blackhole: return "blackhole";
    case netlink::RouteType::unreachable: return "unreachable";
    case netlink::RouteType::prohibit: return "prohibit";
  }
  return "other";
}

// Whose route it is: the handle of an endpoint, or the pool of a block. Without a node store nobody can say.
Result<std::map<Prefix, std::string>> owners(const Context& context) {
  std::map<Prefix, std::string> out;
  auto node = context.node_store();
  if (!node) return out;
  auto blocks = list_records(**node, model::keys::blocks, model::decode_block);
  if (!blocks) return std::move(blocks).error();
  for (const model::Block& block : *blocks) out[block.prefix] = "pool " + block.pool;
  auto endpoints = list_records(**node, model::keys::endpoints, model::decode_endpoint);
  if (!endpoints) return std::move(endpoints).error();
  for (const model::Endpoint& endpoint : *endpoints) {
    for (const Address& address : endpoint.addresses) out[Prefix::host(address)] = model::handle_of(endpoint);
  }
  return out;
}

Result<Exit> list(const Context& context) {
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  netlink::RouteFilter filter;
  filter.protocol = netlink::route_protocol;
  auto routes = (*kernel)->routes(filter);
  if (!routes) return std::move(routes).error();
  auto links = (*kernel)->links();
  if (!links) return std::move(links).error();
  auto names = owners(context);
  if (!names) return std::move(names).error();
  std::map<int, std::string> devices;
  for (const netlink::Link& link : *links) devices[link.index] = link.name;
  std::sort(routes->begin(), routes->end(), [](const netlink::Route& a, const netlink::Route& b) {
    return std::tie(a.destination, a.metric) < std::tie(b.destination, b.metric);
  });

  json::Writer w;
  w.begin_array();
  Table table({"DESTINATION", "TYPE", "DEVICE", "METRIC", "OWNER"});
  for (const netlink::Route& route : *routes) {
    const auto owner = names->find(route.destination);
    const std::string text = owner == names->end() ? "" : owner->second;
    const std::string device = route.oif == 0 || route.type == netlink::RouteType::blackhole ? "" : devices[route.oif];
    table.add({route.destination.to_string(), type_text(route.type), device, route.metric == 0 ? "" : std::to_string(route.metric),
               text});
    w.begin_object()
        .field("destination", route.destination.to_string())
        .field("type", type_text(route.type))
        .field_if("device", device);
    w.field("metric", route.metric).field_if("owner", text).end_object();
  }
  return context.print(w.end_array().text(), table, "no routes of firn in this network namespace");
}

std::string_view to_string(Step::State state) {
  switch (state) {
    case Step::State::ok: return "ok";
    case Step::State::none: return "none";
    case Step::State::unknown: return "unknown";
    case Step::State::broken: return "BROKEN";
  }
  return "";
}

Result<Exit> why(const Context& context, const Address& address) {
  auto chain = follow(context, address);
  if (!chain) return std::move(chain).error();
  return print_chain(context, "address", address.to_string(), *chain);
}

}  // namespace

Exit print_chain(const Context& context, std::string_view kind, const std::string& what, const Chain& chain) {
  json::Writer w;
  w.begin_object().field(kind, what).field("whole", chain.whole()).key("steps").begin_array();
  Table table({"STEP", "STATE", "REASON"});
  for (const Step& step : chain.steps) {
    table.add({step.what, std::string(to_string(step.state)), step.detail});
    w.begin_object().field("step", step.what).field("state", step.state == Step::State::broken ? "broken" : to_string(step.state));
    w.field("reason", step.detail).field_if("try", step.advice).end_object();
  }
  std::string verdict;
  if (chain.whole()) {
    verdict = what + ": the chain is whole\n";
  } else {
    const Step& last = chain.steps.back();
    verdict = what + ": the chain breaks at " + last.what + ": " + printable(last.detail) +
              (last.advice.empty() ? "" : "; " + last.advice) + "\n";
  }
  context.print(w.end_array().end_object().text(), table.text() + "\n" + verdict);
  if (chain.whole()) return Exit::ok;
  return chain.steps.size() == 1 ? Exit::not_found : Exit::problems;
}

void add_route(Command& root, Context& context) {
  Command group = root.group("route", "Routes that firn made, and where they lead");
  group.verb("list", "List firn's routes in this network namespace", "firnctl route list", [&context] { return list(context); });

  auto address = std::make_shared<std::optional<Address>>();
  group
      .verb("why", "Follow an address: pool, block, endpoint, kernel route, announcement; say where the chain breaks",
            "firnctl route why 10.44.0.7", [address, &context] { return why(context, **address); })
      .positional("ADDRESS", "An address of a container", take_address(*address));
}

}  // namespace firn::cli
