// What this host tells the cluster of its sessions (model::BgpStatus), and when: at once when a session changes its state, but not
// more often than every two seconds, and every minute in any case. Pure. Thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/model/bgp_status.hpp"
#include "routed/bird/reply.hpp"

namespace firn::routed {

// BIRD's last error of a session, told from our side: "the peer ended the session: Hold timer expired".
std::string error_in_words(std::string_view last_error);
// Of a time as BIRD writes it, in the zone of this host; 0 when it is none.
int64_t unix_time_of(const std::string& text);
// The sessions of a status: what is not established first, at most BgpStatus::max_sessions.
void put_sessions(model::BgpStatus& status, const std::vector<bird::Session>& sessions);

class BgpPublisher {
 public:
  bool is_due(const model::BgpStatus& status) const;
  void told(const model::BgpStatus& status) { last_ = status; }

 private:
  std::optional<model::BgpStatus> last_;
};

}  // namespace firn::routed
