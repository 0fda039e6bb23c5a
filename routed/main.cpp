// firn-routed: reads its settings, opens kernel and loop, runs the daemon until a signal ends it.
#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "routed/daemon.hpp"
#include "routed/notify.hpp"

namespace {

using namespace firn;

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

spdlog::level::level_enum spdlog_level(routed::Level level) {
  switch (level) {
    case routed::Level::debug: return spdlog::level::debug;
    case routed::Level::info: return spdlog::level::info;
    case routed::Level::warning: return spdlog::level::warn;
    case routed::Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "firn-routed: %s\n", message.c_str());
  return code;
}

int run(const routed::Config& config) {
  spdlog::logger logger("routed", std::make_shared<spdlog::sinks::stderr_sink_st>());
  logger.set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger.set_level(spdlog_level(config.log_level));
  const SystemClock clock;
  routed::Log log([&](routed::Level level, std::string_view text) { logger.log(spdlog_level(level), "{}", text); }, clock);

  auto kernel = netlink::open_kernel();
  if (!kernel) return fail(exit_failure, kernel.error().message);
  netlink::MonitorOptions events;
  events.addresses = true;
  events.receive_buffer = config.receive_buffer;
  auto monitor = netlink::open_monitor(events);
  if (!monitor) return fail(exit_failure, monitor.error().message);

  loop::Loop loop;
  routed::Daemon daemon(loop, log, clock, config, **kernel, **monitor);
  if (auto started = daemon.start(); !started) return fail(exit_failure, started.error().message);
  std::vector<loop::Handle> signals;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    auto handle = loop.on_signal(number, [&, number] {
      if (number == SIGHUP) return daemon.reload();
      log.info("ending; routes, neighbours and BIRD stay as they are");
      loop.stop();
    });
    if (!handle) return fail(exit_failure, handle.error().message);
    signals.push_back(std::move(*handle));
  }
  log.info("firn-routed " FIRN_VERSION " runs, state in " + config.state_dir);
  routed::notify_service_manager("READY=1");
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  ::umask(0022);
  // One thread: one arena, and freed memory goes back to the system instead of staying resident.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 256 * 1024);
  const auto invocation = routed::read_invocation(std::vector<std::string>(argv + 1, argv + argc));
  if (!invocation) return fail(exit_usage, invocation.error().message);
  switch (invocation->what) {
    case routed::Invocation::What::help: std::fputs(std::string(routed::usage()).c_str(), stdout); return 0;
    case routed::Invocation::What::version: std::puts("firn-routed " FIRN_VERSION); return 0;
    case routed::Invocation::What::run: break;
  }
  return run(invocation->config);
}
