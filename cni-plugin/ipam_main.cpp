// firn-ipam: the CNI IPAM plugin, for bridge, macvlan and others.
#include "cni-plugin/program.hpp"

int main(int argc, char** argv) {
  using namespace firn::cni;
  return run_program("firn-ipam", Reader::ipam,
                     {.add = ipam_add, .del = ipam_del, .check = ipam_check, .gc = ipam_gc, .status = ipam_status}, argc, argv);
}
