// sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET, when systemd gave one. Thread safety: no state.
#pragma once

#include <string_view>

namespace firn::routed {

void notify_service_manager(std::string_view state);  // "READY=1"

}  // namespace firn::routed
