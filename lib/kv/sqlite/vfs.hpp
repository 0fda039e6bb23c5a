// The file layer of the engine: SQLite's own "unix" layer, but a path is taken as it is given. SQLite would lstat every component and follow a link in the last one; here the open itself
// refuses a link there (O_NOFOLLOW), at no system call. Links in the directory part are the administrator's choice.
// Owns nothing in the world. Thread safety: safe; registered once in a process.
#pragma once

namespace firn::kv {

// The name to hand to sqlite3_open_v2; registers the layer at the first call. nullptr when SQLite cannot start.
const char* firn_vfs();

}  // namespace firn::kv
