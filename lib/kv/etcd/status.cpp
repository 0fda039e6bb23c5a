#include <algorithm>
#include <map>

#include "lib/kv/etcd/gateway.hpp"
#include "lib/kv/etcd/wire.hpp"

namespace firn::kv {
namespace {

using Clock = std::chrono::steady_clock;

// What every member says alike: their names and what the cluster is alarmed about.
struct Common {
  struct Member {
    std::string name;
    bool learner = false;
  };
  std::map<uint64_t, Member> members;
  std::map<uint64_t, std::vector<std::string>> alarms;
};

Status read_common(Gateway& gateway, http::Deadline until, Common& common) {
  auto listed = gateway.call("/v3/cluster/member/list", "{}", Gateway::Effect::none, until);
  if (!listed) return std::move(listed).error();
  if (auto members = listed->root()["members"].array()) {
    for (const json::Value& member : *members) {
      auto id = wire::id(member["ID"]);
      auto name = member["name"].string_or({});
      auto learner = member["isLearner"].boolean_or(false);
      if (id && name && learner) common.members[*id] = {std::move(*name), *learner};
    }
  }
  auto alarmed = gateway.call("/v3/maintenance/alarm", R"({"action":"GET"})", Gateway::Effect::none, until);
  // A user without the root role may not see them; the rest is worth showing.
  if (!alarmed) return {};
  if (auto alarms = alarmed->root()["alarms"].array()) {
    for (const json::Value& alarm : *alarms) {
      auto id = wire::id(alarm["memberID"]);
      auto kind = alarm["alarm"].string_or({});
      if (id && kind) common.alarms[*id].push_back(std::move(*kind));
    }
  }
  return {};
}

Status ask_member(Gateway& gateway, http::Deadline until, const Common& common, MemberStatus& status) {
  // Once before it is measured, so that connecting and authenticating do not count.
  auto answer = gateway.call("/v3/maintenance/status", "{}", Gateway::Effect::none, until);
  const auto started = Clock::now();
  if (answer) answer = gateway.call("/v3/maintenance/status", "{}", Gateway::Effect::none, until);
  status.latency = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started);
  if (!answer) return std::move(answer).error();
  const json::Value root = answer->root();
  auto id = wire::id(root["header"]["member_id"]);
  auto leader = wire::id(root["leader"]);
  auto revision = wire::number(root["header"]["revision"]);
  auto size = wire::number(root["dbSize"]);
  auto version = root["version"].string_or({});
  if (!id) return std::move(id).error();
  if (!leader) return std::move(leader).error();
  if (!revision) return std::move(revision).error();
  if (!size) return std::move(size).error();
  if (!version) return std::move(version).error();
  status.member_id = *id;
  status.leader = *id == *leader;
  status.revision = *revision;
  status.database_bytes = *size;
  status.version = std::move(*version);
  if (*leader == 0) status.trouble = "it has no leader: the members cannot agree on anything";
  if (const auto known = common.members.find(*id); known != common.members.end()) {
    status.name = known->second.name;
    status.learner = known->second.learner;
  }
  if (const auto alarms = common.alarms.find(*id); alarms != common.alarms.end()) status.alarms = alarms->second;
  return {};
}

}  // namespace

Result<ClusterStatus> etcd_status(const EtcdOptions& options) {
  ClusterStatus out;
  Common common;
  auto all = Gateway::make(options);
  if (!all) return std::move(all).error();
  // Without it there are only the names and alarms missing; each member says itself what is wrong.
  static_cast<void>(read_common(**all, Clock::now() + options.deadline, common));
  out.cluster_id = (*all)->position().cluster_id;
  for (const http::Endpoint& endpoint : options.endpoints) {
    EtcdOptions alone = options;
    alone.endpoints = {endpoint};
    alone.known = {out.cluster_id, 0};
    alone.remember = {};
    auto gateway = Gateway::make(alone);
    if (!gateway) return std::move(gateway).error();
    MemberStatus status;
    status.endpoint = endpoint;
    if (auto asked = ask_member(**gateway, Clock::now() + options.deadline, common, status); !asked) status.trouble = asked.error().message;
    out.members.push_back(std::move(status));
  }
  return out;
}

}  // namespace firn::kv
