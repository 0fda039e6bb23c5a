// Table: the table `inet NAME` in the kernel as it is wished for. All that is pending goes as one transaction, while the one before
// is under way the next gathers. The first one replaces the whole table, whoever made it, and so does any after somebody else
// changed it: between the old rules and the new there is no moment without. Until then, and while this program is not there, the
// old rules stay. What nft refuses is set aside by itself, named, and tried again later: the rest goes on. An object that is
// refused stays as it was, or away: endpoints without an element are dropped by the chain that looks for it. Owns: the table; after
// a restart nothing of it is read, it is replaced. A kill -9 leaves it as the last transaction left it. Thread safety: belongs to
// the thread of the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "lib/base/clock.hpp"
#include "lib/base/result.hpp"
#include "lib/loop/loop.hpp"
#include "routed/nft/child.hpp"
#include "routed/nft/transaction.hpp"
#include "routed/nft/wish.hpp"

namespace firn::routed::nft {

class Table {
 public:
  struct Listener {
    std::function<void()> applied;  // a transaction is done
    std::function<void(const Error&)> failed;
  };
  Table(loop::Loop& loop, const Clock& clock, Runner& runner, std::string name, Listener listener);

  void want(const Changes& changes);
  // All that is wished for has been told, once: from now on the table is written.
  void open();
  // Somebody else changed the table: it is replaced, at once, but never more than half of the time.
  void replace();
  // Starts what is pending, unless something is under way.
  void flush();

  bool is_open() const { return open_; }
  // The table has been replaced since the start, and nothing is known that it lacks.
  bool is_in_place() const { return in_place_; }
  // The element is wished for, and in the kernel like that.
  bool has(const ElementKey& key) const;

  struct Counts {
    size_t desired = 0, actual = 0, pending = 0;
  };
  struct State {
    Counts sets, chains, elements;
    uint64_t transactions = 0, replacements = 0, repairs = 0, refusals = 0;
    size_t aside = 0;
    std::string why_aside;  // of the first
    std::chrono::microseconds last_transaction{0};
  };
  State state() const;

 private:
  void look(size_t listing);
  void send(Transaction next);
  void send_text(std::chrono::steady_clock::time_point began);
  void take(const Result<std::string>& outcome, std::chrono::steady_clock::time_point began);
  void take_done();
  void take_refusal(const std::string& words);
  void try_again(std::chrono::milliseconds least);

  loop::Loop& loop_;
  const Clock& clock_;
  Runner& runner_;
  const std::string name_;
  const Listener listener_;

  SetMap sets_;
  ChainMap chains_;
  ElementMap elements_;
  std::set<Object> aside_;
  std::map<Object, std::string> why_aside_;
  std::optional<Transaction> under_way_;
  bool open_ = false;
  bool in_place_ = false;
  bool whole_due_ = true;
  std::optional<Existing> existing_;  // what the table has, asked for its replacement
  bool looking_ = false;              // it is being asked for
  bool anew_ = false;                 // the table is deleted and made anew: the replacement in place was refused
  bool repairing_ = false;            // the replacement that is due is for what somebody else did
  unsigned in_a_row_ = 0;             // refusals without a transaction that was done
  std::chrono::milliseconds delay_{0};
  std::chrono::steady_clock::time_point repair_not_before_{};
  loop::Handle again_;
  bool waiting_ = false;  // for again_
  State state_;
};

}  // namespace firn::routed::nft
