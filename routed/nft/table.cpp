#include "routed/nft/table.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace firn::routed::nft {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_delay{500}, longest_delay{30'000};
// So many objects may be refused one after the other before the next try waits.
constexpr unsigned most_in_a_row = 64;

template <class Map>
Table::Counts counts(const Map& map) {
  return {map.desired().size(), map.actual().size(), map.pending_count()};
}

template <class Map, class Wishes>
void want_all(Map& map, const Wishes& wishes) {
  for (const auto& [key, wish] : wishes) {
    if (wish) map.want(key, *wish);
    else map.unwant(key);
  }
}

template <class Map, class Put>
void observe_all(Map& map, Put& put) {
  for (auto& [key, spec] : put) map.observe(key, std::move(spec));
}

}  // namespace

Table::Table(loop::Loop& loop, const Clock& clock, Runner& runner, std::string name, Listener listener)
    : loop_(loop), clock_(clock), runner_(runner), name_(std::move(name)), listener_(std::move(listener)) {}

void Table::want(const Changes& changes) {
  want_all(sets_, changes.sets);
  want_all(chains_, changes.chains);
  want_all(elements_, changes.elements);
  if (aside_.empty()) return;
  std::erase_if(aside_, [&](const Object& object) {
    switch (object.kind) {
      case Object::Kind::set: return changes.sets.contains(object.name);
      case Object::Kind::chain: return changes.chains.contains(object.name);
      case Object::Kind::element: return changes.elements.contains({object.name, object.key});
    }
    return false;
  });
}

void Table::open() {
  open_ = true;
  flush();
}

void Table::replace() {
  whole_due_ = true;
  repairing_ = true;
  // What was refused may have been for want of what somebody removed.
  aside_.clear();
  in_place_ = false;
  waiting_ = false;
  flush();
}

void Table::flush() {
  if (!open_ || under_way_ || looking_ || waiting_) return;
  if (repairing_ && clock_.steady() < repair_not_before_) {
    return try_again(std::chrono::ceil<milliseconds>(repair_not_before_ - clock_.steady()));
  }
  std::optional<Transaction> next;
  if (!whole_due_) next = incremental(name_, sets_, chains_, elements_, aside_);
  if (next) {
    if (!next->empty()) send(*std::move(next));
    return;
  }
  whole_due_ = true;
  if (anew_) return send(replacement(name_, sets_, chains_, elements_, aside_, nullptr));
  looking_ = true;
  existing_.emplace();
  look(0);
}

void Table::look(size_t listing) {
  constexpr std::array<const char*, 3> listings{"list chains inet\n", "list sets inet\n", "list maps inet\n"};
  if (listing == listings.size()) {
    looking_ = false;
    return send(replacement(name_, sets_, chains_, elements_, aside_, &*existing_));
  }
  runner_.run(Request::list, listings[listing], [this, listing](const Result<std::string>& text) {
    const Status taken = text ? take_existing(*text, name_, *existing_) : Status(text.error());
    if (taken) return look(listing + 1);
    looking_ = false;
    try_again(first_delay);
    listener_.failed(Error(taken.error()).context("looking at table inet " + name_));
  });
}

void Table::send(Transaction next) {
  // Before: a change by somebody else from here on needs another one.
  if (next.whole) whole_due_ = false;
  under_way_ = std::move(next);
  const auto began = clock_.steady();
  if (under_way_->bytes.empty() || !runner_.takes_bytes()) return send_text(began);
  runner_.run(Request::bytes, std::move(under_way_->bytes), [this, began](const Result<std::string>& outcome) {
    // Which element it was that the kernel refused, and why, nft says in words.
    if (!outcome && outcome.error().is(Code::invalid)) return send_text(began);
    take(outcome, began);
  });
}

void Table::send_text(std::chrono::steady_clock::time_point began) {
  runner_.run(Request::transaction, std::move(under_way_->text),
              [this, began](const Result<std::string>& outcome) { take(outcome, began); });
}

void Table::take(const Result<std::string>& outcome, std::chrono::steady_clock::time_point began) {
  const auto took = clock_.steady() - began;
  state_.last_transaction = std::chrono::duration_cast<std::chrono::microseconds>(took);
  if (outcome) {
    if (under_way_->whole) repair_not_before_ = clock_.steady() + took;
    take_done();
  } else if (outcome.error().is(Code::invalid)) {
    take_refusal(outcome.error().message);
  } else {
    // What it did is not known.
    whole_due_ = true;
    in_place_ = false;
    under_way_.reset();
    try_again(first_delay);
    listener_.failed(Error(outcome.error()).context("writing table inet " + name_));
  }
  flush();
}

void Table::take_done() {
  Transaction done = *std::exchange(under_way_, std::nullopt);
  ++state_.transactions;
  in_a_row_ = 0;
  if (aside_.empty()) delay_ = milliseconds(0);
  if (done.whole) {
    anew_ = false;
    ++state_.replacements;
    if (std::exchange(repairing_, whole_due_)) ++state_.repairs;
    sets_.set_actual(std::move(done.put.sets));
    chains_.set_actual(std::move(done.put.chains));
    elements_.set_actual(std::move(done.put.elements));
    in_place_ = true;
  } else {
    for (const Object& object : done.removed) {
      switch (object.kind) {
        case Object::Kind::set: sets_.observe_removed(object.name); break;
        case Object::Kind::chain: chains_.observe_removed(object.name); break;
        case Object::Kind::element: elements_.observe_removed({object.name, object.key}); break;
      }
    }
    observe_all(sets_, done.put.sets);
    observe_all(chains_, done.put.chains);
    observe_all(elements_, done.put.elements);
  }
  if (!aside_.empty() && !waiting_ && !again_) try_again(first_delay);
  listener_.applied();
}

// Nothing of it was done. The next try is without what was refused.
void Table::take_refusal(const std::string& words) {
  const Transaction refused = *std::exchange(under_way_, std::nullopt);
  if (refused.whole && !std::exchange(anew_, true)) {
    // A hook has another priority, or what was listed is not what is there any more.
    whole_due_ = true;
    return;
  }
  const Refusal refusal = parse_refusal(words);
  const auto object = refused.object_at(refusal.line);
  ++state_.refusals;
  Error error = make_error(Code::invalid, "nftables refuses " + (object ? to_string(*object) : "a transaction") +
                                              " of table inet " + name_ + ": " + refusal.reason);
  const bool removing = object && std::find(refused.removed.begin(), refused.removed.end(), *object) != refused.removed.end();
  if (object && !removing) {
    aside_.insert(*object);
    why_aside_[*object] = refusal.reason;
    error.message += "; the rest is written without it";
  }
  if (refused.whole || !object || removing) whole_due_ = true;
  if (!object || ++in_a_row_ >= most_in_a_row) {
    in_a_row_ = 0;
    try_again(first_delay);
  }
  listener_.failed(error);
}

// Later, with everything that was set aside. A repair waits no longer than it must.
void Table::try_again(milliseconds least) {
  delay_ = std::clamp(2 * delay_, first_delay, longest_delay);
  waiting_ = whole_due_;
  again_ = loop_.after(whole_due_ && repairing_ ? least : std::max(least, delay_), [this] {
    again_.cancel();
    waiting_ = false;
    aside_.clear();
    why_aside_.clear();
    flush();
  });
}

bool Table::has(const ElementKey& key) const {
  const auto wanted = elements_.desired().find(key), there = elements_.actual().find(key);
  return in_place_ && wanted != elements_.desired().end() && there != elements_.actual().end() && wanted->second == there->second;
}

Table::State Table::state() const {
  State out = state_;
  out.sets = counts(sets_);
  out.chains = counts(chains_);
  out.elements = counts(elements_);
  out.aside = aside_.size();
  if (!aside_.empty()) {
    const auto why = why_aside_.find(*aside_.begin());
    out.why_aside = to_string(*aside_.begin()) + (why == why_aside_.end() ? std::string() : ": " + why->second);
  }
  return out;
}

}  // namespace firn::routed::nft
