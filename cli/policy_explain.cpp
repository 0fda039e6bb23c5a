// firnctl policy explain: what the policies say about a packet, and which rule decides, at both of its ends. Asks no kernel: it is
// what the stores mean, which is what every host makes of them.
#include <algorithm>

#include "cli/parse.hpp"
#include "cli/policy.hpp"
#include "cli/policy_text.hpp"
#include "cli/policy_world.hpp"
#include "lib/policy/check.hpp"

namespace firn::cli {

namespace {

using policy::Decision;
using policy::Direction;
using policy::Ground;

struct Port {
  uint8_t protocol = 0;
  uint16_t number = 0;
};

struct Args {
  std::string from, to, interface;
  std::optional<Port> port;
  std::optional<uint8_t> protocol;
  std::optional<std::pair<int, int>> icmp;  // type and code
  std::optional<int> source_port;
};

constexpr uint8_t icmp = 1, icmpv6 = 58;
constexpr int usual_source_port = 32768;  // the first that Linux gives a client

// What was asked: "tcp 443", "icmp type 8 code 0".
std::string packet_text(const policy::Packet& packet) {
  std::string out = model::protocol_name(packet.protocol);
  if (model::has_ports(packet.protocol)) return out + " " + std::to_string(packet.destination_port);
  if (packet.protocol == icmp || packet.protocol == icmpv6)
    return out + " type " + std::to_string(packet.icmp_type) + " code " + std::to_string(packet.icmp_code);
  return out.find_first_not_of("0123456789") == std::string::npos ? "protocol " + out : out;
}

policy::Packet packet_of(const Args& args, Family family) {
  policy::Packet out;
  if (args.icmp) {
    out.protocol = family == Family::v4 ? icmp : icmpv6;
    out.icmp_type = static_cast<uint8_t>(args.icmp->first);
    out.icmp_code = static_cast<uint8_t>(args.icmp->second);
    return out;
  }
  out.protocol = args.port ? args.port->protocol : *args.protocol;
  if (!args.port) return out;
  out.destination_port = args.port->number;
  out.source_port = static_cast<uint16_t>(args.source_port.value_or(usual_source_port));
  return out;
}

std::string_view word_of(Ground ground) {
  switch (ground) {
    case Ground::rule: return "rule";
    case Ground::no_rule: return "no_rule";
    case Ground::by_default: return "default";
    case Ground::nobody: return "nobody";
    case Ground::itself: return "itself";
    case Ground::same_host: return "same_host";
    case Ground::failsafe: return "failsafe";
    case Ground::link: return "link";
  }
  return "";
}

struct Side {
  Direction direction;
  std::string name;  // of the end whose policies were asked
  const Decision* decision;
};

class Explanation {
 public:
  explicit Explanation(const World& world) : world_(world) {}

  void add(const Party& from, const Party& to, const policy::End& source, const policy::End& destination,
           const policy::Packet& packet) {
    const policy::Verdict verdict = world_.evaluator.judge(source, destination, packet);
    allowed_ = allowed_ && verdict.allowed();
    const std::string title = title_of(from.name, source) + " to " + title_of(to.name, destination) + ", " + packet_text(packet);
    text_ += (text_.empty() ? "" : "\n") + printable(title) + "\n\n";
    json_.begin_object();
    json_.field("from", from.name).field("source", source.address.to_string());
    json_.field("to", to.name).field("destination", destination.address.to_string());
    json_.field("packet", packet_text(packet)).field("allowed", verdict.allowed());
    Table table({"DIRECTION", "POLICY", "RULE", "WHAT"});
    std::string sentences;
    for (const Side& side :
         {Side{Direction::egress, from.name, &verdict.egress}, Side{Direction::ingress, to.name, &verdict.ingress}}) {
      add_steps(table, side);
      sentences += sentence(side) + "\n";
      write(side);
    }
    json_.end_object();
    if (!table.empty()) text_ += table.text() + "\n";
    text_ += printable_lines(sentences) + (verdict.allowed() ? "allowed\n" : "denied\n");
  }

  Exit print(const Context& context) {
    context.print("[" + json_.text() + "]", text_);
    return allowed_ ? Exit::ok : Exit::problems;
  }

 private:
  static std::string title_of(const std::string& name, const policy::End& end) {
    const std::string address = end.address.to_string();
    return name == address ? name : name + " (" + address + ")";
  }
  static std::string printable_lines(const std::string& lines) {
    std::string out;
    for (const std::string& line : split(lines, '\n')) {
      if (!line.empty()) out += printable(line) + "\n";
    }
    return out;
  }
  const model::Policy& policy_of(const policy::Step& step) const { return world_.evaluator.policies()[step.policy]; }
  const model::PolicyRule& rule_of(const policy::Step& step, Direction direction, size_t rule) const {
    const model::Policy& policy = policy_of(step);
    return (direction == Direction::ingress ? policy.ingress : policy.egress)[rule];
  }

  void add_steps(Table& table, const Side& side) const {
    const std::string direction(to_string(side.direction));
    for (const policy::Step& step : side.decision->path) {
      const std::string title = policy::title_of(policy_of(step));
      for (const size_t rule : step.logged)
        table.add({direction, title, std::to_string(rule + 1), rule_text(rule_of(step, side.direction, rule))});
      if (step.rule)
        table.add({direction, title, std::to_string(*step.rule + 1), rule_text(rule_of(step, side.direction, *step.rule))});
      else table.add({direction, title, "", "no rule matches"});
    }
  }

  std::string sentence(const Side& side) const {
    const Decision& decision = *side.decision;
    const std::string head =
        std::string(to_string(side.direction)) + " of " + side.name + ": " + (decision.allowed ? "allowed" : "denied");
    switch (decision.ground) {
      case Ground::rule: {
        const policy::Step& last = decision.path.back();
        return head + " by " + std::string(to_string(side.direction)) + " rule " + std::to_string(*last.rule + 1) + " of " +
               policy::title_of(policy_of(last));
      }
      case Ground::no_rule: return head + ": policies select it, and none of their rules allows this";
      case Ground::by_default:
        return head + (decision.path.empty() ? ": no policy selects it, and that is the default"
                                             : ": the last policy passed, and that is the default");
      case Ground::nobody: return head + ": no policy is about it";
      case Ground::itself: return head + ": the packet stays inside of the container";
      case Ground::same_host: return head + ": a host and its own containers; only what a container sends is decided";
      case Ground::failsafe: return head + ": a failsafe port of the policy settings";
      case Ground::link: return head + ": the link needs it";
    }
    return head;
  }

  void write(const Side& side) {
    const Decision& decision = *side.decision;
    json_.key(to_string(side.direction))
        .begin_object()
        .field("allowed", decision.allowed)
        .field("ground", word_of(decision.ground));
    json_.key("path").begin_array();
    for (const policy::Step& step : decision.path) {
      const model::Policy& policy = policy_of(step);
      json_.begin_object().field_if("namespace", policy.scope).field("policy", policy.name);
      json_.key("logged").begin_array();
      for (const size_t rule : step.logged) json_.value(static_cast<uint64_t>(rule + 1));
      json_.end_array();
      if (step.rule) {
        json_.field("rule", static_cast<uint64_t>(*step.rule + 1));
        json_.field("action", to_string(rule_of(step, side.direction, *step.rule).action));
      }
      json_.end_object();
    }
    json_.end_array().end_object();
  }

  const World& world_;
  bool allowed_ = true;
  std::string text_;
  json::Writer json_;
};

Status check(const Args& args) {
  if (args.from.empty()) return make_error(Code::invalid, "--from: is required");
  if (args.to.empty()) return make_error(Code::invalid, "--to: is required");
  const int kinds = (args.port ? 1 : 0) + (args.protocol ? 1 : 0) + (args.icmp ? 1 : 0);
  if (kinds != 1) return make_error(Code::invalid, "say what is sent with one of --port, --icmp and --protocol");
  if (args.source_port && !args.port) return make_error(Code::invalid, "--source-port: goes with --port");
  return {};
}

Result<Exit> explain(const Context& context, const Args& args) {
  if (auto good = check(args); !good) return std::move(good).error();
  auto world = read_world(context);
  if (!world) return std::move(world).error();
  auto from = find_party(*world, args.from);
  if (!from) return std::move(from).error().context("--from");
  auto to = find_party(*world, args.to);
  if (!to) return std::move(to).error().context("--to");
  Explanation explanation(*world);
  bool any = false;
  for (const Family family : {Family::v4, Family::v6}) {
    const auto has = [family](const Party& party) {
      return std::any_of(party.addresses.begin(), party.addresses.end(), [&](const Address& a) { return a.family() == family; });
    };
    if (!has(*from) || !has(*to)) continue;
    auto source = end_of(*world, *from, family, args.interface);
    if (!source) return std::move(source).error();
    auto destination = end_of(*world, *to, family, args.interface);
    if (!destination) return std::move(destination).error();
    explanation.add(*from, *to, *source, *destination, packet_of(args, family));
    any = true;
  }
  if (!any) return make_error(Code::invalid, from->name + " and " + to->name + " have no addresses of one family");
  return explanation.print(context);
}

// "443", "53/udp".
Take take_port(std::optional<Port>& target) {
  return [&target](const std::string& text) -> Status {
    const size_t slash = std::min(text.find('/'), text.size());
    auto protocol = model::parse_protocol(slash == text.size() ? "tcp" : text.substr(slash + 1));
    if (!protocol) return std::move(protocol).error();
    if (!model::has_ports(*protocol)) return make_error(Code::invalid, "only tcp, udp and sctp have ports");
    auto number = parse_number(text.substr(0, slash), 1, 65535);
    if (!number) return std::move(number).error();
    target = Port{*protocol, static_cast<uint16_t>(*number)};
    return {};
  };
}

// "8", "3/1".
Take take_icmp(std::optional<std::pair<int, int>>& target) {
  return [&target](const std::string& text) -> Status {
    const size_t slash = std::min(text.find('/'), text.size());
    auto type = parse_number(text.substr(0, slash), 0, 255);
    if (!type) return std::move(type).error();
    auto code = slash == text.size() ? Result<int>(0) : parse_number(text.substr(slash + 1), 0, 255);
    if (!code) return std::move(code).error();
    target = std::pair(*type, *code);
    return {};
  };
}

Take take_protocol(std::optional<uint8_t>& target) {
  return [&target](const std::string& text) -> Status {
    auto protocol = model::parse_protocol(text);
    if (!protocol) return std::move(protocol).error();
    if (model::has_ports(*protocol)) return make_error(Code::invalid, text + " has ports; say which with --port");
    if (*protocol == icmp || *protocol == icmpv6) return make_error(Code::invalid, text + " has types; say which with --icmp");
    target = *protocol;
    return {};
  };
}

}  // namespace

void add_policy_explain(Command& policy, Context& context) {
  auto args = std::make_shared<Args>();
  policy
      .verb("explain", "Say whether a new flow is allowed, and which rules decide at both ends; exit code 3 when it is denied",
            "firnctl policy explain --from shop/web-1 --to shop/db-0 --port 5432/tcp\n"
            "firnctl policy explain --from 192.0.2.7 --to 0123456789ab --port 53/udp\n"
            "firnctl policy explain --from shop/web-1 --to 10.44.0.7 --icmp 8",
            [args, &context] { return explain(context, *args); })
      .option("--from", "END", "NAMESPACE/NAME of a pod, container id or its beginning, handle, or address",
              Command::text(args->from))
      .option("--to", "END", "The same", Command::text(args->to))
      .option("--port", "PORT[/PROTOCOL]", "To this port of tcp (default), udp or sctp", take_port(args->port))
      .option("--source-port", "PORT", "From this one (default: 32768)", Command::number(args->source_port, 1, 65535))
      .option("--icmp", "TYPE[/CODE]", "A message of ICMP, or of ICMPv6 between IPv6 addresses", take_icmp(args->icmp))
      .option("--protocol", "PROTOCOL", "Another protocol, by its number", take_protocol(args->protocol))
      .option("--interface", "IF", "Of a host with several host endpoints: the interface that the packets pass",
              Command::text(args->interface));
}

}  // namespace firn::cli
