// sqlite3_open() of Debian's library sets up full-text search, R-tree and the statistics tables for every connection, which
// costs a process that lives a millisecond more than its whole transaction. firn uses none of them. The library calls each
// through one function, and the linker takes a function from an archive only while nobody has defined it: these definitions
// leave the modules out, code and all. Were the library ever built in one piece, linking would fail here with a duplicate
// definition, not silently.
#include "lib/kv/sqlite/modules.hpp"

struct sqlite3;

extern "C" {
int sqlite3Fts3Init(sqlite3* connection);
int sqlite3Fts5Init(sqlite3* connection);
int sqlite3RtreeInit(sqlite3* connection);
int sqlite3DbstatRegister(sqlite3* connection);
int sqlite3StmtVtabInit(sqlite3* connection);

int sqlite3Fts3Init(sqlite3*) { return 0; }
int sqlite3Fts5Init(sqlite3*) { return 0; }
int sqlite3RtreeInit(sqlite3*) { return 0; }
int sqlite3DbstatRegister(sqlite3*) { return 0; }
int sqlite3StmtVtabInit(sqlite3*) { return 0; }
}

namespace firn::kv {

void leave_out_modules() {}

}  // namespace firn::kv
