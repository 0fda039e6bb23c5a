#include "routed/counters.hpp"

#include <array>
#include <utility>

#include "lib/json/json.hpp"
#include "routed/policy/base.hpp"

namespace firn::routed {
namespace {

constexpr std::chrono::milliseconds serves{1000};  // an answer for as long

void add(const json::Value& counter, Counter& out) {
  const auto packets = counter["packets"].integer_or(0, 0, INT64_MAX), bytes = counter["bytes"].integer_or(0, 0, INT64_MAX);
  if (packets) out.packets += static_cast<uint64_t>(*packets);
  if (bytes) out.bytes += static_cast<uint64_t>(*bytes);
}

// {"rule":{"comment":"...","expr":[..., {"counter":{"packets":1,"bytes":84}}, ...]}}
void take_rule(const json::Value& rule, Counters& out) {
  const auto comment = rule["comment"].string_or("");
  const auto parts = rule["expr"].array();
  if (!comment || comment->empty() || !parts) return;
  for (const json::Value& part : *parts) {
    if (part["counter"].present()) add(part["counter"], out.rules[*comment]);
  }
}

// {"map":{"name":"egress","elem":[[{"elem":{"val":"IF","counter":{...}}}, VERDICT], ...]}}
void take_map(const json::Value& map, Counters& out) {
  const auto name = map["name"].string_or("");
  const auto elements = map["elem"].array();
  if (!name || !elements) return;
  const bool egress = *name == policy::egress_map;
  if (!egress && *name != policy::ingress_map) return;
  for (const json::Value& element : *elements) {
    const auto pair = element.array();
    if (!pair || pair->empty()) continue;
    const json::Value key = pair->front()["elem"];
    const auto interface = key["val"].string();
    if (!interface) continue;
    Counters::Interface& counted = out.interfaces[*interface];
    add(key["counter"], egress ? counted.egress : counted.ingress);
  }
}

}  // namespace

Status take_listing(std::string_view json, Counters& out) {
  const auto document = json::Document::parse(json);
  if (!document) return Error(document.error()).context("reading a listing of nftables");
  const auto entries = document->root()["nftables"].array();
  if (!entries) return Error(entries.error()).context("reading a listing of nftables");
  for (const json::Value& entry : *entries) {
    if (entry["rule"].present()) take_rule(entry["rule"], out);
    if (entry["map"].present()) take_map(entry["map"], out);
  }
  return {};
}

CounterReader::CounterReader(nft::Runner& runner, const Clock& clock, std::string table)
    : runner_(runner), clock_(clock), table_(std::move(table)) {}

void CounterReader::read(Done done) {
  if (read_at_ && clock_.steady() - *read_at_ < serves) return done(last_);
  waiting_.push_back(std::move(done));
  if (std::exchange(reading_, true)) return;
  under_way_ = {};
  next(0);
}

// The rules without the elements of sets, of which there may be very many, and then the elements of the two maps that count.
void CounterReader::next(size_t listing) {
  const std::array<std::string, 3> listings{"table inet " + table_, "map inet " + table_ + " " + policy::egress_map,
                                            "map inet " + table_ + " " + policy::ingress_map};
  if (listing == listings.size()) {
    last_ = std::exchange(under_way_, {});
    read_at_ = clock_.steady();
    return finish(last_);
  }
  runner_.run(listing == 0 ? nft::Request::list : nft::Request::elements, "list " + listings[listing] + "\n",
              [this, listing](const Result<std::string>& text) {
                if (!text) return finish(Error(text.error()).context("reading counters of nftables"));
                if (auto taken = take_listing(*text, under_way_); !taken) return finish(std::move(taken).error());
                next(listing + 1);
              });
}

void CounterReader::finish(const Result<Counters>& outcome) {
  reading_ = false;
  for (const Done& done : std::exchange(waiting_, {})) done(outcome);
}

const Counters& CounterReader::last(std::chrono::milliseconds age) {
  if (!read_at_ || clock_.steady() - *read_at_ > age) read([](const Result<Counters>&) {});
  return last_;
}

}  // namespace firn::routed
