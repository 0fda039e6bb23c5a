// The way to an etcd cluster: which member is asked, who we are to it, what its errors mean, and whether it is still the cluster
// it was. Inside this folder only. Owns: a connection a member, the token. Thread safety: one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json/json.hpp"
#include "lib/kv/etcd/etcd_store.hpp"

namespace firn::kv {

// etcd's refusal of one request.
struct Refusal {
  enum class Reaction {
    give_up,         // asking again gives the same
    elsewhere,       // this member cannot now; what it was asked may happen all the same
    wait,            // not now; nothing has happened
    authenticate,    // the token is not good any more; nothing has happened
    list_again,      // the revision asked for is not there any more, or not yet
  } reaction = Reaction::give_up;
  Error error;
};
// `body`: of an answer that is not 200, or the "error" member of a line of a stream.
Refusal read_refusal(int status, std::string_view body);

class Gateway {
 public:
  enum class Effect { none, write };  // a write is sent again only when it surely was not carried out

  static Result<std::unique_ptr<Gateway>> make(const EtcdOptions& options);

  // POST. Errors: Code::interrupted for a write that may have been carried out, and for a read of a revision that is compacted;
  // unavailable when no member could be asked in time; others as etcd's refusal means.
  Result<json::Document> call(std::string_view path, const std::string& body, Effect effect, http::Deadline until);
  // One member, once. The caller asks again; prefer_another() makes that another member.
  Result<std::unique_ptr<http::LineStream>> stream(std::string_view path, const std::string& body, http::Deadline until);
  void prefer_another() { at_ = (at_ + 1) % members_.size(); }
  void forget_token() { token_.clear(), authenticated_ = false; }

  // Checks the header of an answer and remembers the position. `current`: the answer is of the newest state there is, so its
  // revision may not be below one that was seen before.
  Status observe(json::Value header, bool current);
  void saw(Revision revision);
  const Position& position() const { return position_; }
  const EtcdOptions& options() const { return options_; }

 private:
  struct Member {
    std::string name;
    std::unique_ptr<http::Client> client;
  };
  explicit Gateway(const EtcdOptions& options) : options_(options), position_(options.known) {}
  http::Request request(std::string_view path, const std::string& body) const;
  Status authenticate(Member& member, http::Deadline until);

  EtcdOptions options_;
  std::vector<Member> members_;
  size_t at_ = 0;
  bool authenticated_ = false;
  std::string token_;  // "": the cluster asks for none
  Position position_;
  std::optional<Error> refused_;  // once it was not the cluster it was, it is not asked again
};

// Waits before something is tried again: longer each time, never beyond the deadline. False: there is no time left.
bool pause(int attempt, http::Deadline until);

}  // namespace firn::kv
