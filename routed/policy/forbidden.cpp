#include "routed/policy/forbidden.hpp"

#include <algorithm>

namespace firn::routed::policy {

namespace {

constexpr const char *this_host = "here", *another = "elsewhere";

class Judge {
 public:
  Judge(const firn::policy::Evaluator& evaluator, const FlowView& view) : evaluator_(evaluator), view_(view) {}

  bool allows(const netlink::Flow& flow) {
    const auto& real = flow.real;
    const firn::policy::End source = end_of(real.source), destination = end_of(real.destination);
    const firn::policy::Packet packet{real.protocol, real.source_port, real.destination_port, real.icmp_type, real.icmp_code};
    return allows(firn::policy::Direction::egress, source, source, destination, packet) &&
           allows(firn::policy::Direction::ingress, destination, source, destination, packet);
  }

 private:
  firn::policy::End end_of(const Address& address) const {
    firn::policy::End out;
    out.address = address;
    const auto holder = view_.holders.find(address);
    if (holder != view_.holders.end()) out.endpoint = &holder->second;
    if (view_.here.contains(address) || view_.own.contains(address)) out.node = this_host;
    else if (out.endpoint != nullptr) out.node = another;
    return out;
  }
  bool allows(firn::policy::Direction direction, const firn::policy::End& whose, const firn::policy::End& source,
              const firn::policy::End& destination, const firn::policy::Packet& packet) {
    if (!view_.here.contains(whose.address)) return true;
    auto& lists = selecting_[static_cast<size_t>(direction)];
    auto list = lists.find(whose.address);
    if (list == lists.end()) list = lists.emplace(whose.address, evaluator_.selecting(direction, whose)).first;
    return evaluator_.decide(direction, list->second, source, destination, packet).allowed;
  }

  const firn::policy::Evaluator& evaluator_;
  const FlowView& view_;
  std::map<Address, std::vector<size_t>> selecting_[2];
};

}  // namespace

bool missed_a_port(const netlink::Flow& flow, const std::vector<model::PortPlace>& published) {
  constexpr uint8_t udp = 17;
  const netlink::FlowTuple& to = flow.original;
  if (published.empty() || to.protocol != udp || flow.real.destination != to.destination) return false;
  const model::PortPlace place{to.protocol, to.destination_port, to.destination};
  return std::ranges::any_of(published, [&](const model::PortPlace& p) { return p.overlaps(place); });
}

std::vector<size_t> forbidden(const std::vector<netlink::Flow>& flows, const firn::policy::Evaluator& evaluator,
                              const FlowView& view) {
  std::vector<size_t> out;
  Judge judge(evaluator, view);
  for (size_t i = 0; i < flows.size(); ++i) {
    const auto& real = flows[i].real;
    const bool over = view.gone.contains(real.source) || view.gone.contains(real.destination) ||
                      (view.own.contains(real.destination) && missed_a_port(flows[i], view.published));
    if (over || !judge.allows(flows[i])) out.push_back(i);
  }
  return out;
}

}  // namespace firn::routed::policy
