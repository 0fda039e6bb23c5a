// firnctl policy log: the packets that log rules tell of on this host, as they come.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <ostream>

#include "cli/policy.hpp"
#include "cli/table.hpp"
#include "lib/json/json.hpp"
#include "lib/model/policy.hpp"
#include "lib/netlink/kernel.hpp"
#include "lib/netlink/packet_log.hpp"

namespace firn::cli {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds look_again{200};  // whether it shall end

volatile std::sig_atomic_t ended = 0;

struct Args {
  std::optional<int> group, count;
};

std::string time_of_day() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto part = std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm broken{};
  ::localtime_r(&seconds, &broken);
  char text[32];
  const size_t used = std::strftime(text, sizeof text, "%H:%M:%S", &broken);
  return std::string(text, used) + "." + std::to_string(1000 + part).substr(1);
}

std::string link_name(netlink::Kernel& kernel, int index) {
  if (index == 0) return {};
  const auto link = kernel.link(index);
  return link ? link->name : std::to_string(index);
}

std::string end_text(const Address& address, std::optional<uint16_t> port) {
  if (!port) return address.to_string();
  return (address.is_v4() ? address.to_string() : "[" + address.to_string() + "]") + ":" + std::to_string(*port);
}

std::string packet_text(const netlink::PacketSummary& packet) {
  std::string out = model::protocol_name(packet.protocol) + " " + end_text(packet.source, packet.source_port) + " > " +
                    end_text(packet.destination, packet.destination_port);
  if (packet.icmp_type) out += " type " + std::to_string(*packet.icmp_type) + " code " + std::to_string(*packet.icmp_code);
  if (!packet.flags.empty()) out += " " + packet.flags;
  return out + " " + std::to_string(packet.bytes) + " bytes";
}

void print(const Context& context, netlink::Kernel& kernel, const netlink::LoggedPacket& packet) {
  const auto summary = netlink::summarize(packet.start);
  const std::string text = summary ? packet_text(*summary) : "no IP packet";
  std::string rule = packet.prefix;
  while (!rule.empty() && rule.back() == ' ') rule.pop_back();
  const std::string in = link_name(kernel, packet.in_index), to = link_name(kernel, packet.out_index);
  if (context.output == Output::json) {
    json::Writer w;
    w.begin_object().field("time", time_of_day()).field("rule", rule).field_if("in", in).field_if("out", to).field("packet", text);
    context.out << w.end_object().text() << std::endl;
    return;
  }
  context.out << time_of_day() << "  " << printable(rule) << "  " << (in.empty() ? "" : "in " + printable(in) + "  ")
              << (to.empty() ? "" : "out " + printable(to) + "  ") << text << std::endl;
}

// The group of the cluster's settings, where they can be read.
Result<uint16_t> group_of(const Context& context, const Args& args) {
  if (args.group) return static_cast<uint16_t>(*args.group);
  auto cluster = context.cluster_store();
  if (!cluster) return std::move(cluster).error().context("looking up the group of log rules (or say it with --group)");
  auto entry = (*cluster)->get(model::keys::policy_settings);
  if (!entry) return std::move(entry).error();
  model::PolicySettings settings;
  if (*entry) {
    auto read = model::decode_policy_settings((*entry)->value);
    if (!read) return std::move(read).error().context(model::keys::policy_settings);
    settings = *std::move(read);
  }
  return static_cast<uint16_t>(settings.log_group);
}

Result<Exit> follow(const Context& context, const Args& args) {
  auto group = group_of(context, args);
  if (!group) return std::move(group).error();
  auto kernel = netlink::open_kernel();
  if (!kernel) return std::move(kernel).error();
  auto log = netlink::PacketLog::open(*group);
  if (!log) return std::move(log).error();
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { ended = 1; });
  for (int seen = 0; ended == 0 && (!args.count || seen < *args.count);) {
    auto packets = (*log)->read(look_again);
    if (!packets && packets.error().is(Code::interrupted)) {
      context.err << "firnctl: the kernel dropped some: they come faster than they are shown\n";
      continue;
    }
    if (!packets) return std::move(packets).error();
    for (const netlink::LoggedPacket& packet : *packets) {
      if (args.count && seen++ >= *args.count) break;
      print(context, **kernel, packet);
    }
  }
  return Exit::ok;
}

}  // namespace

void add_policy_log(Command& policy, Context& context) {
  auto args = std::make_shared<Args>();
  policy
      .verb("log", "Show the packets that log rules tell of on this host, until it is interrupted",
            "firnctl policy log\nfirnctl policy log --count 10 -o json", [args, &context] { return follow(context, *args); })
      .option("--group", "N", "nflog group (default: that of the cluster's settings)", Command::number(args->group, 0, 65535))
      .option("--count", "N", "End after so many", Command::number(args->count, 1, 1'000'000'000));
}

}  // namespace firn::cli
