// The file layer of the engine: SQLite's own "unix" layer, with these differences.
// A path is taken as it is given. SQLite would lstat every component and follow a link in the last one; here the open itself
// refuses a link there (O_NOFOLLOW), at no system call. Links in the directory part are the administrator's choice.
// A frame of the -wal, which SQLite writes as a header and a page, goes out in one write: half the writes of a commit. A -wal
// that nobody uses keeps its blocks. Random bytes come from getrandom(2).
// Owns nothing in the world. Thread safety: safe; registered once in a process.
#pragma once

namespace firn::kv {

// The name to hand to sqlite3_open_v2; registers the layer at the first call. nullptr when SQLite cannot start.
const char* firn_vfs();

}  // namespace firn::kv
