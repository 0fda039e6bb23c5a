#include "cni-plugin/proto/environment.hpp"

#include <cstring>

#include "lib/model/names.hpp"

namespace firn::cni {

namespace {

constexpr size_t max_args = 64 * 1024;
constexpr size_t max_arg_value = 4096;
constexpr size_t max_path = 4096;

struct VerbName {
  Verb verb;
  std::string_view name;
};
constexpr VerbName verbs[] = {{Verb::add, "ADD"}, {Verb::del, "DEL"},       {Verb::check, "CHECK"},
                              {Verb::gc, "GC"},   {Verb::status, "STATUS"}, {Verb::version, "VERSION"}};

Fault bad_arg(std::string_view key, std::string_view problem) {
  return fault(FaultCode::invalid_environment, "CNI_ARGS: " + std::string(key.substr(0, 64)) + ": " + std::string(problem));
}

bool is_true(std::string_view text) { return text == "1" || text == "true" || text == "True" || text == "TRUE"; }

Answer take_arg(CniArgs& args, std::string_view key, std::string_view value, std::string& unknown) {
  if (value.size() > max_arg_value) return bad_arg(key, "is longer than " + std::to_string(max_arg_value) + " bytes");
  if (key == "K8S_POD_NAME") {
    args.pod_name = value;
  } else if (key == "K8S_POD_NAMESPACE") {
    args.pod_namespace = value;
  } else if (key == "K8S_POD_UID") {
    args.pod_uid = value;
  } else if (key == "IP") {
    auto address = InterfaceAddress::parse(value);
    if (!address) return bad_arg(key, address.error().message);
    args.ip = address->address;
  } else if (key == "MAC") {
    auto mac = Mac::parse(value);
    if (!mac) return bad_arg(key, mac.error().message);
    args.mac = *mac;
  } else if (key != "K8S_POD_INFRA_CONTAINER_ID" && key != "IgnoreUnknown" && unknown.empty()) {
    unknown = key.empty() ? std::string_view("(empty)") : key;
  }
  return Done{};
}

Fault missing(const std::string& names) {
  return fault(FaultCode::invalid_environment, "required env variables [" + names + "] missing",
               "a CNI runtime sets them; see the CNI spec, section 2");
}

Outcome<Verb> read_verb(const char* text) {
  for (const VerbName& v : verbs) {
    if (v.name == text) return v.verb;
  }
  return fault(FaultCode::invalid_environment, "unknown CNI_COMMAND: " + std::string(text, strnlen(text, 64)),
               "it must be ADD, DEL, CHECK, GC, STATUS or VERSION");
}

}  // namespace

std::string_view to_string(Verb verb) {
  for (const VerbName& v : verbs) {
    if (v.verb == verb) return v.name;
  }
  return "none";
}

Outcome<CniArgs> parse_cni_args(std::string_view text) {
  if (text.size() > max_args)
    return fault(FaultCode::invalid_environment, "CNI_ARGS: longer than " + std::to_string(max_args) + " bytes");
  CniArgs args;
  std::string unknown;
  bool ignore_unknown = false;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return bad_arg(pair, "has no '='");
    const std::string_view key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (key == "IgnoreUnknown") ignore_unknown = is_true(value);
    if (auto taken = take_arg(args, key, value, unknown); !taken) return std::move(taken).fault();
  }
  if (!unknown.empty() && !ignore_unknown) return bad_arg(unknown, "is not known to firn; IgnoreUnknown=1 would pass over it");
  return args;
}

Outcome<Environment> read_environment(const Variables& variables) {
  const auto text_of = [&](const char* name) {
    const char* value = variables(name);
    return std::string_view(value == nullptr ? "" : value);
  };
  Environment out;
  const char* command = variables("CNI_COMMAND");
  if (command == nullptr || *command == '\0') return out;
  auto verb = read_verb(command);
  if (!verb) return std::move(verb).fault();
  out.verb = *verb;
  out.path = text_of("CNI_PATH").substr(0, max_args);
  const bool attachment = *verb == Verb::add || *verb == Verb::del || *verb == Verb::check;
  if (!attachment) return out;

  const std::string_view id = text_of("CNI_CONTAINERID"), netns = text_of("CNI_NETNS"), ifname = text_of("CNI_IFNAME");
  std::string absent;
  const auto need = [&](std::string_view value, const char* name) {
    if (value.empty()) absent.append(absent.empty() ? "" : ",").append(name);
  };
  need(id, "CNI_CONTAINERID");
  if (*verb != Verb::del) need(netns, "CNI_NETNS");
  need(ifname, "CNI_IFNAME");
  if (!absent.empty()) return missing(absent);

  if (auto named = model::check_cni_name("container id", id); !named) return environment_fault("CNI_CONTAINERID", named.error());
  auto name = IfName::parse(ifname);
  if (!name) return environment_fault("CNI_IFNAME", name.error());
  if (netns.size() > max_path)
    return fault(FaultCode::invalid_environment, "CNI_NETNS: longer than " + std::to_string(max_path) + " bytes");
  out.container_id = id;
  out.ifname = name->str();
  out.netns = netns;
  // DEL must go through whatever the arguments have become.
  if (*verb == Verb::del) return out;
  auto args = parse_cni_args(text_of("CNI_ARGS"));
  if (!args) return std::move(args).fault();
  out.args = *std::move(args);
  return out;
}

}  // namespace firn::cni
