#include <cstdlib>
#include <iostream>

#include "cli/nouns.hpp"
#include "lib/control/control.hpp"

int main(int argc, char** argv) {
  using namespace firn::cli;
  const firn::SystemClock clock;
  Context context(clock, std::cout, std::cerr);
  const char* from_environment = std::getenv("FIRN_STATE_DIR");
  context.state_dir = from_environment != nullptr && *from_environment != '\0' ? from_environment : "/var/lib/firn";
  context.socket = firn::control::default_socket;
  Program program("firnctl: pools, addresses and BGP of a firn host",
                  "Examples:\n"
                  "  firnctl init --pool web=10.44.0.0/16\n"
                  "  firnctl bgp peer add tor-a --address 192.0.2.1 --as 65000\n"
                  "  firnctl route why 10.44.0.7\n\n"
                  "Exit codes: 0 done, 1 failure, 2 wrong usage, 3 a check found problems, 4 firn-routed does not answer,\n"
                  "5 not found, 6 refused (in use, or in conflict with something that exists).",
                  "firnctl " FIRN_VERSION);
  add_everything(program, context);
  return program.run(argc, argv, std::cout, std::cerr);
}
