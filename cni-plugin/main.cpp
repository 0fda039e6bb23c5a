// firn: the CNI plugin.
#include "cni-plugin/program.hpp"

int main(int argc, char** argv) {
  using namespace firn::cni;
  return run_program("firn", Reader::firn, {.add = add, .del = del, .check = check, .gc = gc, .status = status}, argc, argv);
}
