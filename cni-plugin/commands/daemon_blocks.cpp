#include "cni-plugin/commands/daemon_blocks.hpp"

#include <map>
#include <memory>
#include <set>
#include <thread>

#include "ipam/records.hpp"
#include "lib/control/control.hpp"
#include "lib/json/json.hpp"
#include "lib/model/keys.hpp"

namespace firn::cni {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds call_deadline{1000};
constexpr milliseconds look_again{20};

// Blocks of the pool that have a free address.
Result<std::set<std::string>> with_room(kv::Store& node, const model::Pool& pool, model::Use use) {
  const std::string prefix = model::keys::available_of(use, pool.name);
  auto listing = node.range(prefix);
  if (!listing) return std::move(listing).error();
  std::set<std::string> out;
  for (const kv::Entry& entry : listing->entries) out.insert(entry.key.substr(prefix.size()));
  return out;
}

struct Answer {
  bool working = false;
  std::string why;
};
Result<Answer> ask(const std::string& socket, std::string_view request) {
  auto reply = control::call(socket, request, call_deadline);
  if (!reply) return std::move(reply).error();
  auto document = json::Document::parse(*reply);
  if (!document) return std::move(document).error();
  const json::Value root = document->root();
  auto working = root["working"].boolean_or(false);
  auto why = root[root["error"].present() ? "error" : "why"].string_or("");
  if (!working) return std::move(working).error();
  if (!why) return std::move(why).error();
  return Answer{*working, *std::move(why)};
}

Result<Answer> ask_for_block(const std::string& socket, const model::Pool& pool, model::Use use,
                             const std::optional<Address>& wanted) {
  json::Writer w;
  w.begin_object().field("op", "need").field("pool", pool.name).field("use", to_string(use));
  if (wanted) w.field("address", wanted->to_string());
  return ask(socket, w.end_object().text());
}

}  // namespace

ipam::BlockSource daemon_blocks(kv::Store& node, std::string socket, milliseconds patience) {
  // Offered to this process before, or there when it first looked: none of them helps, so asking comes to an end.
  const auto known = std::make_shared<std::map<std::string, std::set<std::string>>>();
  return [&node, socket = std::move(socket), patience, known](const model::Pool& pool, model::Use use,
                                                              const std::optional<Address>& wanted) -> Result<Prefix> {
    const std::string full = "pool " + pool.name + " has no free address in this host's blocks";
    const auto until = Clock::now() + patience;
    auto room = with_room(node, pool, use);
    if (!room) return std::move(room).error();
    auto& seen = known->try_emplace(model::keys::available_of(use, pool.name), *room).first->second;
    for (;;) {
      room = with_room(node, pool, use);
      if (!room) return std::move(room).error();
      for (const std::string& name : *room) {
        const auto prefix = ipam::records::parse_prefix_key(name);
        if (!prefix || (wanted && !prefix->contains(*wanted)) || !seen.insert(name).second) continue;
        return *prefix;
      }
      auto answer = ask_for_block(socket, pool, use, wanted);
      if (!answer) {
        return make_error(Code::exhausted,
                          full + ", and firn-routed, which claims another one, does not help: " + answer.error().message);
      }
      if (!answer->working)
        return make_error(Code::exhausted, full + ": " + (answer->why.empty() ? "others were faster" : answer->why));
      if (Clock::now() > until)
        return make_error(Code::unavailable, full + ", and another one was not to be had in time; try again");
      // Sleeps because the store that tells of changes would cost each attach more than this rare wait.
      std::this_thread::sleep_for(look_again);
    }
  };
}

Status await_pools(const std::string& socket, milliseconds patience) {
  for (const auto until = Clock::now() + patience;;) {
    const auto answer = ask(socket, R"({"op":"pools"})");
    if (!answer) return make_error(Code::unavailable, "firn-routed, which copies pools, does not help: " + answer.error().message);
    if (!answer->working && answer->why.empty()) return {};
    if (!answer->working) return make_error(Code::unavailable, answer->why);
    if (Clock::now() > until) return make_error(Code::unavailable, "firn-routed is still reading the cluster");
    // Sleeps because the daemon answers questions and sends nothing by itself.
    std::this_thread::sleep_for(look_again);
  }
}

}  // namespace firn::cni
