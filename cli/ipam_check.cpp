// firnctl ipam check: does the node store agree with itself, with the cluster and with what is alive here? With --all: do the hosts
// agree with each other?
#include <iterator>
#include <ostream>

#include "cli/ipam.hpp"
#include "ipam/across.hpp"
#include "ipam/check.hpp"

namespace firn::cli {

namespace {

constexpr std::string_view alias_mark = "firn:";

std::string problems_json(const std::vector<ipam::Problem>& problems) {
  json::Writer w;
  w.begin_array();
  for (const ipam::Problem& p : problems) {
    w.begin_object()
        .field("kind", to_string(p.kind))
        .field("object", p.object)
        .field("words", p.words)
        .field("fixable", p.fixable)
        .end_object();
  }
  return std::move(w.end_array()).take();
}

std::string problems_text(const std::vector<ipam::Problem>& problems) {
  Table table({"PROBLEM", "OBJECT", "FIXABLE", "WHAT"});
  for (const ipam::Problem& p : problems) table.add({std::string(to_string(p.kind)), p.object, p.fixable ? "yes" : "no", p.words});
  return table.text();
}

// What belongs together: the stores stay open as long as the surroundings point to them.
struct Place {
  std::unique_ptr<kv::Store> node, cluster;
  ipam::Surroundings surroundings;
};

Result<Place> look_around(const Context& context) {
  Place place;
  auto cluster = context.cluster_if_any();
  if (!cluster) return std::move(cluster).error();
  place.cluster = std::move(*cluster);
  auto node = context.node_store();
  if (!node) return std::move(node).error();
  place.node = std::move(*node);
  auto self = context.identity(*place.node);
  if (!self) return std::move(self).error();
  auto boot = ipam::current_boot_id();
  if (!boot) return std::move(boot).error();
  // Links before records: an endpoint that is attached in between is then in the store at least.
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  auto interfaces = live_interfaces(**kernel);
  if (!interfaces) return std::move(interfaces).error();
  std::set<std::string> live;
  for (LiveInterface& interface : *interfaces) live.insert(std::move(interface.handle));
  place.surroundings.cluster = *self ? place.cluster.get() : nullptr;
  if (*self) place.surroundings.self = std::move(**self);
  place.surroundings.boot_id = std::move(*boot);
  place.surroundings.live = std::move(live);
  return place;
}

// The cluster store for what is between hosts; there is nothing to compare without one.
Result<kv::Store*> shared(const Context& context, const Place& place) {
  if (place.cluster != nullptr) return place.cluster.get();
  return make_error(Code::io, "this host has no cluster state in " + context.state_dir + "; run 'firnctl init' first");
}

void append(std::vector<ipam::Problem>& to, std::vector<ipam::Problem> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Result<Exit> check(const Context& context, bool all) {
  auto place = look_around(context);
  if (!place) return std::move(place).error();
  auto problems = ipam::check(*place->node, place->surroundings);
  if (!problems) return std::move(problems).error();
  if (all) {
    auto cluster = shared(context, *place);
    if (!cluster) return std::move(cluster).error();
    auto between = ipam::check_across(**cluster, *place->node, place->surroundings.self.name);
    if (!between) return std::move(between).error();
    append(*problems, std::move(*between));
  }
  context.print(problems_json(*problems), problems->empty() ? "no problems\n" : problems_text(*problems));
  if (problems->empty()) return Exit::ok;
  context.err << problems->size() << (problems->size() == 1 ? " problem" : " problems") << " found; 'firnctl ipam check"
              << (all ? " --all" : "") << " --fix' repairs the fixable ones\n";
  return Exit::problems;
}

Result<Exit> fix(const Context& context, bool all) {
  auto place = look_around(context);
  if (!place) return std::move(place).error();
  auto report = ipam::fix(*place->node, place->surroundings, context.clock);
  if (!report) return std::move(report).error();
  if (all) {
    auto cluster = shared(context, *place);
    if (!cluster) return std::move(cluster).error();
    auto between = ipam::fix_across(**cluster, *place->node, place->surroundings.self);
    if (!between) return std::move(between).error();
    append(report->fixed, std::move(between->fixed));
    append(report->left, std::move(between->left));
  }
  json::Writer w;
  w.begin_object().key("fixed").raw(problems_json(report->fixed)).key("left").raw(problems_json(report->left)).end_object();
  std::string text;
  if (report->fixed.empty() && report->left.empty()) text = "no problems\n";
  if (!report->fixed.empty()) text += "fixed:\n" + problems_text(report->fixed);
  if (!report->left.empty()) text += std::string(text.empty() ? "" : "\n") + "left:\n" + problems_text(report->left);
  context.print(w.text(), text);
  return report->left.empty() ? Exit::ok : Exit::problems;
}

}  // namespace

Result<std::vector<LiveInterface>> live_interfaces(netlink::Kernel& kernel) {
  auto links = kernel.links();
  if (!links) return std::move(links).error();
  std::vector<LiveInterface> out;
  for (netlink::Link& link : *links) {
    if (link.group == netlink::dead_group || !link.alias.starts_with(alias_mark)) continue;
    std::string handle = link.alias.substr(alias_mark.size());
    out.push_back(LiveInterface{std::move(handle), std::move(link)});
  }
  return out;
}

void add_ipam_check(Command& ipam, Context& context) {
  struct Args {
    bool repair = false, all = false;
  };
  auto args = std::make_shared<Args>();
  ipam.verb("check", "Look for leaked, lost and doubly held addresses",
            "firnctl ipam check\nfirnctl ipam check --fix\nfirnctl ipam check --all",
            [args, &context] { return args->repair ? fix(context, args->all) : check(context, args->all); })
      .flag("--fix", "Repair what can be repaired; an address that something alive may use is never freed", args->repair)
      .flag("--all", "Also between hosts: what all of them have claimed and published", args->all);
}

}  // namespace firn::cli
