// SQLite without its optional modules: see modules.cpp. Owns nothing. Thread safety: pure.
#pragma once

namespace firn::kv {

// Does nothing when it runs. Naming it makes the linker take modules.cpp before SQLite's library, and that is the point.
void leave_out_modules();

}  // namespace firn::kv
