#include "tests/policy/oracle.hpp"

#include <algorithm>
#include <tuple>

namespace firn::test {

namespace {

const std::vector<std::string> keys = {"app", "tier", "env"};
const std::vector<std::string> values = {"web", "db", "api", "prod", "stage", "w"};
const std::vector<std::string> spaces = {"default", "blue", "green"};
const std::vector<std::string> port_names = {"http", "dns"};

std::string quote(const std::string& value) { return "'" + value + "'"; }

bool inside(const std::vector<Prefix>& nets, const Address& address) {
  return std::ranges::any_of(nets, [&](const Prefix& net) { return net.family() == address.family() && net.contains(address); });
}

bool peer_matches(const World& world, const OraclePolicy& policy, const OraclePeer& peer, const Address& address, uint8_t protocol,
                  uint16_t port) {
  const OracleEndpoint* who = world.holder(address);
  if (peer.selector || peer.spaces) {
    if (who == nullptr) return false;
    if (peer.spaces) {
      if (!peer.spaces->eval(world.space_labels(who->space))) return false;
    } else if (!policy.scope.empty() && who->space != policy.scope) {
      return false;
    }
    if (peer.selector && !peer.selector->eval(who->labels)) return false;
  }
  if (!peer.nets.empty() && !inside(peer.nets, address)) return false;
  if (inside(peer.not_nets, address)) return false;
  if (peer.ports.empty()) return true;
  return std::ranges::any_of(peer.ports, [&](const model::PortMatch& match) {
    if (match.name.empty()) return match.first <= port && port <= match.last;
    if (who == nullptr) return false;
    return std::ranges::any_of(who->ports, [&](const model::NamedPort& named) {
      return named.name == match.name && named.protocol == protocol && named.port == port;
    });
  });
}

bool rule_matches(const World& world, const OraclePolicy& policy, const OracleRule& rule, const Packet& packet) {
  if (rule.family && *rule.family != packet.source.family()) return false;
  if (rule.protocol && *rule.protocol != packet.protocol) return false;
  if (rule.icmp_type && *rule.icmp_type != packet.icmp_type) return false;
  if (rule.icmp_code && *rule.icmp_code != packet.icmp_code) return false;
  return peer_matches(world, policy, rule.source, packet.source, packet.protocol, packet.source_port) &&
         peer_matches(world, policy, rule.destination, packet.destination, packet.protocol, packet.destination_port);
}

bool selected(const World& world, const OraclePolicy& policy, const OracleEndpoint& endpoint) {
  if (!policy.scope.empty() && policy.scope != endpoint.space) return false;
  if (policy.spaces && !policy.spaces->eval(world.space_labels(endpoint.space))) return false;
  return policy.selector.eval(endpoint.labels);
}

bool allowed(const World& world, const OracleEndpoint& endpoint, bool ingress, const Packet& packet) {
  std::vector<const OraclePolicy*> line;
  for (const auto& [key, policy] : world.policies) {
    if ((ingress ? policy.ingress : policy.egress) && selected(world, policy, endpoint)) line.push_back(&policy);
  }
  std::ranges::sort(line, [](const OraclePolicy* a, const OraclePolicy* b) {
    return std::make_tuple(a->order, !a->scope.empty(), a->scope, a->name) <
           std::make_tuple(b->order, !b->scope.empty(), b->scope, b->name);
  });
  bool passed_last = false;
  for (const OraclePolicy* policy : line) {
    passed_last = false;
    for (const OracleRule& rule : ingress ? policy->in : policy->out) {
      if (!rule_matches(world, *policy, rule, packet)) continue;
      if (rule.action == model::PolicyAction::allow) return true;
      if (rule.action == model::PolicyAction::deny) return false;
      if (rule.action == model::PolicyAction::log) continue;
      passed_last = true;
      break;
    }
  }
  return line.empty() || passed_last ? !world.default_deny : false;
}

model::PolicyPeer record_of(const OraclePeer& peer) {
  model::PolicyPeer out;
  if (peer.selector) out.selector = peer.selector->print();
  if (peer.spaces) out.namespace_selector = peer.spaces->print();
  out.nets = peer.nets;
  out.not_nets = peer.not_nets;
  out.ports = peer.ports;
  return out;
}

model::PolicyRule record_of(const OracleRule& rule) {
  model::PolicyRule out;
  out.action = rule.action;
  out.family = rule.family;
  out.protocol = rule.protocol;
  out.icmp_type = rule.icmp_type;
  out.icmp_code = rule.icmp_code;
  out.source = record_of(rule.source);
  out.destination = record_of(rule.destination);
  return out;
}

}  // namespace

bool Tree::eval(const Labels& labels) const {
  const auto it = labels.find(key);
  const bool there = it != labels.end();
  const auto is_one = [&] { return there && std::ranges::find(values, it->second) != values.end(); };
  switch (kind) {
    case Kind::all: return true;
    case Kind::equal: return there && it->second == values[0];
    case Kind::unequal: return !(there && it->second == values[0]);
    case Kind::has: return there;
    case Kind::in: return is_one();
    case Kind::not_in: return !is_one();
    case Kind::starts: return there && it->second.starts_with(values[0]);
    case Kind::ends: return there && it->second.ends_with(values[0]);
    case Kind::contains: return there && it->second.find(values[0]) != std::string::npos;
    case Kind::both: return parts[0].eval(labels) && parts[1].eval(labels);
    case Kind::either: return parts[0].eval(labels) || parts[1].eval(labels);
    case Kind::no: return !parts[0].eval(labels);
  }
  return false;
}

std::string Tree::print() const {
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "" : ", ") + quote(value);
  switch (kind) {
    case Kind::all: return "all()";
    case Kind::equal: return key + " == " + list;
    case Kind::unequal: return key + " != " + list;
    case Kind::has: return "has(" + key + ")";
    case Kind::in: return key + " in {" + list + "}";
    case Kind::not_in: return key + " not in {" + list + "}";
    case Kind::starts: return key + " starts with " + list;
    case Kind::ends: return key + " ends with " + list;
    case Kind::contains: return key + " contains " + list;
    case Kind::both: return "(" + parts[0].print() + ") && (" + parts[1].print() + ")";
    case Kind::either: return "(" + parts[0].print() + ") || (" + parts[1].print() + ")";
    case Kind::no: return "!(" + parts[0].print() + ")";
  }
  return {};
}

model::Policy OraclePolicy::record() const {
  model::Policy made;
  made.scope = scope;
  made.name = name;
  made.order = order;
  made.selector = selector.print();
  if (spaces) made.namespace_selector = spaces->print();
  made.applies_ingress = ingress;
  made.applies_egress = egress;
  for (const OracleRule& rule : in) made.ingress.push_back(record_of(rule));
  for (const OracleRule& rule : out) made.egress.push_back(record_of(rule));
  return made;
}

Labels World::space_labels(const std::string& name) const {
  const auto it = spaces.find(name);
  Labels out = it == spaces.end() ? Labels() : it->second;
  out["kubernetes.io/metadata.name"] = name;
  return out;
}

const OracleEndpoint* World::holder(const Address& address) const {
  for (const auto& [id, endpoint] : endpoints) {
    if (std::ranges::find(endpoint.addresses, address) != endpoint.addresses.end()) return &endpoint;
  }
  return nullptr;
}

bool passes(const World& world, const Packet& packet) {
  const OracleEndpoint* from = world.holder(packet.source);
  const OracleEndpoint* to = world.holder(packet.destination);
  if (from != nullptr && from->here && !allowed(world, *from, false, packet)) return false;
  if (to != nullptr && to->here && !allowed(world, *to, true, packet)) return false;
  return true;
}

Tree Generator::tree(int depth) {
  Tree out;
  if (depth > 0 && chance(40)) {
    out.kind = static_cast<Tree::Kind>(number(static_cast<int>(Tree::Kind::both), static_cast<int>(Tree::Kind::no)));
    out.parts.push_back(tree(depth - 1));
    if (out.kind != Tree::Kind::no) out.parts.push_back(tree(depth - 1));
    return out;
  }
  out.kind = static_cast<Tree::Kind>(number(0, static_cast<int>(Tree::Kind::contains)));
  if (out.kind == Tree::Kind::all) return out;
  out.key = pick(keys);
  if (out.kind == Tree::Kind::has) return out;
  const bool many = out.kind == Tree::Kind::in || out.kind == Tree::Kind::not_in;
  for (int i = many ? number(1, 3) : 1; i > 0; --i) out.values.push_back(pick(values));
  return out;
}

Labels Generator::labels() {
  Labels out;
  for (const std::string& key : keys) {
    if (chance(60)) out[key] = pick(values);
  }
  return out;
}

OraclePeer Generator::peer(bool ports, bool scoped) {
  OraclePeer out;
  if (chance(40)) out.selector = tree(1);
  if (chance(scoped ? 30 : 20)) {
    Tree spaces_tree = tree(1);
    if (chance(50)) {
      spaces_tree = Tree{Tree::Kind::equal, "kubernetes.io/metadata.name", {pick(spaces)}, {}};
    }
    out.spaces = spaces_tree;
  }
  static const std::vector<std::string> nets = {"10.44.0.0/24",    "10.44.0.0/30",  "10.44.0.4/30", "10.45.0.0/16",
                                                "198.51.100.0/24", "0.0.0.0/0",     "fd00:44::/64", "fd00:44::/126",
                                                "fd00:45::/64",    "2001:db8::/32", "::/0",         "198.51.100.8/29"};
  if (chance(20)) {
    for (int i = number(1, 3); i > 0; --i) out.nets.push_back(*Prefix::parse(pick(nets)));
  }
  if (chance(12)) {
    for (int i = number(1, 2); i > 0; --i) out.not_nets.push_back(*Prefix::parse(pick(nets)));
  }
  if (ports) {
    for (int i = number(1, 3); i > 0; --i) {
      model::PortMatch match;
      if (chance(25)) {
        match.name = pick(port_names);
      } else {
        static const int starts[] = {53, 80, 443, 8000, 8080, 20000, 40000};
        match.first = static_cast<uint16_t>(starts[number(0, 6)]);
        match.last = static_cast<uint16_t>(match.first + (chance(40) ? number(1, 20000) : 0));
      }
      out.ports.push_back(match);
    }
  }
  return out;
}

OracleRule Generator::rule(bool scoped) {
  OracleRule out;
  const int action = number(1, 100);
  out.action = action <= 55   ? model::PolicyAction::allow
               : action <= 75 ? model::PolicyAction::deny
               : action <= 90 ? model::PolicyAction::pass
                              : model::PolicyAction::log;
  if (chance(15)) out.family = chance(50) ? Family::v4 : Family::v6;
  if (chance(60)) {
    static const uint8_t protocols[] = {6, 6, 6, 17, 17, 132, 1, 58, 99};
    out.protocol = protocols[number(0, 8)];
    if ((*out.protocol == 1 || *out.protocol == 58) && chance(60)) {
      out.icmp_type = *out.protocol == 1 ? (chance(60) ? 8 : 13) : (chance(60) ? 128 : 140);
      if (chance(40)) out.icmp_code = static_cast<uint8_t>(number(0, 1));
    }
  }
  const bool ports = out.protocol && (*out.protocol == 6 || *out.protocol == 17 || *out.protocol == 132);
  out.source = peer(ports && chance(15), scoped);
  out.destination = peer(ports && chance(60), scoped);
  if (chance(50)) (chance(50) ? out.source : out.destination) = OraclePeer{};
  return out;
}

OraclePolicy Generator::policy(int serial) {
  OraclePolicy out;
  if (chance(65)) out.scope = pick(spaces);
  out.name = "p" + std::to_string(serial);
  out.order = chance(60) ? 1000 : number(0, 3) * 10;
  out.selector = tree(2);
  if (out.scope.empty() && chance(40))
    out.spaces = chance(50) ? tree(1) : Tree{Tree::Kind::equal, "kubernetes.io/metadata.name", {pick(spaces)}, {}};
  out.ingress = chance(65);
  out.egress = !out.ingress || chance(40);
  for (int i = number(0, 3); i > 0; --i) out.in.push_back(rule(!out.scope.empty()));
  for (int i = number(0, 3); i > 0; --i) out.out.push_back(rule(!out.scope.empty()));
  return out;
}

OracleEndpoint Generator::endpoint(const Address& v4, const Address& v6) {
  OracleEndpoint out;
  out.space = pick(spaces);
  out.labels = labels();
  out.addresses = {v4, v6};
  for (const std::string& name : port_names) {
    if (chance(50))
      out.ports.push_back({name, static_cast<uint8_t>(chance(70) ? 6 : 17), static_cast<uint16_t>(chance(50) ? 80 : 8080)});
  }
  return out;
}

Packet Generator::packet(const World& world, uint16_t unique) {
  const bool v6 = chance(40);
  const auto outside = [&] {
    const auto last = static_cast<unsigned>(number(1, 14));
    return v6 ? Address::v6((uint128{0x20010db800000000} << 64) + last) : Address::v4(0xc6336400 + last);
  };
  std::vector<Address> known;
  std::vector<Address> here;
  for (const auto& [id, endpoint] : world.endpoints) {
    known.push_back(endpoint.addresses[v6 ? 1 : 0]);
    if (endpoint.here) here.push_back(known.back());
  }
  const auto any = [&](const std::vector<Address>& from) {
    return from[static_cast<size_t>(number(0, static_cast<int>(from.size()) - 1))];
  };
  Packet out;
  do {
    out.source = chance(80) ? any(known) : outside();
    out.destination = chance(80) ? any(known) : outside();
    // At least one end is here, or nobody asks firn.
    (chance(50) ? out.source : out.destination) = any(here);
  } while (out.source == out.destination);
  static const uint8_t protocols[] = {6, 6, 6, 17, 17, 132, 1, 99};
  out.protocol = protocols[number(0, 7)];
  if (out.protocol == 1 && v6) out.protocol = 58;
  static const uint16_t ports[] = {53, 80, 443, 8000, 8080, 8081, 9000};
  if (out.protocol == 6 || out.protocol == 17 || out.protocol == 132) {
    out.source_port = unique;
    out.destination_port = ports[number(0, 6)];
  } else if (out.protocol == 1) {
    out.icmp_type = chance(70) ? 8 : 13;
    out.icmp_code = static_cast<uint8_t>(number(0, 1));
  } else if (out.protocol == 58) {
    out.icmp_type = chance(70) ? 128 : 140;
    out.icmp_code = static_cast<uint8_t>(number(0, 1));
  } else if (out.destination < out.source) {
    // Without ports the way back is the same flow: it is asked in one direction alone.
    std::swap(out.source, out.destination);
  }
  return out;
}

}  // namespace firn::test
