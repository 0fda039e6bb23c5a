// From one plan of sessions between hosts to the next without losing a packet: the new sessions are up and have brought their
// routes before one of the old is taken away, at both ends. Each host tells the others, by a record of the cluster
// (bgp/ready/NODE), which plan it has in place; a session that the plan no longer has goes when both ends are ready without it.
// Nothing needs to be remembered over a restart: which sessions there were, the configuration on disk says.
// Pure; time comes in. Thread safety: plain values.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "routed/bird/reply.hpp"

namespace firn::routed::bird {

using TimePoint = std::chrono::steady_clock::time_point;

// Whether the wanted sessions are up and have settled: every one is, and brought nothing new for 5 s (or has been up for 30 s);
// those that do not come up are waited for for a minute. With no session wanted there is nothing to wait for.
class Settling {
 public:
  bool look(const std::string& plan, const std::vector<std::string>& wanted, const std::vector<Session>& sessions, TimePoint now);

 private:
  std::string plan_, up_, counts_;
  bool begun_ = false;
  TimePoint since_{}, up_since_{}, counts_since_{};
};

// What is known of a session that the plan does not have.
struct OldSession {
  std::string protocol, node;
  bool up = true;  // or not known
};
// Those that must stay for now. `ready`: node -> plan, `self` among them.
std::set<std::string> still_needed(const std::vector<OldSession>& old, const std::string& plan, const std::string& self,
                                   const std::map<std::string, std::string>& ready);

// The protocols of sessions between hosts in a configuration that render() wrote.
std::set<std::string> host_protocols_in(std::string_view text);

}  // namespace firn::routed::bird
