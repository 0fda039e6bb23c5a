#include "routed/bird/handover.hpp"

#include <utility>

#include "routed/bird/config.hpp"

namespace firn::routed::bird {

namespace {

using std::chrono::seconds;

constexpr seconds quiet{5}, long_up{30}, patience{60};

}  // namespace

bool Settling::look(const std::string& plan, const std::vector<std::string>& wanted, const std::vector<Session>& sessions,
                    TimePoint now) {
  std::map<std::string_view, const Session*> by_name;
  for (const Session& session : sessions) by_name.emplace(session.protocol, &session);
  std::string up, counts;
  size_t established = 0;
  for (const std::string& protocol : wanted) {
    const auto it = by_name.find(protocol);
    if (it == by_name.end() || !it->second->established()) continue;
    ++established;
    up.append(protocol).append(" ");
    counts.append(protocol);
    for (const Channel& channel : it->second->channels) counts.append(" ").append(std::to_string(channel.imported));
  }
  const bool other_plan = !begun_ || plan != plan_;
  begun_ = true;
  plan_ = plan;
  if (other_plan) since_ = now;
  if (std::exchange(up_, up) != up || other_plan) up_since_ = now;
  if (std::exchange(counts_, counts) != counts || other_plan) counts_since_ = now;
  if (wanted.empty()) return true;
  if (established == wanted.size() && (now - counts_since_ >= quiet || now - up_since_ >= long_up)) return true;
  return established > 0 && now - since_ >= patience && now - up_since_ >= quiet;
}

std::set<std::string> still_needed(const std::vector<OldSession>& old, const std::string& plan, const std::string& self,
                                   const std::map<std::string, std::string>& ready) {
  const auto is_ready = [&](const std::string& node) {
    const auto it = ready.find(node);
    return it != ready.end() && it->second == plan;
  };
  std::set<std::string> out;
  const bool own = is_ready(self);
  for (const OldSession& session : old) {
    // One that is down carries nothing: its end costs the other host nothing either.
    if (own && (!session.up || is_ready(session.node))) continue;
    out.insert(session.protocol);
  }
  return out;
}

std::set<std::string> host_protocols_in(std::string_view text) {
  constexpr std::string_view head = "\nprotocol bgp ";
  std::set<std::string> out;
  for (size_t at = text.find(head); at != std::string_view::npos; at = text.find(head, at + 1)) {
    std::string_view name = text.substr(at + head.size());
    if (name.starts_with('\'')) name.remove_prefix(1);
    name = name.substr(0, name.find_first_of("' {\n"));
    const auto session = session_of(name);
    if (session && session->kind == SessionKind::node) out.emplace(name);
  }
  return out;
}

}  // namespace firn::routed::bird
