#include "routed/farewell.hpp"

#include <algorithm>
#include <array>

#include "routed/bird/config.hpp"

namespace firn::routed {
namespace {

std::array<std::string, 2> protocols_with(const std::string& host) {
  return {bird::host_protocol_of(host, Family::v4), bird::host_protocol_of(host, Family::v6)};
}

std::set<std::string> established(const bird::Report& report) {
  std::set<std::string> out;
  for (const bird::Session& session : report.sessions) {
    if (session.established()) out.insert(session.protocol);
  }
  return out;
}

}  // namespace

std::set<std::string> protocols_of(const Drains& drains) {
  std::set<std::string> out;
  for (const auto& [host, since] : drains) {
    for (std::string& protocol : protocols_with(host)) out.insert(std::move(protocol));
  }
  return out;
}

Drains left_by(const Drains& drains, const bird::Report& report) {
  Drains out;
  const std::set<std::string> up = established(report);
  for (const auto& [host, since] : drains) {
    const auto protocols = protocols_with(host);
    const auto is_up = [&](const std::string& protocol) { return up.contains(protocol); };
    const auto says_no = [&](const std::string& protocol) { return is_up(protocol) && !report.farewells.contains(protocol); };
    if (std::ranges::any_of(protocols, is_up) && std::ranges::none_of(protocols, says_no)) out.emplace(host, since);
  }
  return out;
}

model::DrainReport::Own ask_around(int64_t since, const bird::Report& report, const std::vector<std::string>& hosts,
                                   const std::function<bool(const std::string&)>& has_moved) {
  model::DrainReport::Own out;
  out.since = since;
  const std::set<std::string> up = established(report);
  for (const std::string& host : hosts) {
    const auto protocols = protocols_with(host);
    if (std::ranges::none_of(protocols, [&](const std::string& protocol) { return up.contains(protocol); })) continue;
    (has_moved(host) ? out.moved : out.awaited).push_back(host);
  }
  std::set<std::string> routers;
  for (const std::string& protocol : up) {
    const auto name = bird::session_of(protocol);
    if (name && name->kind != bird::SessionKind::node) routers.insert(name->name);
  }
  out.unasked.assign(routers.begin(), routers.end());
  out.withdrawn = out.awaited.empty() && out.unasked.empty();
  return out;
}

}  // namespace firn::routed
