#include "lib/kv/etcd/watch.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "lib/kv/etcd/wire.hpp"

namespace firn::kv {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t most_changes = 65536;  // beyond that listing is cheaper
constexpr size_t kept_changes = 8192;

}  // namespace

Result<int> Watch::fd(http::Deadline until) {
  if (poll_) return poll_.get();
  unique_fd poll(::epoll_create1(EPOLL_CLOEXEC));
  unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  if (!poll || !timer || ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) return errno_error("watch etcd");
  poll_ = std::move(poll);
  timer_ = std::move(timer);
  if (!begun_) begin_behind(gateway_.position().revision);
  // That no stream can be had now is told by the descriptor: it is readable when it is time to try again.
  if (auto opened = open(until); !opened) retry_later();
  return poll_.get();
}

void Watch::begin_behind(Revision revision) {
  stream_.reset();
  changes_.clear();
  compacted_ = false;
  begun_ = true;
  base_ = reached_ = revision;
}

Status Watch::open(http::Deadline until) {
  if (stream_ != nullptr) return {};
  auto stream = gateway_.stream("/v3/watch", wire::watch(gateway_.options().prefix, own_.end, reached_ + 1), until);
  if (!stream) {
    gateway_.prefer_another();
    return std::move(stream).error();
  }
  stream_ = std::move(*stream);
  if (!poll_) return {};
  epoll_event event{};
  event.events = EPOLLIN;
  // The kernel takes a closed descriptor out by itself.
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, stream_->fd(), &event) != 0) {
    stream_.reset();
    return errno_error("watch etcd");
  }
  set_timer(std::chrono::milliseconds(0));
  return {};
}

void Watch::lose() {
  stream_.reset();
  gateway_.prefer_another();
}

void Watch::set_timer(std::chrono::milliseconds delay) {
  if (!timer_) return;
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(delay.count() / 1000);
  when.it_value.tv_nsec = static_cast<long>(delay.count() % 1000) * 1000000;
  static_cast<void>(::timerfd_settime(timer_.get(), 0, &when, nullptr));  // fails for a bad descriptor or time alone
}

void Watch::retry_later() { set_timer(std::chrono::milliseconds(100) * (1 << std::min(failures_++, 6))); }

Status Watch::take_line(const std::string& line) {
  auto document = json::Document::parse(line);
  if (!document) return make_error(Code::io, "a line of etcd's watch is no JSON: " + document.error().message);
  const json::Value root = document->root();
  Refusal refused;
  const json::Value result = root["result"];
  if (root["error"].present()) {
    refused = read_refusal(200, root["error"].dump());
  } else if (!result.present()) {
    refused = read_refusal(stream_->status(), line);
  } else {
    if (auto same = gateway_.observe(result["header"], false); !same) return same;
    auto compacted = wire::number(result["compact_revision"]);
    auto canceled = result["canceled"].boolean_or(false);
    auto reason = result["cancel_reason"].string_or({});
    if (!compacted) return std::move(compacted).error();
    if (!canceled) return std::move(canceled).error();
    if (!reason) return std::move(reason).error();
    compacted_ = compacted_ || *compacted > 0 || (*canceled && reason->find("compacted") != std::string::npos);
    if (compacted_) return {};
    if (*canceled) {
      json::Writer w;
      refused = read_refusal(200, w.begin_object().field("code", 14).field("message", *reason).end_object().text());
    }
  }
  if (!refused.error.message.empty()) {
    if (refused.reaction == Refusal::Reaction::authenticate) gateway_.forget_token();
    return std::move(refused.error).context("watch etcd");
  }
  if (!result["events"].present()) {
    // Progress, or the line that says that the watch is there: its revision is one the store has, not one that came.
    auto created = result["created"].boolean_or(false);
    auto revision = wire::number(result["header"]["revision"]);
    if (!created) return std::move(created).error();
    if (!revision) return std::move(revision).error();
    if (!*created) reached_ = std::max(reached_, *revision);
    return {};
  }
  auto events = result["events"].array();
  if (!events) return std::move(events).error();
  const std::string& prefix = gateway_.options().prefix;
  for (const json::Value& event : *events) {
    auto key = wire::bytes(event["kv"]["key"]);
    auto revision = wire::number(event["kv"]["mod_revision"]);
    if (!key) return std::move(key).error();
    if (!revision) return std::move(revision).error();
    reached_ = std::max(reached_, *revision);
    gateway_.saw(*revision);
    if (key->starts_with(prefix) && key->size() > prefix.size() && (*key)[prefix.size()] != '\0') {
      changes_.push_back({*revision, key->substr(prefix.size())});
    }
  }
  return {};
}

Status Watch::take_in() {
  uint64_t expirations = 0;
  if (timer_) static_cast<void>(::read(timer_.get(), &expirations, sizeof expirations));  // only to make it unreadable
  while (stream_ != nullptr && !compacted_) {
    auto line = stream_->line();
    if (!line) return std::move(line).error();
    if (!line->has_value()) return {};
    if (auto taken = take_line(**line); !taken) return taken;
    failures_ = 0;
    if (changes_.size() > most_changes) compacted_ = true;
  }
  return {};
}

Result<Watch::Reached> Watch::catch_up(Revision after, Revision wanted, http::Deadline until) {
  if (!begun_ || after < base_) begin_behind(after);
  for (int attempt = 0;; ++attempt) {
    // Each stream gets half of what is left, so that a member that stays silent leaves time for another one.
    const http::Deadline turn = Clock::now() + (until - Clock::now()) / 2;
    auto usable = open(turn);
    while (usable) {
      usable = take_in();
      if (compacted_) return Reached::compacted;
      if (!usable || reached_ >= wanted) break;
      usable = [&]() -> Status {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(turn - Clock::now()).count();
        pollfd waiting{stream_->fd(), POLLIN, 0};
        const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3600 * 1000)));
        if (ready > 0 || (ready < 0 && errno == EINTR)) return {};
        return make_error(Code::unavailable, "watch etcd: changes up to revision " + std::to_string(wanted) + " did not come in time");
      }();
    }
    if (usable) return Reached::yes;
    lose();
    if (usable.error().is(Code::conflict)) return std::move(usable).error();
    // Who waits for nothing is not kept waiting for a stream; the descriptor tells when to try again.
    const bool enough = reached_ >= wanted && attempt > 0;
    if (enough || !pause(attempt, until)) {
      retry_later();
      if (reached_ >= wanted) return Reached::yes;
      if (usable.error().is(Code::interrupted)) usable.error().code = Code::unavailable;
      return std::move(usable).error();
    }
  }
}

void Watch::trim() {
  if (changes_.size() <= kept_changes) return;
  const auto kept = changes_.end() - static_cast<std::ptrdiff_t>(kept_changes / 2);
  base_ = std::prev(kept)->revision;
  changes_.erase(changes_.begin(), kept);
}

}  // namespace firn::kv
