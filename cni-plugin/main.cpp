// firn: the CNI plugin.
#include <unistd.h>

#include "cni-plugin/program.hpp"

int main(int argc, char** argv) {
  using namespace firn::cni;
  // Everything that must be closed is: the rest goes with the process, faster than by destructors and exit handlers.
  ::_exit(run_program("firn", Reader::firn, {.add = add, .del = del, .check = check, .gc = gc, .status = status}, argc, argv));
}
