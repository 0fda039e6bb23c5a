#include "lib/kv/etcd/gateway.hpp"

#include <sys/random.h>

#include <algorithm>
#include <thread>

#include "lib/kv/etcd/wire.hpp"

namespace firn::kv {
namespace {

using Clock = std::chrono::steady_clock;
using Reaction = Refusal::Reaction;

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// What a server says may be anything.
std::string printable(std::string_view text) {
  std::string out(text.substr(0, 200));
  std::replace_if(out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) >= 0x7f; }, '?');
  return out;
}

// The numbers are gRPC's status codes; the texts are matched here and nowhere else, because several causes share a number.
Refusal refusal(int64_t code, const std::string& said) {
  const std::string what = "etcd says \"" + printable(said) + "\"";
  const auto make = [&](Reaction reaction, Code meaning, std::string_view advice) {
    return Refusal{reaction, make_error(meaning, what + std::string(advice))};
  };
  if (has(said, "database space exceeded")) {
    return make(Reaction::give_up, Code::exhausted,
                ": its database has reached its quota and it takes no more writes; compact it (etcdctl compact), defragment every "
                "member (etcdctl defrag), then etcdctl alarm disarm");
  }
  if (has(said, "user name is empty") || has(said, "invalid auth token") || has(said, "revision of auth store is old")) {
    return make(Reaction::authenticate, Code::denied, "; give the user and password of a user of etcd");
  }
  if (has(said, "authentication failed")) return make(Reaction::give_up, Code::denied, "; check the user and the password file");
  if (has(said, "has been compacted") || has(said, "future revision")) return make(Reaction::list_again, Code::interrupted, "");
  if (has(said, "request is too large")) return make(Reaction::give_up, Code::invalid, "; its limit is --max-request-bytes");
  switch (code) {
    case 3:
    case 11: return make(Reaction::give_up, Code::invalid, "");
    case 5: return make(Reaction::give_up, Code::not_found, "");
    case 6: return make(Reaction::give_up, Code::exists, "");
    case 7: return make(Reaction::give_up, Code::denied, "; the user's role needs readwrite permission for firn's prefix");
    case 8: return make(Reaction::wait, Code::unavailable, "");
    case 9: return make(Reaction::give_up, Code::conflict, "");
    case 12: return make(Reaction::give_up, Code::unsupported, "");
    case 15: return make(Reaction::give_up, Code::io, "");
    case 16: return make(Reaction::authenticate, Code::denied, "");
    default: return make(Reaction::elsewhere, Code::unavailable, "");
  }
}

// When the time is over: what each member that was asked said last, for the one that was asked last may be the least of the troubles.
Error nobody_served(Error last, const std::vector<std::string>& said) {
  std::string all;
  for (const std::string& words : said) {
    if (!words.empty()) all += (all.empty() ? "" : "; ") + words;
  }
  if (!all.empty()) last.message = "etcd did not serve the request in time: " + all;
  return last;
}

}  // namespace

Refusal read_refusal(int status, std::string_view body) {
  auto document = json::Document::parse(body);
  const json::Value root = document ? document->root() : json::Value();
  // In a line of a stream the code is called grpc_code up to etcd 3.5; unary answers of 3.6 have no "error".
  const auto code = root["grpc_code"].present() ? root["grpc_code"].integer() : root["code"].integer();
  auto said = root["message"].string();
  if (!said) said = root["error"].string();
  if (code && said) return refusal(*code, *said);
  if (status == 404) {
    return {Reaction::give_up, make_error(Code::unsupported, "it knows no such path: is it etcd 3.4 or later, with its gRPC gateway "
                                                             "enabled (--enable-grpc-gateway), and is this a client URL?")};
  }
  return {Reaction::elsewhere, make_error(Code::unavailable, "HTTP status " + std::to_string(status) + ", \"" + printable(body) +
                                                                 "\": is this the client URL of an etcd, and http or https as it wants?")};
}

std::string cluster_id_text(uint64_t id) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (; id != 0; id >>= 4) out.insert(out.begin(), digits[id & 15]);
  return out.empty() ? "0" : out;
}

bool pause(int attempt, http::Deadline until) {
  const auto now = Clock::now();
  if (now >= until) return false;
  uint32_t random = 0;
  static_cast<void>(::getrandom(&random, sizeof random, 0));  // without it the pauses are only less spread
  const int64_t most = int64_t{4000} << std::min(attempt, 6);
  const auto wait = std::chrono::microseconds(most / 2 + random % (most / 2));
  // Sleeps because a member that cannot now, or a writer that was faster, tells nobody when it is over.
  std::this_thread::sleep_for(std::min<Clock::duration>(wait, until - now));
  return true;
}

Result<std::unique_ptr<Gateway>> Gateway::make(const EtcdOptions& options) {
  if (options.endpoints.empty()) return make_error(Code::invalid, "no endpoint of etcd is named");
  std::unique_ptr<Gateway> gateway(new Gateway(options));
  http::ClientLimits limits;
  limits.body_bytes = options.answer_limit;
  for (const http::Endpoint& endpoint : options.endpoints) {
    auto client = http::make_client(endpoint, options.tls, limits);
    if (!client) return std::move(client).error();
    gateway->members_.push_back({endpoint.to_string(), std::move(*client)});
  }
  return gateway;
}

http::Request Gateway::request(std::string_view path, const std::string& body) const {
  http::Request request{"POST", std::string(path), {{"Content-Type", "application/json"}}, body};
  if (!token_.empty()) request.headers.emplace_back("Authorization", token_);
  return request;
}

Status Gateway::authenticate(Member& member, http::Deadline until) {
  if (authenticated_ || options_.user.empty()) return {};
  json::Writer w;
  w.begin_object().field("name", options_.user).field("password", options_.password).end_object();
  auto answer = member.client->call(request("/v3/auth/authenticate", w.text()), until);
  if (!answer) {
    // Nothing is changed by it, so a lost answer is no more than a member that cannot now.
    Error error = std::move(answer).error();
    if (error.is(Code::interrupted)) error.code = Code::unavailable;
    return error;
  }
  if (answer->status != 200) {
    const Refusal refused = read_refusal(answer->status, answer->body);
    // A cluster that does not ask who we are: then there is nothing to show.
    authenticated_ = refused.error.is(Code::conflict) && has(answer->body, "not enabled");
    if (authenticated_) return {};
    return Error(refused.error).context(member.name + ": as user " + options_.user);
  }
  auto document = json::Document::parse(answer->body);
  auto token = document ? document->root()["token"].string() : Result<std::string>(std::move(document).error());
  if (!token) return make_error(Code::unavailable, member.name + ": its answer to the authentication has no token");
  token_ = std::move(*token);
  authenticated_ = true;
  return {};
}

Result<json::Document> Gateway::call(std::string_view path, const std::string& body, Effect effect, http::Deadline until) {
  const bool write = effect == Effect::write;
  Error last = make_error(Code::unavailable, "there was no time left to ask etcd");
  size_t refusals = 0;  // in a row, of members that will not serve us at all
  std::vector<std::string> said(members_.size());
  size_t asked = at_;
  for (int attempt = 0;; ++attempt) {
    if (refused_) return *refused_;
    if (attempt > 0) {
      said[asked] = last.message;
      if (!pause(attempt - 1, until)) return nobody_served(std::move(last), said);
    }
    if (Clock::now() >= until) return nobody_served(std::move(last), said);
    asked = at_;
    Member& member = members_[at_];
    // A member that does not answer leaves time for another one; and a write, for finding out what became of it.
    const auto share = members_.size() > 1 || write ? (until - Clock::now()) / 2 : until - Clock::now();
    const http::Deadline turn = Clock::now() + share;
    if (auto known = authenticate(member, turn); !known) {
      last = std::move(known).error();
      if (!last.is(Code::unavailable) && ++refusals >= members_.size()) return last;
      prefer_another();
      continue;
    }
    auto answer = member.client->call(request(path, body), turn);
    if (!answer) {
      last = std::move(answer).error();
      if (last.is(Code::io)) return write ? make_error(Code::interrupted, last.message) : last;
      if (last.is(Code::interrupted) && write) return last;
      const bool passing = last.is(Code::unavailable) || last.is(Code::interrupted);
      if (last.is(Code::interrupted)) last.code = Code::unavailable;
      if (!passing && ++refusals >= members_.size()) return last;
      prefer_another();
      continue;
    }
    if (answer->status == 200) {
      auto document = json::Document::parse(answer->body);
      if (!document) return make_error(write ? Code::interrupted : Code::io, member.name + ": its answer is no JSON: " + document.error().message);
      if (auto good = observe(document->root()["header"], path.starts_with("/v3/kv/")); !good) return std::move(good).error().context(member.name);
      return document;
    }
    Refusal refused = read_refusal(answer->status, answer->body);
    last = std::move(refused.error).context(member.name);
    switch (refused.reaction) {
      case Reaction::give_up:
      case Reaction::list_again: return last;
      case Reaction::wait: break;
      case Reaction::authenticate:
        if (options_.user.empty()) return last;
        forget_token();
        break;
      case Reaction::elsewhere:
        if (write) return make_error(Code::interrupted, last.message);
        prefer_another();
        break;
    }
  }
}

Result<std::unique_ptr<http::LineStream>> Gateway::stream(std::string_view path, const std::string& body, http::Deadline until) {
  if (refused_) return *refused_;
  Member& member = members_[at_];
  if (auto known = authenticate(member, until); !known) return std::move(known).error();
  http::Request asked = request(path, body);
  // A member that is cut off from the others ends the stream instead of staying silent.
  asked.headers.emplace_back("Grpc-Metadata-hasleader", "true");
  return member.client->stream(asked, until);
}

Status Gateway::observe(json::Value header, bool current) {
  auto cluster = wire::id(header["cluster_id"]);
  auto revision = wire::number(header["revision"]);
  if (!cluster) return std::move(cluster).error();
  if (!revision) return std::move(revision).error();
  if (position_.cluster_id == 0) position_.cluster_id = *cluster;
  std::string why;
  if (*cluster != 0 && *cluster != position_.cluster_id) {
    why = "this is the cluster " + cluster_id_text(*cluster) + ", and the one that was used before is " +
          cluster_id_text(position_.cluster_id) + ": the endpoint belongs to another cluster, or the cluster was made anew";
  } else if (current && *revision < position_.revision) {
    why = "the cluster is at revision " + std::to_string(*revision) + ", and was seen at revision " +
          std::to_string(position_.revision) + " before: it was restored from an older backup, or lost data";
  }
  if (!why.empty()) {
    refused_ = make_error(Code::conflict, why + "; it is not used, because two hosts could be given the same addresses");
    return *refused_;
  }
  saw(*revision);
  return {};
}

void Gateway::saw(Revision revision) {
  if (revision <= position_.revision) return;
  position_.revision = revision;
  if (options_.remember) options_.remember(position_);
}

}  // namespace firn::kv
