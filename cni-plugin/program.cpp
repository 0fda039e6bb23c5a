#include "cni-plugin/program.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "lib/base/file.hpp"

namespace firn::cni {

namespace {

bool print(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string about(std::string_view name) {
  return std::string("CNI ") + std::string(name) + " plugin " + FIRN_VERSION +
         "\nCNI protocol versions supported: " + supported_versions() + "\n";
}

int fail(const Fault& fault, std::string_view version) {
  // When the reader is gone, the exit code still says it.
  (void)print(STDOUT_FILENO, error_json(fault, version.empty() ? to_string(Version::v1_1_0) : version) + "\n");
  return 1;
}

// The version that the caller speaks, for errors of a configuration that could not be read to its end, and for VERSION.
std::string version_asked(const std::string& text) {
  auto document = json::Document::parse(text);
  if (!document) return {};
  auto version = document->root()["cniVersion"].string_or("");
  return version ? *std::move(version) : std::string();
}

// Sets `made` when an ADD has made something.
Reply answer(const Call& call, const Verbs& verbs, bool& made) {
  switch (call.environment.verb) {
    case Verb::add: {
      auto added = verbs.add(call);
      if (!added) return std::move(added).fault();
      made = added->made;
      return std::move(added->text);
    }
    case Verb::del: return verbs.del(call);
    case Verb::check: return verbs.check(call);
    case Verb::gc: return verbs.gc(call);
    case Verb::status: return verbs.status(call);
    default: return fault(FaultCode::invalid_environment, "no such command");
  }
}

int show_about(std::string_view name, int argc, char** argv) {
  const std::string_view option = argc > 1 ? argv[1] : "";
  if (option.empty() || option == "--help" || option == "-h") {
    (void)print(STDERR_FILENO, about(name));
    return 0;
  }
  if (option == "--version") {
    return print(STDOUT_FILENO, std::string(name) + " " + FIRN_VERSION + "\n") ? 0 : 1;
  }
  (void)print(STDERR_FILENO, std::string(name) + ": unknown argument '" + std::string(option) +
                                 "'; a CNI runtime calls it with CNI_COMMAND set\n");
  return 2;
}

}  // namespace

int run_program(std::string_view name, Reader reader, const Verbs& verbs, int argc, char** argv) {
  // A reader that is gone is told by write(), so that what was made for it can be removed.
  std::signal(SIGPIPE, SIG_IGN);
  auto environment = read_environment([](const char* variable) -> const char* { return std::getenv(variable); });
  if (environment && environment->verb == Verb::none) return show_about(name, argc, argv);
  auto text = read_descriptor(STDIN_FILENO, max_stdin);
  if (!text) {
    if (text.error().is(Code::invalid)) return fail(fault(FaultCode::undecodable, "stdin: " + text.error().message), {});
    return fail(fault(FaultCode::io, "stdin: " + text.error().message), {});
  }
  if (!environment) return fail(environment.fault(), version_asked(*text));
  if (environment->verb == Verb::version) {
    return print(STDOUT_FILENO, version_json(version_asked(*text)) + "\n") ? 0 : 1;
  }
  auto config = parse_config(*text, *environment, reader);
  if (!config) return fail(config.fault(), version_asked(*text));
  config->text = *std::move(text);
  const SystemClock clock;
  const Call call{*std::move(environment), *std::move(config), clock};
  bool made = false;
  auto reply = answer(call, verbs, made);
  if (!reply) return fail(reply.fault(), call.config.version_text);
  if (reply->empty() || print(STDOUT_FILENO, *reply + "\n")) return 0;
  // A success that the runtime never hears of is a failure to it, and a failed ADD leaves nothing.
  (void)print(STDERR_FILENO, std::string(name) + ": the result could not be written to standard output\n");
  if (made) (void)verbs.del(call);
  return 1;
}

}  // namespace firn::cni
