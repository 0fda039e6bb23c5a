// firn-ipam: the CNI IPAM plugin, for bridge, macvlan and others.
#include <unistd.h>

#include "cni-plugin/program.hpp"

int main(int argc, char** argv) {
  using namespace firn::cni;
  // Everything that must be closed is: the rest goes with the process, faster than by destructors and exit handlers.
  ::_exit(run_program("firn-ipam", Reader::ipam,
                      {.add = ipam_add, .del = ipam_del, .check = ipam_check, .gc = ipam_gc, .status = ipam_status}, argc, argv));
}
