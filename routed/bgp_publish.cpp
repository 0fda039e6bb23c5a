#include "routed/bgp_publish.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "routed/bird/config.hpp"

namespace firn::routed {
namespace {

constexpr int64_t at_least_between = 2;

model::BgpSessionStatus session_status(const bird::Session& session) {
  model::BgpSessionStatus out;
  const auto name = bird::session_of(session.protocol);
  out.kind = to_string(name ? name->kind : bird::SessionKind::peer);
  out.name = name ? name->name : session.protocol;
  out.address = session.neighbor_address;
  out.as_number = session.neighbor_as;
  out.state = session.bgp_state.empty() ? session.state : session.bgp_state;
  out.since = unix_time_of(session.since);
  out.last_error = error_in_words(session.last_error);
  for (const bird::Channel& channel : session.channels) {
    out.imported += channel.imported;
    out.filtered += channel.filtered;
    out.exported += channel.exported;
  }
  return out;
}

// Without what changes all the time.
model::BgpStatus essence(model::BgpStatus status) {
  status.at = 0;
  for (model::BgpSessionStatus& session : status.sessions) session.imported = session.filtered = session.exported = 0;
  return status;
}

}  // namespace

std::string error_in_words(std::string_view last_error) {
  static constexpr std::pair<std::string_view, std::string_view> meanings[] = {
      {"Socket: ", "cannot connect: "},
      {"Received: ", "the peer ended the session: "},
      {"BGP Error: ", "we ended the session: "},
      {"Error: ", "the session cannot run: "},
      {"Automatic shutdown: ", "shut down until it is restarted: "}};
  for (const auto& [prefix, words] : meanings) {
    if (last_error.starts_with(prefix)) return std::string(words).append(last_error.substr(prefix.size()));
  }
  return std::string(last_error);
}

int64_t unix_time_of(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &parts);
  if (end == nullptr) return 0;
  parts.tm_isdst = -1;
  return std::max<int64_t>(::mktime(&parts), 0);
}

void put_sessions(model::BgpStatus& status, const std::vector<bird::Session>& sessions) {
  status.sessions.clear();
  for (const bird::Session& session : sessions) status.sessions.push_back(session_status(session));
  std::stable_sort(status.sessions.begin(), status.sessions.end(),
                   [](const auto& a, const auto& b) { return a.established() < b.established(); });
  status.omitted = 0;
  if (status.sessions.size() <= model::BgpStatus::max_sessions) return;
  status.omitted = static_cast<int64_t>(status.sessions.size() - model::BgpStatus::max_sessions);
  status.sessions.resize(model::BgpStatus::max_sessions);
}

bool BgpPublisher::is_due(const model::BgpStatus& status) const {
  if (!last_) return true;
  const int64_t age = status.at - last_->at;
  if (age < 0 || age >= model::BgpStatus::heartbeat) return true;
  return age >= at_least_between && essence(status) != essence(*last_);
}

}  // namespace firn::routed
