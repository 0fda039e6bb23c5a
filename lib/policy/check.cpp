#include "lib/policy/check.hpp"

#include <tuple>

#include "lib/policy/selector.hpp"

namespace firn::policy {

namespace {

Status check(const std::string& text, const std::string& pointer) {
  auto selector = Selector::parse(text);
  if (!selector) return std::move(selector).error().context(pointer);
  return {};
}

Status check_rules(const std::vector<model::PolicyRule>& rules, const std::string& direction) {
  for (size_t i = 0; i < rules.size(); ++i) {
    for (const auto& [end, peer] : {std::pair("source", &rules[i].source), {"destination", &rules[i].destination}}) {
      const std::string pointer = "/" + direction + "/" + std::to_string(i) + "/" + end;
      if (auto good = check(peer->selector.value_or(""), pointer + "/selector"); !good) return good;
      if (auto good = check(peer->namespace_selector.value_or(""), pointer + "/namespace_selector"); !good) return good;
    }
  }
  return {};
}

}  // namespace

Status check_selectors(const model::Policy& policy) {
  if (auto good = check(policy.selector, "/selector"); !good) return good;
  if (auto good = check(policy.namespace_selector.value_or(""), "/namespace_selector"); !good) return good;
  if (auto good = check_rules(policy.ingress, "ingress"); !good) return good;
  return check_rules(policy.egress, "egress");
}

bool decides_before(const model::Policy& a, const model::Policy& b) {
  // The empty scope of global ones comes before every namespace.
  return std::tie(a.order, a.scope, a.name) < std::tie(b.order, b.scope, b.name);
}

std::string title_of(const model::Policy& policy) {
  return policy.global() ? "GlobalNetworkPolicy " + policy.name : "NetworkPolicy " + policy.scope + "/" + policy.name;
}

}  // namespace firn::policy
