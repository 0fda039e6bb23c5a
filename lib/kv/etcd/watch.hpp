// The changes of a prefix as etcd streams them, behind one descriptor that stays while streams come and go. Inside this folder
// only. Owns: a stream on a connection of its own, an epoll and a timer descriptor, and the last changes that came.
// A lost stream is opened anew, on another member if need be, behind the last revision that came. Thread safety: one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/unique_fd.hpp"
#include "lib/kv/etcd/gateway.hpp"
#include "lib/kv/etcd/transaction.hpp"

namespace firn::kv {

class Watch {
 public:
  struct Change {
    Revision revision = 0;
    std::string key;  // without the prefix
  };

  Watch(Gateway& gateway, const OwnKeys& own) : gateway_(gateway), own_(own) {}

  // Readable when something came, or when it is time to try again to open a stream. Opens the first one.
  Result<int> fd(http::Deadline until);
  // Forgets what came; the next stream begins behind this revision.
  void begin_behind(Revision revision);
  enum class Reached { yes, compacted };
  // Takes in what came, and waits until everything from `after` on up to `wanted` is there. Compacted: etcd does not have these
  // any more, or there are so many that listing is cheaper.
  Result<Reached> catch_up(Revision after, Revision wanted, http::Deadline until);
  // In order of revision; whole revisions only, from some revision at or before the last `after` to reached().
  const std::vector<Change>& changes() const { return changes_; }
  Revision reached() const { return reached_; }
  void trim();  // keeps the memory bounded

 private:
  Status open(http::Deadline until);
  void lose();
  Status take_in();  // what is there, without waiting; an error means that the stream is of no use any more
  Status take_line(const std::string& line);
  void retry_later();
  void set_timer(std::chrono::milliseconds delay);

  Gateway& gateway_;
  const OwnKeys& own_;
  unique_fd poll_, timer_;
  std::unique_ptr<http::LineStream> stream_;
  bool begun_ = false;
  bool compacted_ = false;
  int failures_ = 0;
  Revision base_ = 0;     // changes_ holds what came behind it
  Revision reached_ = 0;  // up to here
  std::vector<Change> changes_;
};

}  // namespace firn::kv
