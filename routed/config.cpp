#include "routed/config.hpp"

#include <array>
#include <bit>
#include <functional>
#include <utility>

#include "lib/base/file.hpp"
#include "lib/http/http.hpp"
#include "lib/json/json.hpp"

namespace firn::routed {
namespace {

constexpr std::string_view default_config = "/etc/firn/routed.json";

Result<Level> parse_level(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, Level>, 4> names{
      {{"debug", Level::debug}, {"info", Level::info}, {"warning", Level::warning}, {"error", Level::error}}};
  for (const auto& [name, level] : names) {
    if (name == text) return level;
  }
  return make_error(Code::invalid, "\"" + std::string(text) + "\" is no log level (debug, info, warning, error)");
}

Result<std::string> parse_metrics(const std::string& text) {
  if (text == "off") return std::string{};
  if (auto listen = http::parse_listen(text); !listen) return make_error(Code::invalid, listen.error().message + " and not \"off\"");
  return text;
}

Result<std::string> parse_directory(const std::string& text) {
  if (text.empty() || text.front() != '/') return make_error(Code::invalid, "\"" + text + "\" is no absolute path");
  return text;
}

using Field = std::pair<std::string_view, std::function<Status(const json::Value&)>>;

Status read_fields(const json::Value& object, const std::vector<Field>& fields) {
  const auto members = object.object();
  if (!members) return members.error();
  for (const auto& [name, value] : *members) {
    const Field* known = nullptr;
    for (const Field& field : fields) {
      if (field.first == name) known = &field;
    }
    if (known == nullptr) return value.error("unknown field");
    if (auto read = known->second(value); !read) return read;
  }
  return {};
}

// A reader of a string field that is checked by `parse`; the error names the field.
template <class T, class Parse>
std::function<Status(const json::Value&)> checked(T& target, Parse parse) {
  return [&target, parse](const json::Value& value) -> Status {
    const auto text = value.string();
    if (!text) return text.error();
    auto parsed = parse(*text);
    if (!parsed) return value.error(parsed.error().message);
    target = std::move(*parsed);
    return {};
  };
}

}  // namespace

Status apply_json(std::string_view text, Config& config) {
  const auto document = json::Document::parse(text);
  if (!document) return document.error();
  const auto any = [](const std::string& s) { return Result<std::string>(s); };
  const std::vector<Field> bird_fields{
      {"supervise",
       [&](const json::Value& v) -> Status {
         const auto flag = v.boolean();
         if (!flag) return flag.error();
         config.bird.supervise = *flag;
         return {};
       }},
      {"socket", checked(config.bird.socket, parse_directory)},
      {"binary", checked(config.bird.binary, parse_directory)},
  };
  const std::vector<Field> nft_fields{
      {"binary", checked(config.nft.binary, parse_directory)},
      {"mark",
       [&](const json::Value& v) -> Status {
         const auto mark = v.integer(1, 0xffffffff);
         if (!mark) return mark.error();
         if (!std::has_single_bit(static_cast<uint32_t>(*mark))) return v.error("must be one bit, as 67108864 (0x4000000)");
         config.nft.mark = static_cast<uint32_t>(*mark);
         return {};
       }},
  };
  return read_fields(
      document->root(),
      {{"stateDir", checked(config.state_dir, parse_directory)},
       {"runDir", checked(config.run_dir, parse_directory)},
       {"metrics", checked(config.metrics, parse_metrics)},
       {"logLevel", checked(config.log_level, parse_level)},
       {"socketGroup", checked(config.socket_group, any)},
       {"resync",
        [&](const json::Value& v) -> Status {
          const auto seconds = v.integer(1, 86400);
          if (!seconds) return seconds.error();
          config.resync = std::chrono::seconds(*seconds);
          return {};
        }},
       {"nodeLife",
        [&](const json::Value& v) -> Status {
          const auto seconds = v.integer(2, 600);
          if (!seconds) return seconds.error();
          config.node_life = std::chrono::seconds(*seconds);
          return {};
        }},
       {"receiveBuffer",
        [&](const json::Value& v) -> Status {
          const auto bytes = v.integer(2048, 1 << 30);
          if (!bytes) return bytes.error();
          config.receive_buffer = static_cast<int>(*bytes);
          return {};
        }},
       {"policy",
        [&](const json::Value& v) -> Status {
          const auto flag = v.boolean();
          if (!flag) return flag.error();
          config.policy = *flag;
          return {};
        }},
       {"nft", [&](const json::Value& v) { return read_fields(v, nft_fields); }},
       {"bird", [&](const json::Value& v) { return read_fields(v, bird_fields); }}});
}

Result<Invocation> read_invocation(const std::vector<std::string>& arguments) {
  Invocation out;
  std::string file(default_config);
  bool file_given = false;
  std::vector<std::pair<std::string, std::string>> overrides;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (name == "--help" || name == "-h") return Invocation{Invocation::What::help, {}};
    if (name == "--version") return Invocation{Invocation::What::version, {}};
    std::string value;
    if (const size_t equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return make_error(Code::invalid, name + ": unknown option, or its value is missing; see --help");
    }
    if (name == "--config") {
      file = value;
      file_given = true;
    } else {
      overrides.emplace_back(std::move(name), std::move(value));
    }
  }

  const auto text = read_file(file);
  if (text) {
    if (auto read = apply_json(*text, out.config); !read) return std::move(read).error().context(file);
  } else if (file_given || !text.error().is(Code::not_found)) {
    return text.error();
  }

  for (const auto& given : overrides) {
    // No structured binding: C++20 lets a lambda capture one, clang 14 does not.
    const auto& name = given.first;
    const auto& value = given.second;
    const auto set = [&](auto& target, auto parse) -> Status {
      auto parsed = parse(value);
      if (!parsed) return make_error(Code::invalid, name + ": " + parsed.error().message);
      target = std::move(*parsed);
      return {};
    };
    Status done;
    if (name == "--state-dir") done = set(out.config.state_dir, parse_directory);
    else if (name == "--run-dir") done = set(out.config.run_dir, parse_directory);
    else if (name == "--metrics") done = set(out.config.metrics, parse_metrics);
    else if (name == "--log-level") done = set(out.config.log_level, parse_level);
    else done = make_error(Code::invalid, name + ": unknown option; see --help");
    if (!done) return std::move(done).error();
  }
  return out;
}

std::string_view usage() {
  return "firn-routed: keeps the routes of this host's containers in the kernel and its blocks announced by BIRD.\n"
         "\n"
         "usage: firn-routed [options]\n"
         "  --state-dir DIR        where node.db and cluster.db are (default /var/lib/firn)\n"
         "  --run-dir DIR          where routed.sock and bird/ are made (default /run/firn)\n"
         "  --config FILE          settings, see docs/routing.md (default /etc/firn/routed.json, which may be missing)\n"
         "  --metrics ADDR:PORT    serve /metrics, /healthz, /readyz there; \"off\" for none (default 127.0.0.1:9490)\n"
         "  --log-level LEVEL      debug, info, warning or error (default info)\n"
         "  --version, --help\n"
         "\n"
         "SIGTERM ends it and leaves routes and BIRD as they are; SIGHUP reads stores and kernel again.\n"
         "Exit codes: 0 ended by a signal, 1 failure, 2 wrong option or configuration.\n"
         "\n"
         "example: firn-routed --state-dir /tmp/firn --run-dir /tmp/firn/run --metrics off --log-level debug\n";
}

}  // namespace firn::routed
