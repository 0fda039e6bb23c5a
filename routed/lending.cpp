// Borrowing on the loop's side: asks of this host, asks to it, and what comes back (ipam/loans.hpp has the order and the reasons).
#include "ipam/allocator.hpp"
#include "ipam/loans.hpp"
#include "ipam/records.hpp"
#include "lib/model/keys.hpp"
#include "routed/daemon.hpp"

namespace firn::routed {
namespace {

constexpr std::chrono::milliseconds lender_patience{1500};

}  // namespace

// The plugin waits for a block to lease from, and is served by a loan like by any other.
void Daemon::borrow(const std::string& name, const std::string& pool, const std::string& why) {
  Need& need = needs_[name];
  const auto lenders = remote_.owners(pool);
  cluster_->post([this, name, pool, why, lenders, self = self_, turn = need.turn++](kv::Store* cluster) {
    const Status asked = cluster != nullptr ? ipam::ask_for_address(*cluster, self, pool, lenders, turn)
                                            : Status(make_error(Code::unavailable, "the cluster store cannot be had"));
    return [this, name, why, asked] {
      Need& now = needs_[name];
      if (!asked) {
        now.working = false;
        now.finished = clock_.steady();
        now.why = why + "; " + asked.error().message;
        return;
      }
      // Until then the plugin is told to wait; what comes is adopted by the update that tells of it. Then the next lender is asked.
      now.timer = loop_.after(lender_patience, [this, name, why] {
        Need& late = needs_[name];
        late.working = false;
        late.finished = clock_.steady();
        late.why = why + "; no host that was asked lent an address in time";
      });
    };
  });
}

void Daemon::answer_asks() {
  const std::string prefix = model::keys::asks_of(self_.name);
  auto asks = remote_.records()->range(prefix);
  if (!asks || intake_.node() == nullptr) return;
  for (const kv::Entry& entry : asks->entries) {
    if (lending_.contains(entry.key)) continue;
    auto ask = model::decode_ask(entry.value);
    if (!ask || model::keys::ask(*ask) != entry.key) {
      log_.repeated(Level::error, entry.key, "the record " + entry.key + " of the cluster cannot be used; it is left alone");
      continue;
    }
    answer_ask(*ask);
  }
}

void Daemon::answer_ask(const model::Ask& ask) {
  const int64_t now = clock_.unix_seconds();
  auto boot = ipam::current_boot_id();
  if (!boot) return note_failure("lending", boot.error());
  auto lent = ipam::set_aside(*intake_.node(), ask, now - ipam::Options{}.cooldown.count(), ipam::moment(clock_, *std::move(boot)));
  if (!lent) return note_failure("lending", lent.error());
  if (*lent) {
    // The store does not wait for the disk; what is promised to others must outlive a power cut.
    if (const auto safe = ipam::make_durable(config_.state_dir + "/node.db"); !safe) return note_failure("lending", safe.error());
  }
  lending_.insert(model::keys::ask(ask));
  cluster_->post([this, ask, lent = *lent, self = self_, now](kv::Store* cluster) {
    const Status made = cluster != nullptr ? ipam::lend(*cluster, self, ask, lent, now)
                                           : Status(make_error(Code::conflict, "the cluster store cannot be had"));
    return [this, ask, lent, made] {
      lending_.erase(model::keys::ask(ask));
      if (made) {
        if (lent) log_.info("lent " + lent->address.to_string() + " of pool " + ask.pool + " to node " + ask.borrower);
        return;
      }
      note_failure("lending", made.error());
      // Surely not lent. After any other error it may be: then the address stays aside, and mirror() knows it by the claim.
      if (lent && made.error().is(Code::conflict) && intake_.node() != nullptr) {
        if (const auto back = ipam::take_back(*intake_.node(), {lent->address}); !back) note_failure("lending", back.error());
      }
    };
  });
}

// Addresses that borrowers gave back: leased here again, then the note of it goes.
void Daemon::take_returns() {
  const std::string prefix = model::keys::returns_to(self_.name);
  auto notes = remote_.records()->range(prefix);
  if (!notes || notes->entries.empty() || returning_ || intake_.node() == nullptr) return;
  std::vector<Address> back;
  for (const kv::Entry& entry : notes->entries) {
    if (const auto address = ipam::records::parse_address_key(std::string_view(entry.key).substr(prefix.size())))
      back.push_back(*address);
    if (back.size() == 100) break;
  }
  if (const auto taken = ipam::take_back(*intake_.node(), back); !taken) return note_failure("lending", taken.error());
  returning_ = true;
  cluster_->post([this, back, self = self_.name](kv::Store* cluster) {
    const Status ended = cluster != nullptr ? ipam::end_returns(*cluster, self, back) : Status();
    return [this, ended] {
      returning_ = false;
      if (!ended) note_failure("lending", ended.error());
    };
  });
}

}  // namespace firn::routed
