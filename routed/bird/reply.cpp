#include "routed/bird/reply.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace firn::routed::bird {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Takes the next word off the front.
std::string_view word(std::string_view& text) {
  text = trim(text);
  const auto end = std::min(text.find_first_of(" \t"), text.size());
  const auto out = text.substr(0, end);
  text.remove_prefix(end);
  return out;
}

template <class T>
T leading_number(std::string_view text) {
  T out = 0;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return out;
}

// "  Name:   value": the value, when the line is that one.
std::optional<std::string_view> after(std::string_view line, std::string_view name) {
  line = trim(line);
  if (!line.starts_with(name)) return std::nullopt;
  return trim(line.substr(name.size()));
}

// "182.120/240" names the time left and the whole; the whole is what was negotiated.
int timer_whole(std::string_view text) {
  const auto slash = text.find('/');
  return slash == std::string_view::npos ? 0 : leading_number<int>(text.substr(slash + 1));
}

// "3 imported, 1 filtered, 2 exported, 1 preferred"
void read_counts(std::string_view text, Channel& channel) {
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const auto count = leading_number<uint64_t>(word(part));
    const auto name = word(part);
    if (name == "imported") channel.imported = count;
    else if (name == "filtered") channel.filtered = count;
    else if (name == "exported") channel.exported = count;
    else if (name == "preferred") channel.preferred = count;
  }
}

bool looks_like_date(std::string_view text) { return text.size() == 10 && text[4] == '-' && text[7] == '-' && is_digit(text[0]); }
bool looks_like_time(std::string_view text) { return text.size() >= 8 && text[2] == ':' && text[5] == ':' && is_digit(text[0]); }

Result<Session> read_row(std::string_view row) {
  Session out;
  out.protocol = word(row);
  out.kind = word(row);
  const auto table = word(row);
  out.state = word(row);
  const auto since = word(row);
  if (table.empty() || since.empty()) return make_error(Code::invalid, "BIRD's protocol list has a row that is not one");
  out.since = since;
  // With `timeformat protocol iso long` the date and the time are two words.
  if (looks_like_date(since)) {
    std::string_view rest = row;
    const auto time = word(rest);
    if (looks_like_time(time)) {
      out.since.append(" ").append(time);
      row = rest;
    }
  }
  out.info = trim(row);
  return out;
}

void read_detail(std::string_view line, Session& session) {
  if (const auto v = after(line, "Channel ")) {
    session.channels.push_back(Channel{std::string(*v), {}, 0, 0, 0, 0});
  } else if (!session.channels.empty() && line.starts_with("    ")) {
    Channel& channel = session.channels.back();
    if (const auto state = after(line, "State:")) channel.state = *state;
    else if (const auto counts = after(line, "Routes:")) read_counts(*counts, channel);
  } else if (const auto state = after(line, "BGP state:")) {
    session.bgp_state = *state;
  } else if (const auto address = after(line, "Neighbor address:")) {
    session.neighbor_address = *address;
  } else if (const auto neighbor_as = after(line, "Neighbor AS:")) {
    session.neighbor_as = leading_number<uint32_t>(*neighbor_as);
  } else if (const auto local_as = after(line, "Local AS:")) {
    session.local_as = leading_number<uint32_t>(*local_as);
  } else if (const auto error = after(line, "Last error:")) {
    session.last_error = *error;
  } else if (const auto hold = after(line, "Hold timer:")) {
    session.hold_time = timer_whole(*hold);
  } else if (const auto keepalive = after(line, "Keepalive timer:")) {
    session.keepalive_time = timer_whole(*keepalive);
  }
}

}  // namespace

Status ReplyParser::broken(std::string message) {
  error_ = make_error(Code::invalid, "BIRD's control socket: " + std::move(message));
  return *error_;
}

Status ReplyParser::feed(std::string_view bytes) {
  if (error_) return *error_;
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto part = bytes.substr(0, std::min(end, bytes.size()));
    if (partial_.size() + part.size() > limits_.line)
      return broken("a line is longer than " + std::to_string(limits_.line) + " bytes");
    partial_.append(part);
    if (end == std::string_view::npos) return {};
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(partial_, {});
    if (auto status = take_line(line); !status) return status;
  }
  return {};
}

Status ReplyParser::take_line(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  current_bytes_ += line.size() + 1;
  if (current_bytes_ > limits_.bytes || current_.lines.size() + current_.notices.size() >= limits_.lines) {
    return broken("a reply is larger than " + std::to_string(limits_.bytes) + " bytes or " + std::to_string(limits_.lines) +
                  " lines");
  }
  if (line.starts_with('+')) {
    current_.notices.emplace_back(line.substr(1));
    return {};
  }
  if (line.starts_with(' ')) {
    if (current_.lines.empty()) return broken("a continuation line has nothing to continue");
    current_.lines.push_back(ReplyLine{current_.lines.back().code, std::string(line.substr(1))});
    return {};
  }
  const bool coded =
      line.size() >= 5 && std::all_of(line.begin(), line.begin() + 4, is_digit) && (line[4] == ' ' || line[4] == '-');
  if (!coded) return broken("'" + std::string(line.substr(0, 40)) + "' is not a reply line; is another program listening there?");
  current_.lines.push_back(ReplyLine{leading_number<int>(line.substr(0, 4)), std::string(line.substr(5))});
  if (line[4] == ' ') {
    ready_.push_back(std::exchange(current_, {}));
    current_bytes_ = 0;
  }
  return {};
}

std::optional<Reply> ReplyParser::next() {
  if (ready_.empty()) return std::nullopt;
  Reply out = std::move(ready_.front());
  ready_.pop_front();
  return out;
}

Error refusal(std::string_view what, const Reply& reply) {
  Code code = Code::io;
  switch (reply.code()) {
    case 8001:
    case 8003: code = Code::not_found; break;
    case 8004: code = Code::interrupted; break;
    case 8005:
    case 6: code = Code::unavailable; break;
    case 8007: code = Code::denied; break;
    case 8002:
    case 9000:
    case 9001:
    case 9002:
    case 9003: code = Code::invalid; break;
    default: break;
  }
  std::string text(what);
  text.append(": BIRD answered ").append(std::to_string(reply.code())).append(": ").append(reply.last());
  return make_error(code, std::move(text));
}

Result<std::vector<Session>> parse_sessions(const Reply& reply) {
  if (reply.code() == 8003) return std::vector<Session>{};  // the pattern matches no protocol
  if (reply.failed()) return refusal("list of protocols", reply);
  std::vector<Session> out;
  for (const auto& line : reply.lines) {
    if (line.code == 1002) {
      auto session = read_row(line.text);
      if (!session) return std::move(session).error();
      out.push_back(*std::move(session));
    } else if (line.code == 1006) {
      if (out.empty()) return make_error(Code::invalid, "BIRD's protocol list begins with details of no protocol");
      read_detail(line.text, out.back());
    }
  }
  return out;
}

Result<DaemonStatus> parse_status(const Reply& reply) {
  if (reply.failed()) return refusal("status", reply);
  DaemonStatus out;
  for (const auto& line : reply.lines) {
    if (line.code == 1000) {
      out.version = after(line.text, "BIRD ").value_or(line.text);
    } else if (const auto id = after(line.text, "Router ID is ")) {
      out.router_id = *id;
    } else if (const auto reboot = after(line.text, "Last reboot on ")) {
      out.last_reboot = *reboot;
    } else if (const auto reconfiguration = after(line.text, "Last reconfiguration on ")) {
      out.last_reconfiguration = *reconfiguration;
    } else if (line.code == 24) {
      if (!out.graceful_restart.empty()) out.graceful_restart += "; ";
      out.graceful_restart += trim(line.text);
    }
  }
  out.running = reply.code() == 13 && reply.last() == "Daemon is up and running";
  if (out.version.empty()) return make_error(Code::invalid, "BIRD's status names no version");
  return out;
}

Result<std::vector<RouteEntry>> parse_route_entries(const Reply& reply) {
  if (reply.code() == 8001) return std::vector<RouteEntry>{};
  if (reply.failed()) return refusal("list of routes", reply);
  std::vector<RouteEntry> out;
  for (const auto& line : reply.lines) {
    if (line.code != 1007 || line.text.empty()) continue;
    if (line.text[0] == '\t') {
      const auto way = after(line.text, "via ");
      if (way && !out.empty() && out.back().via == "unicast") out.back().via = *way;
      continue;
    }
    if (line.text[0] == ' ') continue;  // a further route of the same prefix
    std::string_view rest = line.text;
    const auto first = word(rest);
    if (first == "Table") continue;
    auto prefix = Prefix::parse(first);
    if (!prefix)
      return make_error(Code::invalid,
                        "BIRD's list of routes has '" + std::string(first.substr(0, 60)) + "' where a prefix should be");
    const std::string kind(word(rest));
    const auto behind = rest.find(']');
    const bool best = behind != std::string_view::npos && trim(rest.substr(behind + 1)).starts_with('*');
    out.push_back({*prefix, kind, best});
  }
  return out;
}

Result<std::vector<Prefix>> parse_routes(const Reply& reply) {
  if (reply.code() == 8001) return std::vector<Prefix>{};
  if (reply.failed()) return refusal("list of routes", reply);
  std::vector<Prefix> out;
  for (const auto& line : reply.lines) {
    // Further routes of the same network, next hops and attributes begin with white space.
    if (line.code != 1007 || line.text.empty() || line.text[0] == ' ' || line.text[0] == '\t') continue;
    std::string_view rest = line.text;
    const auto first = word(rest);
    if (first == "Table") continue;
    auto prefix = Prefix::parse(first);
    if (!prefix)
      return make_error(Code::invalid,
                        "BIRD's list of routes has '" + std::string(first.substr(0, 60)) + "' where a prefix should be");
    out.push_back(*prefix);
  }
  return out;
}

}  // namespace firn::routed::bird
