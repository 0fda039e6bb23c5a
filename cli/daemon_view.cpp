#include "cli/daemon_view.hpp"

#include <algorithm>

namespace firn::cli {

std::string text_of(const json::Value& value) {
  auto text = value.string();
  return text ? std::move(*text) : std::string();
}

int64_t number_of(const json::Value& value) {
  const auto number = value.integer();
  return number ? *number : 0;
}

bool flag_of(const json::Value& value) {
  const auto flag = value.boolean();
  return flag && *flag;
}

size_t BirdView::established() const {
  return static_cast<size_t>(std::count_if(sessions.begin(), sessions.end(), [](const Session& s) { return s.established; }));
}

std::string BirdView::summary() const {
  std::string out = state.empty() ? (running ? "running" : "not running") : state;
  if (running) {
    std::string details = version;
    if (pid > 0) details.append(details.empty() ? "" : ", ").append("pid ").append(std::to_string(pid));
    if (!details.empty()) out += " (" + details + ")";
    out += in_force ? ", configuration in force" : ", configuration NOT in force";
  }
  return reason.empty() ? out : out + ": " + reason;
}

BirdView read_bird(const json::Value& bird) {
  BirdView view;
  view.state = text_of(bird["state"]);
  view.reason = text_of(bird["reason"]);
  view.version = text_of(bird["version"]);
  view.running = flag_of(bird["running"]);
  view.supervised = flag_of(bird["supervised"]);
  view.in_force = flag_of(bird["inForce"]);
  view.pid = number_of(bird["pid"]);
  const auto sessions = bird["sessions"].array();
  if (!sessions) return view;
  for (const json::Value& item : *sessions) {
    Session session;
    session.peer = text_of(item["peer"]);
    session.kind = text_of(item["kind"]);
    session.address = text_of(item["address"]);
    session.state = text_of(item["state"]);
    session.since = text_of(item["since"]);
    session.last_error = text_of(item["lastError"]);
    session.as_number = number_of(item["as"]);
    session.established = flag_of(item["established"]);
    session.announced_error = text_of(item["announcedError"]);
    if (const auto channels = item["channels"].array()) {
      for (const json::Value& channel : *channels) {
        session.imported += number_of(channel["imported"]);
        session.filtered += number_of(channel["filtered"]);
        session.exported += number_of(channel["exported"]);
      }
    }
    if (const auto announced = item["announced"].array()) {
      for (const json::Value& text : *announced) {
        if (const auto prefix = Prefix::parse(text_of(text))) session.announced.push_back(*prefix);
      }
    }
    view.sessions.push_back(std::move(session));
  }
  std::sort(view.sessions.begin(), view.sessions.end(), [](const Session& a, const Session& b) { return a.peer < b.peer; });
  return view;
}

}  // namespace firn::cli
